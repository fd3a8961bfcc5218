//! A domain's memory as its virtual devices address it: by addresses on an I/O bus.
//!
//! What these are as guest real addresses [`DomainState::translate`] says, and nobody else knows: for
//! a domain of Xen's personality the same, for a PAPR domain what its table of translations has.

use crate::domain::Domain;
use crate::lan::port::Port;
use crate::machine::{Machine, Storage};
use crate::memory::GuestMemory;
use crate::papr::DomainState;
use k42_lib::radix::Access;
use k42_lib::{BusAddr, RealAddr};

/// Memory that a domain names to a device in one register.
#[derive(Clone, Copy)]
pub struct Descriptor {
    /// Where it is.
    pub at: BusAddr,
    /// How many bytes.
    pub length: usize,
}

/// The bus of a domain whose slot is locked. An access fails, with `None`, where the domain has no
/// memory, or the device no access to it.
pub struct Bus<'a, M> {
    machine: &'a M,
    memory: &'a GuestMemory,
    papr: &'a DomainState,
}

impl<'a, M: Machine> Bus<'a, M> {
    /// A domain's bus, and the port that is there.
    pub fn with_port(machine: &'a M, domain: &'a mut Domain) -> (Self, &'a mut Option<Port>) {
        (Bus { machine, memory: &domain.memory, papr: &domain.papr }, &mut domain.lan)
    }

    /// A domain's bus.
    pub fn new(machine: &'a M, domain: &'a Domain) -> Self {
        Bus { machine, memory: &domain.memory, papr: &domain.papr }
    }

    /// The real storage at `at`, and how much of `wanted` bytes lies there in one piece.
    fn piece(&self, at: BusAddr, wanted: usize, access: Access) -> Option<(RealAddr, usize)> {
        let (at, wanted) = self.papr.translate(self.machine, at, wanted, access)?;
        self.memory.piece(self.machine, at, wanted, access).ok()
    }

    /// Calls `each` with every piece of the `length` bytes at `start`, and how many come before it.
    fn pieces(
        &self,
        start: BusAddr,
        length: usize,
        access: Access,
        mut each: impl FnMut(RealAddr, usize, usize) -> Option<()>,
    ) -> Option<()> {
        let mut done: usize = 0;
        while done < length {
            let left = length.saturating_sub(done);
            let (at, count) = self.piece(start.offset(done as u64), left, access)?;
            each(at, done, count)?;
            done = done.saturating_add(count);
        }
        Some(())
    }

    /// Whether all of this is the domain's memory, for this access.
    pub fn has(&self, at: BusAddr, length: usize, access: Access) -> bool {
        self.pieces(at, length, access, |_, _, _| Some(())).is_some()
    }

    /// What a register names: a valid bit, seven bits of options that are not offered, length and
    /// address. `None` unless it is aligned to so many bytes, and the domain's, for this access.
    pub fn named(&self, register: u64, alignment: u64, access: Access) -> Option<Descriptor> {
        let length = usize::try_from(register >> 32 & 0xff_ffff).ok()?;
        let at = BusAddr::new(register & 0xffff_ffff);
        let sound = register >> 56 == 0x80 && at.is_aligned(alignment);
        (sound && self.has(at, length, access)).then_some(Descriptor { at, length })
    }

    /// Loads an aligned doubleword, big-endian as all that PAPR's devices share with a guest.
    pub fn load(&self, at: BusAddr) -> Option<u64> {
        Some(self.machine.load_entry(self.piece(at, 8, Access::READ)?.0))
    }

    /// Stores an aligned doubleword, after all stores before it.
    pub fn store(&self, at: BusAddr, value: u64) -> Option<()> {
        self.machine.store_entry(self.piece(at, 8, Access::WRITE)?.0, value);
        Some(())
    }

    /// Copies from the domain.
    pub fn read(&self, from: BusAddr, into: &mut [u8]) -> Option<()> {
        self.pieces(from, into.len(), Access::READ, |real, done, count| {
            self.machine.read(real, into.get_mut(done..)?.get_mut(..count)?);
            Some(())
        })
    }

    /// Copies to the domain.
    pub fn write(&self, to: BusAddr, from: &[u8]) -> Option<()> {
        self.pieces(to, from.len(), Access::WRITE, |real, done, count| {
            self.machine.write(real, from.get(done..)?.get(..count)?);
            Some(())
        })
    }

    /// Copies to the domain from another one's bus, or from its own.
    pub fn copy(
        &self,
        to: BusAddr,
        source: &Bus<'_, M>,
        from: BusAddr,
        length: usize,
    ) -> Option<()> {
        let mut done: usize = 0;
        while done < length {
            let (at, left) = (done as u64, length.saturating_sub(done));
            let (target, room) = self.piece(to.offset(at), left, Access::WRITE)?;
            let (origin, count) = source.piece(from.offset(at), room, Access::READ)?;
            self.machine.copy(origin, target, count as u64);
            done = done.saturating_add(count);
        }
        Some(())
    }
}
