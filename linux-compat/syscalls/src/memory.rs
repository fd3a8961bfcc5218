//! Memory: the program's mappings and its break.
//!
//! The kernel keeps the regions; what is kept here is which of them are the program's, so that a
//! pointer can be checked without a call.

use crate::abi::{
    MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_SHARED, O_ACCMODE, O_RDONLY, PAGE_SIZE,
    PROT_EXEC, PROT_READ, PROT_WRITE, page_up,
};
use crate::{Arguments, Errno, Linux, Outcome};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use kernel_abi::{region, stub};
use libos::descriptors::Object;
use libos::files::Content;

/// The program's part of the address space.
#[derive(Clone, Debug, Default)]
pub struct AddressSpace {
    /// Mappings by first address: end and protection (`PROT_*`). They do not overlap.
    mappings: BTreeMap<u64, (u64, u64)>,
    /// First address of the break's memory.
    break_start: u64,
    /// The program's break.
    break_end: u64,
}

/// The bytes a mapping shows first: a range of the root file system image. Zeros follow.
#[derive(Clone, Copy, Debug)]
pub struct ImageBytes {
    /// Offset in the image.
    pub offset: u64,
    /// How many.
    pub size: u64,
}

impl AddressSpace {
    /// Whether all of `length` bytes from `at` may be accessed like that.
    ///
    /// # Errors
    /// `EFAULT` when not.
    pub fn check(&self, at: u64, length: u64, protection: u64) -> Result<(), Errno> {
        let end = at.checked_add(length).ok_or(Errno::EFAULT)?;
        let mut checked = at;
        while checked < end {
            let (_, (mapping_end, allowed)) =
                self.mappings.range(..=checked).next_back().ok_or(Errno::EFAULT)?;
            if *mapping_end <= checked || allowed & protection != protection {
                return Err(Errno::EFAULT);
            }
            checked = *mapping_end;
        }
        Ok(())
    }

    /// Notes that `range` is mapped with `protection`, whatever was there.
    fn insert(&mut self, range: Range<u64>, protection: u64) {
        self.remove(&range);
        self.mappings.insert(range.start, (range.end, protection));
    }

    /// Notes that nothing is mapped in `range`.
    fn remove(&mut self, range: &Range<u64>) {
        for address in [range.start, range.end] {
            let below = self.mappings.range(..address).next_back();
            if let Some((&start, &(end, protection))) = below
                && end > address
            {
                self.mappings.insert(start, (address, protection));
                self.mappings.insert(address, (end, protection));
            }
        }
        self.mappings.retain(|start, _| !range.contains(start));
    }
}

impl Linux {
    /// Makes a mapping at `range`, with the bytes that `from` says.
    ///
    /// # Errors
    /// The kernel's.
    pub fn map_at(
        &mut self,
        range: Range<u64>,
        protection: u64,
        from: Option<ImageBytes>,
        replace: bool,
    ) -> Result<(), Errno> {
        let flags = region::EXACT | if replace { region::REPLACE } else { 0 };
        self.create(range.start, range.end - range.start, protection, flags, from).map(|_| ())
    }

    /// Removes all that is mapped for the program.
    pub fn unmap_everything(&mut self) {
        let all: Vec<_> =
            self.memory.mappings.iter().map(|(start, (end, _))| *start..*end).collect();
        for range in all {
            // The range is one that the kernel gave.
            let _ = self.unmap(range);
        }
        self.memory = AddressSpace::default();
    }

    /// Puts the break's start at `at`.
    pub fn set_break_start(&mut self, at: u64) {
        (self.memory.break_start, self.memory.break_end) = (at, at);
    }

    fn create(
        &mut self,
        at: u64,
        length: u64,
        protection: u64,
        flags: u64,
        from: Option<ImageBytes>,
    ) -> Outcome {
        let (flags, offset, size) = match from {
            Some(bytes) => (flags | region::FILE, bytes.offset, bytes.size),
            None => (flags, 0, 0),
        };
        // Linux's protection bits are the kernel's.
        let made = stub::region_create(&*self.system, at, length, protection, flags, offset, size);
        let at = made.map_err(Errno::from_number)?;
        self.memory.insert(at..at + length, readable(protection));
        Ok(at)
    }

    fn unmap(&mut self, range: Range<u64>) -> Result<(), Errno> {
        stub::region_destroy(&*self.system, range.start, range.end - range.start)
            .map_err(Errno::from_number)?;
        self.memory.remove(&range);
        Ok(())
    }

    /// What a file mapping shows.
    fn file_bytes(
        &self,
        descriptor: u64,
        protection: u64,
        flags: u64,
        offset: u64,
    ) -> Result<ImageBytes, Errno> {
        let file = self.descriptors.get(descriptor)?;
        if flags & MAP_SHARED != 0
            && protection & PROT_WRITE != 0
            && file.flags.get() & O_ACCMODE == O_RDONLY
        {
            return Err(Errno::EACCES);
        }
        let Object::File(node) = file.object else { return Err(Errno::ENODEV) };
        let Content::Regular(data) = self.files.node(node).content else {
            return Err(Errno::ENODEV);
        };
        let size = (data.len() as u64).checked_sub(offset).ok_or(Errno::EINVAL)?;
        Ok(ImageBytes { offset: self.image_offset(data) + offset, size })
    }

    /// Where in the root file system image these bytes of it are.
    pub fn image_offset(&self, data: &[u8]) -> u64 {
        (data.as_ptr() as u64).wrapping_sub(self.image.as_ptr() as u64)
    }
}

