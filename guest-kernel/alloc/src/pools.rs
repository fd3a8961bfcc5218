//! The pools of all vCPUs, and the ways through them.

use crate::Processor;
use crate::block::Block;
use crate::class::Class;
use crate::counts::Counts;
use crate::node::{Node, Source, Store};
use crate::slab::Slab;
use crate::vcpu::Vcpu;
use core::alloc::{GlobalAlloc, Layout};
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use spin::MutexGuard;

/// Memory in pieces of any size: for each vCPU a pool, for each node the pages that these have theirs from.
pub struct Pools<P, S, const VCPUS: usize, const NODES: usize = 1> {
    vcpus: [Vcpu<VCPUS>; VCPUS],
    nodes: [Node<S>; NODES],
    processor: PhantomData<fn() -> P>,
}

// SAFETY: a vCPU's own part is used by whoever `Processor::current` says it is, one at a time; counts and
// inboxes are atomic, and the nodes have locks. Blocks may be freed anywhere.
unsafe impl<P, S: Send, const VCPUS: usize, const NODES: usize> Sync for Pools<P, S, VCPUS, NODES> {}
// SAFETY: the same, and what the pools have is theirs.
unsafe impl<P, S: Send, const VCPUS: usize, const NODES: usize> Send for Pools<P, S, VCPUS, NODES> {}

impl<P: Processor, S: Source, const VCPUS: usize, const NODES: usize> Pools<P, S, VCPUS, NODES> {
    /// Pools that have nothing yet.
    pub const fn new(nodes: [Node<S>; NODES]) -> Self {
        Pools { vcpus: [const { Vcpu::new() }; VCPUS], nodes, processor: PhantomData }
    }

