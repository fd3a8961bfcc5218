//! Whatever vCPUs take and free in whatever order: what is in use is aligned, is nobody else's, keeps its
//! bytes, and in the end all memory comes back.
#![allow(missing_docs)]
#![allow(clippy::multiple_unsafe_ops_per_block)] // one reason each: a block of this test's own

mod host;

use host::memory::{Ledger, Piece};
use host::{Near, Thread};
use k42_alloc::{Node, Pools};
use proptest::prelude::*;
use std::alloc::Layout;

const VCPUS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// So many pieces at once, as few fill no slab.
    Take(usize, usize, u32, usize),
    /// So many of those in use, from somewhere among them on.
    Free(usize, usize, usize),
    Tidy(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![1usize..2049, 1usize..100, 1500usize..5000];
    prop_oneof![
        4 => (0..VCPUS, size, 0u32..9, 1usize..60)
            .prop_map(|(vcpu, size, power, count)| Step::Take(vcpu, size, power, count)),
        4 => (0..VCPUS, any::<usize>(), 1usize..90)
            .prop_map(|(vcpu, from, count)| Step::Free(vcpu, from, count)),
        1 => (0..VCPUS).prop_map(Step::Tidy),
    ]
}

proptest! {
    #[test]
    fn what_is_in_use_is_nobody_elses(steps in prop::collection::vec(step(), 1..60)) {
        let pools: Pools<Near, Ledger, VCPUS> = Pools::new([Node::new(Ledger::of(1 << 20))]);
        let mut pieces: Vec<Piece> = Vec::new();
        let free = |vcpu, piece: Piece| {
            Thread::becomes(vcpu);
            piece.check();
            // SAFETY: taken with this layout, and in the list once.
            unsafe { pools.free(piece.at, piece.layout) };
        };
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Take(vcpu, size, power, count) => {
                    Thread::becomes(vcpu);
                    let layout = Layout::from_size_align(size, 1 << power).unwrap();
                    let taken = (0..count).map_while(|_| pools.allocate(layout));
                    pieces.extend(taken.map(|at| Piece::new(at, layout, number as u8)));
                }
                Step::Free(vcpu, from, count) => {
                    for _ in 0..count.min(pieces.len()) {
                        free(vcpu, pieces.swap_remove(from % pieces.len()));
                    }
                }
                Step::Tidy(vcpu) => {
                    Thread::becomes(vcpu);
                    pools.tidy();
                }
            }
        }
        pieces.into_iter().enumerate().for_each(|(number, piece)| free(number % VCPUS, piece));
        for vcpu in (0..2).flat_map(|_| 0..VCPUS) {
            Thread::becomes(vcpu);
            pools.tidy();
        }
        prop_assert!(pools.look(0, |source| source.given.is_empty()));
        let counts = (0..VCPUS).map(|vcpu| pools.counts(vcpu));
        prop_assert!(counts.into_iter().all(|counts| counts.refills == counts.returns));
    }
}