/// A mapping that may be stored to or executed can be loaded from, too: the processor knows no
/// stores without loads, and nobody asks for code that cannot be read.
fn readable(protection: u64) -> u64 {
    if protection == 0 { 0 } else { protection | PROT_READ }
}

/// Addresses `at` and so on, as whole pages.
fn pages(at: u64, length: u64, too_long: Errno) -> Result<Range<u64>, Errno> {
    if !at.is_multiple_of(PAGE_SIZE) || length == 0 {
        return Err(Errno::EINVAL);
    }
    let end = page_up(length).and_then(|length| at.checked_add(length)).ok_or(too_long)?;
    Ok(at..end)
}

/// `mmap(address, length, protection, flags, descriptor, offset)`
pub(crate) fn mmap(linux: &mut Linux, args: &Arguments) -> Outcome {
    let [address, length, protection, flags, descriptor, offset] = *args;
    if protection & !(PROT_READ | PROT_WRITE | PROT_EXEC) != 0 || !offset.is_multiple_of(PAGE_SIZE)
    {
        return Err(Errno::EINVAL);
    }
    let from = if flags & MAP_ANONYMOUS == 0 {
        Some(linux.file_bytes(descriptor, protection, flags, offset)?)
    } else {
        None
    };
    // Execution alone is asked for by nobody and would make code unreadable.
    let protection = readable(protection);
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) == 0 {
        let length = pages(0, length, Errno::ENOMEM)?.end;
        return linux.create(0, length, protection, 0, from);
    }
    let range = pages(address, length, Errno::ENOMEM)?;
    linux.map_at(range, protection, from, flags & MAP_FIXED_NOREPLACE == 0)?;
    Ok(address)
}

/// `munmap(address, length)`
pub(crate) fn munmap(linux: &mut Linux, args: &Arguments) -> Outcome {
    let range = pages(args[0], args[1], Errno::EINVAL)?;
    linux.unmap(range)?;
    Ok(0)
}

/// `mprotect(address, length, protection)`
pub(crate) fn mprotect(linux: &mut Linux, args: &Arguments) -> Outcome {
    let [address, length, protection, ..] = *args;
    if length == 0 {
        return Ok(0);
    }
    let range = pages(address, length, Errno::ENOMEM)?;
    let protection = readable(protection & (PROT_READ | PROT_WRITE | PROT_EXEC));
    stub::region_protect(&*linux.system, range.start, range.end - range.start, protection)
        .map_err(Errno::from_number)?;
    linux.memory.insert(range, protection);
    Ok(0)
}

/// `mremap(address, old length, new length, flags)`
pub(crate) fn mremap(linux: &mut Linux, args: &Arguments) -> Outcome {
    const MAYMOVE: u64 = 1;
    let [address, old, new, flags, ..] = *args;
    if flags & !MAYMOVE != 0 {
        return Err(Errno::EINVAL);
    }
    let old = pages(address, old, Errno::EINVAL)?;
    let new = pages(address, new, Errno::ENOMEM)?;
    let below = linux.memory.mappings.range(..=address).next_back();
    let (_, &(_, protection)) = below.ok_or(Errno::EFAULT)?;
    linux.memory.check(old.start, old.end - old.start, 0)?;
    if new.end < old.end {
        linux.unmap(new.end..old.end)?;
    }
    if new.end <= old.end || linux.map_at(old.end..new.end, protection, None, false).is_ok() {
        return Ok(address);
    }
    if flags & MAYMOVE == 0 {
        return Err(Errno::ENOMEM);
    }
    let access = PROT_READ | PROT_WRITE;
    let at = linux.create(0, new.end - new.start, access, 0, None)?;
    let mut page = vec![0; PAGE_SIZE as usize];
    for offset in (0..old.end - old.start).step_by(PAGE_SIZE as usize) {
        linux.read_bytes(address + offset, &mut page)?;
        linux.write_bytes(at + offset, &page)?;
    }
    linux.unmap(old)?;
    if protection != access {
        mprotect(linux, &[at, new.end - new.start, protection, 0, 0, 0])?;
    }
    Ok(at)
}

/// `brk(address)`: returns the break, moved or not.
pub(crate) fn brk(linux: &mut Linux, args: &Arguments) -> Outcome {
    let wanted = args[0];
    let AddressSpace { break_start, break_end, .. } = linux.memory;
    let (Some(old), Some(new)) = (page_up(break_end), page_up(wanted)) else {
        return Ok(break_end);
    };
    if wanted < break_start {
        return Ok(break_end);
    }
    let moved = if new > old {
        linux.map_at(old..new, PROT_READ | PROT_WRITE, None, false)
    } else if new < old {
        linux.unmap(new..old)
    } else {
        Ok(())
    };
    if moved.is_ok() {
        linux.memory.break_end = wanted;
    }
    Ok(linux.memory.break_end)
}

/// `madvise(address, length, advice)`: nothing is ever paged out, so advice changes nothing; but for
/// `MADV_DONTNEED`, which promises zeros, and is refused.
pub(crate) fn madvise(_: &mut Linux, args: &Arguments) -> Outcome {
    const DONTNEED: u64 = 4;
    if args[2] == DONTNEED { Err(Errno::EINVAL) } else { Ok(0) }
}

/// `mlock`, `munlock`, `mlockall`, `munlockall`, `msync`: all memory is resident, and no file is
/// ever behind.
pub(crate) fn always_so(_: &mut Linux, _: &Arguments) -> Outcome {
    Ok(0)
}
