//! What guests read of the measurement log: each its own register, the controller all records.

use super::{Caller, xen};
use crate::Hypervisor;
use crate::machine::Machine;
use k42_lib::GuestAddr;

impl<M: Machine> Hypervisor<M> {
    /// `measurement`: writes the caller's register.
    #[inline(never)]
    pub(super) fn read_measurement(&self, caller: &Caller<'_>, to: GuestAddr) -> i64 {
        self.hand_out(caller, to, &self.measurement(caller.current.domain).0)
    }

    /// `measurement_log`: writes a record.
    #[inline(never)]
    pub(super) fn read_log(&self, caller: &Caller<'_>, number: u64, to: GuestAddr) -> i64 {
        self.record(number).map_or(xen::NO_ENTRY, |record| self.hand_out(caller, to, &record))
    }

    /// Copies to the caller's memory, or says that it is none.
    fn hand_out(&self, caller: &Caller<'_>, to: GuestAddr, bytes: &[u8]) -> i64 {
        if self.copy_out(caller, to, bytes) {
            return 0;
        }
        self.refused(caller, "measurement", "its buffer is not the domain's memory");
        xen::BAD_ADDRESS
    }
}
