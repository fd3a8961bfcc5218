//! Directories: reading them, the current one, and changes to them, which a read-only file system
//! refuses.

use crate::abi::{AT_FDCWD, Structure};
use crate::{Arguments, Errno, Linux, Outcome};
use alloc::vec::Vec;
use libos::descriptors::Object;
use libos::files::{Content, NodeId, TYPE_MASK};

/// `getdents64(descriptor, buffer, size)`
pub(crate) fn getdents64(linux: &mut Linux, args: &Arguments) -> Outcome {
    let [descriptor, buffer, size, ..] = *args;
    let file = linux.descriptors.get(descriptor)?.clone();
    let Object::File(node) = file.object else { return Err(Errno::ENOTDIR) };
    let Content::Directory(directory) = &linux.files.node(node).content else {
        return Err(Errno::ENOTDIR);
    };
    let own: [(&[u8], NodeId); 2] = [(b".", node), (b"..", directory.parent)];
    let named = directory.entries.iter().map(|(name, id)| (*name, *id));
    let first = file.position.get();
    let mut records = Vec::new();
    let mut next = first;
    for (name, id) in own.into_iter().chain(named).skip(first as usize) {
        let mode = linux.files.node(id).mode;
        let length = (19 + name.len() + 1).next_multiple_of(8);
        if (records.len() + length) as u64 > size {
            break;
        }
        next += 1;
        let kind = ((mode & TYPE_MASK) >> 12) as u8;
        let record = Structure::default().u64(id.inode()).u64(next).u16(length as u16);
        records.extend(record.text(&[kind], 1).text(name, length - 19).0);
    }
    let more = next == first && first < 2 + directory.entries.len() as u64;
    if more {
        return Err(Errno::EINVAL); // the buffer is too small for the next one
    }
    linux.write_bytes(buffer, &records)?;
    file.position.set(next);
    Ok(records.len() as u64)
}

/// `getcwd(buffer, size)`: returns the length with the final zero.
pub(crate) fn getcwd(linux: &mut Linux, args: &Arguments) -> Outcome {
    let mut path = linux.files.path(linux.directory);
    path.push(0);
    if path.len() as u64 > args[1] {
        return Err(Errno::ERANGE);
    }
    linux.write_bytes(args[0], &path)?;
    Ok(path.len() as u64)
}

/// `chdir(path)`
pub(crate) fn chdir(linux: &mut Linux, args: &Arguments) -> Outcome {
    let path = linux.read_path(args[0])?;
    let node = linux.find(AT_FDCWD, &path, true)?;
    match linux.files.node(node).content {
        Content::Directory(_) => linux.directory = node,
        _ => return Err(Errno::ENOTDIR),
    }
    Ok(0)
}

/// `fchdir(descriptor)`
pub(crate) fn fchdir(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.descriptors.get(args[0])?;
    linux.directory = linux.base(args[0])?;
    Ok(0)
}

/// `mkdir(path)`, `mknod(path)`, `symlink(_, path)`: to make something at `path`.
fn make(linux: &Linux, directory: u64, path: u64) -> Outcome {
    let path = linux.read_path(path)?;
    match linux.find(directory, &path, false) {
        Ok(_) => Err(Errno::EEXIST),
        Err(Errno::ENOENT) => Err(Errno::EROFS),
        Err(error) => Err(error),
    }
}

/// To change what is at `path`.
fn change(linux: &Linux, directory: u64, path: u64) -> Outcome {
    let path = linux.read_path(path)?;
    linux.find(directory, &path, false)?;
    Err(Errno::EROFS)
}

/// A call that makes something at its first argument.
pub(crate) fn make_path(linux: &mut Linux, args: &Arguments) -> Outcome {
    make(linux, AT_FDCWD, args[0])
}

/// A call that makes something at its second argument.
pub(crate) fn make_second_path(linux: &mut Linux, args: &Arguments) -> Outcome {
    make(linux, AT_FDCWD, args[1])
}

/// A call that makes something at the path after a directory.
pub(crate) fn make_at(linux: &mut Linux, args: &Arguments) -> Outcome {
    make(linux, args[0], args[1])
}

/// A call that changes what is at its first argument.
pub(crate) fn change_path(linux: &mut Linux, args: &Arguments) -> Outcome {
    change(linux, AT_FDCWD, args[0])
}

/// A call that changes what is at the path after a directory.
pub(crate) fn change_at(linux: &mut Linux, args: &Arguments) -> Outcome {
    change(linux, args[0], args[1])
}
