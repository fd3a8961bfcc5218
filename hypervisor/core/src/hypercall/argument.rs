//! Structures that Xen's calls take and give: copied from the guest and to it at once.

use super::{Caller, Done, NO_RIGHT};
use crate::Hypervisor;
use crate::domain::DomainId;
use crate::machine::Machine;
use hv_abi::Rights;
use k42_lib::GuestAddr;
use xen_sys::plain::Plain;
use xen_sys::{errno, xen};

pub(super) const NOT_MEMORY: &str = "its argument is not the domain's memory";

/// Where item `n` of a list is.
pub(super) fn item<T>(list: u64, n: u64) -> GuestAddr {
    GuestAddr::new(list).offset(n.saturating_mul(size_of::<T>() as u64))
}

impl<M: Machine> Hypervisor<M> {
    /// The call's argument.
    pub(super) fn argument<T: Plain>(&self, caller: &Caller<'_>, at: GuestAddr) -> Done<T> {
        let mut bytes = T::ROOM;
        if self.copy_in(caller, at, bytes.as_mut()) {
            return Ok(T::take(&mut bytes.as_ref()));
        }
        self.refused_xen(caller, NOT_MEMORY);
        Err(errno::EFAULT)
    }

    /// Gives the guest an answer where its argument says.
    pub(super) fn tell<T: Plain>(&self, caller: &Caller<'_>, at: GuestAddr, answer: T) -> Done {
        let told = self.copy_out(caller, at, answer.bytes().as_ref());
        if told { Ok(()) } else { Err(errno::EFAULT) }
    }

    /// Serves a call that answers in its argument.
    pub(super) fn answer<T: Plain>(
        &self,
        caller: &Caller<'_>,
        at: GuestAddr,
        serve: impl FnOnce(&mut T) -> Done,
    ) -> Done {
        let mut argument = self.argument(caller, at)?;
        serve(&mut argument)?;
        self.tell(caller, at, argument)
    }

    /// The domain that a number in an argument means: the caller itself, or any that there may be
    /// if the caller controls domains.
    pub(super) fn subject(&self, caller: &Caller<'_>, number: u16) -> Done<DomainId> {
        let own = caller.current.domain;
        if number == xen::DOMID_SELF || number == own.number().into() {
            return Ok(own);
        }
        if !caller.current.rights.contains(Rights::CONTROL) {
            self.refused_xen(caller, NO_RIGHT);
            return Err(errno::EPERM);
        }
        DomainId::new(number).ok_or(errno::ESRCH)
    }
}
