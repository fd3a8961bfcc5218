//! Event channels: a domain's ports, and the delivery of an event to it (xen/event_channel.h).
//!
//! A port's state is the hypervisor's; that it is pending or masked is a bit in the page that the
//! domain shares with it (`shared_info`, two levels). An event for a vCPU is announced by a
//! directed doorbell, which the guest takes when it enables interrupts.

use crate::Hypervisor;
use crate::domain::DomainId;
use crate::machine::{Machine, Storage};
use k42_lib::RealAddr;
use xen_sys::errno;

/// Ports of a domain. The shared page has room for 4,096.
pub const MAX_PORTS: usize = 256;
/// The virtual interrupts that there are sources for: console input, frames of the logical LAN, the
/// end of a domain that this one created.
const SOURCES: [u32; 3] =
    [xen_sys::xen::VIRQ_CONSOLE, xen_sys::xen::VIRQ_ARCH_0, xen_sys::xen::VIRQ_DOM_EXC];

/// Offsets in `shared_info`; a test holds them against the structure.
mod offset {
    pub(super) const UPCALL_PENDING: u64 = 0;
    pub(super) const PENDING_SELECTOR: u64 = 8;
    pub(super) const PENDING: u64 = 48;
    pub(super) const MASK: u64 = PENDING + 512;
}

/// What a port is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Nothing: it can be allocated.
    Free,
    /// It waits for this domain to connect.
    Unbound(DomainId),
    /// A port of another domain.
    Interdomain(DomainId, u16),
    /// A virtual interrupt.
    Virq(u32),
    /// The domain's own vCPUs.
    Ipi,
}

/// A domain's ports. Port 0 is never given out, as in Xen.
pub struct Ports([Port; MAX_PORTS]);

impl Ports {
    /// No port is in use.
    pub const fn new() -> Ports {
        Ports([Port::Free; MAX_PORTS])
    }

    /// The port's state; `None` for a number that is no port.
    pub fn get(&self, number: u32) -> Option<Port> {
        let index = usize::try_from(number).ok()?;
        self.0.get(index).copied().filter(|_| index != 0)
    }

    fn set(&mut self, number: u16, port: Port) {
        if let Some(slot) = self.0.get_mut(usize::from(number)) {
            *slot = port;
        }
    }

    /// Takes a free port.
    ///
    /// # Errors
    /// `ENOSPC` when there is none.
    pub fn allocate(&mut self, port: Port) -> Result<u16, i32> {
        let found = self.0.iter().skip(1).position(|port| *port == Port::Free);
        let number = found.and_then(|n| u16::try_from(n.saturating_add(1)).ok());
        let number = number.ok_or(errno::ENOSPC)?;
        self.set(number, port);
        Ok(number)
    }

    /// The port that a virtual interrupt is bound to.
    fn of_virq(&self, virq: u32) -> Option<u16> {
        let found = self.0.iter().position(|port| *port == Port::Virq(virq));
        found.and_then(|n| u16::try_from(n).ok())
    }
}

