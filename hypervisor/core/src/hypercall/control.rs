//! `domctl`: what a controller asks for other domains (xen/domctl.h). The operations themselves are
//! in [`crate::control`] and [`crate::create`].

use super::Caller;
use super::argument::{Argument, Record, code};
use crate::create::{CreateError, Creation};
use crate::domain::DomainId;
use crate::frames::FRAME_SIZE;
use crate::machine::Machine;
use crate::schedule::Refused;
use crate::schedule::account::Allowance;
use crate::vcpu::State;
use crate::{Hypervisor, timer};
use boot_archive::Personality;
use core::mem::{offset_of, size_of};
use hv_abi::Rights;
use hv_abi::xen::{ARCH_LITTLE_ENDIAN, ARCH_PAPR, ARCH_PROCESSORS, VcpuGuestContext};
use k42_lib::{GuestAddr, msr};
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
        code(self.domain_control(caller, at))
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
            op::XEN_DOMCTL_PAUSEDOMAIN => self.existing(id).map(|()| self.pause(id)),
            op::XEN_DOMCTL_UNPAUSEDOMAIN => self.existing(id).map(|()| self.unpause(id)),
            op::XEN_DOMCTL_SCHEDULER_OP => self.scheduler_op(caller, id, own),
            op::XEN_DOMCTL_SETVCPUCONTEXT => self.set_vcpu_context(caller, id, own),
            op::XEN_DOMCTL_GETVCPUCONTEXT => self.get_vcpu_context(caller, id, own),
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
        let processors = call.u32(const { offset_of!(CreateDomain, arch) + ARCH_PROCESSORS * 4 });
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
            processors: if processors == 0 { u32::MAX } else { processors },
            little_endian: arch & ARCH_LITTLE_ENDIAN != 0,
            creator: caller.current.domain,
        };
        if self.has_remains(id) {
            return Err(errno::EEXIST);
        }
        self.create(id, &new).map_err(|error| error.errno())?;
        self.pause(id);
        Ok(id)
    }

    fn existing(&self, id: DomainId) -> Result<(), i32> {
        self.domain(id).as_ref().map(|_| ()).ok_or(errno::ESRCH)
    }

    /// Tells or sets a domain's part of the processors: its share (Xen's credit2) or what is
    /// reserved for each of its vCPUs (Xen's RTDS).
    fn scheduler_op(&self, caller: &Caller<'_>, id: DomainId, own: GuestAddr) -> Result<(), i32> {
        const PER_MICROSECOND: u64 = 512;
        // sched_id u32, cmd u32; then weight u16, cap u16, or period, budget, flags u32 each
        let call: Argument<20> = self.argument(caller, NAME, own)?;
        let ticks = |microseconds: u32| u64::from(microseconds).saturating_mul(PER_MICROSECOND);
        let mut share = self.share(id).ok_or(errno::ESRCH)?;
        let mut record: Record<12> = Record::new();
        let told = match (call.u32(0), call.u32(4)) {
            (op::XEN_SCHEDULER_CREDIT2, op::XEN_DOMCTL_SCHEDOP_PUTINFO) => {
                (share.weight, share.cap) = (call.u16(8).into(), call.u16(10).into());
                false
            }
            (op::XEN_SCHEDULER_RTDS, op::XEN_DOMCTL_SCHEDOP_PUTINFO) => {
                let (period, budget) = (ticks(call.u32(8)), ticks(call.u32(12)));
                share.reserved = (budget > 0).then_some(Allowance { budget, period });
                let rights = self.domain(id).as_ref().map_or(Rights::empty(), |d| d.rights);
                if budget > 0 && !rights.contains(Rights::RESERVED) {
                    return Err(errno::EPERM);
                }
                false
            }
            (op::XEN_SCHEDULER_CREDIT2, op::XEN_DOMCTL_SCHEDOP_GETINFO) => {
                let [weight, cap] =
                    [share.weight, share.cap].map(|n| u16::try_from(n).unwrap_or(u16::MAX));
                record.put(0, &weight.to_le_bytes());
                record.put(2, &cap.to_le_bytes());
                true
            }
            (op::XEN_SCHEDULER_RTDS, op::XEN_DOMCTL_SCHEDOP_GETINFO) => {
                let Allowance { budget, period } = share.reserved.unwrap_or_default();
                for (at, ticks) in [(0, period), (4, budget)] {
                    let microseconds = u32::try_from(ticks / PER_MICROSECOND).unwrap_or(u32::MAX);
                    record.put(at, &microseconds.to_le_bytes());
                }
                true
            }
            _ => return Err(errno::EOPNOTSUPP),
        };
        if told {
            return self.tell(caller, own.offset(8), &record.0);
        }
        self.set_share(id, share).map_err(|refused| match refused {
            Refused::Domain => errno::ESRCH,
            Refused::Invalid => errno::EINVAL,
            Refused::Full => errno::EBUSY,
        })
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
        // The slot stays locked: the domain, and so the vCPU, cannot become another's meanwhile.
        let slot = self.domain(id);
        let domain = slot.as_ref().filter(|domain| !domain.ending).ok_or(errno::ESRCH)?;
        let number = usize::try_from(number).map_err(|_| errno::EINVAL)?;
        let vcpu = *domain.vcpus.get(number).ok_or(errno::ENOENT)?;
        let stopped = |slot: &crate::vcpu::Vcpu| slot.status.lock().state == State::Stopped;
        if !self.vcpu(vcpu).is_some_and(stopped) {
            return Err(errno::EBUSY);
        }
        self.set_off(domain, vcpu, &start).map_err(CreateError::errno)
    }

    /// Tells where a vCPU is that is on no processor.
    fn get_vcpu_context(
        &self,
        caller: &Caller<'_>,
        id: DomainId,
        own: GuestAddr,
    ) -> Result<(), i32> {
        let call: Argument<{ size_of::<VcpuContext>() }> = self.argument(caller, NAME, own)?;
        let number = call.u32(offset_of!(VcpuContext, vcpu));
        let place = call.u64(offset_of!(VcpuContext, ctxt));
        let frame = {
            let slot = self.domain(id);
            let vcpus = &slot.as_ref().ok_or(errno::ESRCH)?.vcpus;
            let number = usize::try_from(number).map_err(|_| errno::EINVAL)?;
            let vcpu = *vcpus.get(number).ok_or(errno::ENOENT)?;
            let status = self.vcpu(vcpu).ok_or(errno::ENOENT)?.status.lock();
            let registers = self.machine.registers(vcpu);
            registers.filter(|_| status.state != State::Running).ok_or(errno::EBUSY)?
        };
        let [_, stack, _, argument, ..] = frame.gpr;
        let order = if frame.msr & msr::LE != 0 { VcpuGuestContext::LITTLE_ENDIAN } else { 0 };
        let mut record: Record<{ size_of::<VcpuGuestContext>() }> = Record::new();
        record.put(offset_of!(VcpuGuestContext, entry), &frame.nip.to_le_bytes());
        record.put(offset_of!(VcpuGuestContext, stack), &stack.to_le_bytes());
        record.put(offset_of!(VcpuGuestContext, argument), &argument.to_le_bytes());
        record.put(offset_of!(VcpuGuestContext, flags), &order.to_le_bytes());
        self.tell(caller, GuestAddr::new(place), &record.0)
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
        let ran = timer::nanoseconds(info.ran).to_le_bytes();
        record.put(offset_of!(GetDomainInfo, cpu_time), &ran);
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
