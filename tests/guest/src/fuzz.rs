//! Every hypercall there is and many there are not, with arguments drawn from a seeded generator.

use crate::random::Random;
use crate::{Options, Verdict, say};
use hv_abi::table::MAX_ARGUMENTS;
use hv_abi::{Number, Trap, XEN_MARK};
use kernel_arch::hypercall::Hypervisor;
use kernel_arch::{Boot, bug, entry, registers};
use xen_sys::xen::{self, HYPERVISOR_SCHED_OP as SCHED_OP, HYPERVISOR_VCPU_OP as VCPU_OP};
use xen_sys::{sched, vcpu};

/// Xen's hypercall for the console.
const CONSOLE_IO: u64 = 18;
/// Calls between two looks after the guest's own state.
const TIDY: u64 = 64;

/// r3 of some call.
fn number(random: &mut Random) -> u64 {
    match random.below(8) {
        0..=2 => Number::Xen(random.below(64)).encode(),
        3..=5 => random.below(0x500 / 4 + 1) * 4,
        6 => 0xf000 + random.below(0x100),
        _ => random.next(),
    }
}

/// Some argument: a small number, an address of the guest's memory or beyond it, or anything.
fn argument(random: &mut Random, memory: u64) -> u64 {
    match random.below(8) {
        0..=2 => random.below(16),
        // Not where its own code and data are: an answer would end it.
        3 => memory / 2 + random.below(memory / 2),
        4 => memory - random.below(64),
        5 => memory + random.below(1 << 40),
        6 => u64::MAX,
        _ => random.next(),
    }
}

/// Keeps calls from doing what the guest may do and the test does not want: to end, or to fill the
/// log with what its memory holds.
fn tame(r3: u64, arguments: &mut [u64; MAX_ARGUMENTS]) {
    use vcpu::{VCPUOP_DOWN, VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA, VCPUOP_REGISTER_VCPU_INFO};
    // To end, to sleep until the decrementer comes, to have its own code written over.
    let (call, wild): (_, &[u32]) = match r3 & !XEN_MARK {
        SCHED_OP => (SCHED_OP, &[sched::SCHEDOP_SHUTDOWN, sched::SCHEDOP_POLL]),
        _ => (
            VCPU_OP,
            &[VCPUOP_DOWN, VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA, VCPUOP_REGISTER_VCPU_INFO],
        ),
    };
    if r3 == XEN_MARK | call && wild.iter().any(|command| u64::from(*command) == arguments[0]) {
        arguments[0] += 1000;
    }
    if r3 == Number::Xen(CONSOLE_IO).encode() && arguments[0] == u64::from(xen::CONSOLEIO_WRITE) {
        arguments[1] &= 3;
    }
}

/// Makes `calls` calls from `seed` on.
pub fn fuzz(boot: Boot, options: Options) -> Verdict {
    let seed = options.number("seed").unwrap_or(1);
    let calls = options.number("calls").unwrap_or(100_000);
    let mut random = Random::new(seed);
    let mut refused = 0;
    // In real mode no call can take the ground from under the guest; and a call may switch its
    // interrupts on.
    // SAFETY: the kernel's addresses mean the same in real mode.
    unsafe { entry::set_machine_state(entry::REAL_MSR) };
    bug::ignore_interrupts();
    for call in 0..calls {
        if call % TIDY == 0 {
            // A call that blocks is to come back at once.
            // SAFETY: interrupts are ignored.
            unsafe { registers::set_decrementer(0) };
        }
        let r3 = number(&mut random);
        let mut arguments = [0; MAX_ARGUMENTS];
        arguments.fill_with(|| argument(&mut random, boot.memory_size));
        tame(r3, &mut arguments);
        let [result, ..] = Hypervisor.hypercall(r3, arguments);
        refused += u64::from(result.cast_signed() < 0);
    }
    // Whatever the calls have written, this is a line of its own.
    say!("\nfuzz {calls} calls, seed {seed}, {refused} refused");
    Ok(())
}