impl Default for Ports {
    fn default() -> Ports {
        Ports::new()
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Makes a port that domain `remote` may connect to.
    pub(crate) fn event_allocate(&self, own: DomainId, remote: DomainId) -> Result<u16, i32> {
        let mut slot = self.domain(own);
        slot.as_mut().ok_or(errno::ESRCH)?.ports.allocate(Port::Unbound(remote))
    }

    /// Connects a new port of `own` to `remote`'s unbound one. The new port is pending at once, so
    /// that an event which came before the connection is not missed.
    pub(crate) fn event_connect(
        &self,
        own: DomainId,
        remote: DomainId,
        remote_port: u32,
    ) -> Result<u16, i32> {
        if own == remote {
            return Err(errno::EINVAL);
        }
        let number = u16::try_from(remote_port).map_err(|_| errno::EINVAL)?;
        let local = {
            // Two domains' locks are taken in the order of their numbers.
            let (first, second) = (own.min(remote), own.max(remote));
            let mut first = self.domain(first);
            let mut second = self.domain(second);
            let (mine, theirs) =
                if own < remote { (&mut first, &mut second) } else { (&mut second, &mut first) };
            let theirs = theirs.as_mut().ok_or(errno::ESRCH)?;
            if theirs.ports.get(remote_port) != Some(Port::Unbound(own)) {
                return Err(errno::EINVAL);
            }
            let mine = mine.as_mut().ok_or(errno::ESRCH)?;
            let local = mine.ports.allocate(Port::Interdomain(remote, number))?;
            theirs.ports.set(number, Port::Interdomain(own, local));
            local
        };
        self.event_deliver(own, local, |_| true);
        Ok(local)
    }

    /// Binds a virtual interrupt to a new port.
    pub(crate) fn event_bind_virq(&self, own: DomainId, virq: u32) -> Result<u16, i32> {
        let mut slot = self.domain(own);
        let ports = &mut slot.as_mut().ok_or(errno::ESRCH)?.ports;
        if !SOURCES.contains(&virq) {
            return Err(errno::EINVAL);
        }
        if ports.of_virq(virq).is_some() {
            return Err(errno::EEXIST);
        }
        ports.allocate(Port::Virq(virq))
    }

    /// Makes a port between the domain's own vCPUs.
    pub(crate) fn event_bind_ipi(&self, own: DomainId) -> Result<u16, i32> {
        let mut slot = self.domain(own);
        slot.as_mut().ok_or(errno::ESRCH)?.ports.allocate(Port::Ipi)
    }

    /// A port's state.
    pub(crate) fn event_status(&self, own: DomainId, number: u32) -> Result<Port, i32> {
        let slot = self.domain(own);
        slot.as_ref().and_then(|d| d.ports.get(number)).ok_or(errno::EINVAL)
    }

    /// Sends an event through a port.
    pub(crate) fn event_send(&self, own: DomainId, number: u32) -> Result<(), i32> {
        let from = u16::try_from(number).map_err(|_| errno::EINVAL)?;
        match self.event_status(own, number)? {
            // Only if the other end is still this one: it may have been closed in between.
            Port::Interdomain(remote, port) => {
                self.event_deliver(remote, port, |there| there == Port::Interdomain(own, from));
                Ok(())
            }
            Port::Ipi => {
                self.event_deliver(own, from, |there| there == Port::Ipi);
                Ok(())
            }
            // Nobody listens yet: the event is dropped, as in Xen.
            Port::Unbound(_) => Ok(()),
            Port::Free | Port::Virq(_) => Err(errno::EINVAL),
        }
    }

    /// Raises a virtual interrupt, if the domain has bound it.
    pub(crate) fn event_raise(&self, id: DomainId, virq: u32) {
        let port = self.domain(id).as_ref().and_then(|d| d.ports.of_virq(virq));
        if let Some(port) = port {
            self.event_deliver(id, port, |there| there == Port::Virq(virq));
        }
    }

    /// Gives a port back; the other end waits for a connection again.
    pub(crate) fn event_close(&self, own: DomainId, number: u32) -> Result<(), i32> {
        let from = u16::try_from(number).map_err(|_| errno::EINVAL)?;
        let before = {
            let mut slot = self.domain(own);
            let domain = slot.as_mut().ok_or(errno::ESRCH)?;
            let port = domain.ports.get(number).filter(|port| *port != Port::Free);
            let port = port.ok_or(errno::EINVAL)?;
            domain.ports.set(from, Port::Free);
            self.clear(domain.shared, from);
            port
        };
        if let Port::Interdomain(remote, number) = before
            && let Some(remote) = self.domain(remote).as_mut()
            && remote.ports.get(number.into()) == Some(Port::Interdomain(own, from))
        {
            remote.ports.set(number, Port::Unbound(own));
        }
        Ok(())
    }

    /// Clears a port's mask, and announces what came meanwhile.
    pub(crate) fn event_unmask(&self, own: DomainId, number: u32) -> Result<(), i32> {
        let port = u16::try_from(number).map_err(|_| errno::EINVAL)?;
        self.event_status(own, number)?;
        let pending = {
            let slot = self.domain(own);
            let shared = slot.as_ref().ok_or(errno::ESRCH)?.shared;
            let Some(shared) = shared else { return Ok(()) };
            let (word, bit) = place(port);
            self.machine.fetch_and(shared.offset(offset::MASK).offset(word), !bit);
            self.machine.fetch_or(shared.offset(offset::PENDING).offset(word), 0) & bit != 0
        };
        if pending {
            self.event_announce(own, port);
        }
        Ok(())
    }

    /// Whether some event is pending for the domain's first vCPU.
    pub(crate) fn event_pending(&self, id: DomainId) -> bool {
        let shared = self.domain(id).as_ref().and_then(|d| d.shared);
        shared.is_some_and(|shared| self.machine.fetch_or(shared, 0) & 0xff != 0)
    }

    /// All ports of a domain go: its end.
    pub(crate) fn event_close_all(&self, id: DomainId) {
        for number in (0..MAX_PORTS).filter_map(|n| u32::try_from(n).ok()) {
            let _ = self.event_close(id, number); // an error says that it was not open
        }
    }

    /// Sets a port pending if it is still what `wanted` wants, and tells its vCPU unless it is
    /// pending or masked already.
    fn event_deliver(&self, id: DomainId, port: u16, wanted: impl Fn(Port) -> bool) {
        {
            let slot = self.domain(id);
            let Some(domain) = slot.as_ref() else { return };
            if !domain.ports.get(port.into()).is_some_and(wanted) {
                return;
            }
            let Some(shared) = domain.shared else { return };
            let (word, bit) = place(port);
            let pending = shared.offset(offset::PENDING).offset(word);
            if self.machine.fetch_or(pending, bit) & bit != 0 {
                return;
            }
            if self.machine.fetch_or(shared.offset(offset::MASK).offset(word), 0) & bit != 0 {
                return;
            }
        }
        self.event_announce(id, port);
    }

    /// Tells the domain's first vCPU that a word of pending bits has one.
    fn event_announce(&self, id: DomainId, port: u16) {
        let vcpu = {
            let slot = self.domain(id);
            let Some(domain) = slot.as_ref() else { return };
            let Some(shared) = domain.shared else { return };
            let selector = 1u64.checked_shl(u32::from(port / 64)).unwrap_or(0);
            self.machine.fetch_or(shared.offset(offset::PENDING_SELECTOR), selector);
            let byte = shared.offset(offset::UPCALL_PENDING);
            if self.machine.fetch_or(byte, 1) & 0xff != 0 {
                return; // it has been told and has not looked yet
            }
            let Some(vcpu) = domain.vcpus.first().copied() else { return };
            vcpu
        };
        let Some(slot) = self.vcpu(vcpu) else { return };
        let home = {
            let mut status = slot.status.lock();
            status.upcall = true;
            status.home
        };
        slot.set_attention(true);
        self.wake(vcpu);
        self.machine.kick(home);
    }

    fn clear(&self, shared: Option<RealAddr>, port: u16) {
        let Some(shared) = shared else { return };
        let (word, bit) = place(port);
        self.machine.fetch_and(shared.offset(offset::PENDING).offset(word), !bit);
    }
}

/// The byte offset of a port's word in a bitmap, and its bit.
fn place(port: u16) -> (u64, u64) {
    let word = u64::from(port / 64).saturating_mul(8);
    (word, 1u64.checked_shl(u32::from(port % 64)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;
    use xen_sys::xen::{SharedInfo, VcpuInfo};

    #[test]
    fn offsets_are_those_of_the_structure() {
        assert_eq!(offset_of!(SharedInfo, evtchn_pending) as u64, super::offset::PENDING);
        assert_eq!(offset_of!(SharedInfo, evtchn_mask) as u64, super::offset::MASK);
        let selector = offset_of!(VcpuInfo, evtchn_pending_sel) as u64;
        assert_eq!(selector, super::offset::PENDING_SELECTOR);
        assert_eq!(
            offset_of!(VcpuInfo, evtchn_upcall_pending) as u64,
            super::offset::UPCALL_PENDING
        );
    }
}
