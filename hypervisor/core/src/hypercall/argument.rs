//! Structures that Xen's calls take: copied from the guest at once, read field by field.

use super::{Caller, NO_RIGHT};
use crate::Hypervisor;
use crate::domain::DomainId;
use crate::machine::Machine;
use hv_abi::Rights;
use k42_lib::GuestAddr;
use xen_sys::{errno, xen};

/// A structure of `N` bytes; its fields are little-endian and named by their offsets.
pub(super) struct Argument<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Argument<N> {
    pub(super) fn u8(&self, at: usize) -> u8 {
        u8::from_le_bytes(self.bytes(at))
    }

    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    fn bytes<const W: usize>(&self, at: usize) -> [u8; W] {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; W])
    }
}

/// What a call gives its guest: zero, or a negative errno.
pub(super) fn code(outcome: Result<(), i32>) -> i64 {
    outcome.map_or_else(|errno| i64::from(errno).saturating_neg(), |()| 0)
}

/// A structure for the guest; what is not put into it is zero.
pub(super) struct Record<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Record<N> {
    pub(super) const fn new() -> Record<N> {
        Record([0; N])
    }

    /// Puts a field, little-endian already, at its offset.
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.0.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Gives the guest an answer where its argument says.
    pub(super) fn tell(&self, caller: &Caller<'_>, at: GuestAddr, bytes: &[u8]) -> Result<(), i32> {
        if self.copy_out(caller, at, bytes) { Ok(()) } else { Err(errno::EFAULT) }
    }

    /// The argument of call `name`.
    pub(super) fn argument<const N: usize>(
        &self,
        caller: &Caller<'_>,
        name: &str,
        at: GuestAddr,
    ) -> Result<Argument<N>, i32> {
        self.argument_of(caller, name, at, N)
    }

    /// The same for one that has but the first `size` bytes; the rest is zero.
    pub(super) fn argument_of<const N: usize>(
        &self,
        caller: &Caller<'_>,
        name: &str,
        at: GuestAddr,
        size: usize,
    ) -> Result<Argument<N>, i32> {
        let mut bytes = [0; N];
        if bytes.get_mut(..size).is_some_and(|bytes| self.copy_in(caller, at, bytes)) {
            return Ok(Argument(bytes));
        }
        self.refused(caller, name, "its argument is not the domain's memory");
        Err(errno::EFAULT)
    }

    /// The domain that a number in an argument means: the caller itself, or any that there may be
    /// if the caller controls domains.
    pub(super) fn subject(
        &self,
        caller: &Caller<'_>,
        name: &str,
        number: u16,
    ) -> Result<DomainId, i32> {
        let own = caller.current.domain;
        if number == xen::DOMID_SELF || number == own.number().into() {
            return Ok(own);
        }
        if !caller.current.rights.contains(Rights::CONTROL) {
            self.refused(caller, name, NO_RIGHT);
            return Err(errno::EPERM);
        }
        DomainId::new(number).ok_or(errno::ESRCH)
    }
}
