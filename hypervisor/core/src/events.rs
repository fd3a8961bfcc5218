//! Event channels: a domain's ports, and the delivery of an event to it (xen/event_channel.h).
//!
//! A port's state is the hypervisor's; that it is pending or masked is a bit in the page that the
//! domain shares with it (`shared_info`, two levels). An event for a vCPU is announced in its
//! `vcpu_info` and by a directed doorbell, which the guest takes when it enables interrupts.

use crate::Hypervisor;
use crate::domain::{Domain, DomainId, MAX_DOMAIN_VCPUS};
use crate::machine::{Machine, Storage};
use crate::vcpu::Ask;
use hv_abi::papr::source;
use k42_lib::{GuestAddr, RealAddr};
use k42_wire::Channel;
use xen_sys::errno;
use xen_sys::xen::{VIRQ_ARCH_0, VIRQ_CONSOLE, VIRQ_DEBUG, VIRQ_DOM_EXC, VIRQ_TIMER};

/// Ports of a domain. The shared page has room for 4,096.
pub const MAX_PORTS: usize = 256;

/// How often a close looks at a port that others change: nobody is to be kept busy for long.
const CLOSE_TRIES: u32 = 8;

/// The virtual interrupts that there is a source for, and whether each vCPU has its own.
const SOURCES: [(u32, bool); 5] = [
    (VIRQ_TIMER, true),
    (VIRQ_DEBUG, true),
    (VIRQ_CONSOLE, false),
    (VIRQ_DOM_EXC, false),
    (VIRQ_ARCH_0, false),
];

/// Offsets in `shared_info`, which begins with the first vCPU's `vcpu_info`; a test holds them
/// against the structures.
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
    Virq(u8),
    /// The domain's own vCPUs.
    Ipi,
}

/// A domain's ports, and the number of the vCPU that each tells. Port 0 is never given out, as in
/// Xen.
pub struct Ports {
    ports: [(Port, u8); MAX_PORTS],
    /// The ports of virtual interrupts by vCPU, in the order of [`SOURCES`]; 0 for none.
    virqs: [[u8; SOURCES.len()]; MAX_DOMAIN_VCPUS],
}

impl Ports {
    /// No port is in use.
    pub const FREE: Ports = Ports {
        ports: [(Port::Free, 0); MAX_PORTS],
        virqs: [[0; SOURCES.len()]; MAX_DOMAIN_VCPUS],
    };

    /// The port's state; `None` for a number that is no port.
    pub fn get(&self, number: u32) -> Option<Port> {
        let index = usize::try_from(number).ok()?;
        self.ports.get(index).filter(|_| index != 0).map(|(port, _)| *port)
    }

    /// The vCPU that the port tells, by its number in the domain.
    pub fn told(&self, number: u16) -> u8 {
        self.ports.get(usize::from(number)).map_or(0, |(_, vcpu)| *vcpu)
    }

    fn set(&mut self, number: u16, port: Port) {
        if let Some((slot, _)) = self.ports.get_mut(usize::from(number)) {
            *slot = port;
        }
    }

    /// Takes a free port.
    ///
    /// # Errors
    /// `ENOSPC` when there is none.
    pub fn allocate(&mut self, port: Port, vcpu: u8) -> Result<u16, i32> {
        let mut slots = self.ports.iter_mut().enumerate().skip(1);
        let free = slots.find(|(_, (port, _))| *port == Port::Free);
        let (number, slot) = free.ok_or(errno::ENOSPC)?;
        *slot = (port, vcpu);
        u16::try_from(number).map_err(|_| errno::ENOSPC)
    }

    /// Frees a port.
    fn free(&mut self, number: u16) {
        self.set(number, Port::Free);
        for port in self.virqs.iter_mut().flatten().filter(|port| u16::from(**port) == number) {
            *port = 0;
        }
    }

    /// Where the port of a vCPU's virtual interrupt is noted.
    fn of_virq(&mut self, virq: u32, vcpu: u8) -> Option<&mut u8> {
        let source = SOURCES.iter().position(|(source, _)| *source == virq)?;
        self.virqs.get_mut(usize::from(vcpu))?.get_mut(source)
    }
}

/// The domain, unless there is none or its end has begun: it then has let go of its ports.
pub(crate) fn living(slot: &mut Option<Domain>) -> Result<&mut Domain, i32> {
    slot.as_mut().filter(|domain| !domain.ending).ok_or(errno::ESRCH)
}

