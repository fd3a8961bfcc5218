//! What one domain may do to others, and what it learns of their end: the operations behind
//! `domctl` and `sysctl` (`hypercall`). The hypercalls' right is `CONTROL`; a controller may act
//! on every domain, but gives no right that it has not itself.
//!
//! A domain that ends gives everything back at once. If another created it, its number is kept
//! with what became of it until that one destroys it, so that no end goes unnoticed.

use crate::console::NAME;
use crate::domain::{Domain, DomainId, MAX_DOMAINS};
use crate::frames::FRAME_SIZE;
use crate::grants::PAGE;
use crate::machine::Machine;
use crate::vcpu::State;
use crate::{Hypervisor, Processor, timer};
use arrayvec::{ArrayString, ArrayVec};
use k42_wire::End;
use xen_sys::domctl::{self, GetDomainInfo};
use xen_sys::plain::Field;
use xen_sys::{errno, sched, xen};

/// What is left of a created domain that has ended.
pub struct Remains {
    id: DomainId,
    name: ArrayString<NAME>,
    creator: DomainId,
    reason: u32,
}

/// All that there are: each has the number of a slot that is empty.
pub(crate) type RemainsList = ArrayVec<Remains, MAX_DOMAINS>;

/// The reason that leaves no remains: its creator wanted it so.
const DESTROYED: u32 = u32::MAX;

/// What a controller is told of an end: a shutdown code, and above it the exit status.
pub(crate) fn reason(how: End<'_>) -> u32 {
    match how {
        End::PowerOff => sched::SHUTDOWN_POWEROFF,
        End::Exit(status) => sched::SHUTDOWN_POWEROFF | u32::from(status) << 8,
        End::Reboot => sched::SHUTDOWN_REBOOT,
        End::Crash(_) => sched::SHUTDOWN_CRASH,
        End::Destroyed => DESTROYED,
    }
}

impl<M: Machine> Hypervisor<M> {
    /// A number that no domain has, nor remains of one.
    pub(crate) fn unused_number(&self) -> Option<DomainId> {
        (1..)
            .map_while(DomainId::new)
            .find(|id| self.domain(*id).is_none() && !self.has_remains(*id))
    }

    /// Whether a domain of that number has ended unnoticed.
    pub(crate) fn has_remains(&self, id: DomainId) -> bool {
        self.remains.lock().iter().any(|remains| remains.id == id)
    }

    /// Ends a domain, or forgets one that has ended.
    pub(crate) fn destroy(&self, processor: &mut Processor, id: DomainId) -> Result<(), i32> {
        let alive = self.domain(id).as_mut().map(|domain| {
            domain.reason = DESTROYED; // also if its end has begun already
        });
        if alive.is_some() {
            self.end(processor, id, End::Destroyed);
            return Ok(());
        }
        let mut remains = self.remains.lock();
        let index = remains.iter().position(|remains| remains.id == id).ok_or(errno::ESRCH)?;
        remains.remove(index);
        Ok(())
    }

    /// What there is to say of a domain.
    pub(crate) fn domain_info(&self, id: DomainId) -> Option<GetDomainInfo> {
        let mut info = GetDomainInfo { domain: id.number().into(), ..GetDomainInfo::zero() };
        let mut called = |name: &str| {
            for (to, from) in info.handle.iter_mut().zip(name.bytes()) {
                *to = from;
            }
        };
        let slot = self.domain(id);
        let Some(domain) = slot.as_ref() else {
            let remains = self.remains.lock();
            let left = remains.iter().find(|remains| remains.id == id)?;
            called(&left.name);
            info.flags = domctl::XEN_DOMINF_SHUTDOWN | left.reason << 16;
            info.max_vcpu_id = u32::MAX; // there is none, as in Xen
            return Some(info);
        };
        called(&domain.name);
        info.flags = if domain.ending { domctl::XEN_DOMINF_DYING } else { 0 };
        info.tot_pages = domain.memory.size() / PAGE;
        info.max_pages = domain.memory.max_frames().saturating_mul(FRAME_SIZE / PAGE);
        info.max_vcpu_id = u32::try_from(domain.vcpus.len()).unwrap_or(0).wrapping_sub(1);
        info.ssidref = domain.rights.bits();
        let (mut blocked, mut ran) = (0_u32, 0_u64);
        for slot in domain.vcpus.iter().map(|vcpu| self.vcpu(*vcpu)) {
            let mut status = *slot.status.lock();
            status.enter(status.state, self.machine.timebase()); // a copy: until now counts, too
            ran = ran.saturating_add(status.times.spent.first().copied().unwrap_or(0));
            if status.pauses > 0 {
                info.flags |= domctl::XEN_DOMINF_PAUSED;
            }
            match status.state {
                State::Unused | State::Ended | State::Stopped => continue,
                State::Running => info.flags |= domctl::XEN_DOMINF_RUNNING,
                State::Blocked(_) => blocked = blocked.saturating_add(1),
                State::Ready => {}
            }
            info.nr_online_vcpus = info.nr_online_vcpus.saturating_add(1);
        }
        info.cpu_time = timer::nanoseconds(ran);
        if info.nr_online_vcpus > 0 && blocked == info.nr_online_vcpus {
            info.flags |= domctl::XEN_DOMINF_BLOCKED;
        }
        Some(info)
    }

    /// Notes what became of a domain that another created. Its slot is locked.
    pub(crate) fn leave_remains(&self, id: DomainId, domain: &Domain) {
        let Domain { name, creator, reason, .. } = *domain;
        if reason != DESTROYED && creator != DomainId::NONE {
            let remains = Remains { id, name, creator, reason };
            let _ = self.remains.lock().try_push(remains); // there is room for every number
        }
    }

    /// A domain will be gone: those it created are nobody's, and their remains are forgotten.
    pub(crate) fn release_created(&self, creator: DomainId) {
        for slot in &self.domains {
            if let Some(domain) = slot.lock().as_mut().filter(|domain| domain.creator == creator) {
                domain.creator = DomainId::NONE;
            }
        }
        self.remains.lock().retain(|remains| remains.creator != creator);
    }

    /// Tells a creator that one of its domains is gone.
    pub(crate) fn tell_creator(&self, creator: DomainId) {
        if creator != DomainId::NONE {
            self.event_raise(creator, xen::VIRQ_DOM_EXC);
        }
    }
}
