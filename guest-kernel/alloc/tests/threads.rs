//! Threads that give each other what they have taken, as fast as they can.
#![allow(missing_docs)]
#![allow(clippy::multiple_unsafe_ops_per_block)] // one reason each: a block of this test's own

mod host;

use host::memory::{Ledger, Piece};
use host::{Near, Thread};
use k42_alloc::{Node, Pools};
use std::alloc::Layout;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

const VCPUS: usize = 4;
const ROUNDS: usize = if cfg!(miri) { 200 } else { 100_000 };

/// Takes memory, keeps some, sends some to the next; frees its own and what it gets.
fn work(pools: &Pools<Near, Ledger, VCPUS>, me: usize, next: Sender<Piece>, from: Receiver<Piece>) {
    Thread::becomes(me);
    let free = |piece: Piece| {
        piece.check();
        // SAFETY: whoever has the piece is the only one.
        unsafe { pools.free(piece.at, piece.layout) };
    };
    let mut kept: Vec<Piece> = Vec::new();
    let mut random = me as u64 + 1;
    for round in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let size = 1 + (random >> 33) as usize % if round % 1000 == 0 { 4000 } else { 200 };
        let layout = Layout::from_size_align(size, 8).unwrap();
        let piece = Piece::new(pools.allocate(layout).unwrap(), layout, random as u8 | 1);
        match random >> 62 {
            0 => free(piece),
            1 => kept.push(piece),
            _ => next.send(piece).unwrap(),
        }
        if kept.len() > 500 {
            kept.drain(..300).for_each(&free);
        }
        from.try_iter().for_each(&free);
    }
    drop(next);
    kept.into_iter().for_each(&free);
    from.iter().for_each(free);
    pools.tidy();
}

#[test]
fn threads_keep_each_others_memory_apart() {
    let pools = Pools::new([Node::new(Ledger::of(64 << 20))]);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..VCPUS).map(|_| channel()).unzip();
    let nexts = senders.iter().cloned().cycle().skip(1).take(VCPUS).collect::<Vec<_>>();
    drop(senders);
    thread::scope(|scope| {
        for (me, (next, from)) in nexts.into_iter().zip(receivers).enumerate() {
            let pools = &pools;
            scope.spawn(move || work(pools, me, next, from));
        }
    });
    // What came after the others had tidied up.
    for me in 0..VCPUS {
        Thread::becomes(me);
        pools.tidy();
    }
    assert_eq!(pools.look(0, |source| source.given.len()), 0);
    let counts: Vec<_> = (0..VCPUS).map(|me| pools.counts(me)).collect();
    assert!(counts.iter().all(|counts| counts.remote_frees > ROUNDS as u64 / 4), "{counts:?}");
    // Few slabs come and go, and so the lock is seldom taken.
    let locks: u64 = counts.iter().map(|counts| counts.locks).sum();
    assert!(locks < (VCPUS * ROUNDS) as u64 / 20 || cfg!(miri), "{counts:?}");
}
