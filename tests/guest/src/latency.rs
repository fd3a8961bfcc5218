//! How long it takes until a vCPU that sleeps is told: of another domain's event, of its timer,
//! beside others that want the processor.
//!
//! `test=signal` (domain 1) sends events to `test=signalled` (domain 2), which sleeps, and both say
//! the sum of their times. `test=timer` and `test=lateness` set their timers.

use crate::count::instructions;
use crate::events::operation;
use crate::upcall::{bind_timer, start, wait};
use crate::{Options, Verdict, say};
use alloc::format;
use alloc::vec::Vec;
use kernel_arch::hypercall::{self, vcpu_op};
use kernel_arch::{Boot, registers};
use xen_sys::{event_channel as op, vcpu, xen};

/// Rounds before and in a measurement.
const WARM_UP: u64 = 20;
const ROUNDS: u64 = 200;
/// The sender's port and the receiver's: the first that each gets.
const PORT: u32 = 1;
/// Ticks in 0.1 ms: in so long everybody has fallen asleep.
const SETTLED: u64 = 51_200;

fn send() -> Verdict {
    match operation(op::EVTCHNOP_SEND, [PORT]).0 {
        0 => Ok(()),
        error => Err(format!("send: {error}")),
    }
}

/// Has the timer tell at this time.
fn set_timer(at: u64) -> Verdict {
    let argument =
        vcpu::SetSingleshotTimer { timeout_abs_ns: at * 125 / 64, flags: 0, _hole: [0; 4] };
    match vcpu_op(vcpu::VCPUOP_SET_SINGLESHOT_TIMER, 0, &argument) {
        0 => Ok(()),
        error => Err(format!("the timer is not set: {error}")),
    }
}

/// Domain 1: sends an event whenever the other has been asleep for some time.
pub fn signal(_: Boot, _: Options) -> Verdict {
    start()?;
    let (result, words) =
        operation(op::EVTCHNOP_ALLOC_UNBOUND, [u32::from(xen::DOMID_SELF) | 2 << 16, 0]);
    if (result, words[1]) != (0, PORT) {
        return Err(format!("allocated port {}: {result}", words[1]));
    }
    let timer = bind_timer()?;
    let (mut sum, mut cost) = (0, 0);
    for round in 0..WARM_UP + ROUNDS {
        wait(PORT);
        set_timer(registers::timebase() + SETTLED)?;
        wait(timer);
        let sent = registers::timebase();
        send()?;
        if round >= WARM_UP {
            cost += registers::timebase() - sent;
            sum += sent;
        }
    }
    say!("BENCH event-send {} insns", instructions(cost) / ROUNDS);
    say!("sum {sum} of {ROUNDS} rounds");
    Ok(())
}

/// Domain 2: says that it is about to sleep, and sleeps until it is told.
pub fn signalled(_: Boot, _: Options) -> Verdict {
    start()?;
    while operation(op::EVTCHNOP_BIND_INTERDOMAIN, [1, PORT, 0]).0 != 0 {
        // The other has not made it yet.
        // SAFETY: interrupts are off: all it does is end a sleep.
        unsafe { registers::set_decrementer(SETTLED) };
        hypercall::block();
    }
    wait(PORT); // connecting makes the own end pending
    let mut sum = 0;
    for round in 0..WARM_UP + ROUNDS {
        send()?;
        let entered = wait(PORT);
        sum += if round >= WARM_UP { entered } else { 0 };
    }
    say!("sum {sum} of {ROUNDS} rounds");
    Ok(())
}

/// Sleeps until its timer comes, 0.1 ms ahead: what setting it takes, and from its time to the
/// upcall.
pub fn timer(_: Boot, _: Options) -> Verdict {
    start()?;
    let port = bind_timer()?;
    let (mut set, mut late) = (0, 0);
    for round in 0..WARM_UP + ROUNDS {
        let before = registers::timebase();
        let due = before + SETTLED;
        set_timer(due)?;
        let after = registers::timebase();
        let entered = wait(port);
        if round >= WARM_UP {
            (set, late) = (set + after - before, late + entered - due);
        }
    }
    say!("BENCH timer-set {} insns", instructions(set) / ROUNDS);
    say!("BENCH timer-late {} insns", instructions(late) / ROUNDS);
    Ok(())
}

/// The same `count` times, at times that have nothing to do with the slices of others: how late
/// the worst is, and the worst but a thousandth.
pub fn lateness(_: Boot, options: Options) -> Verdict {
    start()?;
    let port = bind_timer()?;
    let count = options.number("count").unwrap_or(2000) as usize;
    let mut late = Vec::with_capacity(count);
    let mut random: u64 = 1;
    for _ in 0..count {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // 0.05 to 1.07 ms
        let due = registers::timebase() + SETTLED / 2 + (random >> 45);
        set_timer(due)?;
        late.push(instructions(wait(port).saturating_sub(due)));
    }
    late.sort_unstable();
    say!("BENCH reserved-late-999 {} insns", late[count - 1 - count / 1000]);
    say!("BENCH reserved-late-worst {} insns", late[count - 1]);
    Ok(())
}
