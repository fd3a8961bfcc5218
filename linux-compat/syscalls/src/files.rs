//! Open files: reading, writing and what is done to descriptors. The root file system is read-only.

use crate::abi::{
    AT_FDCWD, O_ACCMODE, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_TRUNC,
    STATUS_FLAGS,
};
use crate::{Arguments, Errno, Linux, Outcome};
use alloc::rc::Rc;
use alloc::vec;
use core::cell::Cell;
use kernel_abi::{FOREVER, stub};
use libos::descriptors::{MAX_DESCRIPTORS, Object, OpenFile};
use libos::files::{Content, Files, NodeId};

/// The most bytes one call moves, as in Linux: what fits an `int`, in whole pages.
const MOST: u64 = 0x7fff_0000;
/// Bytes of the library's own buffer for what it makes itself.
const BUFFER: usize = 4096;
/// The path under which a program finds itself.
const SELF: &[u8] = b"/proc/self/exe";

impl Linux {
    /// Opens the console as descriptors 0, 1 and 2.
    pub(crate) fn open_console(&mut self) {
        const O_RDWR: u32 = 2;
        let node = self.files.find(Files::ROOT, b"dev/console", true).ok();
        let (position, flags) = (Cell::new(0), Cell::new(O_RDWR));
        let file = Rc::new(OpenFile { object: Object::Console, node, position, flags });
        for number in 0..3 {
            // The table is empty.
            let _ = self.descriptors.set(number, file.clone(), false);
        }
    }

