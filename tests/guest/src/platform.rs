//! What Linux calls, by a guest that means harm: PAPR's hypercalls and its firmware's functions, with
//! arguments that are plausible and spoiled, in blocks, lists and areas of junk in the upper half of
//! its memory, to which answers are written, too. The domain speaks PAPR, and is the guest's alone to
//! lose: what would end it is not called.

use crate::random::Random;
use crate::{Options, Verdict, say};
use hv_abi::common::LAN_UNIT;
use hv_abi::papr::{PaprCall, rtas, source};
use hv_abi::table::MAX_ARGUMENTS;
use hv_abi::{CommonCall, Number, Trap};
use kernel_arch::hypercall::Hypervisor;
use kernel_arch::{Boot, bug, entry, registers};

/// Xen's number of the walker's hypercall, and calls between two walks.
const WALK: u64 = 55;
const BATCH: u64 = 1024;
/// Calls between two looks after the guest's own state.
const TIDY: u64 = 64;
/// PAPR's tokens of what is treated apart.
const SET_MODE: u64 = 0x31c;
const RTAS: u64 = 0xf000;
/// The most words of a block.
const WORDS: usize = 20;

/// Somewhere in the upper half of its memory, at its end, or beyond it.
fn place(random: &mut Random, memory: u64) -> u64 {
    let half = memory / 2;
    match random.below(16) {
        0 => memory - random.below(64),
        1 => memory + random.below(1 << 40),
        2 => random.next(),
        3..=9 => half + random.below(half >> 12) * 4096,
        10 => half + random.below(half >> 12) * 4096 + 4096 - random.below(700),
        _ => half + random.below(half) / 8 * 8,
    }
}

/// A number that means something to some call.
fn small(random: &mut Random) -> u64 {
    let function = random.below(8) << 45;
    let descriptor = 1 << 63 | random.below(0x2800) << 32 | random.below(0x3000) << 12;
    let known = [
        0,
        1,
        2,
        3,
        4,
        5,
        0xff,
        0x100,
        512,
        513,
        LAN_UNIT,
        function,
        descriptor,
        source::CONSOLE.into(),
        source::LAN.into(),
        u64::from(source::FIRST) + source::COUNT as u64,
        u64::MAX,
        u64::MAX - 1,
        1 << 32,
    ];
    random.of(&known)
}

/// Writes words to the guest's memory, if all of it is in the upper half.
fn put(at: u64, memory: u64, words: &[u32]) {
    let end = at.saturating_add(4 * words.len() as u64);
    if at < memory / 2 || end > memory || !at.is_multiple_of(4) {
        return;
    }
    for (at, word) in (at..).step_by(4).zip(words) {
        // SAFETY: nothing of the kernel's is in the upper half; real addresses are addresses here.
        unsafe { (at as *mut u32).write_volatile(word.to_be()) };
    }
}

/// A firmware call's block, or something like it; not what ends the domain.
fn block(random: &mut Random) -> [u32; WORDS] {
    const FINAL: [u32; 4] = [rtas::POWER_OFF, rtas::SYSTEM_REBOOT, rtas::OS_TERM, rtas::STOP_SELF];
    let mut words = [0; WORDS];
    words.fill_with(|| small(random) as u32);
    words[0] = random.below(16) as u32;
    if FINAL.contains(&words[0]) {
        words[0] = rtas::SET_XIVE;
    }
    words[1] = if random.one_in(16) { random.next() as u32 } else { random.below(8) as u32 };
    words[2] = if random.one_in(16) { random.next() as u32 } else { random.below(9) as u32 };
    words
}

/// Makes `calls` calls from `seed` on, and has the hypervisor's state walked in between where it can be.
pub fn platform(boot: Boot, options: Options) -> Verdict {
    let seed = options.number("seed").unwrap_or(1);
    let calls = options.number("calls").unwrap_or(100_000);
    let memory = boot.memory_size;
    let mut random = Random::new(seed);
    let (mut refused, mut walks) = (0, 0);
    // SAFETY: the kernel's addresses mean the same in real mode.
    unsafe { entry::set_machine_state(entry::REAL_MSR) };
    bug::ignore_interrupts();
    for call in 0..calls {
        if call % TIDY == 0 {
            // A call that blocks is to come back at once.
            // SAFETY: interrupts are ignored.
            unsafe { registers::set_decrementer(0) };
        }
        if call % BATCH == 0 {
            let walk = Number::Xen(WALK).encode();
            let [leaves, ..] = Hypervisor.hypercall(walk, [0; MAX_ARGUMENTS]);
            walks += u64::from(leaves.cast_signed() > 0);
        }
        let rows = if random.one_in(4) { CommonCall::ROWS } else { PaprCall::ROWS };
        let number = random.of(rows).number;
        let mut arguments = [0; MAX_ARGUMENTS];
        arguments.fill_with(|| {
            if random.one_in(3) { place(&mut random, memory) } else { small(&mut random) }
        });
        if number == SET_MODE {
            // Interrupts in the other byte order would be the guest's end.
            arguments[0] |= 1;
        }
        // An area or a log says its own length; a list has a translation for each page.
        let length = random.of(&[640 << 16, 639 << 16, 4096, 48, 47, 0, u32::MAX]);
        let at = place(&mut random, memory);
        match number {
            RTAS => {
                arguments[0] = at;
                put(at, memory, &block(&mut random));
            }
            0xdc => {
                arguments[2] = at;
                put(at, memory, &[0, length]);
            }
            0x13c => {
                arguments[2] = at;
                let entry = place(&mut random, memory) as u32;
                put(at, memory, &[0, entry & !0xfff | 3, 0, entry | 3]);
            }
            _ => {}
        }
        let [result, ..] = Hypervisor.hypercall(number, arguments);
        refused += u64::from(result.cast_signed() < 0);
    }
    say!("\nplatform {calls} calls, seed {seed}, {refused} refused, {walks} walks");
    Ok(())
}
