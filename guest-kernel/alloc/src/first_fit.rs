//! A range of memory as a source: the first hole that is large enough is cut. It looks at one hole after
//! another, which is good enough for slabs and for what is larger.

use crate::node::Source;
use core::alloc::Layout;
use core::ptr::NonNull;
use linked_list_allocator::Heap;

/// A range of addresses.
pub struct FirstFit(Heap);

impl FirstFit {
    /// A range without any.
    pub const fn empty() -> FirstFit {
        FirstFit(Heap::empty())
    }

    /// Gives it its memory.
    ///
    /// # Safety
    /// To be called once, with `bytes` of memory from `start` on that nothing else uses.
    pub unsafe fn start(&mut self, start: *mut u8, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.init(start, bytes) };
    }
}

// SAFETY: it cuts pieces that do not overlap out of memory that nothing else uses.
unsafe impl Source for FirstFit {
    fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.allocate_first_fit(layout).ok()
    }

    // SAFETY: the trait's own contract.
    unsafe fn give_back(&mut self, at: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.deallocate(at, layout) };
    }

    fn owns(&self, at: NonNull<u8>) -> bool {
        (self.0.bottom()..self.0.top()).contains(&at.as_ptr())
    }
}
