//! What guests read of the measurement log, each its own register, the controller all records; and
//! what a controller adds to it.

use super::{Caller, Done};
use crate::Hypervisor;
use crate::create::CreateError;
use crate::domain::DomainId;
use crate::machine::Machine;
use hv_abi::xen::Declaration;
use k42_lib::GuestAddr;
use k42_measure::{Digest, Kind, Record};
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

    /// `declare_measurement`: logs what a controller says that it has put into a domain of its own
    /// making, before the domain starts.
    #[inline(never)]
    pub(super) fn declare(&self, caller: &Caller<'_>, id: u64, at: GuestAddr) -> Done {
        let Declaration { at, size, digest } = self.argument(caller, at)?;
        let domain = u16::try_from(id).map_err(|_| errno::ESRCH)?;
        let slot = self.domain(DomainId::new(domain).ok_or(errno::ESRCH)?);
        let subject = slot.as_ref().ok_or(errno::ESRCH)?;
        if subject.creator != caller.current.domain {
            return Err(errno::EPERM);
        }
        let started = |vcpu| self.vcpu(vcpu).status.lock().initialised;
        if subject.vcpus.iter().copied().any(started) {
            return Err(errno::EBUSY);
        }
        let record = Record { domain, kind: Kind::Declared, at, size, digest: Digest(digest) };
        self.log(record).map_err(CreateError::errno)
    }
}
