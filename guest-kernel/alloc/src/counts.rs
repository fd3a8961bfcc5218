//! What a vCPU counts of its pools. It alone writes; anybody may read.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one vCPU, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts<T = u64> {
    /// Blocks freed that were its own.
    pub local_frees: T,
    /// Blocks freed that were another's.
    pub remote_frees: T,
    /// Batches of those sent home.
    pub batches: T,
    /// Times that it found its inbox filled, and took what was in it.
    pub receipts: T,
    /// Slabs that it got from its node.
    pub refills: T,
    /// Slabs that it gave back.
    pub returns: T,
    /// Times it took its node's lock: for slabs, and for what is larger than any block.
    pub locks: T,
    /// Times it had to wait for that.
    pub contended: T,
}

/// A count that one vCPU adds to. It costs what a plain number does.
pub(crate) struct Count(AtomicU64);

impl Count {
    const fn zero() -> Count {
        Count(AtomicU64::new(0))
    }

    #[inline(always)]
    pub(crate) fn add(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

impl Counts<Count> {
    pub(crate) const fn new() -> Counts<Count> {
        Counts {
            local_frees: Count::zero(),
            remote_frees: Count::zero(),
            batches: Count::zero(),
            receipts: Count::zero(),
            refills: Count::zero(),
            returns: Count::zero(),
            locks: Count::zero(),
            contended: Count::zero(),
        }
    }

    pub(crate) fn read(&self) -> Counts {
        let read = |count: &Count| count.0.load(Relaxed);
        Counts {
            local_frees: read(&self.local_frees),
            remote_frees: read(&self.remote_frees),
            batches: read(&self.batches),
            receipts: read(&self.receipts),
            refills: read(&self.refills),
            returns: read(&self.returns),
            locks: read(&self.locks),
            contended: read(&self.contended),
        }
    }
}