impl<M: Machine> Hypervisor<M> {
    /// Makes a port that domain `remote` may connect to.
    pub(crate) fn event_allocate(&self, own: DomainId, remote: DomainId) -> Result<u16, i32> {
        living(&mut self.domain(own))?.ports.allocate(Port::Unbound(remote), 0)
    }

    /// Connects a new port of `own` to `remote`'s unbound one. The new port is pending at once, so
    /// that an event which came before the connection is not missed.
    pub(crate) fn event_connect(
        &self,
        own: DomainId,
        remote: DomainId,
        remote_port: u32,
    ) -> Result<u16, i32> {
        let number = u16::try_from(remote_port).map_err(|_| errno::EINVAL)?;
        let (mut mine, mut theirs) = self.pair(own, remote).ok_or(errno::EINVAL)?;
        let (mine, theirs) = (living(&mut mine)?, living(&mut theirs)?);
        if theirs.ports.get(remote_port) != Some(Port::Unbound(own)) {
            return Err(errno::EINVAL);
        }
        let local = mine.ports.allocate(Port::Interdomain(remote, number), 0)?;
        theirs.ports.set(number, Port::Interdomain(own, local));
        self.event_deliver(mine, local);
        Ok(local)
    }

    /// Binds a virtual interrupt to a new port: of the vCPU with that number, or of the domain,
    /// whose first vCPU is told then.
    pub(crate) fn event_bind_virq(&self, own: DomainId, virq: u32, vcpu: u8) -> Result<u16, i32> {
        let source = SOURCES.iter().find(|(source, _)| *source == virq);
        let number = u8::try_from(virq).map_err(|_| errno::EINVAL)?;
        if !source.is_some_and(|(_, own)| *own || vcpu == 0) {
            return Err(errno::EINVAL);
        }
        let mut slot = self.domain(own);
        let ports = &mut living(&mut slot)?.ports;
        if ports.of_virq(virq, vcpu).is_none_or(|port| *port != 0) {
            return Err(errno::EEXIST);
        }
        let port = ports.allocate(Port::Virq(number), vcpu)?;
        if let Some(noted) = ports.of_virq(virq, vcpu) {
            *noted = u8::try_from(port).map_err(|_| errno::ENOSPC)?;
        }
        Ok(port)
    }

    /// Makes a port by which the domain's vCPUs tell the one with that number.
    pub(crate) fn event_bind_ipi(&self, own: DomainId, vcpu: u8) -> Result<u16, i32> {
        living(&mut self.domain(own))?.ports.allocate(Port::Ipi, vcpu)
    }

    /// Has a port tell another vCPU from now on. A port that is one vCPU's by its kind stays so.
    pub(crate) fn event_bind_vcpu(&self, own: DomainId, number: u32, vcpu: u8) -> Result<(), i32> {
        let index = usize::try_from(number).map_err(|_| errno::EINVAL)?;
        let mut slot = self.domain(own);
        let ports = &mut living(&mut slot)?.ports;
        let bound_to_one = match ports.get(number).ok_or(errno::EINVAL)? {
            Port::Free | Port::Ipi => true,
            Port::Virq(virq) => SOURCES.contains(&(virq.into(), true)),
            Port::Unbound(_) | Port::Interdomain(..) => false,
        };
        match ports.ports.get_mut(index) {
            Some((_, told)) if !bound_to_one => *told = vcpu,
            _ => return Err(errno::EINVAL),
        }
        Ok(())
    }

    /// A port's state, and the vCPU it tells.
    pub(crate) fn event_status(&self, own: DomainId, number: u32) -> Result<(Port, u8), i32> {
        let index = usize::try_from(number).map_err(|_| errno::EINVAL)?;
        let slot = self.domain(own);
        let port = slot.as_ref().and_then(|d| d.ports.ports.get(index)).filter(|_| index != 0);
        port.copied().ok_or(errno::EINVAL)
    }

    /// Sends an event through the port whose number is at this place of the domain's memory.
    pub(crate) fn event_send(&self, own: DomainId, at: GuestAddr) -> Result<(), i32> {
        let mut slot = self.domain(own);
        let domain = slot.as_mut().ok_or(errno::ESRCH)?;
        let mut bytes = [0; 4];
        domain.memory.read(&self.machine, at, &mut bytes).map_err(|_| errno::EFAULT)?;
        let number = u32::from_le_bytes(bytes);
        let from = u16::try_from(number).map_err(|_| errno::EINVAL)?;
        match domain.ports.get(number).ok_or(errno::EINVAL)? {
            Port::Ipi => self.event_deliver(domain, from),
            Port::Interdomain(remote, port) => {
                drop(slot);
                // Only if the other end is still this one: it may have been closed in between.
                if let Some(domain) = self.domain(remote).as_mut()
                    && domain.ports.get(port.into()) == Some(Port::Interdomain(own, from))
                {
                    self.event_deliver(domain, port);
                }
            }
            Port::Unbound(_) => {} // nobody listens yet: the event is dropped, as in Xen
            Port::Free | Port::Virq(_) => return Err(errno::EINVAL),
        }
        Ok(())
    }

