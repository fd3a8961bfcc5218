//! A slab: pages cut into blocks of one class, which are one vCPU's to give out.
//!
//! ```text
//!  0                                                         SLAB - 256   - 128
//!  | block | block | block |  ...                    | rest | home, class | free list, count |
//! ```
//!
//! Whoever has a block finds the header by the block's address. Its first line never changes while a block
//! is out, so that others may read it; the second is the home's alone.

use crate::block::{Block, List};
use crate::class::Class;
use core::cell::Cell;
use core::ops::Deref;
use core::ptr::NonNull;

/// Bytes of a slab, and its alignment.
pub const SLAB: usize = 16 << 10;
/// Where its header is.
const HEADER: usize = SLAB - size_of::<Header>();

/// What a slab knows of itself.
#[repr(C, align(128))]
pub(crate) struct Header {
    /// The vCPU whose it is.
    home: usize,
    class: Class,
    own: Own,
}

/// The part that only the home's vCPU looks at.
#[repr(align(128))]
struct Own {
    free: List,
    /// After so many frees the slab must be seen to. While blocks are taken from it, one more than are in
    /// use; in the list of those with free blocks, as many as are in use; one, when all are.
    until: Cell<u32>,
    /// Whether it is in that list, and its neighbours there.
    listed: Cell<bool>,
    next: Cell<Option<Slab>>,
    previous: Cell<Option<Slab>>,
}

impl Own {
    /// With nothing in use, for blocks to be taken.
    fn new() -> Own {
        let (listed, until) = (Cell::new(false), Cell::new(1));
        let (next, previous) = (Cell::new(None), Cell::new(None));
        Own { free: List::empty(), until, listed, next, previous }
    }
}

/// A slab, by its header: who has one is its home, or has a block of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slab(NonNull<Header>);

impl Deref for Slab {
    type Target = Header;

    #[inline(always)]
    fn deref(&self) -> &Header {
        // SAFETY: a header that was written when the slab began, and lives while it has a home.
        unsafe { self.0.as_ref() }
    }
}

impl Slab {
    /// That of a block.
    ///
    /// # Safety
    /// The block is of a slab.
    #[inline(always)]
    pub(crate) unsafe fn of(block: &Block) -> Slab {
        let header = |address: usize| (address & !(SLAB - 1)) + HEADER;
        // SAFETY: an address in the block's slab, so it is not zero.
        Slab(unsafe { NonNull::new_unchecked(block.as_ptr().map_addr(header).cast()) })
    }

    /// Begins a slab, whose blocks are all free, for blocks to be taken from it.
    ///
    /// # Safety
    /// `at` has [`SLAB`] bytes, aligned to as many, which are nobody else's.
    pub(crate) unsafe fn begin(at: NonNull<u8>, home: usize, class: Class) -> Slab {
        let own = Own::new();
        let last = HEADER / class.size() * class.size();
        for offset in (0..last).step_by(class.size()).rev() {
            // SAFETY: within the slab.
            let block = unsafe { at.add(offset) };
            // SAFETY: nobody else has any of it; sizes and with them offsets are multiples of 16.
            own.free.push(unsafe { Block::new(block) });
        }
        // SAFETY: the last bytes of the slab.
        let slab = Slab(unsafe { at.add(HEADER) }.cast());
        // SAFETY: there is room, no block is there, and the header's size and so its place are aligned.
        unsafe { slab.0.write(Header { home, class, own }) };
        slab
    }

    /// Ends it: its bytes.
    ///
    /// # Safety
    /// No block is in use, and nobody looks at it any more.
    pub(crate) unsafe fn end(self) -> NonNull<u8> {
        // SAFETY: the header is so many bytes from the slab's first.
        unsafe { self.0.cast::<u8>().sub(HEADER) }
    }
}

impl Header {
    /// The vCPU whose it is.
    #[inline(always)]
    pub(crate) fn home(&self) -> usize {
        self.home
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// A block, of the slab that blocks are taken from.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<Block> {
        let block = self.own.free.pop()?;
        self.own.until.set(self.own.until.get().wrapping_add(1));
        Some(block)
    }

    /// Puts a block back; whether the slab must be seen to now: the first block of a full one is free, or
    /// the last one in use of one that is in a list.
    #[inline(always)]
    pub(crate) fn put(&self, block: Block) -> bool {
        self.own.free.push(block);
        let until = self.own.until.get().wrapping_sub(1);
        self.own.until.set(until);
        until == 0
    }

    /// No more blocks are taken from it, as there is none: the next one that comes back is to be seen to.
    pub(crate) fn exhausted(&self) {
        self.own.until.set(1);
    }

    /// Whether no block is in use of a slab that blocks are taken from.
    pub(crate) fn is_unused(&self) -> bool {
        self.own.until.get() == 1
    }

    /// Whether it is in a list of those with free blocks.
    pub(crate) fn is_listed(&self) -> bool {
        self.own.listed.get()
    }

    /// How many blocks it has.
    fn capacity(&self) -> u32 {
        (HEADER / self.class.size()) as u32
    }
}

/// The slabs of a vCPU's that have free blocks, and are not taken from now.
pub(crate) struct Slabs(Cell<Option<Slab>>);

impl Slabs {
    pub(crate) const fn empty() -> Slabs {
        Slabs(Cell::new(None))
    }

    /// Puts in one that was full, of which one block is free now.
    pub(crate) fn insert(&self, slab: Slab) {
        let (own, next) = (&slab.own, self.0.replace(Some(slab)));
        own.until.set(slab.capacity() - 1);
        own.listed.set(true);
        own.previous.set(None);
        own.next.set(next);
        if let Some(next) = next {
            next.own.previous.set(Some(slab));
        }
    }

    /// Whether there are others beside this one.
    pub(crate) fn has_others(&self, slab: Slab) -> bool {
        self.0.get() != Some(slab) || slab.own.next.get().is_some()
    }

    /// Takes out one of which no block is in use.
    pub(crate) fn remove_unused(&self) -> Option<Slab> {
        let mut slabs = core::iter::successors(self.0.get(), |slab| slab.own.next.get());
        let unused = slabs.find(|slab| slab.own.until.get() == 0)?;
        self.remove(unused);
        Some(unused)
    }

    /// Takes one out.
    pub(crate) fn remove(&self, slab: Slab) {
        let (next, previous) = (slab.own.next.get(), slab.own.previous.get());
        match previous {
            Some(previous) => previous.own.next.set(next),
            None => self.0.set(next),
        }
        if let Some(next) = next {
            next.own.previous.set(previous);
        }
        slab.own.listed.set(false);
    }

    /// Takes one out for blocks to be taken from it.
    pub(crate) fn pop(&self) -> Option<Slab> {
        let slab = self.0.get()?;
        self.remove(slab);
        slab.own.until.set(slab.own.until.get() + 1);
        Some(slab)
    }
}
