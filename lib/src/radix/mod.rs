//! Radix translation (Power ISA v3.0B, Book III, 5.7.9 to 5.7.12).
//!
//! One kind of tree serves everybody: partition-scoped trees of the hypervisor (guest real to
//! real) and process-scoped trees of a kernel (effective to guest real). [`entry`] has the
//! formats, [`tree`] the walks. An address has 52 bits, in levels of 13, 9, 9 and, last,
//! 5 or 9 bits: leaves of 1 GiB, 2 MiB, 64 KiB or 4 KiB.

pub mod entry;
pub mod tree;

pub use entry::{Access, Entry, LeafSize, TableSize};
pub use tree::{MapError, TableMemory, Tree};

/// Bits of an address that a tree translates.
pub const ADDRESS_BITS: u32 = 52;
