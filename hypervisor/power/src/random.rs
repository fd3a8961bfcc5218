//! The processor's random number generator (Power ISA v3.0B, Book I, 3.3.9, `darn`).

use core::arch::asm;

/// How often it is asked: it may have nothing yet.
const TRIES: u32 = 10;
/// What says that there is none.
const NONE: u64 = u64::MAX;

/// A conditioned number.
pub fn number() -> Option<u64> {
    (0..TRIES).find_map(|_| {
        let number: u64;
        // SAFETY: changes nothing but the register. The word is darn r3, 1.
        unsafe { asm!(".long 0x7c6105e6", out("r3") number, options(nomem, nostack)) };
        (number != NONE).then_some(number)
    })
}
