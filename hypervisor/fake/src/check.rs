//! What must hold between any two steps of a test: the invariants of the hypervisor's state
//! (`hv_core::walker`), and that no processor can still know a translation which is not in the
//! tables any more.

use crate::{Board, Fake, PAGE, root};
use hv_core::walker::{self, Leaf, Part};
use hv_core::{Partition, ProcessorId};
use std::collections::BTreeMap;

/// The leaves that some processor may have in its TLB: all that were in a partition's tables since
/// its translations were last dropped. A processor may look at any of them at any time.
#[derive(Default)]
pub(crate) struct Cached(BTreeMap<(u16, u64), Leaf>);

impl Cached {
    /// The partition's translations are dropped; those that the tables have now may come back.
    pub(crate) fn flush(&mut self, partition: Partition, now: Vec<Leaf>) {
        self.0.retain(|(of, _), _| *of != partition.0);
        self.0.extend(now.into_iter().map(|leaf| ((partition.0, leaf.at), leaf)));
    }

    /// Adds what the tables have now. Complains of what they had and have no more.
    fn check(&mut self, now: BTreeMap<(u16, u64), Leaf>) {
        for ((partition, _), leaf) in &self.0 {
            assert!(
                maps(&now, *partition, leaf),
                "partition {partition}: a processor may still know {leaf:x?}"
            );
        }
        self.0 = now;
    }
}

/// Whether the tables still say what a leaf said, in leaves of whatever size.
fn maps(now: &BTreeMap<(u16, u64), Leaf>, partition: u16, leaf: &Leaf) -> bool {
    let end = leaf.at + leaf.size;
    let mut at = leaf.at;
    while at < end {
        let found = now.range((partition, 0)..=(partition, at)).next_back();
        let Some((_, found)) = found.filter(|(_, found)| at < found.at + found.size) else {
            return false;
        };
        if found.to + (at - found.at) != leaf.to + (at - leaf.at) || found.access != leaf.access {
            return false;
        }
        at = found.at + found.size;
    }
    true
}

impl Fake {
    /// The leaves of a partition's tables.
    pub(crate) fn leaves(&self, partition: u16) -> Vec<Leaf> {
        let root = self.root(partition);
        let mut leaves = Vec::new();
        if let Some(root) = root {
            walker::tree(self, root, &mut |part| {
                if let Part::Leaf(leaf) = part {
                    leaves.push(leaf);
                }
            });
        }
        leaves
    }

    /// The root table of a partition, if it is one.
    fn root(&self, partition: u16) -> Option<u64> {
        root(self.state().partitions.get(&partition)?[0])
    }
}

impl Board {
    /// Looks at everything. Every step of a [`Board`] ends with it.
    ///
    /// # Panics
    /// Something is not as it has to be.
    pub fn check(&self) {
        let mut wrong = Vec::new();
        let mut leaves = BTreeMap::new();
        self.hv.walk(&mut |text| wrong.push(text.to_string()), &mut |id, leaf| {
            leaves.insert((u16::from(id.number()), leaf.at), leaf);
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let mut whole: Vec<&Leaf> = leaves.values().filter(|leaf| leaf.size > PAGE).collect();
        whole.sort_by_key(|leaf| leaf.to);
        for pair in whole.windows(2) {
            assert!(pair[0].to + pair[0].size <= pair[1].to, "{pair:x?} have the same storage");
        }
        let mut running = 0;
        for (n, processor) in (0..).map(ProcessorId).zip(&self.processors) {
            if let Some(vcpu) = processor.vcpu() {
                running += 1;
                assert!(self.hv.is_running(vcpu, n), "{vcpu:?} is not on {n:?}");
            }
        }
        assert_eq!(running, self.hv.running(), "a vCPU runs nowhere");
        let machine = &self.hv.machine;
        for partition in 1..=hv_core::domain::MAX_DOMAINS as u16 {
            let root = machine.root(partition);
            assert_eq!(root, self.hv.root(partition), "the tables of partition {partition}");
        }
        machine.state().cached.check(leaves);
    }
}
