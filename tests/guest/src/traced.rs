//! How many instructions an event takes, where the emulator counts instructions as time.

use crate::{Options, Verdict, say};
use alloc::format;
use core::arch::asm;
use core::hint::black_box;
use k42_lib::trace::{Buffer, Tracer, Word, events};
use k42_object::{Here, vcpus};
use kernel_arch::{Boot, registers};

/// Rounds of a loop, of ten events each. With the one before them they stay within a sub-buffer.
const ROUNDS: u64 = 30;

/// Who has no code for events, as all have without the feature `trace`.
struct Silent<'a, 'v>(&'a Here<'v>);

impl<'v> Tracer for Silent<'_, 'v> {
    const COMPILED: bool = false;

    type Word = <Here<'v> as Tracer>::Word;

    fn now(&self) -> u64 {
        self.0.now()
    }

    fn buffer(&self) -> &Buffer<Self::Word> {
        self.0.buffer()
    }
}

/// Ticks of a loop of [`ROUNDS`] rounds round ten of these: what the loop itself takes is then less
/// than one instruction an event.
#[inline(always)]
fn ticks(event: impl Fn(u64)) -> u64 {
    let start = registers::timebase();
    for n in 0..ROUNDS {
        let n = black_box(n);
        event(black_box(n));
        event(black_box(n));
        event(black_box(n));
        event(black_box(n));
        event(black_box(n));
        event(black_box(n));
        event(black_box(n));
        event(black_box(n));
        event(black_box(n));
        event(black_box(n));
    }
    registers::timebase() - start
}

/// Instructions of an event, of so many ticks more than the loop itself: 0.512 ticks each.
fn insns(with: u64, without: u64) -> u64 {
    let events = ROUNDS * 10;
    (with.saturating_sub(without) * 1000 + 256 * events) / 512 / events
}

/// Measures an event of one word that is wanted, one that is not, and one that is compiled out, each
/// less the same loop without it.
pub fn costs(boot: Boot, _: Options) -> Verdict {
    let buffer = *boot.traces.first().ok_or("the vCPU has no buffer")?;
    let vcpu = vcpus(1).remove(0);
    vcpu.trace_to(buffer);
    let here = vcpu.enter();
    // As in a function that is passed the activation: nothing of it is in registers.
    let here = black_box(&here);
    // What is noted is in a register, be it noted or not.
    // SAFETY: no instruction.
    let without = ticks(|n| unsafe { asm!("/* {} */", in(reg) n, options(nomem, nostack)) });
    let disabled = ticks(|n| events::trap::resume(here, n));
    let out = ticks(|n| events::trap::resume(&Silent(here), n));
    buffer.switch(events::trap::MASK);
    let here = vcpu.enter();
    let here = black_box(&here);
    // The first event finds the first sub-buffer.
    events::trap::resume(here, 0);
    let enabled = ticks(|n| events::trap::resume(here, n));
    say!("BENCH trace-enabled {} insns", insns(enabled, without));
    say!("BENCH trace-disabled {} insns", insns(disabled, without));
    say!("BENCH trace-compiled-out {} insns", insns(out, without));
    let index = buffer.control().index.get();
    match index as u32 as u64 {
        words if words == 2 + (ROUNDS * 10 + 1) * 2 => Ok(()),
        words => Err(format!("{words} words are in the buffer")),
    }
}
