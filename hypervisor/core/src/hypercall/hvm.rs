//! `hvm_op`: parameters of a domain (xen/hvm/params.h), by which its controller tells it where
//! shared pages and event channels are. The hypervisor only keeps them.

use super::Caller;
use super::argument::{Argument, code};
use crate::Hypervisor;
use crate::domain::PARAMETERS;
use crate::machine::Machine;
use core::mem::{offset_of, size_of};
use hv_abi::Rights;
use k42_lib::GuestAddr;
use xen_sys::errno;
use xen_sys::hvm::{self as op, Parameter};

const NAME: &str = "hvm_op";

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn hvm_op(&self, caller: &Caller<'_>, command: u64, at: GuestAddr) -> i64 {
        let outcome = match u32::try_from(command) {
            Ok(op::HVMOP_SET_PARAM) => self.parameter(caller, at, true),
            Ok(op::HVMOP_GET_PARAM) => self.parameter(caller, at, false),
            _ => Err(errno::ENOSYS),
        };
        code(outcome)
    }

    /// Sets or tells a parameter. Everybody reads his own; setting is the controller's.
    fn parameter(&self, caller: &Caller<'_>, at: GuestAddr, set: bool) -> Result<(), i32> {
        let call: Argument<{ size_of::<Parameter>() }> = self.argument(caller, NAME, at)?;
        let id = self.subject(caller, NAME, call.u16(offset_of!(Parameter, domid)))?;
        if set && !caller.current.rights.contains(Rights::CONTROL) {
            return Err(errno::EPERM);
        }
        let index = call.u32(offset_of!(Parameter, index));
        let place = PARAMETERS.iter().position(|known| *known == index).ok_or(errno::EINVAL)?;
        let mut slot = self.domain(id);
        let domain = slot.as_mut().ok_or(errno::ESRCH)?;
        let value = domain.parameters.get_mut(place).ok_or(errno::EINVAL)?;
        if set {
            *value = call.u64(offset_of!(Parameter, value));
            return Ok(());
        }
        let value = *value;
        drop(slot);
        self.tell(caller, at.offset(offset_of!(Parameter, value) as u64), &value.to_le_bytes())
    }
}
