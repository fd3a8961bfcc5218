//! `hvm_op`: parameters of a domain (xen/hvm/params.h), by which its controller tells it where
//! shared pages and event channels are. The hypervisor only keeps them.

use super::{Caller, Done};
use crate::Hypervisor;
use crate::domain::PARAMETERS;
use crate::machine::Machine;
use hv_abi::Rights;
use k42_lib::GuestAddr;
use xen_sys::errno;
use xen_sys::hvm::{self as op, Parameter};

impl<M: Machine> Hypervisor<M> {
    /// Sets or tells a parameter. Everybody reads his own; setting is the controller's.
    #[inline(never)]
    pub(super) fn hvm_op(&self, caller: &Caller<'_>, command: u64, at: GuestAddr) -> Done {
        let set = match u32::try_from(command) {
            Ok(op::HVMOP_SET_PARAM) => true,
            Ok(op::HVMOP_GET_PARAM) => false,
            _ => return Err(errno::ENOSYS),
        };
        self.answer(caller, at, |call: &mut Parameter| {
            let id = self.subject(caller, call.domid)?;
            if set && !caller.current.rights.contains(Rights::CONTROL) {
                return Err(errno::EPERM);
            }
            let mut slot = self.domain(id);
            let parameters = &mut slot.as_mut().ok_or(errno::ESRCH)?.parameters;
            let mut known = PARAMETERS.iter().zip(parameters);
            let (_, value) = known.find(|(index, _)| **index == call.index).ok_or(errno::EINVAL)?;
            if set {
                *value = call.value;
            }
            call.value = *value;
            Ok(())
        })
    }
}
