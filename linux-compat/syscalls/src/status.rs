//! What files are: the `stat` family, `access`, `readlink`, `statfs`.
//!
//! Sizes and blocks are those that Linux's ramfs reports for the same files on a kernel with pages of
//! 4 KiB, which is where a Linux started from the same image can have them.

use crate::abi::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, Structure, device};
use crate::{Arguments, Errno, Linux, Outcome};
use alloc::vec::Vec;
use libos::files::{Content, Node, NodeId};

/// Device number of the root file system.
const FILE_SYSTEM: u32 = 2;
/// Bytes that a file takes at a time, `st_blksize`.
const PIECE: u64 = 4096;
/// Bytes of a block in `st_blocks`.
const BLOCK: u64 = 512;

/// Size in bytes and in blocks.
fn sizes(node: &Node<'_>) -> (u64, u64) {
    match &node.content {
        Content::Directory(_) => (0, 0),
        Content::Regular(data) => {
            let size = data.len() as u64;
            (size, size.div_ceil(PIECE) * (PIECE / BLOCK))
        }
        Content::SymbolicLink(target) => (target.len() as u64, 0),
        Content::Special(..) => (0, 0),
    }
}

fn device_numbers(node: &Node<'_>) -> (u32, u32) {
    match node.content {
        Content::Special(major, minor) => (major, minor),
        _ => (0, 0),
    }
}

impl Linux {
    /// `struct stat` of a file (arch/powerpc/include/uapi/asm/stat.h).
    fn stat_structure(&self, id: NodeId) -> Vec<u8> {
        let node = self.files.node(id);
        let (size, blocks) = sizes(node);
        let (major, minor) = device_numbers(node);
        let time = |out: Structure| out.u64(node.modified.into()).u64(0);
        let start = Structure::default()
            .u64(device(0, FILE_SYSTEM))
            .u64(id.inode())
            .u64(node.links.into())
            .u32(node.mode)
            .u32(node.user)
            .u32(node.group)
            .u32(0)
            .u64(device(major, minor))
            .u64(size)
            .u64(PIECE)
            .u64(blocks);
        time(time(time(start))).u64(0).u64(0).u64(0).0
    }

    /// `struct statx` of a file (include/uapi/linux/stat.h): the basic fields.
    fn statx_structure(&self, id: NodeId) -> Vec<u8> {
        const BASIC: u32 = 0x7ff;
        let node = self.files.node(id);
        let (size, blocks) = sizes(node);
        let (major, minor) = device_numbers(node);
        let time = |out: Structure| out.u64(node.modified.into()).u64(0);
        let no_time = |out: Structure| out.u64(0).u64(0);
        let start = Structure::default()
            .u32(BASIC)
            .u32(PIECE as u32)
            .u64(0)
            .u32(node.links)
            .u32(node.user)
            .u32(node.group)
            .u16(node.mode as u16)
            .u16(0)
            .u64(id.inode())
            .u64(size)
            .u64(blocks)
            .u64(0);
        // Access, birth (unknown), status change, change.
        let times = time(time(no_time(time(start))));
        times.u32(major).u32(minor).u32(0).u32(FILE_SYSTEM).text(b"", 256 - 144).0
    }

    fn node_of(&self, descriptor: u64) -> Result<NodeId, Errno> {
        self.descriptors.get(descriptor)?.node.ok_or(Errno::EBADF)
    }

