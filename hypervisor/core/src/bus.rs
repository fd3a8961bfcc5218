//! A domain's memory as its virtual devices address it: by addresses on an I/O bus.
//!
//! For a domain of Xen's personality they are its guest real addresses. Nobody else knows that: a
//! PAPR domain's table of translations (TCE) belongs here.

use crate::machine::{Machine, Storage};
use crate::memory::{GuestMemory, NotMapped};
use k42_lib::radix::Access;
use k42_lib::{BusAddr, GuestAddr, RealAddr};

/// Memory that a domain names to a device in one register.
#[derive(Clone, Copy)]
pub struct Descriptor {
    /// Where it is.
    pub at: BusAddr,
    /// How many bytes.
    pub length: usize,
}

/// The bus of a domain whose slot is locked. An access fails where the domain has no memory.
pub struct Bus<'a, M> {
    /// The machine.
    pub machine: &'a M,
    /// The domain's memory.
    pub memory: &'a GuestMemory,
}

impl<M: Machine> Bus<'_, M> {
    /// The guest real address of a bus address.
    fn guest(at: BusAddr) -> GuestAddr {
        GuestAddr::new(at.value())
    }

    /// The real storage at `at`, and how much of `wanted` bytes lies there in one piece.
    fn piece(
        &self,
        at: BusAddr,
        wanted: usize,
        access: Access,
    ) -> Result<(RealAddr, usize), NotMapped> {
        self.memory.piece(self.machine, Self::guest(at), wanted, access)
    }

    /// Whether all of this is the domain's memory, for this access.
    pub fn has(&self, at: BusAddr, length: usize, access: Access) -> bool {
        self.memory.pieces(self.machine, Self::guest(at), length, access, |_, _| ()).is_ok()
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
    pub fn load(&self, at: BusAddr) -> Result<u64, NotMapped> {
        Ok(self.machine.load_entry(self.piece(at, 8, Access::READ)?.0))
    }

    /// Stores an aligned doubleword, after all stores before it.
    pub fn store(&self, at: BusAddr, value: u64) -> Result<(), NotMapped> {
        self.machine.store_entry(self.piece(at, 8, Access::WRITE)?.0, value);
        Ok(())
    }

    /// Copies from the domain.
    pub fn read(&self, from: BusAddr, into: &mut [u8]) -> Result<(), NotMapped> {
        self.memory.read(self.machine, Self::guest(from), into)
    }

    /// Copies to the domain.
    pub fn write(&self, to: BusAddr, from: &[u8]) -> Result<(), NotMapped> {
        self.memory.write(self.machine, Self::guest(to), from)
    }

    /// Copies to the domain from another one's bus, or from its own.
    pub fn copy(
        &self,
        to: BusAddr,
        source: &Bus<'_, M>,
        from: BusAddr,
        length: usize,
    ) -> Result<(), NotMapped> {
        let mut done: usize = 0;
        while done < length {
            let (at, left) = (done as u64, length.saturating_sub(done));
            let (target, room) = self.piece(to.offset(at), left, Access::WRITE)?;
            let (origin, count) = source.piece(from.offset(at), room, Access::READ)?;
            self.machine.copy(origin, target, count as u64);
            done = done.saturating_add(count);
        }
        Ok(())
    }
}
