//! Linux's error numbers, those that are used here.

use kernel_abi::Error;
use libos::descriptors::{BadDescriptor, TooMany};
use libos::files::PathError;

macro_rules! errnos {
    ($( $(#[$doc:meta])* $name:ident = $number:literal; )*) => {
        /// Why a system call failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Errno { $( $(#[$doc])* $name = $number, )* }

        impl Errno {
            /// The one with this number; those that are not in the table are `EINVAL`.
            pub const fn from_number(number: u64) -> Errno {
                match number { $( $number => Errno::$name, )* _ => Errno::EINVAL }
            }
        }
    };
}

errnos! {
    /// Not permitted.
    EPERM = 1;
    /// No such file or directory.
    ENOENT = 2;
    /// No such process.
    ESRCH = 3;
    /// No such device.
    ENXIO = 6;
    /// Too many arguments.
    E2BIG = 7;
    /// Not a program.
    ENOEXEC = 8;
    /// Not an open file.
    EBADF = 9;
    /// No child.
    ECHILD = 10;
    /// Try again.
    EAGAIN = 11;
    /// No memory.
    ENOMEM = 12;
    /// Access denied.
    EACCES = 13;
    /// Bad address.
    EFAULT = 14;
    /// Exists already.
    EEXIST = 17;
    /// No such operation on this device.
    ENODEV = 19;
    /// Not a directory.
    ENOTDIR = 20;
    /// A directory.
    EISDIR = 21;
    /// Invalid argument.
    EINVAL = 22;
    /// Too many open files.
    EMFILE = 24;
    /// Not a terminal.
    ENOTTY = 25;
    /// No space left.
    ENOSPC = 28;
    /// Not seekable.
    ESPIPE = 29;
    /// Read-only file system.
    EROFS = 30;
    /// Result too large.
    ERANGE = 34;
    /// Name too long.
    ENAMETOOLONG = 36;
    /// No such system call.
    ENOSYS = 38;
    /// Too many symbolic links.
    ELOOP = 40;
    /// No data of this kind.
    ENODATA = 61;
    /// Not supported.
    EOPNOTSUPP = 95;
    /// Timed out.
    ETIMEDOUT = 110;
}

impl From<PathError> for Errno {
    fn from(error: PathError) -> Errno {
        match error {
            PathError::NotFound => Errno::ENOENT,
            PathError::NotDirectory => Errno::ENOTDIR,
            PathError::Loop => Errno::ELOOP,
            PathError::NameTooLong => Errno::ENAMETOOLONG,
        }
    }
}

impl From<BadDescriptor> for Errno {
    fn from(_: BadDescriptor) -> Errno {
        Errno::EBADF
    }
}

impl From<TooMany> for Errno {
    fn from(_: TooMany) -> Errno {
        Errno::EMFILE
    }
}

impl From<Error> for Errno {
    fn from(error: Error) -> Errno {
        Errno::from_number(error as u64)
    }
}
