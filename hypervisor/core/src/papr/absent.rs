//! What stands in the place of PAPR's personality in a hypervisor that is built without it.

use crate::Hypervisor;
use crate::hypercall::{Caller, Coded};
use crate::machine::Machine;
use hv_abi::Rights;
use hv_abi::common::code;

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

/// No domain has this personality.
pub(crate) const RIGHTS: Option<Rights> = None;

impl<M: Machine> Hypervisor<M> {
    /// There is no such call.
    pub(crate) fn papr_call(&self, _: &mut Caller<'_>, _: u64) -> Coded {
        Err(code::FUNCTION)
    }
}
