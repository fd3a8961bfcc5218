//! A node: the vCPUs near some memory, and that memory. It gives them slabs and takes them back, and
//! whatever is too large for a slab's blocks. Here is the only lock.

use crate::block::{Block, List};
use crate::counts::{Count, Counts};
use crate::slab::SLAB;
use core::alloc::Layout;
use core::ptr::NonNull;
use spin::{Mutex, MutexGuard};

/// So many slabs a node keeps that nobody uses.
const KEPT: usize = 8;
const LAYOUT: Layout = match Layout::from_size_align(SLAB, SLAB) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// Where a node's memory comes from. The type says what memory that is: pools with a source of pinned pages
/// are of another type than pools with a source of pages that may be paged out.
///
/// # Safety
/// What [`Source::take`] gives is memory for reading and writing, aligned and of the size asked for, which
/// nobody else has until it is given back.
pub unsafe trait Source {
    /// Memory with this layout, with any bytes in it; its size is not zero.
    fn take(&mut self, layout: Layout) -> Option<NonNull<u8>>;

    /// Takes it back.
    ///
    /// # Safety
    /// It was given with this layout, and nobody uses it any more.
    unsafe fn give_back(&mut self, at: NonNull<u8>, layout: Layout);

    /// Whether this memory is from here, and not from another node's source.
    fn owns(&self, at: NonNull<u8>) -> bool;
}

/// A node with its source of memory.
pub struct Node<S>(Mutex<Store<S>>);

/// What the node's lock is for.
pub(crate) struct Store<S> {
    pub(crate) source: S,
    slabs: List,
    kept: usize,
}

// SAFETY: the slabs in its list are the store's own, wherever it is.
unsafe impl<S: Send> Send for Store<S> {}

impl<S> Node<S> {
    /// A node whose memory comes from there.
    pub const fn new(source: S) -> Node<S> {
        Node(Mutex::new(Store { source, slabs: List::empty(), kept: 0 }))
    }

    /// Takes the lock.
    pub(crate) fn lock(&self, counts: &Counts<Count>) -> MutexGuard<'_, Store<S>> {
        counts.locks.add();
        self.0.try_lock().unwrap_or_else(|| {
            counts.contended.add();
            self.0.lock()
        })
    }
}

impl<S: Source> Store<S> {
    /// Memory for a slab: [`SLAB`] bytes, aligned to as many.
    pub(crate) fn take_slab(&mut self) -> Option<NonNull<u8>> {
        match self.slabs.pop() {
            Some(slab) => {
                self.kept -= 1;
                Some(slab.into_raw())
            }
            None => self.source.take(LAYOUT),
        }
    }

    /// Takes a slab's memory back.
    ///
    /// # Safety
    /// It was given by [`Store::take_slab`], and nobody uses it any more.
    pub(crate) unsafe fn give_slab(&mut self, at: NonNull<u8>) {
        if self.kept < KEPT {
            self.kept += 1;
            // SAFETY: nobody uses it, says the caller, and it is large enough.
            self.slabs.push(unsafe { Block::new(at) });
        } else {
            // SAFETY: it came from there.
            unsafe { self.source.give_back(at, LAYOUT) };
        }
    }

    /// Gives back to the source what nobody uses.
    pub(crate) fn release(&mut self) {
        while let Some(slab) = self.slabs.pop() {
            // SAFETY: it came from there, and was in the list.
            unsafe { self.source.give_back(slab.into_raw(), LAYOUT) };
        }
        self.kept = 0;
    }
}