    /// Raises a virtual interrupt of the whole domain, if the domain has bound it.
    pub(crate) fn event_raise(&self, id: DomainId, virq: u32) {
        self.event_raise_for(id, 0, virq);
    }

    /// Raises a virtual interrupt of the vCPU with that number, if the domain has bound it.
    pub(crate) fn event_raise_for(&self, id: DomainId, vcpu: u32, virq: u32) {
        let mut slot = self.domain(id);
        let (Some(domain), Ok(vcpu)) = (slot.as_mut(), u8::try_from(vcpu)) else { return };
        if let Some(port) = domain.ports.of_virq(virq, vcpu).map(|port| *port).filter(|p| *p != 0) {
            self.event_deliver(domain, port.into());
        }
    }

    /// Console input has come for a channel: wakes the domain it belongs to.
    pub(crate) fn console_input(&self, channel: Channel) {
        let Some(id) = DomainId::new(channel.number().into()) else { return };
        if let Some(first) = self.vcpus_of(id).first() {
            self.wake(*first);
            self.event_raise(id, VIRQ_CONSOLE);
            self.papr_raise(id, source::CONSOLE);
        }
    }

    /// Asks each vCPU of a domain to say what it is doing (VIRQ_DEBUG).
    pub(crate) fn raise_debug(&self, id: DomainId) {
        for vcpu in (0..).take(MAX_DOMAIN_VCPUS) {
            self.event_raise_for(id, vcpu, VIRQ_DEBUG);
        }
    }

    /// Gives a port back; the other end waits for a connection again.
    ///
    /// # Errors
    /// `EBUSY` when others change the port again and again meanwhile, which a domain that ends does
    /// not let them.
    pub(crate) fn event_close(&self, own: DomainId, number: u32) -> Result<(), i32> {
        let from = u16::try_from(number).map_err(|_| errno::EINVAL)?;
        for _ in 0..CLOSE_TRIES {
            let (port, _) = self.event_status(own, number)?;
            // Both ends change at once: the next connection may well have the same numbers.
            let (mut mine, theirs) = match port {
                Port::Free => return Err(errno::EINVAL),
                Port::Interdomain(remote, there) => {
                    let (mine, theirs) = self.pair(own, remote).ok_or(errno::EINVAL)?;
                    (mine, Some((theirs, there)))
                }
                Port::Unbound(_) | Port::Virq(_) | Port::Ipi => (self.domain(own), None),
            };
            let domain = mine.as_mut().ok_or(errno::ESRCH)?;
            if domain.ports.get(number) != Some(port) {
                continue; // it was connected or closed meanwhile
            }
            domain.ports.free(from);
            if let Some(shared) = domain.shared {
                let (word, bit) = place(from);
                self.machine.fetch_and(shared.offset(offset::PENDING).offset(word), !bit);
            }
            if let Some((mut theirs, there)) = theirs
                && let Some(remote) = theirs.as_mut()
            {
                remote.ports.set(there, Port::Unbound(own));
            }
            return Ok(());
        }
        Err(errno::EBUSY)
    }

    /// Clears a port's mask, and announces what came meanwhile.
    pub(crate) fn event_unmask(&self, own: DomainId, number: u32) -> Result<(), i32> {
        let port = u16::try_from(number).map_err(|_| errno::EINVAL)?;
        let slot = self.domain(own);
        let domain = slot.as_ref().ok_or(errno::ESRCH)?;
        domain.ports.get(number).ok_or(errno::EINVAL)?;
        let Some(shared) = domain.shared else { return Ok(()) };
        let (word, bit) = place(port);
        self.machine.fetch_and(shared.offset(offset::MASK).offset(word), !bit);
        if self.machine.load_shared(shared.offset(offset::PENDING).offset(word)) & bit != 0 {
            self.event_announce(domain, port);
        }
        Ok(())
    }

