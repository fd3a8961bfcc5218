//! Who owns which frame of real storage.
//!
//! One byte a frame says it: free, taken by the platform, or a domain's. A domain that dies gives
//! back all frames that carry its number, so nothing can be forgotten. Frames are zeroed when they
//! are given out: no domain reads what another left.

use crate::machine::Machine;
use k42_lib::RealAddr;

/// A frame is 64 KiB: a root table, or sixteen tables of the next level.
pub const FRAME_SIZE: u64 = 1 << 16;

/// Owner of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Owner(u8);

impl Owner {
    /// Nobody's.
    pub const FREE: Owner = Owner(0);
    /// The firmware's, the hypervisor's, or no storage at all.
    pub const PLATFORM: Owner = Owner(0xff);

    /// Domain `number`, 1..=254.
    pub const fn domain(number: u8) -> Owner {
        Owner(number)
    }
}

/// The owners of all frames.
pub struct Frames {
    owners: &'static mut [Owner],
    /// Where the next search starts: below it little is free.
    hint: usize,
}

impl Frames {
    /// No storage at all.
    pub const fn none() -> Frames {
        Frames { owners: &mut [], hint: 0 }
    }

    /// Takes over a table with one owner a frame, from real address 0. All belong to the platform
    /// until [`Frames::release`] says otherwise.
    pub fn new(owners: &'static mut [Owner]) -> Frames {
        owners.fill(Owner::PLATFORM);
        Frames { owners, hint: 0 }
    }

    /// Storage from `start` to `end` is free; frames that are only partly inside stay the platform's.
    pub fn release(&mut self, start: RealAddr, end: RealAddr) {
        let first = start.value().div_ceil(FRAME_SIZE);
        self.set(first, end.value() / FRAME_SIZE, Owner::FREE);
    }

    /// Storage from `start` to `end` is the platform's, with every frame that it touches.
    pub fn reserve(&mut self, start: RealAddr, end: RealAddr) {
        self.set(start.value() / FRAME_SIZE, end.value().div_ceil(FRAME_SIZE), Owner::PLATFORM);
    }

    fn set(&mut self, first: u64, end: u64, owner: Owner) {
        let last = usize::try_from(end).unwrap_or(usize::MAX).min(self.owners.len());
        let first = usize::try_from(first).unwrap_or(usize::MAX).min(last);
        if let Some(range) = self.owners.get_mut(first..last) {
            range.fill(owner);
        }
    }

    /// Gives `count` adjoining frames, aligned to `count` frames (a power of two), to `owner`,
    /// zeroed; `None` when there is no such run.
    pub fn allocate(
        &mut self,
        machine: &impl Machine,
        count: usize,
        owner: Owner,
    ) -> Option<RealAddr> {
        let first = self.find(self.hint, count).or_else(|| self.find(0, count))?;
        self.owners.get_mut(first..first.checked_add(count)?)?.fill(owner);
        self.hint = first;
        let at = RealAddr::new((first as u64).checked_mul(FRAME_SIZE)?);
        machine.zero(at, (count as u64).checked_mul(FRAME_SIZE)?);
        Some(at)
    }

    fn find(&self, from: usize, count: usize) -> Option<usize> {
        let start = from.next_multiple_of(count);
        let aligned = self.owners.get(start..)?.chunks_exact(count);
        let index = aligned.into_iter().position(|run| run.iter().all(|o| *o == Owner::FREE))?;
        start.checked_add(index.checked_mul(count)?)
    }

    /// Takes back every frame of `owner` and says how many there were.
    pub fn reclaim(&mut self, owner: Owner) -> usize {
        let mut count: usize = 0;
        for frame in self.owners.iter_mut().filter(|o| **o == owner) {
            *frame = Owner::FREE;
            count = count.saturating_add(1);
        }
        self.hint = 0;
        count
    }

    /// How many frames `owner` has.
    pub fn count(&self, owner: Owner) -> usize {
        self.owners.iter().filter(|o| **o == owner).count()
    }
}
