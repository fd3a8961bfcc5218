//! What guests read of the measurement log, each its own register, the controller all records; and
//! what a controller adds to it.

use super::argument::Argument;
use super::{Caller, xen};
use crate::Hypervisor;
use crate::create::CreateError;
use crate::domain::DomainId;
use crate::machine::Machine;
use k42_lib::GuestAddr;
use k42_measure::{Digest, Kind, Record};
use xen_sys::errno;

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

    /// `declare_measurement`: logs what a controller says that it has put into a domain of its own
    /// making, before the domain starts.
    #[inline(never)]
    pub(super) fn declare(&self, caller: &Caller<'_>, id: u64, at: GuestAddr) -> Result<(), i32> {
        // at u64, size u64, digest
        let call: Argument<48> = self.argument(caller, "declare_measurement", at)?;
        let digest = *call.0.last_chunk().ok_or(errno::EINVAL)?;
        let domain = u16::try_from(id).map_err(|_| errno::ESRCH)?;
        let slot = self.domain(DomainId::new(domain).ok_or(errno::ESRCH)?);
        let subject = slot.as_ref().ok_or(errno::ESRCH)?;
        if subject.creator != caller.current.domain {
            return Err(errno::EPERM);
        }
        let started = |vcpu| self.vcpu(vcpu).is_some_and(|slot| slot.status.lock().initialised);
        if subject.vcpus.iter().copied().any(started) {
            return Err(errno::EBUSY);
        }
        let (at, size, digest) = (call.u64(0), call.u64(8), Digest(digest));
        self.log(Record { domain, kind: Kind::Declared, at, size, digest })
            .map_err(CreateError::errno)
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
