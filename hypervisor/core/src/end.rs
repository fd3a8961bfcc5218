//! The end of a domain, however it came: its vCPUs leave their processors, then its translations
//! and its memory go.

use crate::domain::DomainId;
use crate::frames::Owner;
use crate::machine::{Machine, Partition};
use crate::vcpu::{Ask, State};
use crate::{Current, Hypervisor, Processor, control};
use k42_wire::{End, Event, event};

impl<M: Machine> Hypervisor<M> {
    /// Ends a domain. Called on a processor that runs one of its vCPUs, or none.
    pub(crate) fn end(&self, processor: &mut Processor, id: DomainId, how: End<'_>) {
        let vcpus = {
            let mut slot = self.domain(id);
            let Some(domain) = slot.as_mut() else { return };
            if core::mem::replace(&mut domain.ending, true) {
                return; // another of its vCPUs was first
            }
            if domain.reason == 0 {
                domain.reason = control::reason(how); // unless it is being destroyed
            }
            let name = domain.name;
            self.console.lock().flush(&self.machine, id.channel());
            self.say(Event::Ended { number: id.number().into(), name: &name, how });
            domain.vcpus.clone()
        };
        for vcpu in vcpus {
            let slot = self.vcpu(vcpu);
            let mut status = slot.status.lock();
            if status.state == State::Running {
                slot.ask(Ask::END); // its processor sees it at its next exit
                let home = status.home;
                drop(status);
                self.machine.kick(home);
            } else {
                status.state = State::Ended;
                let home = status.home;
                drop(status);
                self.forget(home, vcpu);
            }
        }
        if let Some(current) = processor.current().filter(|current| current.domain == id) {
            self.leave_domain(processor, current);
        } else {
            self.bury(id);
        }
    }

    /// Whether the domain's end has begun.
    pub(crate) fn is_ending(&self, id: DomainId) -> bool {
        self.domain(id).as_ref().is_none_or(|domain| domain.ending)
    }

    /// The current vCPU leaves its processor for good.
    pub(crate) fn leave_domain(&self, processor: &mut Processor, current: Current) {
        processor.unseat();
        let slot = self.vcpu(current.vcpu);
        slot.take_asked();
        slot.status.lock().state = State::Ended;
        self.bury(current.domain);
    }

    /// Takes back everything the domain had, once no processor runs it any more.
    fn bury(&self, id: DomainId) {
        {
            let mut slot = self.domain(id);
            let Some(domain) = slot.as_mut() else { return };
            let gone = |vcpu| self.vcpu(vcpu).status.lock().state == State::Ended;
            if !domain.ending || !domain.vcpus.iter().copied().all(gone) {
                return;
            }
            if core::mem::replace(&mut domain.deserted, true) {
                return; // another processor does it
            }
        }
        // It can create no more.
        self.release_created(id);
        let creator = self.discard(id);
        self.tell_creator(creator);
        self.power_off_if_done();
    }

    /// Takes a domain apart that no processor runs, and says who created it.
    pub(crate) fn discard(&self, id: DomainId) -> DomainId {
        // Not before: as long as one of its vCPUs runs it can make ports and mappings.
        self.event_close_all(id);
        self.unmap_all_lent(id);
        let mut slot = self.domain(id);
        let Some(domain) = slot.take() else { return DomainId::NONE };
        let mut frames = self.frames.lock();
        for vcpu in &domain.vcpus {
            let mut status = self.vcpu(*vcpu).status.lock();
            for page in status.papr.held() {
                frames.give_back(page);
            }
            status.state = State::Unused;
        }
        drop(frames);
        let partition = Partition(id.number().into());
        self.machine.set_partition(partition, [0, 0]);
        self.machine.flush_partition(partition);
        self.frames.lock().reclaim(Owner::domain(id.number()));
        self.lan.lock().close(id);
        self.leave_remains(id, &domain);
        domain.creator
    }

    /// Turns the machine off when no domain is left.
    pub(crate) fn power_off_if_done(&self) {
        if self.domains.iter().all(|slot| slot.lock().is_none()) {
            self.say(Event::Note(event::ALL_ENDED));
            self.console.lock().flush_all(&self.machine);
            self.machine.power_off();
        }
    }
}
