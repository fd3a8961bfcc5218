//! Walks of a radix tree: map, translate, unmap.
//!
//! The tree does not know where tables live: [`TableMemory`] loads, stores and allocates them,
//! the hypervisor's in real storage, a kernel's in guest real storage, a test's in a map.

use super::ADDRESS_BITS;
use super::entry::{Access, Entry, LeafSize, TableSize};

/// Storage for tables. Addresses are of whatever space the tree's owner keeps tables in.
pub trait TableMemory {
    /// The entry at `address`, in the processor's byte order (it is big-endian in storage).
    fn load(&self, address: u64) -> u64;
    /// Stores an entry, so that a table walk of any processor sees the old or the new one.
    fn store(&mut self, address: u64, entry: u64);
    /// Puts the entry of a new table where there is none; the answer is what is there now. Where others
    /// change the tree at the same time it is one step: should somebody have been there first, that
    /// entry stays, and the new table is the memory's again.
    fn link(&mut self, address: u64, entry: u64) -> u64 {
        self.store(address, entry);
        entry
    }
    /// A zeroed table, aligned to its size; `None` when memory is short.
    fn allocate(&mut self, size: TableSize) -> Option<u64>;
}

/// Why nothing was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The address is not a multiple of the leaf's size, or lies outside the tree.
    BadAddress,
    /// Something is mapped there already.
    Occupied,
    /// No memory for a table.
    NoMemory,
}

/// What an address translates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The address itself, offset included.
    pub address: u64,
    /// What may be done there.
    pub access: Access,
    /// The leaf that says so.
    pub size: LeafSize,
}

/// A radix tree: the address of its root table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    root: u64,
}

/// A level of the tree: its tables, the lowest bit of an address that indexes them, and the leaf an
/// entry there would be.
type Level = (TableSize, u32, Option<LeafSize>);

/// The levels above the last.
const UPPER: [Level; 3] = [
    (TableSize::Root, 39, None),
    (TableSize::Middle, 30, Some(LeafSize::Gib1)),
    (TableSize::Middle, 21, Some(LeafSize::Mib2)),
];
/// The last level, of either kind: an entry of the third level says which.
const LAST: Level = (TableSize::Last, 16, Some(LeafSize::Kib64));
const LAST_OF_4K: Level = (TableSize::Middle, 12, Some(LeafSize::Kib4));

/// The levels on the way to a leaf of this size.
fn way(size: LeafSize) -> [Level; 4] {
    let [first, second, third] = UPPER;
    [first, second, third, if size == LeafSize::Kib4 { LAST_OF_4K } else { LAST }]
}

impl Tree {
    /// An empty tree.
    ///
    /// # Errors
    /// [`MapError::NoMemory`] when there is none for the root.
    pub fn new(memory: &mut impl TableMemory) -> Result<Tree, MapError> {
        let root = memory.allocate(TableSize::Root).ok_or(MapError::NoMemory)?;
        Ok(Tree { root })
    }

    /// The tree whose root table is at `root`.
    pub const fn at(root: u64) -> Tree {
        Tree { root }
    }

    /// The address of the root table.
    pub const fn root(self) -> u64 {
        self.root
    }

    /// Maps the leaf of `size` at `address` to `to`.
    ///
    /// # Errors
    /// See [`MapError`]; a tree that had no memory for a table maps what it mapped before.
    // Where the size is known, it halves the instructions of a walk.
    #[inline(always)]
    pub fn map(
        self,
        memory: &mut impl TableMemory,
        address: u64,
        to: u64,
        size: LeafSize,
        access: Access,
    ) -> Result<(), MapError> {
        if address >> ADDRESS_BITS != 0 || (address | to) & (size.bytes() - 1) != 0 {
            return Err(MapError::BadAddress);
        }
        let mut table = self.root;
        let levels = way(size);
        for (level, (table_size, shift, leaf)) in levels.into_iter().enumerate() {
            let at = entry_address(table, table_size, shift, address);
            let entry = Entry::decode(memory.load(at));
            if leaf == Some(size) {
                if entry != Entry::Invalid {
                    return Err(MapError::Occupied);
                }
                memory.store(at, Entry::Leaf { base: to, access }.encode());
                return Ok(());
            }
            let Some((next, _, _)) = levels.get(level + 1) else { break };
            let entry = match entry {
                Entry::Invalid => {
                    let base = memory.allocate(*next).ok_or(MapError::NoMemory)?;
                    let table = Entry::Table { base, index_bits: next.index_bits() };
                    Entry::decode(memory.link(at, table.encode()))
                }
                there => there,
            };
            table = match entry {
                Entry::Table { base, index_bits } if index_bits == next.index_bits() => base,
                // A leaf, or a table for leaves of another size.
                _ => return Err(MapError::Occupied),
            };
        }
        Err(MapError::BadAddress)
    }

