//! The way home of blocks that another vCPU has freed. The one that frees them collects a batch for each
//! home; a batch goes into the home's inbox at once, and the home empties that at once, when it has
//! nothing else to give. Nobody takes single blocks out, so that an inbox which looks as before is as
//! good as the one before.

use crate::Processor;
use crate::block::{Block, Link, List};
use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

/// So many blocks go home at once.
pub const BATCH: u32 = 32;

/// Blocks of one home, on the vCPU that has freed them.
pub(crate) struct Outgoing {
    first: Cell<Option<NonNull<Link>>>,
    last: Cell<Option<NonNull<Link>>>,
    count: Cell<u32>,
}

impl Outgoing {
    pub(crate) const fn empty() -> Outgoing {
        Outgoing { first: Cell::new(None), last: Cell::new(None), count: Cell::new(0) }
    }

    /// One more; whether the batch is full.
    #[inline]
    pub(crate) fn push(&self, block: Block) -> bool {
        let first = self.first.get();
        let block = Some(block.link(first));
        self.first.set(block);
        if first.is_none() {
            self.last.set(block);
        }
        let count = self.count.get() + 1;
        self.count.set(count);
        count >= BATCH
    }

    /// Takes all out: the first and the last.
    fn take(&self) -> Option<(NonNull<Link>, NonNull<Link>)> {
        self.count.set(0);
        Some((self.first.take()?, self.last.take()?))
    }
}

/// What has come home to a vCPU, from all others. A cache line of its own.
#[repr(align(128))]
pub(crate) struct Inbox(AtomicPtr<Link>);

impl Inbox {
    pub(crate) const fn empty() -> Inbox {
        Inbox(AtomicPtr::new(ptr::null_mut()))
    }

    /// Puts a batch in; false if there is none.
    pub(crate) fn receive<P: Processor>(&self, batch: &Outgoing) -> bool {
        let Some((first, last)) = batch.take() else { return false };
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: the last block of the batch, which is nobody else's yet.
            let last = unsafe { Block::new(last.cast()) };
            last.link(NonNull::new(head));
            P::step();
            let (now, order) = (first.as_ptr(), Ordering::Release);
            match self.0.compare_exchange_weak(head, now, order, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => head = other,
            }
        }
    }

    /// Takes all out, and sees what those saw who put them in.
    pub(crate) fn take<P: Processor>(&self) -> Option<List> {
        NonNull::new(self.0.load(Ordering::Relaxed))?;
        P::step();
        let first = NonNull::new(self.0.swap(ptr::null_mut(), Ordering::Acquire));
        // SAFETY: linked by those who put them in, and the inbox's until now.
        first.map(|first| unsafe { List::from_first(first) })
    }
}
