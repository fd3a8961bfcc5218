//! What guests read of the measurement log: each its own register, the controller all records.

use super::{Caller, Done};
use crate::Hypervisor;
use crate::machine::Machine;
use k42_lib::GuestAddr;
use xen_sys::errno;

impl<M: Machine> Hypervisor<M> {
    /// `measurement`: writes the caller's register.
    #[inline(never)]
    pub(super) fn read_measurement(&self, caller: &Caller<'_>, to: GuestAddr) -> Done {
        self.hand_out(caller, to, &self.measurement(caller.current.domain).0)
    }

    /// `measurement_log`: writes a record.
    #[inline(never)]
    pub(super) fn read_log(&self, caller: &Caller<'_>, number: u64, to: GuestAddr) -> Done {
        self.hand_out(caller, to, &self.record(number).ok_or(errno::ENOENT)?)
    }

    /// Copies to the caller's memory, or says that it is none.
    fn hand_out(&self, caller: &Caller<'_>, to: GuestAddr, bytes: &[u8]) -> Done {
        if self.copy_out(caller, to, bytes) {
            return Ok(());
        }
        Err(self.no_buffer(caller))
    }
}