    /// What `address` translates to, if anything.
    pub fn translate(self, memory: &impl TableMemory, address: u64) -> Option<Translation> {
        let (_, leaf) = self.leaf(memory, address).ok()?;
        let offset = address & (leaf.size.bytes() - 1);
        Some(Translation { address: leaf.address | offset, ..leaf })
    }

    /// Where the hole ends in which `address` lies: up to there nothing is mapped, as one entry says. `None`
    /// where something is.
    pub fn end_of_hole(self, memory: &impl TableMemory, address: u64) -> Option<u64> {
        let shift = self.leaf(memory, address).err()?;
        Some((address >> shift).saturating_add(1).checked_shl(shift).unwrap_or(u64::MAX))
    }

    /// Removes the leaf that maps `address` and says what it was. The caller invalidates the TLB
    /// before the storage is used for anything else.
    pub fn unmap(self, memory: &mut impl TableMemory, address: u64) -> Option<Translation> {
        let (entry_at, leaf) = self.leaf(memory, address).ok()?;
        memory.store(entry_at, Entry::Invalid.encode());
        Some(leaf)
    }

    /// Changes what is allowed where `address` is mapped, and says what was there. The caller invalidates
    /// the TLB.
    pub fn protect(
        self,
        memory: &mut impl TableMemory,
        address: u64,
        access: Access,
    ) -> Option<Translation> {
        let (entry_at, leaf) = self.leaf(memory, address).ok()?;
        memory.store(entry_at, Entry::Leaf { base: leaf.address, access }.encode());
        Some(leaf)
    }

    /// Puts a table of leaves of the next smaller size (2 MiB, 64 KiB) in the place of the leaf that
    /// maps `address`: nothing is translated differently. The caller invalidates the TLB before one
    /// of the new leaves changes.
    ///
    /// # Errors
    /// [`MapError::BadAddress`] where no leaf of 1 GiB or 2 MiB is, [`MapError::NoMemory`].
    pub fn split(self, memory: &mut impl TableMemory, address: u64) -> Result<(), MapError> {
        let (entry_at, leaf) = self.leaf(memory, address).map_err(|_| MapError::BadAddress)?;
        let (table, part) = match leaf.size {
            LeafSize::Gib1 => (TableSize::Middle, LeafSize::Mib2),
            LeafSize::Mib2 => (TableSize::Last, LeafSize::Kib64),
            LeafSize::Kib64 | LeafSize::Kib4 => return Err(MapError::BadAddress),
        };
        let base = memory.allocate(table).ok_or(MapError::NoMemory)?;
        for n in 0..1 << table.index_bits() {
            let part = Entry::Leaf { base: leaf.address + n * part.bytes(), access: leaf.access };
            memory.store(base + n * 8, part.encode());
        }
        memory.store(entry_at, Entry::Table { base, index_bits: table.index_bits() }.encode());
        Ok(())
    }

