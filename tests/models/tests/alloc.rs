//! The kernel's heap (`guest-kernel/alloc`) with vCPUs that are threads: blocks that are freed elsewhere
//! come home while their home gives out others, and slabs go back to the node and come again.
//!
//! Besides the node's lock, a thread may lose its turn between two looks at an inbox.

#[path = "../../../guest-kernel/alloc/tests/host/memory.rs"]
mod memory;

use k42_alloc::{BATCH, Node, Pools, Processor, SLAB};
use k42_models::explore;
use memory::{Ledger, Piece};
use shuttle::sync::Mutex;
use shuttle::thread::{spawn, yield_now};
use std::alloc::Layout;
use std::cell::Cell;
use std::sync::Arc;

const VCPUS: usize = 3;

shuttle::thread_local! {
    static CURRENT: Cell<usize> = Cell::new(0);
}

struct Thread;

// SAFETY: a vCPU is one thread's at a time.
unsafe impl Processor for Thread {
    fn current() -> usize {
        CURRENT.with(Cell::get)
    }

    fn step() {
        yield_now();
    }
}

type Heap = Pools<Thread, Ledger, VCPUS>;

fn becomes(vcpu: usize) {
    CURRENT.with(|current| current.set(vcpu));
}

fn take(heap: &Heap, size: usize, byte: u8) -> Option<Piece> {
    let layout = Layout::from_size_align(size, 8).unwrap();
    heap.allocate(layout).map(|at| Piece::new(at, layout, byte))
}

fn free(heap: &Heap, piece: Piece) {
    piece.check();
    // SAFETY: whoever has the piece is the only one.
    unsafe { heap.free(piece.at, piece.layout) };
}

/// Each vCPU does its work on a thread; then all that is left is freed, and all memory must have come back.
fn run(bytes: usize, work: impl Fn(&Heap, usize, &Mutex<Vec<Piece>>) + Send + Sync + 'static) {
    let heap: Arc<Heap> = Arc::new(Pools::new([Node::new(Ledger::of(bytes))]));
    let (shared, work) = (Arc::new(Mutex::new(Vec::new())), Arc::new(work));
    let start = |vcpu| {
        let (heap, shared, work) = (heap.clone(), shared.clone(), work.clone());
        spawn(move || {
            becomes(vcpu);
            work(&heap, vcpu, &shared);
        })
    };
    let threads: Vec<_> = (0..VCPUS).map(start).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    shared.lock().unwrap().drain(..).for_each(|piece| free(&heap, piece));
    for vcpu in (0..2).flat_map(|_| 0..VCPUS) {
        becomes(vcpu);
        heap.tidy();
    }
    assert_eq!(heap.look(0, |source| source.given.len()), 0, "memory is lost");
}

#[test]
fn what_others_free_comes_home_while_the_home_takes_more() {
    explore(|| {
        run(16 * SLAB, |heap, vcpu, shared| {
            for round in 0..3 {
                let mine: Vec<_> = (0..4).map_while(|_| take(heap, 2048, vcpu as u8 + 1)).collect();
                let theirs = {
                    let mut shared = shared.lock().unwrap();
                    let half = shared.len() / 2;
                    let theirs = shared.split_off(half);
                    shared.extend(mine);
                    theirs
                };
                theirs.into_iter().for_each(|piece| free(heap, piece));
                // Sends batches that are not full.
                if (round + vcpu) % 2 == 0 {
                    heap.tidy();
                }
            }
        });
    });
}

#[test]
fn full_batches_of_two_vcpus_meet_in_an_inbox() {
    explore(|| {
        run(16 * SLAB, |heap, vcpu, shared| {
            let batch = BATCH as usize;
            if vcpu == 0 {
                let pieces: Vec<_> = (0..3 * batch).map_while(|_| take(heap, 256, 7)).collect();
                shared.lock().unwrap().extend(pieces);
            }
            for _ in 0..3 {
                let theirs = {
                    let mut shared = shared.lock().unwrap();
                    let rest = shared.len().saturating_sub(batch);
                    shared.split_off(rest)
                };
                theirs.into_iter().for_each(|piece| free(heap, piece));
                shared.lock().unwrap().extend((0..9).map_while(|_| take(heap, 256, vcpu as u8)));
            }
        });
    });
}

#[test]
fn who_has_nothing_left_finds_what_came_home() {
    explore(|| {
        // Memory for two slabs: who wants a third waits for what others send.
        run(2 * SLAB, |heap, vcpu, shared| {
            for _ in 0..3 {
                let pieces: Vec<_> = (0..5).map_while(|_| take(heap, 2048, vcpu as u8)).collect();
                shared.lock().unwrap().extend(pieces);
                let theirs: Vec<_> = shared.lock().unwrap().drain(..).collect();
                theirs.into_iter().for_each(|piece| free(heap, piece));
                heap.tidy();
            }
        });
    });
}
