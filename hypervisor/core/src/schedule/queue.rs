//! A processor's queue: its vCPUs that are not on it, each with its rank and with the time at which
//! somebody must look at it again.

use super::SLICE_TICKS;
use super::account::Rank;
use crate::machine::ProcessorId;
use crate::vcpu::{MAX_VCPUS, VcpuId};
use arrayvec::ArrayVec;

/// A set of processors, a bit for each.
pub type Processors = u32;

/// A processor in a set.
pub(crate) fn bit(processor: ProcessorId) -> Processors {
    1u32.checked_shl(processor.0).unwrap_or(0)
}

/// A vCPU in a queue.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) vcpu: VcpuId,
    pub(super) rank: Rank,
    /// When it is due: its sleep ends, or its rank changes.
    pub(super) until: u64,
    /// The processors that may run it.
    pub(super) processors: Processors,
    /// Its part of what is shared; 1 at least, for one that has only reserved time.
    pub(super) weight: u16,
}

/// What a processor does next.
pub(super) enum Choice {
    /// See to this vCPU, which was due and is in the queue no longer.
    Due(VcpuId),
    /// Run this one, which is in the queue no longer.
    Run(VcpuId, Rank),
    /// There is nothing to run.
    Nothing,
}

/// A processor's vCPUs that are not on it, and what the others must know of the one that is.
pub struct RunQueue {
    entries: ArrayVec<Entry, MAX_VCPUS>,
    /// Its virtual time: the least of those that were there when one was chosen last.
    pub(super) pass: u64,
    /// The vCPU on the processor, as it was when it was chosen.
    pub(super) running: Option<Entry>,
    /// To be chosen before others that share, once.
    pub(super) favourite: Option<VcpuId>,
    /// When the first of those that were there when one was chosen last is due.
    pub(super) due: u64,
}

impl RunQueue {
    /// An empty queue.
    pub const EMPTY: RunQueue = RunQueue {
        entries: ArrayVec::new_const(),
        pass: 0,
        running: None,
        favourite: None,
        due: u64::MAX,
    };

    /// Puts a vCPU in, or in its old entry's place.
    pub(super) fn insert(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|old| old.vcpu == entry.vcpu) {
            Some(old) => *old = entry,
            None => _ = self.entries.try_push(entry), // there is room for every vCPU
        }
    }

    /// Takes a vCPU out, if it is there.
    pub(super) fn remove(&mut self, vcpu: VcpuId) {
        self.entries.retain(|entry| entry.vcpu != vcpu);
    }

    /// How often it has a vCPU.
    #[cfg(feature = "walker")]
    pub(crate) fn holds(&self, vcpu: VcpuId) -> usize {
        self.all().filter(|other| *other == vcpu).count()
    }

    /// All that it has.
    #[cfg(feature = "walker")]
    pub(crate) fn all(&self) -> impl Iterator<Item = VcpuId> {
        self.entries.iter().map(|entry| entry.vcpu)
    }

    /// What to do next. One that has yielded goes after all others, but does not lose its place.
    #[inline(never)]
    pub(super) fn choose(&mut self, now: u64, yielded: Option<VcpuId>) -> Choice {
        let (mut least, mut index) = (Rank::WAITS, usize::MAX);
        let mut due = u64::MAX;
        for (at, entry) in self.entries.iter().enumerate() {
            due = due.min(entry.until);
            let turn = if Some(entry.vcpu) == yielded { Rank::LAST } else { Rank::FIRST };
            let rank = entry.rank.max(turn);
            if rank < least {
                (least, index) = (rank, at);
            }
        }
        if due <= now {
            let due = self.entries.iter().position(|entry| entry.until <= now);
            if let Some(entry) = due.and_then(|at| self.entries.swap_pop(at)) {
                return Choice::Due(entry.vcpu);
            }
        }
        self.due = due;
        self.running = None;
        let Some(rank) = self.entries.get(index).map(|entry| entry.rank) else {
            return Choice::Nothing;
        };
        if let Some(pass) = rank.pass() {
            self.pass = self.pass.max(pass);
            index = self.favourite_after(pass).unwrap_or(index);
            self.favourite = None;
        }
        let Some(entry) = self.entries.swap_pop(index) else { return Choice::Nothing };
        self.running = Some(entry);
        Choice::Run(entry.vcpu, entry.rank)
    }

    /// Where the favourite is, if it is no more than a slice ahead of the rest: nobody gets more
    /// than its share by being favoured.
    fn favourite_after(&self, pass: u64) -> Option<usize> {
        let favourite = self.favourite?;
        let most = Rank::shared(pass.saturating_add(SLICE_TICKS));
        let fits = |entry: &Entry| entry.vcpu == favourite && entry.rank <= most;
        self.entries.iter().position(fits)
    }

    /// Whether one of its vCPUs may have to wait for another.
    pub(super) fn is_contended(&self) -> bool {
        self.running.is_some() || self.entries.len() > 1
    }

    /// The weights of those that want the processor now.
    pub(super) fn load(&self) -> u64 {
        let sharing = self.entries.iter().filter(|entry| entry.rank.pass().is_some());
        sharing.chain(&self.running).map(|entry| u64::from(entry.weight)).sum()
    }

    /// Its load, and the first of its vCPUs that a processor with a load of `own` could run at once
    /// and be left with less.
    pub(super) fn spare(&self, own: u64, fits: impl Fn(&Entry) -> bool) -> Option<(u64, VcpuId)> {
        let load = self.load();
        let spare = self.entries.iter().filter(|entry| {
            let less = load.saturating_sub(own) > entry.weight.into();
            less && entry.rank.pass().is_some() && fits(entry)
        });
        spare.min_by_key(|entry| entry.rank).map(|first| (load, first.vcpu))
    }
}
