//! Who owns which frame of real storage, and how often others have it mapped.
//!
//! An entry a frame says it: free, taken by the platform, or a domain's; and how many mappings
//! other domains have of its pages. A domain that dies gives back all frames that carry its number,
//! so nothing can be forgotten; those that others still have mapped belong to nobody until the last
//! mapping goes. Frames are zeroed when they are given out: no domain reads what another left.

use crate::machine::{Machine, Partition, Storage};
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
    /// A dead domain's; not free before the last mapping of it is gone.
    pub const ORPHAN: Owner = Owner(0xfe);
    /// The firmware's, the hypervisor's, or no storage at all.
    pub const PLATFORM: Owner = Owner(0xff);

    /// Domain `number`, 1..=253.
    pub const fn domain(number: u8) -> Owner {
        Owner(number)
    }

    /// The partition of a domain.
    pub const fn partition(self) -> Partition {
        Partition(self.0 as u16)
    }

    /// Its place among owners.
    #[cfg(feature = "walker")]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a frame.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    owner: Owner,
    /// Mappings by others than the owner. There are fewer of them than this counts: every domain's
    /// are bounded (`grants`).
    lent: u16,
}

impl Entry {
    /// A frame of the platform.
    pub const PLATFORM: Entry = Entry { owner: Owner::PLATFORM, lent: 0 };
    const FREE: Entry = Entry { owner: Owner::FREE, lent: 0 };
}

/// All frames.
pub struct Frames {
    entries: &'static mut [Entry],
    /// Where the next search starts: below it little is free.
    hint: usize,
}

impl Frames {
    /// No storage at all.
    pub const fn none() -> Frames {
        Frames { entries: &mut [], hint: 0 }
    }

    /// Takes over a table with an entry for each frame, from real address 0. All belong to the
    /// platform until [`Frames::release`] says otherwise.
    pub fn new(entries: &'static mut [Entry]) -> Frames {
        entries.fill(Entry::PLATFORM);
        Frames { entries, hint: 0 }
    }

    /// Storage from `start` to `end` is free; frames that are only partly inside stay the platform's.
    pub fn release(&mut self, start: RealAddr, end: RealAddr) {
        let first = start.value().div_ceil(FRAME_SIZE);
        self.set(first, end.value() / FRAME_SIZE, Entry::FREE);
    }

    /// Storage from `start` to `end` is the platform's, with every frame that it touches.
    pub fn reserve(&mut self, start: RealAddr, end: RealAddr) {
        self.set(start.value() / FRAME_SIZE, end.value().div_ceil(FRAME_SIZE), Entry::PLATFORM);
    }

    fn set(&mut self, first: u64, end: u64, entry: Entry) {
        let last = usize::try_from(end).unwrap_or(usize::MAX).min(self.entries.len());
        let first = usize::try_from(first).unwrap_or(usize::MAX).min(last);
        if let Some(range) = self.entries.get_mut(first..last) {
            range.fill(entry);
        }
    }

    /// How many frames of storage there are, free or not.
    pub fn total(&self) -> usize {
        self.entries.len()
    }

    /// Gives `size` bytes of adjoining frames, aligned to `size` (a power of two), to `owner`,
    /// zeroed; `None` when there is no such run.
    pub fn allocate(
        &mut self,
        machine: &impl Machine,
        size: u64,
        owner: Owner,
    ) -> Option<RealAddr> {
        let count = usize::try_from(size / FRAME_SIZE).ok()?;
        let first = self.find(self.hint, count).or_else(|| self.find(0, count))?;
        self.hint = first.checked_add(count)?;
        self.entries.get_mut(first..self.hint)?.fill(Entry { owner, lent: 0 });
        let at = RealAddr::new((first as u64).checked_mul(FRAME_SIZE)?);
        machine.zero(at, size);
        Some(at)
    }

    fn find(&self, from: usize, count: usize) -> Option<usize> {
        let start = from.next_multiple_of(count);
        let aligned = self.entries.get(start..)?.chunks_exact(count);
        let index =
            aligned.into_iter().position(|run| run.iter().all(|e| e.owner == Owner::FREE))?;
        start.checked_add(index.checked_mul(count)?)
    }

    /// The frames from `at` on, `size` bytes of them, are free again. No translation leads to them,
    /// or none will when the lock on the frames is let go.
    pub fn free(&mut self, at: RealAddr, size: u64) {
        self.release(at, at.offset(size));
        self.hint = self.hint.min(usize::try_from(at.value() / FRAME_SIZE).unwrap_or(0));
    }

    /// Whether others than its owner have the frame at `at` mapped.
    pub fn is_lent(&mut self, at: RealAddr) -> bool {
        self.entry(at).is_none_or(|entry| entry.lent != 0)
    }

    /// Counts another domain's mapping of a page of a frame; false when that cannot be counted.
    pub fn lend(&mut self, page: RealAddr) -> bool {
        let entry = self.entry(page);
        let counted = entry.and_then(|e| Some((e.lent.checked_add(1)?, e)));
        counted.map(|(lent, entry)| entry.lent = lent).is_some()
    }

    /// That mapping is gone; says whose the frame was. An orphan without mappings is free.
    pub fn give_back(&mut self, page: RealAddr) -> Option<Owner> {
        let entry = self.entry(page)?;
        let owner = entry.owner;
        entry.lent = entry.lent.saturating_sub(1);
        if (owner, entry.lent) == (Owner::ORPHAN, 0) {
            entry.owner = Owner::FREE;
        }
        Some(owner)
    }

    fn entry(&mut self, at: RealAddr) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(at.value() / FRAME_SIZE).ok()?)
    }

    /// Takes back every frame of `owner`, which no processor runs any more.
    pub fn reclaim(&mut self, owner: Owner) {
        for entry in self.entries.iter_mut().filter(|e| e.owner == owner) {
            entry.owner = if entry.lent == 0 { Owner::FREE } else { Owner::ORPHAN };
        }
        self.hint = 0;
    }

    /// All of them from the first: whose each is, and how many mappings others have of it.
    #[cfg(feature = "walker")]
    pub fn all(&self) -> impl Iterator<Item = (Owner, u16)> {
        self.entries.iter().map(|entry| (entry.owner, entry.lent))
    }

    /// The same of the frame at `at`; the platform's where there is no storage.
    #[cfg(feature = "walker")]
    pub fn at(&self, at: RealAddr) -> (Owner, u16) {
        let frame = usize::try_from(at.value() / FRAME_SIZE).ok();
        let entry = frame.and_then(|frame| self.entries.get(frame)).unwrap_or(&Entry::PLATFORM);
        (entry.owner, entry.lent)
    }

    /// How many frames `owner` has.
    pub fn count(&self, owner: Owner) -> usize {
        self.entries.iter().filter(|e| e.owner == owner).count()
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Frames, Owner};
    use spin::{Mutex, MutexGuard};

    /// The machine's storage has anything in it when the hypervisor begins.
    #[test]
    fn a_table_that_was_something_else_has_nothing_free() {
        static TABLE: Mutex<[Entry; 4]> = Mutex::new([Entry::FREE; 4]);
        let table: &mut [Entry; 4] = MutexGuard::leak(TABLE.lock());
        let frames = Frames::new(table);
        assert_eq!(frames.count(Owner::FREE), 0);
        assert_eq!(frames.count(Owner::PLATFORM), 4);
    }
}
