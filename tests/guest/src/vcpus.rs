//! A domain of two vCPUs: the second starts, the two tell each other things in turns, each has its
//! timer, the second goes down and comes up again.
//!
//! The second vCPU stays in real mode with interrupts off. It has its own `vcpu_info`, and no block of the
//! kernel's.

use crate::count::instructions;
use crate::events::{SHARED, map_shared_page, operation, take};
use crate::{Options, Verdict, say};
use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::xen::VcpuGuestContext;
use kernel_arch::hypercall::{self, vcpu_op};
use kernel_arch::{Boot, guest_address, registers};
use xen_sys::{event_channel as op, vcpu, xen};

/// The ports, in the order in which they are bound: what tells each vCPU, and each one's timer.
const TELLS: [u32; 2] = [1, 2];
const TIMERS: [u32; 2] = [3, 4];
const PENDING: u64 = SHARED + 48;
const ROUNDS: u64 = 1000;
/// Timers of each vCPU, and how long each takes: half a millisecond, in ticks.
const TIMES: u64 = 20;
const TICKS: u64 = 256_000;

#[repr(C, align(64))]
struct Info([AtomicU64; 8]);

/// The second vCPU's `vcpu_info`, its stack, and how far it has come.
static INFO: Info = Info([const { AtomicU64::new(0) }; 8]);
static STACK: [AtomicU64; 2048] = [const { AtomicU64::new(0) }; 2048];
static PROGRESS: AtomicU64 = AtomicU64::new(0);
const SPINS: u64 = 1 << 32;

core::arch::global_asm!(
    ".globl second_start",
    // r1 = stack, r3 = what to call; the TOC by its linked address, which real mode takes as well
    "second_start:",
    "lis 2, .TOC.@highest",
    "ori 2, 2, .TOC.@higher",
    "sldi 2, 2, 32",
    "oris 2, 2, .TOC.@high",
    "ori 2, 2, .TOC.@l",
    "li 0, 0",
    "stdu 0, -64(1)",
    "mr 12, 3",
    "mtctr 12",
    "bctrl",
    "trap",
);

unsafe extern "C" {
    fn second_start();
}

fn bind(command: u32, words: [u32; 3], want: u32) -> Verdict {
    let (result, words) = operation(command, words);
    let port = if command == op::EVTCHNOP_BIND_VIRQ { words[2] } else { words[1] };
    let bound = (result, port) == (0, want);
    if bound { Ok(()) } else { Err(format!("port {port} for {want}: {result}")) }
}

/// The first doubleword of this vCPU's `vcpu_info`.
fn info(me: usize) -> u64 {
    if me == 0 { SHARED } else { guest_address(&raw const INFO).value() }
}

/// Sleeps until the port has an event, and takes that.
fn wait(me: usize, port: u32) {
    loop {
        take(info(me));
        take(info(me) + 8);
        if take_bit(port) {
            return;
        }
        hypercall::block();
    }
}

/// The pending bits that have been taken, and not been asked for yet, of either vCPU.
static TAKEN: AtomicU64 = AtomicU64::new(0);

fn take_bit(port: u32) -> bool {
    TAKEN.fetch_or(take(PENDING), Ordering::AcqRel);
    TAKEN.fetch_and(!(1 << port), Ordering::AcqRel) & 1 << port != 0
}

fn send(port: u32) -> i64 {
    operation(op::EVTCHNOP_SEND, [port]).0
}

/// Sets the timer and sleeps, again and again; false if it came too early.
fn time(me: usize) -> bool {
    (0..TIMES).all(|_| {
        let due = registers::timebase() + TICKS;
        let argument =
            vcpu::SetSingleshotTimer { timeout_abs_ns: due * 125 / 64, flags: 0, _hole: [0; 4] };
        let set = vcpu_op(vcpu::VCPUOP_SET_SINGLESHOT_TIMER, me as u32, &argument);
        wait(me, TIMERS[me]);
        set == 0 && registers::timebase() + 1 >= due
    })
}

/// The second vCPU's part.
extern "C" fn second_vcpu() -> ! {
    for _ in 0..ROUNDS {
        wait(1, TELLS[1]);
        send(TELLS[0]);
    }
    PROGRESS.store(if time(1) { 2 } else { u64::MAX }, Ordering::Release);
    send(TELLS[0]);
    vcpu_op(vcpu::VCPUOP_DOWN, 1, &0u64);
    PROGRESS.store(3, Ordering::Release); // it goes on here when it is up again
    send(TELLS[0]);
    loop {
        hypercall::block();
    }
}

