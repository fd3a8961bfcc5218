//! `domctl`: what a controller asks for other domains (xen/domctl.h). The operations themselves are
//! in [`crate::control`] and [`crate::create`].

use super::Caller;
use super::argument::{Argument, Record};
use crate::Hypervisor;
use crate::create::Creation;
use crate::domain::DomainId;
use crate::frames::FRAME_SIZE;
use crate::machine::Machine;
use crate::vcpu::State;
use boot_archive::{DEFAULT_WEIGHT, Personality};
use core::mem::{offset_of, size_of};
use hv_abi::Rights;
use hv_abi::xen::{ARCH_LITTLE_ENDIAN, ARCH_PAPR};
use k42_lib::GuestAddr;
use xen_sys::domctl::{self as op, CreateDomain, Domctl, GetDomainInfo, VcpuContext};
use xen_sys::{errno, xen};

const NAME: &str = "domctl";
/// log2 of a page, as Xen counts them.
const PAGE_SHIFT: u32 = 12;

/// What stands before the command's own argument.
type Envelope = Argument<{ offset_of!(Domctl, u) }>;

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn domctl(&self, caller: &mut Caller<'_>, at: GuestAddr) -> i64 {
        match self.domain_control(caller, at) {
            Ok(()) => 0,
            Err(errno) => i64::from(errno).saturating_neg(),
        }
    }

    fn domain_control(&self, caller: &mut Caller<'_>, at: GuestAddr) -> Result<(), i32> {
        let call: Envelope = self.argument(caller, NAME, at)?;
        if call.u32(offset_of!(Domctl, interface_version)) != op::XEN_DOMCTL_INTERFACE_VERSION {
            return Err(errno::EACCES);
        }
        let number = call.u16(offset_of!(Domctl, domain));
        let command = call.u32(offset_of!(Domctl, cmd));
        let own = at.offset(offset_of!(Domctl, u) as u64);
        if command == op::XEN_DOMCTL_CREATEDOMAIN {
            let id = self.create_domain(caller, number, own)?;
            let place = at.offset(offset_of!(Domctl, domain) as u64);
            return self.tell(caller, place, &u16::from(id.number()).to_le_bytes());
        }
        let id = DomainId::new(number).ok_or(errno::ESRCH)?;
        match command {
            op::XEN_DOMCTL_GETDOMAININFO => {
                let info = self.domain_info(id).ok_or(errno::ESRCH)?;
                self.tell(caller, own, &info.0)
            }
            // What follows would take the ground from under the caller.
            _ if id == caller.current.domain => Err(errno::EINVAL),
            op::XEN_DOMCTL_DESTROYDOMAIN => self.destroy(caller.processor, id),
            op::XEN_DOMCTL_SETVCPUCONTEXT => self.set_vcpu_context(caller, id, own),
            op::XEN_DOMCTL_MAX_MEM => {
                let wanted: Argument<8> = self.argument(caller, NAME, own)?;
                let frames = wanted.u64(0).saturating_mul(1024) / FRAME_SIZE;
                let mut slot = self.domain(id);
                slot.as_mut().ok_or(errno::ESRCH)?.memory.set_max_frames(frames);
                Ok(())
            }
            op::XEN_DOMCTL_MAX_VCPUS => {
                // They are made with the domain.
                let wanted: Argument<4> = self.argument(caller, NAME, own)?;
                let same = self.vcpus_of(id).len() as u64 == u64::from(wanted.u32(0));
                if same { Ok(()) } else { Err(errno::EINVAL) }
            }
            _ => Err(errno::ENOSYS),
        }
    }

    /// Makes a domain that is paused, without memory. It gets no right that its creator has not.
    fn create_domain(
        &self,
        caller: &Caller<'_>,
        number: u16,
        own: GuestAddr,
    ) -> Result<DomainId, i32> {
        let call: Argument<{ size_of::<CreateDomain>() }> = self.argument(caller, NAME, own)?;
        let rights = call.u32(offset_of!(CreateDomain, ssidref));
        let given = Rights::given(rights).ok_or(errno::EINVAL)?;
        if !caller.current.rights.contains(given) {
            self.refused(caller, NAME, "gives a right that the domain has not");
            return Err(errno::EPERM);
        }
        let known = op::XEN_DOMCTL_CDF_HVM | op::XEN_DOMCTL_CDF_HAP;
        let arch = call.u32(offset_of!(CreateDomain, arch));
        if call.u32(offset_of!(CreateDomain, flags)) & !known != 0
            || arch & !(ARCH_PAPR | ARCH_LITTLE_ENDIAN) != 0
        {
            return Err(errno::EINVAL);
        }
        let handle = call.0.get(offset_of!(CreateDomain, handle)..);
        let handle = handle.and_then(|rest| rest.first_chunk::<16>()).ok_or(errno::EINVAL)?;
        let name = handle.split(|byte| *byte == 0).next().unwrap_or_default();
        let name =
            core::str::from_utf8(name).ok().filter(|name| boot_archive::is_domain_name(name));
        let id = match number {
            0 | xen::DOMID_INVALID => self.unused_number().ok_or(errno::ENOSPC)?,
            number => DomainId::new(number).ok_or(errno::EINVAL)?,
        };
        let papr = arch & ARCH_PAPR != 0;
        let new = Creation {
            name: name.ok_or(errno::EINVAL)?,
            personality: if papr { Personality::Papr } else { Personality::Xen },
            rights,
            memory: 0,
            vcpus: call.u32(offset_of!(CreateDomain, max_vcpus)),
            weight: DEFAULT_WEIGHT,
            little_endian: arch & ARCH_LITTLE_ENDIAN != 0,
            creator: caller.current.domain,
        };
        if self.has_remains(id) {
            return Err(errno::EEXIST);
        }
        self.create(id, &new).map_err(|error| error.errno())?;
        Ok(id)
    }

    /// Gives a vCPU that has not run its first registers, and lets it run when its domain is
    /// unpaused.
    fn set_vcpu_context(
        &self,
        caller: &Caller<'_>,
        id: DomainId,
        own: GuestAddr,
    ) -> Result<(), i32> {
        let call: Argument<{ size_of::<VcpuContext>() }> = self.argument(caller, NAME, own)?;
        let number = call.u32(offset_of!(VcpuContext, vcpu));
        let place = call.u64(offset_of!(VcpuContext, ctxt));
        let start = self.start_argument(caller, NAME, GuestAddr::new(place), id)?;
        let vcpus = self.vcpus_of(id);
        let number = usize::try_from(number).map_err(|_| errno::EINVAL)?;
        let vcpu = *vcpus.get(number).ok_or(errno::ENOENT)?;
        let stopped = |slot: &crate::vcpu::Vcpu| slot.status.lock().state == State::Stopped;
        if !self.vcpu(vcpu).is_some_and(stopped) {
            return Err(errno::EBUSY);
        }
        self.set_off(vcpu, &start);
        Ok(())
    }

    /// What `getdomaininfo` says of a domain.
    pub(super) fn domain_info(
        &self,
        id: DomainId,
    ) -> Option<Record<{ size_of::<GetDomainInfo>() }>> {
        let info = self.info(id)?;
        let pages = |bytes: u64| (bytes >> PAGE_SHIFT).to_le_bytes();
        let mut record = Record::new();
        let number = u16::from(id.number());
        record.put(offset_of!(GetDomainInfo, domain), &number.to_le_bytes());
        record.put(offset_of!(GetDomainInfo, flags), &info.flags.to_le_bytes());
        record.put(offset_of!(GetDomainInfo, tot_pages), &pages(info.memory));
        record.put(offset_of!(GetDomainInfo, max_pages), &pages(info.most));
        record.put(offset_of!(GetDomainInfo, nr_online_vcpus), &info.online.to_le_bytes());
        let highest = info.vcpus.wrapping_sub(1); // all ones for none, as in Xen
        record.put(offset_of!(GetDomainInfo, max_vcpu_id), &highest.to_le_bytes());
        record.put(offset_of!(GetDomainInfo, ssidref), &info.rights.to_le_bytes());
        let name = info.name.as_bytes();
        let name = name.first_chunk::<16>().map_or(name, |first| first);
        record.put(offset_of!(GetDomainInfo, handle), name);
        Some(record)
    }
}
