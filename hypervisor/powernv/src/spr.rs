//! Special-purpose registers (Power ISA v3.0B, Book III, 4.4.4): access by number, and the lists
//! that a world switch moves.

use core::arch::asm;
use k42_lib::msr;

/// Reads SPR `N`.
#[inline(always)]
pub(crate) fn read<const N: u32>() -> u64 {
    let value;
    // SAFETY: reading a special register has no effect on memory; every number used in this crate
    // is one that POWER9 has in hypervisor state.
    unsafe {
        asm!("mfspr {}, {}", out(reg) value, const N, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Writes SPR `N`. Safe for the registers this crate names: they change what guests see and when
/// the hypervisor is interrupted, never the hypervisor's own memory (it runs untranslated).
#[inline(always)]
pub(crate) fn write<const N: u32>(value: u64) {
    // SAFETY: see above.
    unsafe { asm!("mtspr {}, {}", const N, in(reg) value, options(nostack, preserves_flags)) };
}

pub(crate) const DSISR: u32 = 18;
pub(crate) const DAR: u32 = 19;
pub(crate) const DEC: u32 = 22;
pub(crate) const SRR0: u32 = 26;
pub(crate) const SRR1: u32 = 27;
pub(crate) const AMR: u32 = 29;
pub(crate) const PIDR: u32 = 48;
pub(crate) const TIMEBASE: u32 = 268;
pub(crate) const HDSISR: u32 = 306;
pub(crate) const HDAR: u32 = 307;
pub(crate) const HDEC: u32 = 310;
pub(crate) const HSRR0: u32 = 314;
pub(crate) const HSRR1: u32 = 315;
pub(crate) const LPCR: u32 = 318;
pub(crate) const LPIDR: u32 = 319;
pub(crate) const AMOR: u32 = 349;
pub(crate) const HFSCR: u32 = 190;
pub(crate) const DPDES: u32 = 176;
pub(crate) const PTCR: u32 = 464;
pub(crate) const ASDR: u32 = 816;
pub(crate) const PSSCR: u32 = 855;
pub(crate) const PIR: u32 = 1023;

macro_rules! switched {
    ($count:literal: $( $number:literal )*) => {
        /// How many registers [`save`] and [`load`] move.
        pub(crate) const SWITCHED: usize = $count;

        /// Saves the guest's own special registers.
        pub(crate) fn save(into: &mut [u64; SWITCHED]) {
            *into = [ $( read::<$number>() ),* ];
        }

        /// Loads them.
        pub(crate) fn load(from: &[u64; SWITCHED]) {
            let mut values = from.iter().copied();
            $( write::<$number>(values.next().unwrap_or(0)); )*
        }
    };
}

// What a guest can set and later read back, and what would carry words from one guest to the next:
// DPDES 176 (a doorbell that waits), DSCR 3, DSISR 18, DAR 19, SRR0/1 26 27, CTRL is not kept, AMR 29, IAMR 61, FSCR 153, UAMOR 157,
// VRSAVE 256, SPRG0-3 272-275, TIDR 144, EBBHR/RR 804 805, BESCR 806, TAR 815, SPRs of the
// performance monitor: MMCR0/1/2/A 795 798 785 786, PMC1-6 787-792, SIER 784, SIAR 796, SDAR 797.
switched! { 32:
    176 3 18 19 26 27 29 61 153 157 256 272 273 274 275 144 804 805 806 815
    795 798 785 786 787 788 789 790 791 792 796 797
}

/// Runs `work` with the vector and floating-point facilities on.
pub(crate) fn with_vectors<T>(work: impl FnOnce() -> T) -> T {
    const FACILITIES: u64 = msr::FP | msr::VEC | msr::VSX;
    let before = read_msr();
    write_msr(before | FACILITIES);
    let result = work();
    write_msr(before);
    result
}

/// Reads the MSR.
pub(crate) fn read_msr() -> u64 {
    let value;
    // SAFETY: no effect on memory.
    unsafe { asm!("mfmsr {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes the MSR; the caller changes facility and machine-check bits only.
pub(crate) fn write_msr(value: u64) {
    // SAFETY: translation, byte order and interrupt enabling stay as they are.
    unsafe { asm!("mtmsrd {}, 0", "isync", in(reg) value, options(nostack, preserves_flags)) };
}