/// The first vCPU's part, and the verdict.
pub fn vcpus(_: Boot, _: Options) -> Verdict {
    map_shared_page()?;
    for vcpu in [0, 1] {
        bind(op::EVTCHNOP_BIND_IPI, [vcpu, 0, 0], TELLS[vcpu as usize])?;
    }
    for vcpu in [0, 1] {
        bind(op::EVTCHNOP_BIND_VIRQ, [xen::VIRQ_TIMER, vcpu, 0], TIMERS[vcpu as usize])?;
    }
    let at = guest_address(&raw const INFO).value();
    let register = vcpu::RegisterVcpuInfo { mfn: at >> 12, offset: (at & 0xfff) as u32, rsvd: 0 };
    if vcpu_op(vcpu::VCPUOP_REGISTER_VCPU_INFO, 1, &register) != 0 {
        return Err(String::from("the second vCPU's information cannot be registered"));
    }
    start_second(second_vcpu)?;
    for round in 0..ROUNDS {
        if send(TELLS[1]) != 0 {
            return Err(format!("send of round {round}"));
        }
        wait(0, TELLS[0]);
    }
    if !time(0) {
        return Err(String::from("the first vCPU's timer came too early"));
    }
    wait(0, TELLS[0]);
    if PROGRESS.load(Ordering::Acquire) != 2 {
        return Err(String::from("the second vCPU's timer came too early"));
    }
    let down = (0..SPINS).any(|_| vcpu_op(vcpu::VCPUOP_IS_UP, 1, &0u64) == 0);
    if !down || vcpu_op(vcpu::VCPUOP_UP, 1, &0u64) != 0 {
        return Err(String::from("it does not go down and up"));
    }
    wait(0, TELLS[0]);
    let at = PROGRESS.load(Ordering::Acquire);
    if at == 3 { Ok(()) } else { Err(format!("it went on at {at}")) }
}

/// Has the second vCPU run this, in real mode with interrupts off.
pub fn start_second(run: extern "C" fn() -> !) -> Verdict {
    let context = VcpuGuestContext {
        entry: guest_address(second_start as *const ()).value(),
        stack: guest_address(STACK.as_ptr_range().end).value() - 128,
        argument: run as *const () as u64,
        flags: VcpuGuestContext::LITTLE_ENDIAN,
    };
    let steps = [vcpu_op(vcpu::VCPUOP_INITIALISE, 1, &context), vcpu_op(vcpu::VCPUOP_UP, 1, &0u64)];
    if steps == [0; 2] { Ok(()) } else { Err(format!("the second vCPU: {steps:?}")) }
}

/// How long two vCPUs on one processor need to give it to each other and back: both yield, the
/// first one counts.
pub fn switches(_: Boot, _: Options) -> Verdict {
    map_shared_page()?;
    let at = guest_address(switch_start as *const ()).value();
    let stack = guest_address(STACK.as_ptr_range().end).value() - 128;
    let context =
        VcpuGuestContext { entry: at, stack, argument: 0, flags: VcpuGuestContext::LITTLE_ENDIAN };
    let steps = [vcpu_op(vcpu::VCPUOP_INITIALISE, 1, &context), vcpu_op(vcpu::VCPUOP_UP, 1, &0u64)];
    if steps != [0; 2] {
        return Err(format!("the second vCPU: {steps:?}"));
    }
    (0..100).for_each(|_| hypercall::yield_now());
    let start = registers::timebase();
    (0..ROUNDS).for_each(|_| hypercall::yield_now());
    let ticks = registers::timebase() - start;
    say!("BENCH vcpu-switch-pair {} insns", instructions(ticks) / ROUNDS);
    Ok(())
}

core::arch::global_asm!(
    ".globl switch_start",
    "switch_start:",
    "li 3, -1",
    "sldi 3, 3, 16",
    "ori 3, 3, 29", // sched_op
    "li 4, 0",      // SCHEDOP_yield
    "sc 1",
    "b switch_start",
);

unsafe extern "C" {
    fn switch_start();
}
