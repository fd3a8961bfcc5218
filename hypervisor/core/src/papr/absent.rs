//! What stands in the place of PAPR's personality in a hypervisor that is built without it.

use crate::Hypervisor;
use crate::domain::DomainId;
use crate::hypercall::{Caller, Coded};
use crate::machine::{Machine, ProcessorId};
use crate::vcpu::Times;
use hv_abi::Rights;
use hv_abi::common::code;
use k42_lib::RealAddr;

/// A domain has nothing of it.
pub struct DomainState;

impl DomainState {
    pub(crate) const fn new() -> DomainState {
        DomainState
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
