//! The kernel's own memory: a first-fit heap for its objects.

use core::alloc::Layout;
use core::ops::Range;
use linked_list_allocator::LockedHeap;

#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

/// Gives the heap its memory.
///
/// # Safety
/// To be called once, with guest real addresses that nothing else uses.
pub unsafe fn start(range: Range<u64>) {
    let base = (crate::LINEAR_BASE | range.start) as *mut u8;
    let size = (range.end - range.start) as usize;
    // SAFETY: the caller's promise.
    unsafe { HEAP.lock().init(base, size) };
}

/// Zeroed memory for ever; `None` when there is not enough.
pub fn take(bytes: u64, alignment: u64) -> Option<*mut u8> {
    let layout = Layout::from_size_align(bytes as usize, alignment as usize).ok()?;
    // SAFETY: callers never ask for zero bytes.
    let pointer = unsafe { alloc::alloc::alloc_zeroed(layout) };
    (!pointer.is_null()).then_some(pointer)
}
