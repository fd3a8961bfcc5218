//! How many instructions a hypercall takes, where the emulator counts instructions as time.

use crate::count::{instructions, median};
use crate::{Options, Verdict, say};
use core::arch::asm;
use hv_abi::Number;
use kernel_arch::{Boot, registers};

/// Calls in a measurement.
const CALLS: u64 = 1000;
/// Measurements; the median counts.
const ROUNDS: usize = 11;

/// A loop of [`CALLS`] rounds round this instruction; returns its ticks.
macro_rules! ticks_of_loop {
    ($instruction:literal) => {{
        let start = registers::timebase();
        // SAFETY: what the call changes is named; it touches no memory.
        unsafe {
            asm!(
                "2: mr 3, {call}",
                "li 4, 0",
                "li 5, 0",
                $instruction,
                "addic. {left}, {left}, -1",
                "bne 2b",
                call = in(reg) Number::Xen(17).encode(),
                left = inout(reg_nonzero) CALLS => _,
                out("r0") _, out("r3") _, out("r4") _, out("r5") _, out("r6") _, out("r7") _,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _,
                out("ctr") _, out("xer") _,
                out("cr0") _, out("cr1") _, out("cr5") _, out("cr6") _, out("cr7") _,
                options(nostack),
            );
        }
        registers::timebase() - start
    }};
}

/// Measures a call that asks for a version, less the same loop with a `nop` in its place: what
/// runs between the `sc` and the next instruction.
pub fn hypercall(_: Boot, _: Options) -> Verdict {
    let cost = median::<ROUNDS>(|| {
        let with = ticks_of_loop!("sc 1");
        let without = ticks_of_loop!("nop");
        instructions(with.saturating_sub(without)) / CALLS
    });
    say!("BENCH null-hypercall {cost} insns");
    Ok(())
}
