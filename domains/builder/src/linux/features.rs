//! `ibm,pa-features`: which optional parts of the architecture a processor has, a bit each.
//!
//! The property is the number of attribute bytes, a zero, and the bytes; LoPAR's table gives each
//! bit its meaning. We say what a guest of QEMU's emulated POWER9 and POWER10 may use. Left out
//! are transactional memory, which both have only as an empty shell, and large cache-inhibited pages.

use boot_archive::{Machine, Processor};

/// Attribute byte and its bits, what both processors have.
const COMMON: [(usize, u8); 25] = [
    (0, 0xf6),  // translation, floating point, SLB, RUN, DABR, no-execute
    (1, 0x1f),  // rounding instructions, DABRX, SPRG3 for users, SLB as in version 2.00, PP bits
    (2, 0xc7),  // virtualized mode, DSCR, PPR
    (3, 0xc0),  // little-endian stores and loads unaligned, user real granularity
    (5, 0xf0),  // little-endian, CFAR, elevated branch bits, load and store quadword
    (6, 0x80),  // version 2.07
    (16, 0x80), // VMX
    (18, 0x80), // VSX
    (20, 0x80), // vector exclusive-or of version 2.07
    (24, 0x80), // extended decrementer
    (26, 0x80), // 64-bit features of version 3.0
    (28, 0x80), // performance monitor of version 3.0
    (32, 0x80), // little-endian atomics
    (34, 0xc0), // event-based branches, extended
    (40, 0x80), // radix translation
    (42, 0x80), // performance monitor
    (44, 0x80), // PC-relative addresses in registers
    (46, 0x80), // system call vectored
    (48, 0x80), // SIMD of version 3.0
    (50, 0x80), // quad-precision floating point
    (52, 0x80), // string operations
    (54, 0x80), // decimal floating point
    (56, 0x80), // decimal integers
    (58, 0x80), // SHA
    (60, 0x80), // atomics in memory
];

/// Both have a random number generator.
const RANDOM: (usize, u8) = (62, 0x80);

/// What POWER9 alone has.
const POWER9: [(usize, u8); 4] = [
    (4, 0x80),  // strong access ordering
    (30, 0x80), // management mode registers
    (36, 0x80), // strong access ordering per process
    (38, 0x80), // copy and paste
];

/// What POWER10 alone has.
const POWER10: [(usize, u8); 2] = [
    (68, 0xce), // the aspects of DEXCR
    (72, 0x80), // hash store and hash check
];

/// The property's value.
pub(super) fn property(machine: Machine) -> Vec<u8> {
    let (size, own): (u8, &[(usize, u8)]) = match machine.processor() {
        Processor::Power9 => (66, &POWER9),
        Processor::Power10 => (74, &POWER10),
    };
    let mut value = vec![0; 2 + usize::from(size)];
    value[0] = size;
    for (byte, bits) in COMMON.iter().chain([&RANDOM]).chain(own) {
        value[2 + byte] = *bits;
    }
    value
}