    /// The leaf that maps `address`: where its entry is, and what it maps. Where there is none, how many
    /// low bits of an address the entry does not look at that says so.
    fn leaf(self, memory: &impl TableMemory, address: u64) -> Result<(u64, Translation), u32> {
        if address >> ADDRESS_BITS != 0 {
            return Err(u64::BITS - 1);
        }
        let mut levels = way(LeafSize::Kib64);
        let mut table = self.root;
        for level in 0..levels.len() {
            let Some(&(table_size, shift, size)) = levels.get(level) else { break };
            let entry_at = entry_address(table, table_size, shift, address);
            match Entry::decode(memory.load(entry_at)) {
                Entry::Table { base, index_bits } => {
                    table = base;
                    if level == 2 && index_bits == LAST_OF_4K.0.index_bits() {
                        levels = way(LeafSize::Kib4);
                    }
                }
                Entry::Leaf { base, access } => {
                    let size = size.ok_or(shift)?;
                    return Ok((entry_at, Translation { address: base, access, size }));
                }
                Entry::Invalid => return Err(shift),
            }
        }
        Err(LAST_OF_4K.1)
    }
}

fn entry_address(table: u64, size: TableSize, shift: u32, address: u64) -> u64 {
    let index = (address >> shift) & ((1 << size.index_bits()) - 1);
    table + index * 8
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    #[derive(Default)]
    struct Memory {
        entries: BTreeMap<u64, u64>,
        next: u64,
        tables_left: usize,
    }

    impl TableMemory for Memory {
        fn load(&self, address: u64) -> u64 {
            self.entries.get(&address).copied().unwrap_or(0)
        }
        fn store(&mut self, address: u64, entry: u64) {
            self.entries.insert(address, entry);
        }
        fn allocate(&mut self, size: TableSize) -> Option<u64> {
            self.tables_left = self.tables_left.checked_sub(1)?;
            let at = self.next.next_multiple_of(size.bytes());
            self.next = at + size.bytes();
            Some(at)
        }
    }

    fn memory(tables_left: usize) -> Memory {
        Memory { entries: BTreeMap::new(), next: 0x1_0000, tables_left }
    }

    fn leaf_size() -> impl Strategy<Value = LeafSize> {
        prop_oneof![
            Just(LeafSize::Kib4),
            Just(LeafSize::Kib64),
            Just(LeafSize::Mib2),
            Just(LeafSize::Gib1)
        ]
    }

    proptest! {
        /// A tree agrees with a list of ranges about every address, whatever is mapped and unmapped.
        #[test]
        fn tree_is_a_map(steps in prop::collection::vec((0u64..1 << 34, leaf_size(), any::<bool>()), 1..60),
                         probes in prop::collection::vec(0u64..1 << 34, 1..40)) {
            let mut memory = memory(10_000);
            let tree = Tree::new(&mut memory).unwrap();
            let mut model: Vec<(u64, LeafSize, u64)> = Vec::new();
            let mut ever: Vec<(u64, LeafSize)> = Vec::new();
            let rw = Access::READ | Access::WRITE;
            for (n, (address, size, remove)) in steps.into_iter().enumerate() {
                if remove {
                    let expected = model.iter().position(|(a, s, _)| (*a..*a + s.bytes()).contains(&address));
                    let gone = tree.unmap(&mut memory, address);
                    match expected {
                        Some(i) => prop_assert_eq!(gone.unwrap().address, model.remove(i).2),
                        None => prop_assert_eq!(gone, None),
                    }
                } else {
                    let address = address & !(size.bytes() - 1);
                    let to = (n as u64 + 1) << 30;
                    let free = model.iter().all(|(a, s, _)| a + s.bytes() <= address || address + size.bytes() <= *a);
                    match tree.map(&mut memory, address, to, size, rw) {
                        Ok(()) => { prop_assert!(free); model.push((address, size, to)); ever.push((address, size)); }
                        // A leaf never replaces a table, even an empty one, and a table of the last
                        // level has leaves of one size: only what was there before explains it.
                        Err(MapError::Occupied) => {
                            let table = size.bytes().max(LeafSize::Mib2.bytes());
                            let before = |(a, s): &(u64, LeafSize)| {
                                *s != size && a / table == address / table
                            };
                            prop_assert!(!free || ever.iter().any(before));
                        }
                        Err(other) => prop_assert!(false, "{:?}", other),
                    }
                }
            }
            for probe in probes {
                let want = model.iter().find(|(a, s, _)| (*a..*a + s.bytes()).contains(&probe))
                    .map(|(a, _, to)| to + (probe - a));
                prop_assert_eq!(tree.translate(&memory, probe).map(|t| t.address), want);
                let hole = tree.end_of_hole(&memory, probe);
                prop_assert_eq!(hole.is_none(), want.is_some());
                let right = hole.is_none_or(|end| {
                    end > probe && model.iter().all(|(a, _, _)| *a < probe || end <= *a)
                });
                prop_assert!(right);
            }
        }
    }

    #[test]
    fn a_table_of_the_last_level_has_leaves_of_one_size() {
        let mut memory = memory(10);
        let tree = Tree::new(&mut memory).unwrap();
        let (small, large) = (LeafSize::Kib4, LeafSize::Kib64);
        for (piece, first, other) in [(0, small, large), (1 << 21, large, small)] {
            let mut map = |at: u64, size| tree.map(&mut memory, at, 1 << 30, size, Access::READ);
            assert_eq!(map(piece, first), Ok(()));
            assert_eq!(map(piece | 1 << 17, other), Err(MapError::Occupied));
            assert_eq!(map(piece | 1 << 17, first), Ok(()));
        }
    }

    #[test]
    fn running_out_of_tables_is_an_error_and_loses_nothing() {
        let mut memory = memory(3); // root and two more: one short of a 64 KiB leaf
        let tree = Tree::new(&mut memory).unwrap();
        let all = Access::READ;
        assert_eq!(tree.map(&mut memory, 0, 0, LeafSize::Kib64, all), Err(MapError::NoMemory));
        assert_eq!(tree.translate(&memory, 0), None);
        assert_eq!(tree.map(&mut memory, 1 << 21, 0, LeafSize::Mib2, all), Ok(()));
        assert!(tree.unmap(&mut memory, 1 << 21).is_some());
        let again = tree.map(&mut memory, 1 << 21, 0, LeafSize::Mib2, Access::EXECUTE);
        assert_eq!(again, Ok(()), "its table is there still");
        assert_eq!(tree.translate(&memory, 1 << 21).unwrap().access, Access::EXECUTE);
        let before = tree.protect(&mut memory, 1 << 21 | 5, Access::READ).unwrap();
        assert_eq!(before.access, Access::EXECUTE);
        let now = Translation { access: Access::READ, ..before };
        assert_eq!(tree.translate(&memory, 1 << 21), Some(now));
        assert_eq!(tree.protect(&mut memory, 0, Access::READ), None);
    }

    #[test]
    fn a_leaf_that_is_split_translates_as_before() {
        let mut memory = memory(10);
        let tree = Tree::new(&mut memory).unwrap();
        let (at, to) = (3 << 30, 5 << 30);
        tree.map(&mut memory, at, to, LeafSize::Gib1, Access::READ).unwrap();
        let probe = at + 0x0321_1234;
        for size in [LeafSize::Gib1, LeafSize::Mib2, LeafSize::Kib64] {
            let address = to + 0x0321_1234;
            let whole = Translation { address, access: Access::READ, size };
            assert_eq!(tree.translate(&memory, probe), Some(whole));
            let split = tree.split(&mut memory, probe);
            assert_eq!(split.is_ok(), size != LeafSize::Kib64);
        }
        assert_eq!(tree.unmap(&mut memory, probe).unwrap().size, LeafSize::Kib64);
        assert_eq!(tree.translate(&memory, probe), None);
        assert!(tree.translate(&memory, probe - 0x1_0000).is_some(), "its neighbour stays");
        assert_eq!(tree.split(&mut memory, probe), Err(MapError::BadAddress));
    }

    #[test]
    fn addresses_outside_the_tree_are_refused() {
        let mut memory = memory(10);
        let tree = Tree::new(&mut memory).unwrap();
        let bad = Err(MapError::BadAddress);
        assert_eq!(tree.map(&mut memory, 1 << 52, 0, LeafSize::Mib2, Access::READ), bad);
        assert_eq!(tree.map(&mut memory, 0x1000, 0, LeafSize::Kib64, Access::READ), bad);
        assert_eq!(tree.translate(&memory, 1 << 52), None);
        assert_eq!(tree.translate(&memory, u64::MAX), None);
    }
}