    /// The directory that paths relative to `descriptor` start from.
    pub(crate) fn base(&self, descriptor: u64) -> Result<NodeId, Errno> {
        if descriptor as u32 == AT_FDCWD as u32 {
            return Ok(self.directory);
        }
        let node = self.descriptors.get(descriptor)?.node.ok_or(Errno::ENOTDIR)?;
        match self.files.node(node).content {
            Content::Directory(_) => Ok(node),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The file at `path` from the directory of `descriptor`.
    pub(crate) fn find(&self, descriptor: u64, path: &[u8], follow: bool) -> Result<NodeId, Errno> {
        if path == SELF && follow {
            return self.process.executable.ok_or(Errno::ENOENT);
        }
        let base = if path.starts_with(b"/") { Files::ROOT } else { self.base(descriptor)? };
        Ok(self.files.find(base, path, follow)?)
    }

    fn open_at(&mut self, descriptor: u64, path: u64, flags: u32) -> Outcome {
        let path = self.read_path(path)?;
        let follow = flags & O_NOFOLLOW == 0 && flags & (O_CREAT | O_EXCL) != O_CREAT | O_EXCL;
        let node = match self.find(descriptor, &path, follow) {
            Err(Errno::ENOENT) if flags & O_CREAT != 0 => return Err(Errno::EROFS),
            found => found?,
        };
        if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL {
            return Err(Errno::EEXIST);
        }
        let object = match &self.files.node(node).content {
            Content::SymbolicLink(_) => return Err(Errno::ELOOP),
            Content::Special(major, minor) => Object::device(*major, *minor).ok_or(Errno::ENXIO)?,
            _ => Object::File(node),
        };
        let directory = matches!(self.files.node(node).content, Content::Directory(_));
        if flags & O_DIRECTORY != 0 && !directory {
            return Err(Errno::ENOTDIR);
        }
        if matches!(object, Object::File(_))
            && (flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0)
        {
            return Err(if directory { Errno::EISDIR } else { Errno::EROFS });
        }
        let (position, status) = (Cell::new(0), Cell::new(flags & STATUS_FLAGS));
        let file = Rc::new(OpenFile { object, node: Some(node), position, flags: status });
        Ok(self.descriptors.open(file, 0, flags & O_CLOEXEC != 0)?)
    }

    /// Reads from an open file at its position, or at `offset`, into the program's memory.
    fn read_file(&mut self, file: &OpenFile, at: u64, length: u64, offset: Option<u64>) -> Outcome {
        let length = length.min(MOST);
        match file.object {
            Object::Console => self.read_console(at, length),
            Object::Null => Ok(0),
            Object::Zero | Object::Full => self.make(at, length, |_, bytes| bytes.fill(0)),
            Object::Random => self.make(at, length, Linux::fill_random),
            Object::File(node) => {
                let position = offset.unwrap_or(file.position.get());
                let data = self.bytes(node, position)?;
                let data = &data[..data.len().min(length as usize)];
                self.write_bytes(at, data)?;
                if offset.is_none() {
                    file.position.set(position + data.len() as u64);
                }
                Ok(data.len() as u64)
            }
        }
    }

    /// A file's bytes from `position` on.
    fn bytes(&self, node: NodeId, position: u64) -> Result<&'static [u8], Errno> {
        match &self.files.node(node).content {
            Content::Regular(data) => {
                let start = usize::try_from(position).unwrap_or(usize::MAX).min(data.len());
                Ok(&data[start..])
            }
            Content::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    fn read_console(&mut self, at: u64, length: u64) -> Outcome {
        if length == 0 {
            return Ok(0);
        }
        while !self.input.is_ready() {
            self.await_input(FOREVER);
        }
        let mut bytes = vec![0; length.min(BUFFER as u64) as usize];
        self.memory.check(at, bytes.len() as u64, crate::abi::PROT_WRITE)?;
        let count = self.input.read(&mut bytes);
        self.write_bytes(at, &bytes[..count])?;
        Ok(count as u64)
    }

    /// Waits until the console has said something, or until `deadline`.
    pub(crate) fn await_input(&mut self, deadline: u64) {
        let mut bytes = [0; 128];
        let count = self.system.console_read(&mut bytes, deadline);
        self.input.feed(&bytes[..count]);
    }

    /// Fills the program's memory with what `produce` makes.
    fn make(&mut self, at: u64, length: u64, produce: impl Fn(&Linux, &mut [u8])) -> Outcome {
        let mut done = 0;
        let mut buffer = [0; BUFFER];
        while done < length {
            let part = &mut buffer[..(length - done).min(BUFFER as u64) as usize];
            produce(self, part);
            self.write_bytes(at.wrapping_add(done), part)?;
            done += part.len() as u64;
        }
        Ok(done)
    }

    /// Random bytes.
    pub(crate) fn fill_random(&self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.system.random().to_le_bytes()[..part.len()]);
        }
    }

    fn write_file(&mut self, file: &OpenFile, at: u64, length: u64) -> Outcome {
        let length = length.min(MOST);
        match file.object {
            _ if file.flags.get() & O_ACCMODE == O_RDONLY => Err(Errno::EBADF),
            Object::Console => {
                stub::console_write(&*self.system, at, length).map_err(Errno::from_number)
            }
            Object::Null | Object::Zero | Object::Random => Ok(length),
            Object::Full => Err(Errno::ENOSPC),
            Object::File(_) => Err(Errno::EBADF),
        }
    }

    /// Calls `each` for the parts of an `iovec` array; the sum, up to the first short one.
    fn vector(
        &mut self,
        args: &Arguments,
        each: impl Fn(&mut Linux, &OpenFile, u64, u64) -> Outcome,
    ) -> Outcome {
        let [descriptor, vector, count, ..] = *args;
        if count > 1024 {
            return Err(Errno::EINVAL);
        }
        let file = self.descriptors.get(descriptor)?.clone();
        let mut done = 0;
        for number in 0..count {
            let [at, length] = self.read_words(vector.wrapping_add(number * 16))?;
            match each(self, &file, at, length) {
                Ok(part) => {
                    done += part;
                    if part < length {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

/// `open(path, flags)`
pub(crate) fn open(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.open_at(AT_FDCWD, args[0], args[1] as u32)
}

/// `openat(directory, path, flags)`
pub(crate) fn openat(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.open_at(args[0], args[1], args[2] as u32)
}

/// `close(descriptor)`
pub(crate) fn close(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.descriptors.close(args[0])?;
    Ok(0)
}

/// `read(descriptor, buffer, length)`
pub(crate) fn read(linux: &mut Linux, args: &Arguments) -> Outcome {
    let file = linux.descriptors.get(args[0])?.clone();
    linux.read_file(&file, args[1], args[2], None)
}

/// `pread64(descriptor, buffer, length, offset)`
pub(crate) fn pread64(linux: &mut Linux, args: &Arguments) -> Outcome {
    let file = linux.descriptors.get(args[0])?.clone();
    if file.object == Object::Console {
        return Err(Errno::ESPIPE);
    }
    let offset = u64::try_from(args[3].cast_signed()).map_err(|_| Errno::EINVAL)?;
    linux.read_file(&file, args[1], args[2], Some(offset))
}

/// `readv(descriptor, vector, count)`
pub(crate) fn readv(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.vector(args, |linux, file, at, length| linux.read_file(file, at, length, None))
}

/// `write(descriptor, buffer, length)`
pub(crate) fn write(linux: &mut Linux, args: &Arguments) -> Outcome {
    let file = linux.descriptors.get(args[0])?.clone();
    linux.write_file(&file, args[1], args[2])
}

/// `pwrite64(descriptor, buffer, length, offset)`: nothing that takes bytes has places for them.
pub(crate) fn pwrite64(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.descriptors.get(args[0])?;
    Err(Errno::ESPIPE)
}

/// `writev(descriptor, vector, count)`
pub(crate) fn writev(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.vector(args, Linux::write_file)
}

/// `sendfile(to, from, offset, count)`
pub(crate) fn sendfile(linux: &mut Linux, args: &Arguments) -> Outcome {
    let [to, from, offset_at, count, ..] = *args;
    let (to, from) = (linux.descriptors.get(to)?.clone(), linux.descriptors.get(from)?.clone());
    let Object::File(node) = from.object else { return Err(Errno::EINVAL) };
    if to.flags.get() & O_ACCMODE == O_RDONLY {
        return Err(Errno::EBADF);
    }
    let position = match offset_at {
        0 => from.position.get(),
        at => linux.read_words::<1>(at)?[0],
    };
    let data = linux.bytes(node, position)?;
    let data = &data[..data.len().min(count.min(MOST) as usize)];
    match to.object {
        Object::Console => linux.system.console_write(data),
        Object::Null => (),
        _ => return Err(Errno::EINVAL),
    }
    let end = position + data.len() as u64;
    match offset_at {
        0 => from.position.set(end),
        at => linux.write_bytes(at, &end.to_le_bytes())?,
    }
    Ok(data.len() as u64)
}

fn seek(linux: &Linux, descriptor: u64, offset: i64, whence: u64) -> Outcome {
    let file = linux.descriptors.get(descriptor)?;
    let Object::File(node) = file.object else { return Err(Errno::ESPIPE) };
    let base = match whence {
        0 => 0,
        1 => file.position.get(),
        2 => linux.bytes(node, 0).map_or(0, |data| data.len() as u64),
        _ => return Err(Errno::EINVAL),
    };
    let position = base.checked_add_signed(offset).filter(|position| position.cast_signed() >= 0);
    file.position.set(position.ok_or(Errno::EINVAL)?);
    Ok(file.position.get())
}

/// `lseek(descriptor, offset, whence)`
pub(crate) fn lseek(linux: &mut Linux, args: &Arguments) -> Outcome {
    seek(linux, args[0], args[1].cast_signed(), args[2])
}

/// `_llseek(descriptor, offset's upper half, lower half, result, whence)`
pub(crate) fn llseek(linux: &mut Linux, args: &Arguments) -> Outcome {
    let [descriptor, high, low, result, whence, _] = *args;
    let offset = (high << 32) | (low & 0xffff_ffff);
    let position = seek(linux, descriptor, offset.cast_signed(), whence)?;
    linux.write_bytes(result, &position.to_le_bytes())?;
    Ok(0)
}

/// `dup(descriptor)`
pub(crate) fn dup(linux: &mut Linux, args: &Arguments) -> Outcome {
    let file = linux.descriptors.get(args[0])?.clone();
    Ok(linux.descriptors.open(file, 0, false)?)
}

/// `dup2(descriptor, number)`
pub(crate) fn dup2(linux: &mut Linux, args: &Arguments) -> Outcome {
    let file = linux.descriptors.get(args[0])?.clone();
    if args[0] == args[1] {
        return Ok(args[1]);
    }
    linux.descriptors.set(args[1], file, false).map_err(|_| Errno::EBADF)
}

/// `dup3(descriptor, number, flags)`
pub(crate) fn dup3(linux: &mut Linux, args: &Arguments) -> Outcome {
    let file = linux.descriptors.get(args[0])?.clone();
    let flags = args[2] as u32;
    if args[0] == args[1] || flags & !O_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    linux.descriptors.set(args[1], file, flags != 0).map_err(|_| Errno::EBADF)
}

/// `fcntl(descriptor, command, argument)`
pub(crate) fn fcntl(linux: &mut Linux, args: &Arguments) -> Outcome {
    /// What `F_SETFL` may change: append, non-blocking, and hints.
    const CHANGEABLE: u32 = 0o1_406_000;
    let [descriptor, command, argument, ..] = *args;
    let file = linux.descriptors.get(descriptor)?.clone();
    match command {
        // F_DUPFD, F_DUPFD_CLOEXEC
        0 | 1030 if argument >= MAX_DESCRIPTORS as u64 => Err(Errno::EINVAL),
        0 | 1030 => Ok(linux.descriptors.open(file, argument, command == 1030)?),
        // F_GETFD, F_SETFD
        1 => Ok(linux.descriptors.closes_on_exec(descriptor)?.into()),
        2 => {
            linux.descriptors.set_close_on_exec(descriptor, argument & 1 != 0)?;
            Ok(0)
        }
        // F_GETFL, F_SETFL
        3 => Ok(file.flags.get().into()),
        4 => {
            let kept = file.flags.get() & !CHANGEABLE;
            file.flags.set(kept | (argument as u32 & CHANGEABLE));
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `ioctl(descriptor, ...)`: nothing here is a terminal.
pub(crate) fn ioctl(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.descriptors.get(args[0])?;
    Err(Errno::ENOTTY)
}

/// `fsync`, `fdatasync`, `fadvise64`, `flock`: of an open file that nobody can change.
pub(crate) fn nothing_to_do(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.descriptors.get(args[0])?;
    Ok(0)
}

/// `ftruncate` and other changes to an open file.
pub(crate) fn change_open_file(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.descriptors.get(args[0])?;
    Err(Errno::EROFS)
}
