//! `domctl`: what a controller asks for other domains (xen/domctl.h). The operations themselves are
//! in [`crate::control`] and [`crate::create`].

use super::vcpu::start;
use super::{Caller, Done};
use crate::Hypervisor;
use crate::create::{CreateError, Creation};
use crate::domain::DomainId;
use crate::events::living;
use crate::frames::FRAME_SIZE;
use crate::machine::Machine;
use crate::schedule::Refused;
use crate::schedule::account::Allowance;
use crate::vcpu::State;
use boot_archive::Personality;
use core::mem::offset_of;
use hv_abi::Rights;
use hv_abi::xen::{ARCH_LITTLE_ENDIAN, ARCH_PAPR, VcpuGuestContext};
use k42_lib::{GuestAddr, msr};
use xen_sys::domctl::{self as op, CreateDomain, Domctl, MaxMem, MaxVcpus, VcpuContext};
use xen_sys::domctl::{Reservation, SchedulerOp, Share};
use xen_sys::{errno, xen};

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn domctl(&self, caller: &mut Caller<'_>, at: GuestAddr) -> Done {
        let call: Domctl = self.argument(caller, at)?;
        if call.interface_version != op::XEN_DOMCTL_INTERFACE_VERSION {
            return Err(errno::EACCES);
        }
        let own = at.offset(offset_of!(Domctl, u) as u64);
        if call.cmd == op::XEN_DOMCTL_CREATEDOMAIN {
            let id = self.create_domain(caller, call.domain, own)?;
            let place = at.offset(offset_of!(Domctl, domain) as u64);
            return self.tell(caller, place, u16::from(id.number()));
        }
        let id = DomainId::new(call.domain).ok_or(errno::ESRCH)?;
        match call.cmd {
            op::XEN_DOMCTL_GETDOMAININFO => {
                let info = self.domain_info(id).ok_or(errno::ESRCH)?;
                self.tell(caller, own, info)
            }
            // What follows would take the ground from under the caller.
            _ if id == caller.current.domain => Err(errno::EINVAL),
            op::XEN_DOMCTL_DESTROYDOMAIN => self.destroy(caller.processor, id),
            op::XEN_DOMCTL_PAUSEDOMAIN => self.with(id, |_| ()).map(|()| self.pause(id)),
            op::XEN_DOMCTL_UNPAUSEDOMAIN => self.with(id, |_| ()).map(|()| self.unpause(id)),
            op::XEN_DOMCTL_SCHEDULER_OP => self.scheduler_op(caller, id, own),
            op::XEN_DOMCTL_SETVCPUCONTEXT => self.set_vcpu_context(caller, id, own),
            op::XEN_DOMCTL_GETVCPUCONTEXT => self.get_vcpu_context(caller, id, own),
            op::XEN_DOMCTL_MAX_MEM => {
                let MaxMem { max_memkb } = self.argument(caller, own)?;
                let frames = max_memkb.saturating_mul(1024) / FRAME_SIZE;
                self.with(id, |domain| domain.memory.set_max_frames(frames))
            }
            op::XEN_DOMCTL_MAX_VCPUS => {
                // They are made with the domain.
                let MaxVcpus { max } = self.argument(caller, own)?;
                let same = self.vcpus_of(id).len() as u64 == u64::from(max);
                if same { Ok(()) } else { Err(errno::EINVAL) }
            }
            _ => Err(errno::ENOSYS),
        }
    }

    /// Makes a domain that is paused, without memory. It gets no right that its creator has not.
    fn create_domain(&self, caller: &Caller<'_>, number: u16, own: GuestAddr) -> Done<DomainId> {
        let call: CreateDomain = self.argument(caller, own)?;
        let given = Rights::given(call.ssidref).ok_or(errno::EINVAL)?;
        if !caller.current.rights.contains(given) {
            self.refused_xen(caller, "gives a right that the domain has not");
            return Err(errno::EPERM);
        }
        let known = op::XEN_DOMCTL_CDF_HVM | op::XEN_DOMCTL_CDF_HAP;
        let [arch, processors, lan] = call.arch;
        if call.flags & !known != 0 || arch & !(ARCH_PAPR | ARCH_LITTLE_ENDIAN) != 0 {
            return Err(errno::EINVAL);
        }
        let name = call.handle.split(|byte| *byte == 0).next().unwrap_or_default();
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
            rights: call.ssidref,
            memory: 0,
            vcpus: call.max_vcpus,
            processors: if processors == 0 { u32::MAX } else { processors },
            little_endian: arch & ARCH_LITTLE_ENDIAN != 0,
            lan: u16::try_from(lan).map_err(|_| errno::EINVAL)?,
            creator: caller.current.domain,
        };
        if self.has_remains(id) {
            return Err(errno::EEXIST);
        }
        self.create(id, &new).map_err(|error| error.errno())?;
        self.pause(id);
        Ok(id)
    }

    /// Tells or sets a domain's part of the processors: its share (Xen's credit2) or what is
    /// reserved for each of its vCPUs (Xen's RTDS).
    fn scheduler_op(&self, caller: &Caller<'_>, id: DomainId, own: GuestAddr) -> Done {
        const PER_MICROSECOND: u64 = 512;
        let call: SchedulerOp = self.argument(caller, own)?;
        let own = own.offset(offset_of!(SchedulerOp, u) as u64);
        let ticks = |microseconds: u32| u64::from(microseconds).saturating_mul(PER_MICROSECOND);
        let mut share = self.share(id).ok_or(errno::ESRCH)?;
        match (call.sched_id, call.cmd) {
            (op::XEN_SCHEDULER_CREDIT2, op::XEN_DOMCTL_SCHEDOP_PUTINFO) => {
                let Share { weight, cap } = self.argument(caller, own)?;
                (share.weight, share.cap) = (weight, cap);
            }
            (op::XEN_SCHEDULER_RTDS, op::XEN_DOMCTL_SCHEDOP_PUTINFO) => {
                let Reservation { period, budget, .. } = self.argument(caller, own)?;
                let wanted = Allowance { budget: ticks(budget), period: ticks(period) };
                share.reserved = (budget > 0).then_some(wanted);
                let may = self.with(id, |domain| domain.rights.contains(Rights::RESERVED))?;
                if budget > 0 && !may {
                    return Err(errno::EPERM);
                }
            }
            (op::XEN_SCHEDULER_CREDIT2, op::XEN_DOMCTL_SCHEDOP_GETINFO) => {
                return self.tell(caller, own, Share { weight: share.weight, cap: share.cap });
            }
            (op::XEN_SCHEDULER_RTDS, op::XEN_DOMCTL_SCHEDOP_GETINFO) => {
                let Allowance { budget, period } = share.reserved.unwrap_or_default();
                let [period, budget] = [period, budget]
                    .map(|ticks| u32::try_from(ticks / PER_MICROSECOND).unwrap_or(u32::MAX));
                return self.tell(caller, own, Reservation { period, budget, flags: 0 });
            }
            _ => return Err(errno::EOPNOTSUPP),
        }
        self.set_share(id, share).map_err(|refused| match refused {
            Refused::Domain => errno::ESRCH,
            Refused::Invalid => errno::EINVAL,
            Refused::Full => errno::EBUSY,
        })
    }

    /// Gives a vCPU that has not run its first registers, and lets it run when its domain is
    /// unpaused.
    fn set_vcpu_context(&self, caller: &Caller<'_>, id: DomainId, own: GuestAddr) -> Done {
        let call: VcpuContext = self.argument(caller, own)?;
        let start = start(id, self.argument(caller, GuestAddr::new(call.ctxt.0))?)?;
        // The slot stays locked: the domain, and so the vCPU, cannot become another's meanwhile.
        let mut slot = self.domain(id);
        let domain = living(&mut slot)?;
        let vcpu = domain.vcpu(call.vcpu).ok_or(errno::ENOENT)?;
        if self.vcpu(vcpu).status.lock().state != State::Stopped {
            return Err(errno::EBUSY);
        }
        self.set_off(domain, vcpu, &start).map_err(CreateError::errno)
    }

    /// Tells where a vCPU is that is on no processor.
    fn get_vcpu_context(&self, caller: &Caller<'_>, id: DomainId, own: GuestAddr) -> Done {
        let call: VcpuContext = self.argument(caller, own)?;
        let frame = {
            let slot = self.domain(id);
            let domain = slot.as_ref().ok_or(errno::ESRCH)?;
            let vcpu = domain.vcpu(call.vcpu).ok_or(errno::ENOENT)?;
            let status = self.vcpu(vcpu).status.lock();
            let registers = self.machine.registers(vcpu);
            registers.filter(|_| status.state != State::Running).ok_or(errno::EBUSY)?
        };
        let [_, stack, _, argument, ..] = frame.gpr;
        let flags = if frame.msr & msr::LE != 0 { VcpuGuestContext::LITTLE_ENDIAN } else { 0 };
        let context = VcpuGuestContext { entry: frame.nip, stack, argument, flags };
        self.tell(caller, GuestAddr::new(call.ctxt.0), context)
    }
}
