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
        let register = self.measurement(caller.current.domain).0;
        self.buffer(caller, self.copy_out(caller, to, &register))
    }

    /// `measurement_log`: writes a record.
    #[inline(never)]
    pub(super) fn read_log(&self, caller: &Caller<'_>, number: u64, to: GuestAddr) -> Done {
        let record = self.record(number).ok_or(errno::ENOENT)?;
        self.buffer(caller, self.copy_out(caller, to, &record))
    }
}