    /// Memory with this layout, whose size is not zero, with any bytes in it. `None` when there is none,
    /// neither of this vCPU's nor of its node's.
    #[inline]
    pub fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        match self.here().current(layout).and_then(|slab| slab.take()) {
            Some(block) => Some(block.into_raw()),
            None => self.allocate_slowly(layout),
        }
    }

    /// Takes memory back, on whichever vCPU.
    ///
    /// # Safety
    /// These pools gave it with this layout, and nobody uses it any more.
    #[inline]
    pub unsafe fn free(&self, at: NonNull<u8>, layout: Layout) {
        if !Class::serves(layout) {
            // SAFETY: the caller's promise.
            return unsafe { self.free_pages(at, layout) };
        }
        // SAFETY: nobody uses it, and what has a class is a block.
        let block = unsafe { Block::new(at) };
        // SAFETY: every block with a class is a slab's.
        let slab = unsafe { Slab::of(&block) };
        debug_assert!(Class::of(layout) == Some(slab.class()), "freed with another layout");
        if slab.home() == P::current() {
            self.here().counts.local_frees.add();
            self.put(slab, block);
        } else {
            self.free_remotely(block, slab.home());
        }
    }

    /// Sends home what this vCPU has of others', takes in what it has got, and gives its node what it does
    /// not use: for when it idles, before it goes down, and when memory is short.
    pub fn tidy(&self) {
        let here = self.here();
        for home in 0..VCPUS {
            self.send(home);
        }
        self.receive();
        for class in Class::all() {
            while let Some(slab) = here.unused(class) {
                self.give_back(slab);
            }
        }
        self.node().release();
    }

    /// What a vCPU has counted.
    pub fn counts(&self, vcpu: usize) -> Counts {
        self.vcpus[vcpu].counts.read()
    }

    /// A vCPU's part of the pools, for [`Processor::own`].
    pub fn part(&self, vcpu: usize) -> *const () {
        (&raw const self.vcpus[vcpu]).cast()
    }

    /// Looks at a node's source, with the node's lock held: who looks must not ask these pools.
    pub fn look<A>(&self, node: usize, look: impl FnOnce(&S) -> A) -> A {
        look(&self.nodes[node].lock(&self.here().counts).source)
    }

    /// Changes a node's source, as [`Pools::look`] looks at it.
    ///
    /// # Safety
    /// What the source has given it still has to take back.
    pub unsafe fn change<A>(&self, node: usize, change: impl FnOnce(&mut S) -> A) -> A {
        change(&mut self.nodes[node].lock(&self.here().counts).source)
    }

    /// This vCPU's own.
    #[inline(always)]
    fn here(&self) -> &Vcpu<VCPUS> {
        P::own(&self.vcpus)
    }

    /// This vCPU's node.
    fn node(&self) -> MutexGuard<'_, Store<S>> {
        self.nodes[P::node(P::current())].lock(&self.here().counts)
    }

    /// Puts a block of this vCPU's back.
    #[inline(always)]
    fn put(&self, slab: Slab, block: Block) {
        if slab.put(block) {
            self.see_to(slab);
        }
    }

    #[cold]
    fn see_to(&self, slab: Slab) {
        if let Some(slab) = self.here().see_to(slab) {
            self.give_back(slab);
        }
    }

    #[inline(never)] // the arguments in an order that has `free` move nothing
    fn free_remotely(&self, block: Block, home: usize) {
        let here = self.here();
        here.counts.remote_frees.add();
        if here.outgoing[home].push(block) {
            self.send(home);
        }
    }

    /// Sends a batch home.
    fn send(&self, home: usize) {
        let here = self.here();
        if self.vcpus[home].inbox.receive::<P>(&here.outgoing[home]) {
            here.counts.batches.add();
        }
    }

    /// Takes in what has come home.
    fn receive(&self) {
        let here = self.here();
        let Some(blocks) = here.inbox.take::<P>() else { return };
        here.counts.receipts.add();
        while let Some(block) = blocks.pop() {
            // SAFETY: only blocks of this vCPU's slabs are sent to it.
            let slab = unsafe { Slab::of(&block) };
            self.put(slab, block);
        }
    }

    /// A block of a class whose slab has none left: of what has come home, or of another of its slabs, or of
    /// a new one.
    #[cold]
    fn allocate_slowly(&self, layout: Layout) -> Option<NonNull<u8>> {
        let Some(class) = Class::of(layout) else { return self.allocate_pages(layout) };
        let here = self.here();
        self.receive();
        let mut block = here.take(class);
        if block.is_none() && !self.refill(class) {
            self.tidy();
            block = here.take(class);
            if block.is_none() && !self.refill(class) {
                return None;
            }
        }
        block.or_else(|| here.take(class)).map(Block::into_raw)
    }

    /// Gets a new slab from the node, if it has one.
    fn refill(&self, class: Class) -> bool {
        // The lock is not held while the slab is begun.
        let at = self.node().take_slab();
        let Some(at) = at else { return false };
        let here = self.here();
        here.counts.refills.add();
        // SAFETY: memory of a slab's size and alignment, just got.
        here.begin(class, unsafe { Slab::begin(at, P::current(), class) });
        true
    }

    /// Gives a slab of this vCPU's that has no block in use, and is in no place any more, to the node.
    fn give_back(&self, slab: Slab) {
        self.here().counts.returns.add();
        // SAFETY: as said.
        let at = unsafe { slab.end() };
        // SAFETY: its memory came from there: a vCPU stays in its node.
        unsafe { self.node().give_slab(at) };
    }

    fn allocate_pages(&self, layout: Layout) -> Option<NonNull<u8>> {
        let at = self.node().source.take(layout);
        at.or_else(|| {
            self.tidy();
            self.node().source.take(layout)
        })
    }

    /// [`Pools::free`] of what is no block.
    ///
    /// # Safety
    /// As there.
    #[cold]
    unsafe fn free_pages(&self, at: NonNull<u8>, layout: Layout) {
        let counts = &self.here().counts;
        let mut nodes = self.nodes.iter().map(|node| node.lock(counts));
        if let Some(mut node) = nodes.find(|node| node.source.owns(at)) {
            // SAFETY: the caller's promise, and it is from this node.
            unsafe { node.source.give_back(at, layout) };
        }
    }
}

// SAFETY: memory that is given is nobody else's until it is freed, aligned and large enough.
unsafe impl<P: Processor, S: Source, const VCPUS: usize, const NODES: usize> GlobalAlloc
    for Pools<P, S, VCPUS, NODES>
{
    // SAFETY: the trait's own contract.
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.allocate(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    // SAFETY: the trait's own contract.
    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller has it from `alloc`, which gives no null pointer to anybody who frees it.
        let at = unsafe { NonNull::new_unchecked(at) };
        // SAFETY: the caller's promise.
        unsafe { self.free(at, layout) };
    }

    // SAFETY: the trait's own contract.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: with the alignment it is no more than an `isize` holds.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let class = Class::of(layout);
        if class.is_some() && class == Class::of(wanted) {
            return at;
        }
        // SAFETY: the size is not zero, says the caller.
        let new = unsafe { self.alloc(wanted) };
        if !new.is_null() {
            // SAFETY: both have so many bytes, and are two.
            unsafe { ptr::copy_nonoverlapping(at, new, size.min(layout.size())) };
            // SAFETY: the caller's promise.
            unsafe { self.dealloc(at, layout) };
        }
        new
    }
}
