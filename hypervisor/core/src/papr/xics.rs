//! PAPR's interrupt controller (XICS, LoPAR chapter 6.5). Virtual devices are *sources*: firmware
//! calls say to which vCPU each goes and how urgent it is (its *route*). A vCPU's *presentation* has
//! what is asked of it, and lets through what is more urgent than what it is at. Smaller numbers
//! are more urgent.
//!
//! A source asks once for each time it was raised (it is edge-triggered), and what is asked stays
//! asked until it is accepted: nothing has to be sent again.

use crate::Hypervisor;
use crate::domain::DomainId;
use crate::machine::Machine;
use crate::vcpu::{Ask, VcpuId};
use hv_abi::papr::{rtas, source};

/// The lowest priority: nothing is asked for, everything is let through; a source that has it is
/// masked.
pub const IDLE: u8 = 0xff;
/// The number by which an inter-processor interrupt is known; it is the first of those that can be
/// asked for, and the sources of devices follow.
const IPI: u32 = 2;

/// What a vCPU sees of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presentation {
    /// The processor's priority: only more urgent interrupts come through (CPPR).
    priority: u8,
    /// The priorities with which interrupts are asked for: between processors (MFRR), by sources.
    asked: [u8; 1 + source::COUNT],
}

impl Presentation {
    /// A controller that lets nothing through, as after a reset.
    pub(crate) const fn new() -> Presentation {
        Presentation { priority: 0, asked: [IDLE; 1 + source::COUNT] }
    }

    /// The most urgent of what is asked, and its place.
    fn first(&self) -> (u8, usize) {
        let places = self.asked.iter().zip(0..);
        places.min_by_key(|(asked, _)| **asked).map_or((IDLE, 0), |(asked, n)| (*asked, n))
    }

    /// Whether an interrupt waits that the processor would take.
    pub fn pending(&self) -> bool {
        self.first().0 < self.priority
    }

    /// What accepting would give: the priority and the source, 0 for none (XIRR).
    pub fn peek(&self) -> u32 {
        let number = match self.first() {
            (asked, _) if asked >= self.priority => 0,
            (_, 0) => IPI,
            (_, n) => source::FIRST.saturating_sub(1).saturating_add(u32::try_from(n).unwrap_or(0)),
        };
        u32::from(self.priority) << 24 | number
    }

    /// Accepts the pending interrupt.
    pub fn accept(&mut self) -> u32 {
        let (xirr, (asked, n)) = (self.peek(), self.first());
        if asked < self.priority {
            self.priority = asked;
            if n != 0 {
                self.ask(n, IDLE);
            }
        }
        xirr
    }

    /// Sets the processor's priority, the low byte of a register, or ends an interrupt with its old.
    pub fn set_priority(&mut self, priority: u64) {
        [self.priority, ..] = priority.to_le_bytes();
    }

    /// How urgently an inter-processor interrupt is asked for.
    pub fn request(&self) -> u8 {
        self.asked[0]
    }

    /// Asks for an interrupt by its place; [`IDLE`] takes that back. What was asked there.
    fn ask(&mut self, n: usize, priority: u8) -> u8 {
        self.asked.get_mut(n).map_or(IDLE, |asked| core::mem::replace(asked, priority))
    }
}

/// Where a source's interrupts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The vCPU's number.
    pub(super) server: u32,
    pub(super) priority: u8,
    /// The priority that switching the source on gives it.
    pub(super) when_on: u8,
    /// It was raised while it was masked.
    pub(super) raised: bool,
}

impl Route {
    /// Masked, as firmware leaves it.
    pub(super) const OFF: Route = Route { server: 0, priority: IDLE, when_on: IDLE, raised: false };
}

impl<M: Machine> Hypervisor<M> {
    /// A virtual device of the domain has something to say.
    pub(crate) fn papr_raise(&self, id: DomainId, number: u32) {
        let _ = self.papr_route(id, number, |route| route.raised = true);
    }

    /// Changes a source's route and returns it. What it has asked for already goes along.
    ///
    /// # Errors
    /// There is no such source, or none of the domain's vCPUs would be its server.
    pub(super) fn papr_route(
        &self,
        id: DomainId,
        number: u32,
        change: impl FnOnce(&mut Route),
    ) -> Result<Route, u32> {
        let mut slot = self.domain(id);
        let domain = slot.as_mut().ok_or(rtas::PARAMETER_ERROR)?;
        let n = number.checked_sub(source::FIRST).and_then(|n| usize::try_from(n).ok());
        let n = n.ok_or(rtas::PARAMETER_ERROR)?;
        let before = domain.papr.routes.get(n).copied().ok_or(rtas::PARAMETER_ERROR)?;
        let mut route = before;
        change(&mut route);
        let vcpu = domain.vcpu(route.server).ok_or(rtas::PARAMETER_ERROR)?;
        let place = n.saturating_add(1);
        if let Some(old) = domain.vcpu(before.server)
            && (before.server, before.priority) != (route.server, route.priority)
        {
            route.raised |= self.vcpu(old).status.lock().papr.interrupts.ask(place, IDLE) != IDLE;
        }
        if route.priority != IDLE && core::mem::take(&mut route.raised) {
            self.ask_interrupt(vcpu, place, route.priority);
        }
        if let Some(kept) = domain.papr.routes.get_mut(n) {
            *kept = route;
        }
        Ok(route)
    }

    /// Asks a vCPU for an interrupt between processors, the low byte of a register.
    pub(super) fn ask_ipi(&self, vcpu: VcpuId, priority: u64) {
        let [priority, ..] = priority.to_le_bytes();
        self.ask_interrupt(vcpu, 0, priority);
    }

    fn ask_interrupt(&self, vcpu: VcpuId, n: usize, priority: u8) {
        let pending = {
            let interrupts = &mut self.vcpu(vcpu).status.lock().papr.interrupts;
            interrupts.ask(n, priority);
            interrupts.pending()
        };
        if pending {
            self.notify(vcpu, Ask::INTERRUPT);
        }
    }
}
