//! What a controller may do to the vCPUs of a domain: pause them, and change their share of the
//! processors. All of it is safe while they run, wake, sleep and end on other processors.

use super::account::Share;
use super::queue::{Processors, bit};
use crate::Hypervisor;
use crate::domain::DomainId;
use crate::machine::{Machine, ProcessorId};
use crate::vcpu::{Ask, State, Status, Vcpu, VcpuId};
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
    /// leaves its processor; [`Hypervisor::at_rest`] says when all have.
    pub fn pause(&self, id: DomainId) {
        self.change(id, |status| status.pauses = status.pauses.saturating_add(1));
    }

    /// Takes one pause back.
    pub fn unpause(&self, id: DomainId) {
        self.change(id, |status| status.pauses = status.pauses.saturating_sub(1));
    }

    /// Whether none of the domain's vCPUs is on a processor.
    pub fn at_rest(&self, id: DomainId) -> bool {
        let running = |slot: &Vcpu| slot.status.lock().state == State::Running;
        !self.vcpus_of(id).into_iter().filter_map(|v| self.vcpu(v)).any(running)
    }

    /// What each of the domain's vCPUs may have; `None` when there is no such domain.
    pub fn share(&self, id: DomainId) -> Option<Share> {
        let first = self.vcpus_of(id).first().copied()?;
        Some(self.vcpu(first)?.status.lock().account.share)
    }

    /// Sets what each of the domain's vCPUs may have. With a reservation they stay on the
    /// processors where they are.
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
        let slots = self.vcpus_of(id).into_iter().filter_map(|v| self.vcpu(v));
        let mut homes = slots.map(|slot| slot.status.lock().home);
        if share.reserved.is_some() && homes.any(|home| self.reserved_on(home) > MOST_RESERVED) {
            self.change(id, |status| status.account.share = before);
            return Err(Refused::Full);
        }
        Ok(())
    }

    /// Gives the vCPUs of a domain that does not run yet their processors, one after another of
    /// those that they may run on and that have room.
    ///
    /// # Errors
    /// When none has, or there is no such processor.
    pub(crate) fn place(&self, id: DomainId, share: Share, on: Processors) -> Result<(), Refused> {
        let _alone = self.admission.lock();
        if !share.is_valid() {
            return Err(Refused::Invalid);
        }
        let count = self.processors.load(Ordering::Relaxed);
        for (vcpu, server) in self.vcpus_of(id).into_iter().zip(0_u32..) {
            let first = u32::from(id.number()).wrapping_sub(1).wrapping_add(server);
            let turn = |n: u32| first.wrapping_add(n).checked_rem(count).map(ProcessorId);
            let home = (0..count).filter_map(turn).find(|home| {
                let sum = self.reserved_on(*home).saturating_add(share.millionths());
                bit(*home) & on != 0 && sum <= MOST_RESERVED
            });
            let Some(slot) = self.vcpu(vcpu) else { continue };
            let mut status = slot.status.lock();
            status.home = home.ok_or(Refused::Full)?;
            status.processors = on;
            status.account.share = share;
        }
        Ok(())
    }

    /// Millionths of a processor that are reserved.
    fn reserved_on(&self, processor: ProcessorId) -> u64 {
        let slots = VcpuId::all().filter_map(|vcpu| self.vcpu(vcpu));
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
            let Some(slot) = self.vcpu(vcpu) else { continue };
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
