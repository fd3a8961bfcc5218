//! Constants of Linux's ABI on 64-bit Power (include/uapi and arch/powerpc/include/uapi), and a
//! writer for its structures.

use alloc::vec::Vec;

/// `openat`: a path is relative to the current directory.
pub const AT_FDCWD: u64 = -100i32 as u32 as u64;
/// Do not follow a symbolic link at the path's end.
pub const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
/// An empty path means the descriptor itself.
pub const AT_EMPTY_PATH: u64 = 0x1000;

/// Mask of the access mode.
pub const O_ACCMODE: u32 = 3;
/// Read only.
pub const O_RDONLY: u32 = 0;
/// Create it if it is not there.
pub const O_CREAT: u32 = 0o100;
/// Fail if it is there.
pub const O_EXCL: u32 = 0o200;
/// Empty it.
pub const O_TRUNC: u32 = 0o1000;
/// Only a directory (Power's own value).
pub const O_DIRECTORY: u32 = 0o40_000;
/// No symbolic link at the path's end (Power's own value).
pub const O_NOFOLLOW: u32 = 0o100_000;
/// Close it when another program takes over.
pub const O_CLOEXEC: u32 = 0o2_000_000;

/// Flags that stay with the open file.
pub const STATUS_FLAGS: u32 = !(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC | 0o400);

/// A page may be loaded from.
pub const PROT_READ: u64 = 1;
/// A page may be stored to.
pub const PROT_WRITE: u64 = 2;
/// A page may be executed.
pub const PROT_EXEC: u64 = 4;
/// Changes are shared.
pub const MAP_SHARED: u64 = 1;
/// Exactly there.
pub const MAP_FIXED: u64 = 0x10;
/// No file.
pub const MAP_ANONYMOUS: u64 = 0x20;
/// Exactly there, if nothing is.
pub const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;

/// The library's page size: the kernel's.
pub const PAGE_SIZE: u64 = kernel_abi::PAGE_SIZE;

/// The multiple of the page size that is not below `value`, if there is one.
pub const fn page_up(value: u64) -> Option<u64> {
    value.checked_next_multiple_of(PAGE_SIZE)
}

/// A device number as the kernel's structures have it.
pub const fn device(major: u32, minor: u32) -> u64 {
    (((minor & 0xfff00) as u64) << 12) | ((major as u64) << 8) | (minor & 0xff) as u64
}

/// Writes a structure, field by field, little-endian.
#[derive(Clone, Debug, Default)]
pub struct Structure(pub Vec<u8>);

impl Structure {
    /// A 64-bit field.
    #[must_use]
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    /// A 32-bit field.
    #[must_use]
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    /// A 16-bit field.
    #[must_use]
    pub fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    /// Text in a field of `size` bytes, zeros after it.
    #[must_use]
    pub fn text(mut self, text: &[u8], size: usize) -> Self {
        let end = self.0.len() + size;
        self.0.extend_from_slice(&text[..text.len().min(size)]);
        self.0.resize(end, 0);
        self
    }
}
