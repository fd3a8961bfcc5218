//! What the pools promise, one thing at a time.
#![allow(missing_docs)]
#![allow(clippy::multiple_unsafe_ops_per_block)] // one reason each: a block of this test's own

mod host;

use host::memory::{Ledger, Piece};
use host::{Near, Thread};
use k42_alloc::{BATCH, Counts, FirstFit, Node, Pools, SIZES, SLAB};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

type Two = Pools<Near, Ledger, 2>;

fn two(bytes: usize) -> Two {
    Thread::becomes(0);
    Pools::new([Node::new(Ledger::of(bytes))])
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

fn take(pools: &Two, size: usize, count: usize) -> Vec<NonNull<u8>> {
    (0..count).map(|_| pools.allocate(layout(size)).unwrap()).collect()
}

fn free(pools: &Two, size: usize, blocks: impl IntoIterator<Item = NonNull<u8>>) {
    for block in blocks {
        // SAFETY: taken above with this layout, and freed once.
        unsafe { pools.free(block, layout(size)) };
    }
}

fn given(pools: &Two) -> usize {
    pools.look(0, |source| source.given.len())
}

#[test]
fn what_is_freed_comes_again_and_no_lock_is_taken() {
    let pools = two(1 << 20);
    for size in SIZES {
        let first = pools.allocate(layout(size)).unwrap();
        free(&pools, size, [first]);
        let before = pools.counts(0);
        for _ in 0..1000 {
            let block = pools.allocate(layout(size)).unwrap();
            assert_eq!(block, first);
            free(&pools, size, [block]);
        }
        let wanted = Counts { local_frees: before.local_frees + 1000, ..before };
        assert_eq!(pools.counts(0), wanted);
    }
}

#[test]
fn a_slab_without_blocks_in_use_goes_back() {
    let pools = two(64 * SLAB);
    for size in [16, 1024, 2048] {
        let blocks = take(&pools, size, 20 * SLAB / size);
        let slabs = given(&pools);
        assert!((20..=24).contains(&slabs), "{slabs}");
        free(&pools, size, blocks);
        // The vCPU keeps the one that is taken from and another, the node some.
        assert!(given(&pools) <= 10, "{}", given(&pools));
        pools.tidy();
        assert_eq!(given(&pools), 0);
    }
}

#[test]
fn a_slab_goes_back_whatever_the_order() {
    let pools = two(64 * SLAB);
    let mut blocks = take(&pools, 512, 320);
    // The first of each slab, then the others from the back.
    let firsts: Vec<_> = blocks.iter().copied().step_by(31).collect();
    blocks.retain(|block| !firsts.contains(block));
    free(&pools, 512, firsts);
    free(&pools, 512, blocks.into_iter().rev());
    pools.tidy();
    assert_eq!(given(&pools), 0);
    assert_eq!(pools.counts(0).refills, pools.counts(0).returns);
}

#[test]
fn what_another_frees_goes_home_in_batches() {
    let pools = two(1 << 20);
    let batch = BATCH as usize;
    let blocks = take(&pools, 64, 10 * batch);
    let held = take(&pools, 64, (SLAB - 256) / 64 * 2 - 10 * batch);
    let before = pools.counts(0);
    Thread::becomes(1);
    free(&pools, 64, blocks[..10 * batch - 1].iter().copied());
    let counts = pools.counts(1);
    assert_eq!((counts.remote_frees, counts.batches, counts.locks), (10 * BATCH as u64 - 1, 9, 0));
    Thread::becomes(0);
    // The home gets what has been sent, all at once, and no slab.
    let again = take(&pools, 64, 9 * batch);
    assert!(again.iter().all(|block| blocks.contains(block)));
    assert_eq!(pools.counts(0), Counts { receipts: 1, ..before });
    // The rest comes when the other one tidies up.
    Thread::becomes(1);
    free(&pools, 64, blocks.last().copied());
    assert_eq!(pools.counts(1).batches, 10);
    free(&pools, 64, again.into_iter().chain(held));
    pools.tidy();
    Thread::becomes(0);
    pools.tidy();
    assert_eq!(given(&pools), 0);
}

#[test]
fn memory_that_is_used_up_is_no_crash() {
    let pools = two(4 * SLAB);
    let mut blocks = take(&pools, 2048, 4 * 7);
    assert_eq!(pools.allocate(layout(2048)), None);
    assert_eq!(pools.allocate(layout(16)), None);
    assert_eq!(pools.allocate(layout(4096)), None);
    // One slab's blocks free, and there is room for others.
    free(&pools, 2048, blocks.drain(..7));
    let small = take(&pools, 16, 1);
    assert_eq!(pools.allocate(layout(2048)), None);
    free(&pools, 16, small);
    // The slab is still that of 16 bytes: it is given up for what has none.
    let large = take(&pools, SLAB, 1);
    free(&pools, SLAB, large);
    free(&pools, 2048, blocks);
    pools.tidy();
    assert_eq!(given(&pools), 0);
}

#[test]
fn large_memory_passes_through() {
    let pools = two(1 << 20);
    let page = Layout::from_size_align(64 << 10, 64 << 10).unwrap();
    let at = pools.allocate(page).unwrap();
    assert!(at.addr().get().is_multiple_of(64 << 10));
    // SAFETY: just taken.
    unsafe { pools.free(at, page) };
    assert_eq!(given(&pools), 0);
}

#[test]
fn a_block_grows_where_it_is_as_far_as_it_goes() {
    let pools = two(1 << 20);
    let take = |size| Piece::new(pools.allocate(layout(size)).unwrap(), layout(size), 7);
    let grow = |piece: Piece, size| {
        // SAFETY: the piece is nobody else's, and no size here is zero.
        let at = unsafe { pools.realloc(piece.at.as_ptr(), piece.layout, size) };
        let kept = layout(size.min(piece.layout.size()));
        Piece { at: NonNull::new(at).unwrap(), layout: kept, byte: piece.byte }.check();
        Piece::new(NonNull::new(at).unwrap(), layout(size), piece.byte)
    };
    let piece = take(33);
    let at = piece.at;
    let mut piece = grow(piece, 48);
    assert_eq!(piece.at, at);
    for size in [49, 2048, 2049, 5000, 5] {
        let before = piece.at;
        piece = grow(piece, size);
        assert_ne!(piece.at, before);
    }
    free(&pools, 5, [piece.at]);
    pools.tidy();
    assert_eq!(given(&pools), 0);
}

#[test]
fn a_node_gets_its_own_memory_back() {
    let nodes = [Node::new(Ledger::of(1 << 20)), Node::new(Ledger::of(1 << 20))];
    let pools: Pools<Thread, Ledger, 4, 2> = Pools::new(nodes);
    let given = |node| pools.look(node, |source| source.given.len());
    Thread::becomes(3);
    let blocks: Vec<_> =
        [40, 40, 9000].map(|size| (size, pools.allocate(layout(size)).unwrap())).into();
    assert_eq!((given(0), given(1)), (0, 2));
    Thread::becomes(2);
    for (size, block) in blocks {
        // SAFETY: just taken.
        unsafe { pools.free(block, layout(size)) };
    }
    pools.tidy();
    Thread::becomes(3);
    pools.tidy();
    assert_eq!((given(0), given(1)), (0, 0));
}

#[test]
fn a_range_is_whole_again_in_the_end() {
    let mut memory = vec![0u128; 1 << 16];
    let (start, bytes) = (memory.as_mut_ptr().cast::<u8>(), size_of_val(&*memory));
    Thread::becomes(0);
    let pools: Pools<Near, FirstFit, 1> = Pools::new([Node::new(FirstFit::empty())]);
    assert_eq!(pools.allocate(layout(16)), None);
    let start = |source: &mut FirstFit| {
        // SAFETY: nothing else uses the memory, which lives longer than the pools are used.
        unsafe { source.start(start, bytes) }
    };
    // SAFETY: it has given nothing yet.
    unsafe { pools.change(0, start) };
    let sizes = || (1..6000).step_by(7);
    let taken = sizes().map_while(|size| Some((size, pools.allocate(layout(size))?)));
    let taken: Vec<_> = taken.collect();
    assert!(taken.len() > 200 && taken.len() < sizes().count());
    for (size, at) in taken {
        let address = at.addr().get();
        assert!((memory.as_ptr().addr()..memory.as_ptr().addr() + bytes - size).contains(&address));
        // SAFETY: just taken.
        unsafe { pools.free(at, layout(size)) };
    }
    pools.tidy();
    assert!(pools.allocate(layout(bytes - 64)).is_some());
}

#[test]
fn two_kinds_of_memory_are_two_types() {
    struct Paged(Ledger);
    // SAFETY: as the other is.
    unsafe impl k42_alloc::Source for Paged {
        fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
            self.0.take(layout)
        }
        unsafe fn give_back(&mut self, at: NonNull<u8>, layout: Layout) {
            // SAFETY: the caller's promise.
            unsafe { self.0.give_back(at, layout) }
        }
        fn owns(&self, at: NonNull<u8>) -> bool {
            self.0.owns(at)
        }
    }
    let pinned = two(1 << 20);
    let paged: Pools<Near, Paged, 2> = Pools::new([Node::new(Paged(Ledger::of(1 << 20)))]);
    let (one, other) = (pinned.allocate(layout(64)).unwrap(), paged.allocate(layout(64)).unwrap());
    let slab = |at: NonNull<u8>| at.addr().get() / SLAB * SLAB;
    assert!(pinned.look(0, |source| source.given.contains_key(&slab(one))));
    assert!(paged.look(0, |source| source.0.given.contains_key(&slab(other))));
}
