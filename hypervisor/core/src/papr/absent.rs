//! What stands in the place of PAPR's personality in a hypervisor that is built without it.

use crate::Hypervisor;
use crate::domain::DomainId;
use crate::frames::{Frames, Owner};
use crate::hypercall::{Caller, Coded};
use crate::machine::{Machine, ProcessorId};
use crate::memory::OutOfMemory;
use crate::vcpu::Times;
use hv_abi::Rights;
use hv_abi::common::code;
use k42_lib::radix::Access;
use k42_lib::{BusAddr, GuestAddr, RealAddr};

/// A domain has nothing of it.
pub struct DomainState;

impl DomainState {
    pub(crate) fn new(
        _: &impl Machine,
        _: &mut Frames,
        _: Owner,
        _: Rights,
    ) -> Result<DomainState, OutOfMemory> {
        Ok(DomainState)
    }

    /// Every bus address is a guest real one.
    pub(crate) fn translate(
        &self,
        _: &impl Machine,
        at: BusAddr,
        wanted: usize,
        _: Access,
    ) -> Option<(GuestAddr, usize)> {
        Some((GuestAddr::new(at.value()), wanted))
    }

    #[cfg(feature = "walker")]
    pub(crate) fn frames(&self) -> u64 {
        0
    }
}

/// Nor has a vCPU.
#[derive(Clone, Copy, Debug)]
pub struct VcpuState;

impl VcpuState {
    pub(crate) const fn new() -> VcpuState {
        VcpuState
    }

    pub(crate) fn pending(&self) -> bool {
        false
    }

    pub(crate) fn dispatched(&mut self, _: &impl Machine, _: ProcessorId, _: &Times) {}

    pub(crate) fn left(&mut self, _: &impl Machine) {}

    pub(crate) fn held(&self) -> impl Iterator<Item = RealAddr> {
        core::iter::empty()
    }
}

/// No domain has this personality.
pub(crate) const RIGHTS: Option<Rights> = None;

impl<M: Machine> Hypervisor<M> {
    /// There is no such call.
    pub(crate) fn papr_call(&self, _: &mut Caller<'_>, _: u64) -> Coded {
        Err(code::FUNCTION)
    }

    /// There are no such interrupts.
    pub(crate) fn papr_raise(&self, _: DomainId, _: u32) {}
}
