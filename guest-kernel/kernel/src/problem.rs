//! Why an object of memory management does not do what it was asked.

use k42_object::{Full, Gone};
use kernel_abi::Error;

/// Why not. What a program is told of it is [`Error`], or the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Problem {
    /// The object has ended, or no longer is where it was: whoever looks again finds what is there now.
    Gone = 1,
    /// No region there.
    NoRegion,
    /// The region does not allow it.
    Forbidden,
    /// No memory for a page, for its translation, or for another object.
    NoMemory,
    /// No such range can be.
    Invalid,
    /// Something is there already.
    Exists,
    /// It is the system's.
    NotPermitted,
}

impl From<Gone> for Problem {
    fn from(_: Gone) -> Problem {
        Problem::Gone
    }
}

impl From<Full> for Problem {
    fn from(_: Full) -> Problem {
        Problem::NoMemory
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        match problem {
            Problem::Gone | Problem::NoRegion | Problem::Forbidden => Error::Fault,
            Problem::NoMemory => Error::NoMemory,
            Problem::Invalid => Error::Invalid,
            Problem::Exists => Error::Exists,
            Problem::NotPermitted => Error::NotPermitted,
        }
    }
}
