//! A block that is free has a link to the next in its first word. Whoever has a [`Block`], or a list of them,
//! is its only owner: what is unsafe is to say so, when a block comes back.

use core::cell::Cell;
use core::ptr::NonNull;

/// What stands in a block that is free.
#[repr(C)]
pub(crate) struct Link {
    pub(crate) next: Option<NonNull<Link>>,
}

/// A block that nobody uses: who has the value may use it.
pub(crate) struct Block(NonNull<Link>);

impl Block {
    /// The block at an address.
    ///
    /// # Safety
    /// It is a block of a slab's, or memory of 16 bytes and more with that alignment, and nobody uses
    /// it any more.
    #[inline(always)]
    pub(crate) unsafe fn new(at: NonNull<u8>) -> Block {
        Block(at.cast())
    }

    /// Gives it up to whoever is to use it.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> NonNull<u8> {
        self.0.cast()
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    /// Says which comes after it.
    #[inline(always)]
    pub(crate) fn link(self, next: Option<NonNull<Link>>) -> NonNull<Link> {
        // SAFETY: nobody else uses the block, which is large enough and aligned.
        unsafe { self.0.write(Link { next }) };
        self.0
    }
}

/// Blocks that are free, one leading to the next.
pub(crate) struct List(Cell<Option<NonNull<Link>>>);

impl List {
    pub(crate) const fn empty() -> List {
        List(Cell::new(None))
    }

    /// The blocks from this one on.
    ///
    /// # Safety
    /// They were linked, and are nobody else's.
    pub(crate) unsafe fn from_first(first: NonNull<Link>) -> List {
        List(Cell::new(Some(first)))
    }

    #[inline(always)]
    pub(crate) fn push(&self, block: Block) {
        self.0.set(Some(block.link(self.0.get())));
    }

    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<Block> {
        let first = self.0.get()?;
        // SAFETY: what is in the list was linked, and is the list's.
        let link = unsafe { first.read() };
        self.0.set(link.next);
        Some(Block(first))
    }
}
