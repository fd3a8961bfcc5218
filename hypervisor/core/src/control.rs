//! What one domain may do to others, and what it learns of their end: the operations behind
//! `domctl` and `sysctl` (`hypercall`). The hypercalls' right is `CONTROL`; a controller may act
//! on every domain, but gives no right that it has not itself.
//!
//! A domain that ends gives everything back at once. If another created it, its number is kept
//! with what became of it until that one destroys it, so that no end goes unnoticed.

use crate::console::NAME;
use crate::domain::{Domain, DomainId, MAX_DOMAINS};
use crate::frames::FRAME_SIZE;
use crate::machine::Machine;
use crate::vcpu::{State, VcpuId};
use crate::{Hypervisor, Processor};
use arrayvec::{ArrayString, ArrayVec};
use k42_wire::End;
use xen_sys::{domctl, errno, sched, xen};

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

/// A domain, as `getdomaininfo` describes it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Info {
    pub(crate) name: ArrayString<NAME>,
    /// `XEN_DOMINF_*`, and above bit 16 the reason of its end.
    pub(crate) flags: u32,
    /// Bytes that it has, and may have.
    pub(crate) memory: u64,
    pub(crate) most: u64,
    pub(crate) rights: u32,
    pub(crate) vcpus: u32,
    pub(crate) online: u32,
    /// Ticks that its vCPUs had a processor.
    pub(crate) ran: u64,
}

impl<M: Machine> Hypervisor<M> {
    /// A number that no domain has, nor remains of one.
    pub(crate) fn unused_number(&self) -> Option<DomainId> {
        let numbers = (1..=MAX_DOMAINS).filter_map(|n| DomainId::new(u16::try_from(n).ok()?));
        numbers.into_iter().find(|id| self.domain(*id).is_none() && !self.has_remains(*id))
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
    pub(crate) fn info(&self, id: DomainId) -> Option<Info> {
        let slot = self.domain(id);
        let Some(domain) = slot.as_ref() else {
            let remains = self.remains.lock();
            let Remains { name, reason, .. } = *remains.iter().find(|remains| remains.id == id)?;
            let flags = domctl::XEN_DOMINF_SHUTDOWN | reason << 16;
            return Some(Info { name, flags, ..Info::default() });
        };
        let mut info = Info {
            name: domain.name,
            flags: if domain.ending { domctl::XEN_DOMINF_DYING } else { 0 },
            memory: domain.memory.size(),
            most: domain.memory.max_frames().saturating_mul(FRAME_SIZE),
            rights: domain.rights.bits(),
            vcpus: u32::try_from(domain.vcpus.len()).unwrap_or(0),
            online: 0,
            ran: 0,
        };
        let mut blocked: u32 = 0;
        let paused = |vcpu: &VcpuId| self.vcpu(*vcpu).is_some_and(|v| v.status.lock().pauses > 0);
        if domain.vcpus.iter().any(paused) {
            info.flags |= domctl::XEN_DOMINF_PAUSED;
        }
        for slot in domain.vcpus.iter().filter_map(|vcpu| self.vcpu(*vcpu)) {
            let mut status = *slot.status.lock();
            status.enter(status.state, self.machine.timebase()); // a copy: until now counts, too
            info.ran = info.ran.saturating_add(status.times.spent.first().copied().unwrap_or(0));
            match status.state {
                State::Unused | State::Ended | State::Stopped => continue,
                State::Running => info.flags |= domctl::XEN_DOMINF_RUNNING,
                State::Blocked(_) => blocked = blocked.saturating_add(1),
                State::Ready => {}
            }
            info.online = info.online.saturating_add(1);
        }
        if info.online > 0 && blocked == info.online {
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
