//! Pointers from a program are allegations: a range of user addresses gives no access until each
//! of its pages has been translated by the program's own address space.

use crate::process::Process;
use k42_lib::radix::Access;
use k42_lib::{EffAddr, GuestAddr};
use k42_object::{Here, Ref};
use kernel_abi::{Error, PAGE_SIZE};

/// `length` bytes from `start`, as a program says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRange {
    start: EffAddr,
    length: u64,
}

/// A part of a user's range that is contiguous in memory, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its first byte.
    pub at: GuestAddr,
    /// How many there are.
    pub bytes: u64,
}

impl UserRange {
    /// What the program alleges.
    pub const fn new(start: u64, length: u64) -> Self {
        UserRange { start: EffAddr::new(start), length }
    }

    /// How long it is said to be.
    pub const fn length(self) -> u64 {
        self.length
    }

    /// The first contiguous piece, made resident for an access of this sort, and the rest. `None`
    /// when the range is empty.
    ///
    /// # Errors
    /// [`Error::Fault`] when the program could not make this access itself.
    pub fn split_first(
        self,
        access: Access,
        here: &Here<'_>,
        process: Ref<dyn Process>,
    ) -> Result<Option<(Piece, UserRange)>, Error> {
        if self.length == 0 {
            return Ok(None);
        }
        let bytes = self.length.min(PAGE_SIZE - self.start.offset_in(PAGE_SIZE));
        let at = process.translate(here, self.start, access).map_err(|_| Error::Fault)?;
        let rest = UserRange { start: self.start.offset(bytes), length: self.length - bytes };
        Ok(Some((Piece { at, bytes }, rest)))
    }
}
