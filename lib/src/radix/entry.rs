//! Formats: page directory and page table entries, partition and process table entries.
//!
//! In storage all of these are big-endian; here they are plain numbers, and whoever loads or
//! stores them ([`super::TableMemory`]) swaps the bytes.

use super::ADDRESS_BITS;

bitflags::bitflags! {
    /// What a leaf allows: the encoded access authority, bits 60:63 (5.7.11.3).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u64 {
        /// Only in privileged state.
        const PRIVILEGED = 8;
        /// Loads.
        const READ = 4;
        /// Stores.
        const WRITE = 2;
        /// Instruction fetches.
        const EXECUTE = 1;
    }
}

const VALID: u64 = 1 << 63;
const LEAF: u64 = 1 << 62;
const RPN: u64 = 0x01ff_ffff_ffff_f000;
/// Referenced and changed. Set from the start: nobody here looks at them yet, and the processor
/// would otherwise interrupt for each (QEMU never sets them itself).
const REFERENCED_CHANGED: u64 = 0x180;
const NEXT_BASE: u64 = 0x0fff_ffff_ffff_ff00;
const NEXT_SIZE: u64 = 0x1f;

/// How much storage one leaf maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeafSize {
    /// 4 KiB, a leaf of the last level, in a table of 512.
    Kib4,
    /// 64 KiB, a leaf of the last level, in a table of 32.
    Kib64,
    /// 2 MiB, a leaf of the third level.
    Mib2,
    /// 1 GiB, a leaf of the second level.
    Gib1,
}

impl LeafSize {
    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            LeafSize::Kib4 => 1 << 12,
            LeafSize::Kib64 => 1 << 16,
            LeafSize::Mib2 => 1 << 21,
            LeafSize::Gib1 => 1 << 30,
        }
    }
}

/// The three sizes of table in a tree, which are also their alignments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableSize {
    /// The root: 2^13 entries, 64 KiB.
    Root,
    /// The second and third level, and the last of 4 KiB leaves: 2^9 entries, 4 KiB.
    Middle,
    /// The last level of 64 KiB leaves: 2^5 entries, 256 bytes.
    Last,
}

impl TableSize {
    /// log2 of the number of entries, as the formats want it.
    pub const fn index_bits(self) -> u32 {
        match self {
            TableSize::Root => 13,
            TableSize::Middle => 9,
            TableSize::Last => 5,
        }
    }
    /// The size, and the alignment, in bytes.
    pub const fn bytes(self) -> u64 {
        8 << self.index_bits()
    }
}

/// A directory or table entry, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing is mapped.
    Invalid,
    /// The next table: its address and log2 of its entries.
    Table {
        /// Where the table is.
        base: u64,
        /// log2 of its number of entries.
        index_bits: u32,
    },
    /// A leaf.
    Leaf {
        /// The address it translates to.
        base: u64,
        /// What it allows.
        access: Access,
    },
}

impl Entry {
    /// The entry a number stands for.
    pub const fn decode(raw: u64) -> Entry {
        if raw & VALID == 0 {
            Entry::Invalid
        } else if raw & LEAF != 0 {
            Entry::Leaf { base: raw & RPN, access: Access::from_bits_truncate(raw) }
        } else {
            Entry::Table { base: raw & NEXT_BASE, index_bits: (raw & NEXT_SIZE) as u32 }
        }
    }

    /// The number that stands for this entry.
    pub const fn encode(self) -> u64 {
        match self {
            Entry::Invalid => 0,
            Entry::Table { base, index_bits } => VALID | (base & NEXT_BASE) | index_bits as u64,
            Entry::Leaf { base, access } => {
                VALID | LEAF | (base & RPN) | REFERENCED_CHANGED | access.bits()
            }
        }
    }
}

/// Radix tree size, bits 1:2 and 56:58 of a table entry: address bits less 31.
const TREE_SIZE: u64 = {
    let size = ADDRESS_BITS as u64 - 31;
    ((size >> 3) << 61) | ((size & 7) << 5)
};

/// First doubleword of a partition table entry: the host translates by radix, tree at `root`
/// (5.7.6.1).
pub const fn partition_entry(root: u64) -> u64 {
    VALID | process_entry(root)
}

/// First doubleword of a process table entry: tree at `root`; the second is zero (5.7.6.2).
pub const fn process_entry(root: u64) -> u64 {
    TREE_SIZE | (root & NEXT_BASE) | TableSize::Root.index_bits() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that Linux uses on the same processors (arch/powerpc radix.h, measured in a dump).
    #[test]
    fn formats_are_the_architectures() {
        assert_eq!(TREE_SIZE, (2 << 61) | (5 << 5));
        assert_eq!(partition_entry(0x1_0000), 0xc000_0000_0001_00ad);
        let leaf = Entry::Leaf { base: 0x20_0000, access: Access::READ | Access::WRITE };
        assert_eq!(leaf.encode(), 0xc000_0000_0020_0186);
        let table = Entry::Table { base: 0x5000, index_bits: 9 };
        assert_eq!(table.encode(), 0x8000_0000_0000_5009);
        assert_eq!(Entry::decode(table.encode()), table);
        assert_eq!(Entry::decode(leaf.encode()), leaf);
        assert_eq!(Entry::decode(0), Entry::Invalid);
    }
}
