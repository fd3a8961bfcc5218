//! The host's memory as a source, and pieces of memory that notice when somebody else writes to them.
#![allow(dead_code, missing_docs)] // not every test takes all of it

use k42_alloc::Source;
use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::ptr::NonNull;

/// So many bytes at most, and who has them.
pub struct Ledger {
    pub left: usize,
    pub given: HashMap<usize, (NonNull<u8>, Layout)>,
}

// SAFETY: what it points to is the host's memory, of no thread.
unsafe impl Send for Ledger {}

impl Ledger {
    pub fn of(bytes: usize) -> Ledger {
        Ledger { left: bytes, given: HashMap::new() }
    }
}

// SAFETY: the host's own allocator does as much.
unsafe impl Source for Ledger {
    fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.left = self.left.checked_sub(layout.size())?;
        // SAFETY: the size is not zero, says the contract.
        let at = NonNull::new(unsafe { alloc(layout) })?;
        self.given.insert(at.addr().get(), (at, layout));
        Some(at)
    }

    unsafe fn give_back(&mut self, at: NonNull<u8>, layout: Layout) {
        let given = self.given.remove(&at.addr().get());
        assert_eq!(given, Some((at, layout)), "not given, or otherwise");
        self.left += layout.size();
        // SAFETY: given by `take` with this layout.
        unsafe { dealloc(at.as_ptr(), layout) };
    }

    fn owns(&self, at: NonNull<u8>) -> bool {
        self.given.contains_key(&at.addr().get())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        for (at, layout) in self.given.values() {
            // SAFETY: given by `take` with this layout; the pools are gone.
            unsafe { dealloc(at.as_ptr(), *layout) };
        }
    }
}

/// A piece of memory that somebody has, filled with a byte of its own.
pub struct Piece {
    pub at: NonNull<u8>,
    pub layout: Layout,
    pub byte: u8,
}

// SAFETY: nobody else has it.
unsafe impl Send for Piece {}

impl Piece {
    pub fn new(at: NonNull<u8>, layout: Layout, byte: u8) -> Piece {
        assert!(at.addr().get().is_multiple_of(layout.align()), "{at:?} for {layout:?}");
        // SAFETY: it has so many bytes.
        unsafe { at.write_bytes(byte, layout.size()) };
        Piece { at, layout, byte }
    }

    /// Nobody else has written to it.
    pub fn check(&self) {
        let start = self.at.as_ptr();
        // SAFETY: the piece has so many bytes, and all were written.
        let bytes = unsafe { core::slice::from_raw_parts(start, self.layout.size()) };
        let changed = bytes.iter().position(|byte| *byte != self.byte);
        assert_eq!(changed, None, "of {:?}", self.layout);
    }
}
