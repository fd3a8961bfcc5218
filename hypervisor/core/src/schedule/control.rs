//! What a controller may do to the vCPUs of a domain: pause them, and change their share of the
//! processors. All of it is safe while they run, wake, sleep and end on other processors.

use super::account::Share;
use super::queue::{Processors, bit};
use crate::Hypervisor;
use crate::domain::DomainId;
use crate::machine::{Machine, ProcessorId};
use crate::vcpu::{Ask, State, Status, VcpuId};
use core::sync::atomic::Ordering;

/// The most of a processor that may be reserved, in millionths: the rest is for switches and for
/// hypercalls that take longer than a budget.
const MOST_RESERVED: u64 = 900_000;

/// Why a share is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such domain.
    Domain,
    /// It cannot be held by any processor.
    Invalid,
    /// More than 90 % of a processor would be reserved.
    Full,
}

impl<M: Machine> Hypervisor<M> {
    /// Pauses a domain's vCPUs: none is chosen before it is unpaused as often. One that runs
    /// leaves its processor soon.
    pub fn pause(&self, id: DomainId) {
        self.change(id, |status| status.pauses = status.pauses.saturating_add(1));
    }

    /// Takes one pause back.
    pub fn unpause(&self, id: DomainId) {
        self.change(id, |status| status.pauses = status.pauses.saturating_sub(1));
    }

    /// What each of the domain's vCPUs may have; `None` when there is no such domain.
    pub fn share(&self, id: DomainId) -> Option<Share> {
        let first = self.vcpus_of(id).first().copied()?;
        Some(self.vcpu(first).status.lock().account.share)
    }

    /// Sets what each of the domain's vCPUs may have. With a reservation they stay on the
    /// processors where they are, but a vCPU that is stopped goes to one that has room.
    ///
    /// # Errors
    /// When it cannot be held; then each has what it had.
    pub fn set_share(&self, id: DomainId, share: Share) -> Result<(), Refused> {
        let _alone = self.admission.lock();
        let before = self.share(id).ok_or(Refused::Domain)?;
        if !share.is_valid() {
            return Err(Refused::Invalid);
        }
        // It is set first, since from then on the vCPUs do not move.
        self.change(id, |status| status.account.share = share);
        if share.reserved.is_some() && !self.vcpus_of(id).into_iter().all(|v| self.has_room(v)) {
            self.change(id, |status| status.account.share = before);
            return Err(Refused::Full);
        }
        Ok(())
    }

    /// Whether a vCPU's processor, or the next one if it may move, has room for all that is reserved.
    fn has_room(&self, vcpu: VcpuId) -> bool {
        let slot = self.vcpu(vcpu);
        let Status { home, processors, .. } = *slot.status.lock();
        self.processors_from(home.0, processors).any(|next| {
            let mut status = slot.status.lock();
            if status.state == State::Stopped && self.machine.holder(vcpu).is_none() {
                status.home = next;
                status.account.pass = 0; // virtual time is another there
            }
            let home = status.home;
            drop(status);
            self.reserved_on(home) <= MOST_RESERVED
        })
    }

    /// The processors that something may run on, in turn from one on.
    pub(crate) fn processors_from(
        &self,
        first: u32,
        may: Processors,
    ) -> impl Iterator<Item = ProcessorId> {
        let count = self.processors.load(Ordering::Relaxed);
        let turn = move |n| first.wrapping_add(n).checked_rem(count).map(ProcessorId);
        (0..count).filter_map(turn).filter(move |processor| bit(*processor) & may != 0)
    }

    /// Millionths of a processor that are reserved.
    fn reserved_on(&self, processor: ProcessorId) -> u64 {
        let slots = VcpuId::all().map(|vcpu| self.vcpu(vcpu));
        let reserved = slots.map(|slot| {
            let Status { state, home, account, .. } = *slot.status.lock();
            let over = matches!(state, State::Unused | State::Ended);
            let counts = !over && home == processor;
            if counts { account.share.millionths() } else { 0 }
        });
        reserved.fold(0, u64::saturating_add)
    }

    /// Changes the status of each of a domain's vCPUs, and has it queued anew.
    fn change(&self, id: DomainId, change: impl Fn(&mut Status)) {
        for vcpu in self.vcpus_of(id) {
            let slot = self.vcpu(vcpu);
            let mut status = slot.status.lock();
            if status.domain != id {
                continue; // it has become another's meanwhile
            }
            change(&mut status);
            match status.state {
                State::Ready => self.make_ready(vcpu, status),
                State::Running => {
                    slot.ask(Ask::PREEMPT);
                    self.machine.kick(status.home);
                }
                State::Unused | State::Ended | State::Stopped | State::Blocked(_) => {}
            }
        }
    }
}