    /// The file that a call of the `...at` sort means.
    fn target(&self, directory: u64, path: u64, flags: u64) -> Result<NodeId, Errno> {
        let path = self.read_path(path)?;
        if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
            return if directory as u32 == AT_FDCWD as u32 {
                Ok(self.directory)
            } else {
                self.node_of(directory)
            };
        }
        self.find(directory, &path, flags & AT_SYMLINK_NOFOLLOW == 0)
    }

    fn put_stat(&self, node: NodeId, at: u64) -> Outcome {
        self.write_bytes(at, &self.stat_structure(node))?;
        Ok(0)
    }

    fn access(&self, directory: u64, path: u64, mode: u64, flags: u64) -> Outcome {
        const WRITE: u64 = 2;
        const EXECUTE: u64 = 1;
        let node = self.files.node(self.target(directory, path, flags)?);
        let in_file_system = !matches!(node.content, Content::Special(..));
        if mode & WRITE != 0 && in_file_system {
            return Err(Errno::EROFS);
        }
        // The user is root, who may all but execute what nobody may.
        let directory = matches!(node.content, Content::Directory(_));
        if mode & EXECUTE != 0 && !directory && node.mode & 0o111 == 0 {
            return Err(Errno::EACCES);
        }
        Ok(0)
    }

    fn read_link(&self, directory: u64, path: u64, buffer: u64, size: u64) -> Outcome {
        if size.cast_signed() <= 0 {
            return Err(Errno::EINVAL);
        }
        let path = self.read_path(path)?;
        let target: &[u8] = if path == b"/proc/self/exe" {
            &self.process.executable_path
        } else {
            let node = self.find(directory, &path, false)?;
            let Content::SymbolicLink(target) = self.files.node(node).content else {
                return Err(Errno::EINVAL);
            };
            target
        };
        let target = &target[..target.len().min(size as usize)];
        self.write_bytes(buffer, target)?;
        Ok(target.len() as u64)
    }

    /// `struct statfs` (include/uapi/asm-generic/statfs.h).
    fn put_statfs(&self, at: u64) -> Outcome {
        const TMPFS: u64 = 0x0102_1994;
        const READ_ONLY: u64 = 1;
        let blocks = self.image.len() as u64 / PIECE;
        let start = Structure::default().u64(TMPFS).u64(PIECE).u64(blocks).u64(0).u64(0);
        let end = start.u64(0).u64(0).u64(0).u64(255).u64(PIECE).u64(READ_ONLY);
        self.write_bytes(at, &end.text(b"", 32).0)?;
        Ok(0)
    }
}

/// `stat(path, result)`
pub(crate) fn stat(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.put_stat(linux.target(AT_FDCWD, args[0], 0)?, args[1])
}

/// `lstat(path, result)`
pub(crate) fn lstat(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.put_stat(linux.target(AT_FDCWD, args[0], AT_SYMLINK_NOFOLLOW)?, args[1])
}

/// `fstat(descriptor, result)`
pub(crate) fn fstat(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.put_stat(linux.node_of(args[0])?, args[1])
}

/// `newfstatat(directory, path, result, flags)`
pub(crate) fn newfstatat(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.put_stat(linux.target(args[0], args[1], args[3])?, args[2])
}

/// `statx(directory, path, flags, mask, result)`
pub(crate) fn statx(linux: &mut Linux, args: &Arguments) -> Outcome {
    let node = linux.target(args[0], args[1], args[2])?;
    linux.write_bytes(args[4], &linux.statx_structure(node))?;
    Ok(0)
}

/// `access(path, mode)`
pub(crate) fn access(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.access(AT_FDCWD, args[0], args[1], 0)
}

/// `faccessat(directory, path, mode)`
pub(crate) fn faccessat(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.access(args[0], args[1], args[2], 0)
}

/// `faccessat2(directory, path, mode, flags)`
pub(crate) fn faccessat2(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.access(args[0], args[1], args[2], args[3])
}

/// `readlink(path, buffer, size)`
pub(crate) fn readlink(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.read_link(AT_FDCWD, args[0], args[1], args[2])
}

/// `readlinkat(directory, path, buffer, size)`
pub(crate) fn readlinkat(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.read_link(args[0], args[1], args[2], args[3])
}

/// `statfs(path, result)`
pub(crate) fn statfs(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.target(AT_FDCWD, args[0], 0)?;
    linux.put_statfs(args[1])
}

/// `statfs64(path, size, result)`
pub(crate) fn statfs64(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.target(AT_FDCWD, args[0], 0)?;
    linux.put_statfs(args[2])
}

/// `fstatfs(descriptor, result)`
pub(crate) fn fstatfs(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.descriptors.get(args[0])?;
    linux.put_statfs(args[1])
}

/// Extended attributes: no file has any.
pub(crate) fn get_attribute(_: &mut Linux, _: &Arguments) -> Outcome {
    Err(Errno::EOPNOTSUPP)
}
