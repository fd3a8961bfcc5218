//! The Machine State Register (Power ISA v3.0B, Book III, 3.2.1).

/// Bit 0: 64-bit mode.
pub const SF: u64 = 1 << 63;
/// Bit 38: vector facility available.
pub const VEC: u64 = 1 << 25;
/// Bit 40: VSX facility available.
pub const VSX: u64 = 1 << 23;
/// Bit 48: external interrupts enabled.
pub const EE: u64 = 1 << 15;
/// Bit 49: problem state.
pub const PR: u64 = 1 << 14;
/// Bit 50: floating point available.
pub const FP: u64 = 1 << 13;
/// Bit 51: machine-check interrupts enabled.
pub const ME: u64 = 1 << 12;
/// Bit 58: instruction relocation.
pub const IR: u64 = 1 << 5;
/// Bit 59: data relocation.
pub const DR: u64 = 1 << 4;
/// Bit 62: recoverable interrupt.
pub const RI: u64 = 1 << 1;
/// Bit 63: little-endian mode.
pub const LE: u64 = 1;

/// SRR1 bits 33:36 and 42:47, where an interrupt leaves information instead of MSR bits (6.5).
pub const SRR1_INFORMATION: u64 = 0x783f_0000;
