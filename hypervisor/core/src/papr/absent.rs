//! What stands in the place of PAPR's personality in a hypervisor that is built without it.

use crate::Hypervisor;
use crate::frames::{Frames, Owner};
use crate::hypercall::{Caller, Coded};
use crate::machine::Machine;
use crate::memory::OutOfMemory;
use hv_abi::Rights;
use hv_abi::common::code;
use k42_lib::radix::Access;
use k42_lib::{BusAddr, GuestAddr};

/// No interrupt controller.
#[derive(Clone, Copy, Debug)]
pub struct Presentation;

impl Presentation {
    pub(crate) const fn new() -> Presentation {
        Presentation
    }

    /// Nothing ever asks for an interrupt.
    pub const fn pending(&self) -> bool {
        false
    }
}

/// No table: every domain's bus addresses are its guest real ones.
pub struct Window;

impl Window {
    pub(crate) fn new(
        _: &impl Machine,
        _: &mut Frames,
        _: Owner,
        _: Rights,
    ) -> Result<Window, OutOfMemory> {
        Ok(Window)
    }

    #[cfg(feature = "walker")]
    pub(crate) fn frames(&self) -> u64 {
        0
    }

    pub(crate) fn translate(
        &self,
        _: &impl Machine,
        at: BusAddr,
        wanted: usize,
        _: Access,
    ) -> Option<(GuestAddr, usize)> {
        Some((GuestAddr::new(at.value()), wanted))
    }
}

/// No domain has this personality.
pub(crate) const RIGHTS: Option<Rights> = None;

impl<M: Machine> Hypervisor<M> {
    /// There is no such call.
    pub(crate) fn papr_call(&self, _: &mut Caller<'_>, _: u64) -> Coded {
        Err(code::FUNCTION)
    }
}
