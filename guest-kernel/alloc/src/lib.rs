//! Memory in small pieces for many vCPUs at once, as K42 has it: what a vCPU frees it gets again, still in
//! its cache, and no lock is taken and no other vCPU's memory touched on the way.
//!
//! ```text
//!  vCPU 0                          vCPU 1
//!  a slab of each class            a slab of each class      16 to 2048 bytes: no lock
//!     ▲      └── batches ──► inbox ──┘                       freed elsewhere: home in batches
//!     │ slabs of 16 KiB             │
//!  node: slabs that nobody uses, a lock                      larger than 2048 bytes as well
//!     │
//!  source of pages                                           whoever has the pools says which
//! ```
//!
//! [`Pools`] is all of it, for one [`Source`] of pages; it is a global allocator, too. Whoever makes one says
//! by a [`Processor`] on which vCPU it is:
//!
//! ```
//! use k42_alloc::{Node, Pools, Processor, Source};
//! use std::alloc::{Layout, alloc, dealloc};
//! use std::ptr::NonNull;
//!
//! struct Only;
//! // SAFETY: there is one, as one thread uses the pools.
//! unsafe impl Processor for Only {
//!     fn current() -> usize {
//!         0
//!     }
//! }
//!
//! struct Host;
//! // SAFETY: the host's own allocator does as much.
//! unsafe impl Source for Host {
//!     fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
//!         NonNull::new(unsafe { alloc(layout) })
//!     }
//!     unsafe fn give_back(&mut self, at: NonNull<u8>, layout: Layout) {
//!         unsafe { dealloc(at.as_ptr(), layout) }
//!     }
//!     fn owns(&self, _: NonNull<u8>) -> bool {
//!         true
//!     }
//! }
//!
//! let pools: Pools<Only, Host, 1> = Pools::new([Node::new(Host)]);
//! let layout = Layout::new::<[u64; 5]>();
//! let at = pools.allocate(layout).unwrap();
//! unsafe { pools.free(at, layout) };
//! assert_eq!(pools.allocate(layout), Some(at));
//! assert_eq!((pools.counts(0).local_frees, pools.counts(0).locks), (1, 1));
//! # unsafe { pools.free(at, layout) };
//! # pools.tidy();
//! ```
//!
//! By file: [`class`] which sizes there are, [`block`] what is free, [`slab`] pages cut into blocks, [`vcpu`]
//! what each vCPU has, [`remote`] the way home, [`node`] the lock and what is below, [`first_fit`] a source,
//! [`counts`] what is counted, [`pools`] the ways through all of these.
#![no_std]

mod block;
mod class;
mod counts;
mod first_fit;
mod node;
mod pools;
mod remote;
mod slab;
mod vcpu;

pub use class::SIZES;
pub use counts::Counts;
pub use first_fit::FirstFit;
pub use node::{Node, Source};
pub use pools::Pools;
pub use remote::BATCH;
pub use slab::SLAB;

/// Who is running.
///
/// # Safety
/// [`Processor::current`] is always less than the number of vCPUs of all [`Pools`] with this processor, and
/// [`Processor::own`] is what it says. While
/// somebody runs in a function of theirs its answer stays, and nobody runs there with the same: neither a
/// vCPU's other threads nor its interrupts come in between. What follows with the same answer sees what went
/// before.
pub unsafe trait Processor {
    /// The number of this vCPU.
    fn current() -> usize;

    /// Its own of what there is for each vCPU: the one with its number. Who has a shorter way may go that:
    /// what each vCPU has of its own keeps [`Pools::part`], for pools that live for ever.
    #[inline(always)]
    fn own<T>(all: &[T]) -> &T {
        debug_assert!(Self::current() < all.len());
        // SAFETY: the trait's promise.
        unsafe { all.get_unchecked(Self::current()) }
    }

    /// The node that a vCPU belongs to.
    #[inline(always)]
    fn node(vcpu: usize) -> usize {
        let _ = vcpu;
        0
    }

    /// Comes between two looks at what other vCPUs change: a model lets them run here.
    #[inline(always)]
    fn step() {}
}
