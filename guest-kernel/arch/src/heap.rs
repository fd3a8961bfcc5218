//! The kernel's own memory: pools for each vCPU (`k42-alloc`) over one range of pinned memory.

use core::alloc::Layout;
use core::ops::Range;
use k42_alloc::{FirstFit, Node, Pools, Processor};

/// The most vCPUs that the kernel has pools for.
pub const MAX_VCPUS: usize = hv_abi::MAX_DOMAIN_VCPUS;

/// The vCPU that the kernel runs on.
struct Vcpu;

// SAFETY: `start` has no vCPU beyond these, each has a number of its own, and the kernel runs with
// interrupts off.
unsafe impl Processor for Vcpu {
    #[inline(always)]
    fn current() -> usize {
        crate::vcpu::current() as usize
    }

    #[inline(always)]
    fn own<T>(_: &[T]) -> &T {
        // SAFETY: this vCPU's part of the heap, which lives for ever; no other pools have this processor.
        unsafe { &*crate::vcpu::this().pools.cast() }
    }
}

/// Memory that is always there: what is in it may be used wherever the kernel is. Its pages come from the
/// range that [`start`] is given.
#[global_allocator]
static HEAP: Pools<Vcpu, FirstFit, MAX_VCPUS> = Pools::new([Node::new(FirstFit::empty())]);

/// The pools that are the kernel's global allocator.
pub fn pinned() -> &'static Pools<impl Processor, FirstFit, MAX_VCPUS> {
    &HEAP
}

/// A vCPU's part of them, for its block.
pub(crate) fn part(vcpu: u32) -> *const () {
    HEAP.part(vcpu as usize)
}

/// Gives the heap its memory. From then on the vCPU that starts the kernel, which is number 0, has a heap.
///
/// # Safety
/// To be called once, with guest real addresses that nothing else uses.
pub unsafe fn start(range: Range<u64>) {
    let base = (crate::LINEAR_BASE | range.start) as *mut u8;
    let size = (range.end - range.start) as usize;
    // SAFETY: the caller's promise.
    let start = |source: &mut FirstFit| unsafe { source.start(base, size) };
    // SAFETY: it has given nothing yet.
    unsafe { HEAP.change(0, start) };
}

/// Zeroed memory for ever; `None` when there is not enough.
pub fn take(bytes: u64, alignment: u64) -> Option<*mut u8> {
    let layout = Layout::from_size_align(bytes as usize, alignment as usize).ok()?;
    // SAFETY: callers never ask for zero bytes.
    let pointer = unsafe { alloc::alloc::alloc_zeroed(layout) };
    (!pointer.is_null()).then_some(pointer)
}
