//! Special-purpose registers (Power ISA v3.0B, Book III, 4.4.4): access by number, the list that a
//! world switch moves ([`switched`]), and the decrementer.
//!
//! [`switched`]: crate::switched

use core::arch::asm;
use k42_lib::msr;

/// Reads SPR `N`.
#[inline(always)]
pub fn read<const N: u32>() -> u64 {
    let value;
    // SAFETY: reading a special register has no effect on memory; every number used is one
    // that POWER9 has in the state the hypervisor runs in.
    unsafe {
        asm!("mfspr {}, {}", out(reg) value, const N, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Writes SPR `N`. Safe for the registers the machines name: they change what guests see and when
/// the hypervisor is interrupted, never the hypervisor's own memory (it runs untranslated).
#[inline(always)]
pub fn write<const N: u32>(value: u64) {
    // SAFETY: see above.
    unsafe { asm!("mtspr {}, {}", const N, in(reg) value, options(nostack, preserves_flags)) };
}

/// Data storage interrupt status.
pub const DSISR: u32 = 18;
/// Data address.
pub const DAR: u32 = 19;
/// Decrementer.
pub const DEC: u32 = 22;
/// Where an interrupt came.
pub const SRR0: u32 = 26;
/// The machine state it came in.
pub const SRR1: u32 = 27;
/// Process.
pub const PIDR: u32 = 48;
/// Timebase.
pub const TIMEBASE: u32 = 268;
/// Software's own.
pub const SPRG0: u32 = 272;
/// Hypervisor data storage interrupt status.
pub const HDSISR: u32 = 306;
/// Processor version: the upper half says which it is.
pub const PVR: u32 = 287;
/// Which POWER9 says it is.
pub const POWER9: u64 = 0x4e;
/// Hypervisor data address.
pub const HDAR: u32 = 307;
/// The hypervisor's own: the context of the vCPU on this processor, on bare metal.
pub const HSPRG0: u32 = 304;
/// Hypervisor decrementer.
pub const HDEC: u32 = 310;
/// Where a hypervisor interrupt came.
pub const HSRR0: u32 = 314;
/// The machine state it came in.
pub const HSRR1: u32 = 315;
/// Logical partitioning control.
pub const LPCR: u32 = 318;
/// Partition.
pub const LPIDR: u32 = 319;
/// Privileged doorbells that wait.
pub const DPDES: u32 = 176;
/// Access segment descriptor: the guest real address of a fault.
pub const ASDR: u32 = 816;
/// Processor.
pub const PIR: u32 = 1023;

/// Makes the lists of registers that a world switch moves: those that both machines move, and more
/// of the machine's own. Defines `SWITCHED`, their number, `save` and `load`.
///
/// What a guest can set and later read back, and what would carry words from one guest to the next:
/// DSCR 3, DSISR 18, DAR 19, AMR 29, IAMR 61, FSCR 153, UAMOR 157, VRSAVE 256, TIDR 144, EBBHR/RR
/// 804 805, BESCR 806, TAR 815, SPRs of the performance monitor: MMCR0/1/2/A 795 798 785 786,
/// PMC1-6 787-792, SIER 784, SIAR 796, SDAR 797. CTRL is not kept.
#[macro_export]
macro_rules! switched {
    ($( $own:literal )*) => {
        $crate::switched! { all:
            $( $own )* 3 18 19 29 61 153 157 256 144 804 805 806 815
            795 798 785 786 787 788 789 790 791 792 796 797
        }
    };
    (all: $( $number:literal )*) => {
        /// How many registers [`save`] and [`load`] move.
        pub(crate) const SWITCHED: usize = [ $( $number ),* ].len();

        /// Saves the guest's own special registers.
        pub(crate) fn save(into: &mut [u64; SWITCHED]) {
            let mut values = into.iter_mut();
            $( if let Some(value) = values.next() { *value = $crate::spr::read::<$number>(); } )*
        }

        /// Loads them.
        pub(crate) fn load(from: &[u64; SWITCHED]) {
            let mut values = from.iter();
            $( if let Some(value) = values.next() { $crate::spr::write::<$number>(*value); } )*
        }
    };
}

/// HFSCR: every facility for guests but transactional memory (bit 5) and `stop` (bit 9).
pub const GUEST_FACILITIES: u64 = 0x3def;

/// `msgsndp` and `msgclrp` type 5: the directed privileged doorbell.
const PRIVILEGED_DOORBELL: u64 = 5 << 27;

/// Sends the guest that runs here next a privileged doorbell.
pub fn ring_doorbell() {
    // SAFETY: `msgsndp r3`: an interrupt for whoever enables it; no effect on memory.
    unsafe {
        asm!(".long 0x7c00011c | 3 << 11", in("r3") PRIVILEGED_DOORBELL, options(nostack, preserves_flags))
    };
}

/// Takes back a privileged doorbell that a guest has not taken.
pub fn clear_doorbell() {
    // SAFETY: `msgclrp r3`; no effect on memory.
    unsafe {
        asm!(".long 0x7c00015c | 3 << 11", in("r3") PRIVILEGED_DOORBELL, options(nostack, preserves_flags))
    };
}

/// When the guest's decrementer expires, in timebase ticks. It has 32 bits (LPCR[LD] is off).
pub fn deadline() -> u64 {
    let left = i64::from(read::<DEC>() as i32);
    read::<TIMEBASE>().saturating_add_signed(left)
}

/// Sets the decrementer so that it expires then.
pub fn set_deadline(deadline: u64) {
    let left = deadline.saturating_sub(read::<TIMEBASE>());
    // Expired is negative, and stays so for four seconds: long enough to be seen.
    let value = if left == 0 { -1 } else { left.min(i32::MAX as u64) as i64 };
    write::<DEC>(value.cast_unsigned());
}

/// Runs `work` with the vector and floating-point facilities on.
pub fn with_vectors<T>(work: impl FnOnce() -> T) -> T {
    const FACILITIES: u64 = msr::FP | msr::VEC | msr::VSX;
    let before = read_msr();
    write_msr(before | FACILITIES);
    let result = work();
    write_msr(before);
    result
}

/// Reads the MSR.
pub fn read_msr() -> u64 {
    let value;
    // SAFETY: no effect on memory.
    unsafe { asm!("mfmsr {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes the MSR; the caller changes facility and machine-check bits only.
pub fn write_msr(value: u64) {
    // SAFETY: translation, byte order and interrupt enabling stay as they are.
    unsafe { asm!("mtmsrd {}, 0", "isync", in(reg) value, options(nostack, preserves_flags)) };
}
