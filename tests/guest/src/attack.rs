//! A guest that knows the interface and attacks by it: `test=attack own=N peer=N seed=N calls=N`.
//!
//! Both its vCPUs make calls drawn from a seed: arguments that are plausible and spoiled, at the
//! end of memory, in pages that come and go, in each other's hands; the other domain, `peer`, does
//! the same, and they lend each other pages and connect channels. After each batch a vCPU makes
//! the hypercall of a hypervisor with the walker, which stops the machine when something is wrong.
//!
//! The seed fixes what each vCPU draws; what they meet is a matter of who is faster.

mod ground;
mod papr;
mod vcpus;
mod xen;

use crate::random::Random;
use crate::vcpus::start_second;
use crate::{Options, Verdict, say};
use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use ground::Ground;
use hv_abi::table::MAX_ARGUMENTS;
use hv_abi::{Number, Trap};
use kernel_arch::hypercall::{Hypervisor, vcpu_op};
use kernel_arch::{Boot, bug, entry, registers};
use xen_sys::vcpu;

/// Xen's number of the walker's hypercall (`hypercall/walker.rs` of the hypervisor).
const WALK: u64 = 55;
/// Calls of a vCPU between two walks.
const BATCH: u64 = 1024;
/// Calls between two looks after the guest's own state.
const TIDY: u64 = 32;

/// The second vCPU's part, and whether it has played it.
static SECOND: AtomicPtr<Attacker> = AtomicPtr::new(ptr::null_mut());
static DONE: AtomicBool = AtomicBool::new(false);
/// What both have counted: calls that were refused, walks.
static REFUSED: AtomicU64 = AtomicU64::new(0);
static WALKS: AtomicU64 = AtomicU64::new(0);

/// A call that is to be made.
struct Call {
    r3: u64,
    arguments: [u64; MAX_ARGUMENTS],
    /// It maps a page there, and its argument is at that address.
    mapped: Option<(u64, u64)>,
}

impl Call {
    fn new<const N: usize>(r3: u64, given: [u64; N]) -> Call {
        let mut arguments = [0; MAX_ARGUMENTS];
        arguments[..N].copy_from_slice(&given);
        Call { r3, arguments, mapped: None }
    }
}

/// One of the two vCPUs.
struct Attacker {
    /// Its own number.
    number: u64,
    random: Random,
    ground: Ground,
    own: u64,
    peer: u64,
    calls: u64,
}

impl Attacker {
    fn run(&mut self) {
        for n in 0..self.calls {
            if n % TIDY == 0 {
                self.tidy();
            }
            let call = self.draw();
            let [result, ..] = Hypervisor.hypercall(call.r3, call.arguments);
            REFUSED.fetch_add(u64::from(result.cast_signed() < 0), Ordering::Relaxed);
            if let Some((argument, window)) = call.mapped {
                ground::note_handle(argument, window);
            }
            if n % BATCH == BATCH - 1 {
                walk();
            }
        }
        walk();
    }

    /// Who blocks comes back soon, and the second vCPU is up again.
    fn tidy(&mut self) {
        let ticks = self.random.of(&[0, 0, 0, 20_000]);
        // SAFETY: interrupts are off, or ignored.
        unsafe { registers::set_decrementer(ticks) };
        if self.number == 0 {
            start();
        }
    }

    fn draw(&mut self) -> Call {
        match self.random.below(32) {
            0..=8 => self.events(),
            9..=16 => self.grants(),
            17..=20 => self.memory(),
            21..=23 => self.vcpus(),
            24 | 25 => self.scheduling(),
            26..=28 => self.lan(),
            29 => self.platform(),
            _ => self.others(),
        }
    }
}

/// Has the hypervisor look after itself, if it can.
fn walk() {
    let [leaves, ..] = Hypervisor.hypercall(Number::Xen(WALK).encode(), [0; MAX_ARGUMENTS]);
    WALKS.fetch_add(u64::from(leaves.cast_signed() > 0), Ordering::Relaxed);
}

/// Has the second vCPU go on where it is stopped.
fn start() {
    vcpu_op(vcpu::VCPUOP_UP, 1, &0u64);
}

extern "C" fn second() -> ! {
    let attacker = SECOND.load(Ordering::Acquire);
    // SAFETY: the first vCPU has made it for this one alone.
    unsafe { (*attacker).run() };
    DONE.store(true, Ordering::Release);
    loop {
        vcpu_op(vcpu::VCPUOP_DOWN, 1, &0u64);
    }
}

/// Makes `calls` calls from `seed` on, half of them on each vCPU.
pub fn attack(boot: Boot, options: Options) -> Verdict {
    let number = |key, default| options.number(key).unwrap_or(default);
    let (own, peer) = (number("own", 1), number("peer", 2));
    let (seed, calls) = (number("seed", 1), number("calls", 100_000));
    // In real mode no call can take the ground from under the guest.
    // SAFETY: the kernel's addresses mean the same in real mode.
    unsafe { entry::set_machine_state(entry::REAL_MSR) };
    bug::ignore_interrupts();
    let ground = Ground::new(&boot)?;
    let attacker = |number| Attacker {
        number,
        random: Random::new(seed * 2 + number),
        ground,
        own,
        peer,
        calls: calls / 2,
    };
    SECOND.store(Box::into_raw(Box::new(attacker(1))), Ordering::Release);
    start_second(second)?;
    attacker(0).run();
    while !DONE.load(Ordering::Acquire) {
        start();
        registers::relax();
    }
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (refused, walks) = (count(&REFUSED), count(&WALKS));
    // Whatever the calls have written, this is a line of its own.
    say!("\nattack {calls} calls, seed {seed}, {refused} refused, {walks} walks");
    Ok(())
}