    /// Whether one of these ports is pending; if not, the first event that comes wakes the vCPU
    /// with that number, masked or not.
    ///
    /// # Errors
    /// `EINVAL` for what is no port.
    pub(crate) fn event_poll(
        &self,
        id: DomainId,
        vcpu: u32,
        ports: impl Iterator<Item = u32>,
    ) -> Result<bool, i32> {
        let mut slot = self.domain(id);
        let domain = slot.as_mut().ok_or(errno::ESRCH)?;
        let shared = domain.shared.ok_or(errno::EINVAL)?;
        for port in ports {
            domain.ports.get(port).ok_or(errno::EINVAL)?;
            let (word, bit) = place(u16::try_from(port).map_err(|_| errno::EINVAL)?);
            if self.machine.load_shared(shared.offset(offset::PENDING).offset(word)) & bit != 0 {
                return Ok(true);
            }
        }
        domain.polling |= 1u32.checked_shl(vcpu).unwrap_or(0);
        Ok(false)
    }

    /// Whether some event is pending for the vCPU with that number.
    pub(crate) fn event_pending(&self, id: DomainId, vcpu: u32) -> bool {
        let slot = self.domain(id);
        let info = slot.as_ref().and_then(|domain| self.vcpu_info(domain, vcpu));
        info.is_some_and(|info| self.machine.load_shared(info) & 0xff != 0)
    }

    /// Puts the `vcpu_info` of the vCPU with that number at a place in the domain's memory, once.
    /// Everything is pending there then, so that what came before is not missed.
    pub(crate) fn event_register(&self, id: DomainId, vcpu: u32, at: GuestAddr) -> Result<(), i32> {
        let mut slot = self.domain(id);
        let domain = living(&mut slot)?;
        let fits = at.is_aligned(8) && domain.memory.own_page(&self.machine, at).is_some();
        let number = usize::try_from(vcpu).map_err(|_| errno::ENOENT)?;
        let told = domain.vcpu(vcpu).ok_or(errno::ENOENT)?;
        let noted = domain.vcpu_infos.get_mut(number).filter(|noted| noted.is_none() && fits);
        *noted.ok_or(errno::EINVAL)? = Some(at);
        let info = self.vcpu_info(domain, vcpu).ok_or(errno::EINVAL)?;
        self.machine.fetch_or(info.offset(offset::PENDING_SELECTOR), u64::MAX);
        self.machine.fetch_or(info.offset(offset::UPCALL_PENDING), 1);
        self.notify(told, Ask::UPCALL);
        Ok(())
    }

    /// All ports of a domain go: its end.
    pub(crate) fn event_close_all(&self, id: DomainId) {
        for number in (0..MAX_PORTS).filter_map(|n| u32::try_from(n).ok()) {
            let _ = self.event_close(id, number); // an error says that it was not open
        }
    }

    /// Sets a port pending, and tells its vCPU unless it was pending or is masked.
    fn event_deliver(&self, domain: &mut Domain, port: u16) {
        let Some(shared) = domain.shared else { return };
        let (word, bit) = place(port);
        if self.machine.fetch_or(shared.offset(offset::PENDING).offset(word), bit) & bit != 0 {
            return;
        }
        if domain.polling != 0 {
            let polling = core::mem::take(&mut domain.polling);
            let bits = (0..u32::BITS).map(|n| polling.checked_shr(n).unwrap_or(0) & 1 != 0);
            for (vcpu, _) in domain.vcpus.iter().zip(bits).filter(|(_, polls)| *polls) {
                self.wake(*vcpu);
            }
        }
        if self.machine.load_shared(shared.offset(offset::MASK).offset(word)) & bit == 0 {
            self.event_announce(domain, port);
        }
    }

    /// Tells a port's vCPU that the port's word of pending bits has one.
    fn event_announce(&self, domain: &Domain, port: u16) {
        let told = domain.ports.told(port);
        let Some(info) = self.vcpu_info(domain, told.into()) else { return };
        let selector = 1u64.checked_shl(u32::from(port / 64)).unwrap_or(0);
        self.machine.fetch_or(info.offset(offset::PENDING_SELECTOR), selector);
        if self.machine.fetch_or(info.offset(offset::UPCALL_PENDING), 1) & 0xff != 0 {
            return; // it has been told and has not looked yet
        }
        if let Some(vcpu) = domain.vcpus.get(usize::from(told)) {
            self.notify(*vcpu, Ask::UPCALL);
        }
    }

    /// Where a vCPU is told of events: its place in the shared page, the first's alone, or the one
    /// that it has registered, if that is still the domain's memory.
    fn vcpu_info(&self, domain: &Domain, vcpu: u32) -> Option<RealAddr> {
        match domain.vcpu_infos.get(usize::try_from(vcpu).ok()?)? {
            Some(at) => domain.memory.own_page(&self.machine, *at),
            None => domain.shared.filter(|_| vcpu == 0),
        }
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
