//! The Logical Partitioning Control Register (Power ISA v3.0B, Book III, 2.2).

/// Bit 38: interrupts to the partition arrive little-endian.
pub const ILE: u64 = 0x0200_0000;
/// Bits 39:40: interrupts that come from a translated state arrive at [`crate::vector::TRANSLATED`]
/// and stay in it (AIL = 3).
pub const AIL_3: u64 = 0x0180_0000;
/// Bit 41: process tables are used (radix).
pub const UPRT: u64 = 0x0040_0000;
/// Bit 43: the host translates by radix.
pub const HR: u64 = 0x0010_0000;
/// Bit 53: the guest may run its own TLB invalidations.
pub const GTSE: u64 = 0x400;
/// Bit 60: external interrupts go to the partition.
pub const LPES0: u64 = 0x8;
/// Bit 62: hypervisor virtualisation interrupts enabled.
pub const HVICE: u64 = 0x2;
/// Bit 63: the hypervisor decrementer interrupts.
pub const HDICE: u64 = 0x1;
/// Bits 17 and 47:51: what ends a `stop`: hypervisor virtualisation, doorbells, external
/// interrupts, the decrementers.
pub const STOP_ENDS: u64 = (1 << 46) | 0x1_f000;
