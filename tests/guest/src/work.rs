//! Guests that do nothing but work, and count how much of it they are let do.
//!
//! `test=work` has all vCPUs of its domain do units of work, and says what each did between two
//! times of the machine and how long the hypervisor says that it ran. `test=periods` says how long
//! it ran in the least of many periods. Neither ends: there is to be work until everybody has counted.

use crate::{Options, Verdict, say};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::xen::VcpuGuestContext;
use kernel_arch::hypercall::vcpu_op;
use kernel_arch::{Boot, guest_address, registers};
use xen_sys::vcpu;

/// The most vCPUs of a domain that works.
const MOST: usize = 8;
/// Instructions in a unit of work.
const UNIT: u64 = 1000;
/// Ticks of the timebase in a millisecond, and in a microsecond.
const MILLISECOND: u64 = 512_000;
const MICROSECOND: u64 = 512;

/// The units that each vCPU has done.
static DONE: [AtomicU64; MOST] = [const { AtomicU64::new(0) }; MOST];

core::arch::global_asm!(
    // r3 = where its units are counted
    ".globl work_for_ever",
    "work_for_ever:",
    "li 4, 1000",
    "1: mtctr 4",
    "2: bdnz 2b",
    "ld 5, 0(3)",
    "addi 5, 5, 1",
    "std 5, 0(3)",
    "b 1b",
);

unsafe extern "C" {
    fn work_for_ever();
}

/// A vCPU's work until then, and the nanoseconds it has been running.
struct Sample {
    done: u64,
    ran: u64,
}

fn sample(number: usize) -> Result<Sample, String> {
    let times = [0u64; size_of::<vcpu::RunstateInfo>() / 8];
    let result = vcpu_op(vcpu::VCPUOP_GET_RUNSTATE_INFO, number as u32, &times);
    if result != 0 {
        return Err(format!("the times of vCPU {number}: {result}"));
    }
    // SAFETY: the hypervisor has written to it behind the compiler's back.
    let times = unsafe { (&raw const times).read_volatile() };
    Ok(Sample { done: DONE[number].load(Ordering::Relaxed), ran: times[2] })
}

/// Works until this time, as the vCPU that runs `main`.
fn work_until(time: u64) {
    while registers::timebase() < time {
        // SAFETY: counts down.
        unsafe { asm!("mtctr {0}", "2: bdnz 2b", in(reg) UNIT, out("ctr") _) };
        DONE[0].fetch_add(1, Ordering::Relaxed);
    }
}

fn start_others(count: usize) -> Verdict {
    for (number, slot) in DONE.iter().enumerate().take(count).skip(1) {
        let context = VcpuGuestContext {
            entry: guest_address(work_for_ever as *const ()).value(),
            stack: 0,
            argument: guest_address(slot).value(),
            flags: VcpuGuestContext::LITTLE_ENDIAN,
        };
        let number = number as u32;
        let steps = [
            vcpu_op(vcpu::VCPUOP_INITIALISE, number, &context),
            vcpu_op(vcpu::VCPUOP_UP, number, &0u64),
        ];
        if steps != [0; 2] {
            return Err(format!("vCPU {number}: {steps:?}"));
        }
    }
    Ok(())
}

/// Counting cannot begin before it has started.
fn in_time(from: u64) -> Verdict {
    let now = registers::timebase();
    let late = from > 0 && now > from;
    if late { Err(format!("it starts {} ms too late", (now - from) / MILLISECOND)) } else { Ok(()) }
}

/// Works with `vcpus` vCPUs, and counts between `from` and `to`, milliseconds of system time.
pub fn work(_: Boot, options: Options) -> Verdict {
    let number = |key| options.number(key).ok_or_else(|| format!("{key}= is missing"));
    let (from, to) = (number("from")? * MILLISECOND, number("to")? * MILLISECOND);
    let count = options.number("vcpus").map_or(1, |count| count as usize).min(MOST);
    start_others(count)?;
    in_time(from)?;
    work_until(from);
    let begin = registers::timebase();
    let before = (0..count).map(sample).collect::<Result<Vec<_>, _>>()?;
    work_until(to);
    let end = registers::timebase();
    let after = (0..count).map(sample).collect::<Result<Vec<_>, _>>()?;
    for (before, after) in before.iter().zip(&after) {
        let (units, ran) = (after.done - before.done, (after.ran - before.ran) / 1000);
        say!("did {units} ran {ran} of {} us", (end - begin) / MICROSECOND);
    }
    loop {
        work_until(u64::MAX);
    }
}

/// Says the least and the most that it ran in a period of `period` microseconds, `count` of them
/// from `from` on.
pub fn periods(_: Boot, options: Options) -> Verdict {
    /// Longer between two looks at the time: it has not been running.
    const AWAY: u64 = 20 * MICROSECOND;
    let number = |key| options.number(key).ok_or_else(|| format!("{key}= is missing"));
    let (from, count) = (number("from")? * MILLISECOND, number("count")?);
    let period = number("period")? * MICROSECOND;
    in_time(from)?;
    while registers::timebase() < from {}
    let start = registers::timebase();
    let (mut last, mut index, mut ran) = (start, 0, 0);
    let (mut least, mut most) = (u64::MAX, 0);
    while index < count {
        let now = registers::timebase();
        // A period that it was away for all of counts as well.
        while index < ((now - start) / period).min(count) {
            (least, most) = (least.min(ran), most.max(ran));
            (index, ran) = (index + 1, 0);
        }
        let passed = now - last;
        ran += if passed < AWAY { passed } else { 0 };
        last = now;
    }
    let [least, most] = [least, most].map(|ticks| ticks / MICROSECOND);
    say!("least {least} most {most} of {count}");
    loop {
        work_until(u64::MAX);
    }
}
