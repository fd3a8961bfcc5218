//! What clustered objects cost, where the emulator counts instructions as time.
//!
//! `test=calls` counts on one vCPU: a call, beside a call of the same rep by a pointer; an activation;
//! calls that find no translation. `test=increments` has all vCPUs of the domain increment counters, one
//! vCPU after the other, so that the time is that of its instructions alone. `test=wakes` has two vCPUs
//! wake each other.

use crate::count::instructions;
use crate::{Options, Verdict, say};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use k42_object::{Clustered, Gone, Here, Ref, Vcpu, clustered, vcpus};
use kernel_arch::{Boot, registers, sleep, start, wake};

/// Calls that are counted together.
const CALLS: u64 = 1_000;
/// Measurements; the median counts.
const ROUNDS: usize = 11;
/// Objects of which each is called for the first time.
const OBJECTS: u64 = 100;

#[clustered]
pub trait Counter {
    fn nothing(&self, here: &Here<'_>) -> Result<(), Gone>;
    fn increment(&self, here: &Here<'_>) -> Result<(), Gone>;
    fn count(&self, here: &Here<'_>) -> Result<u64, Gone>;
}

/// A rep.
pub struct Rep(AtomicU64);

impl Rep {
    pub fn make(_: &Here<'_>, _: u32) -> Arc<dyn Counter> {
        Arc::new(Rep(AtomicU64::new(0)))
    }
}

impl Counter for Rep {
    fn nothing(&self, _: &Here<'_>) -> Result<(), Gone> {
        Ok(())
    }

    fn increment(&self, _: &Here<'_>) -> Result<(), Gone> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn count(&self, _: &Here<'_>) -> Result<u64, Gone> {
        Ok(self.0.load(Ordering::Relaxed))
    }
}

/// The instructions of this, in the median of some rounds. Not by `count::median`: with a closure more
/// between, what is counted would take an instruction more.
fn instructions_of(mut what: impl FnMut()) -> u64 {
    let mut costs = [0; ROUNDS];
    for cost in &mut costs {
        let start = registers::timebase();
        what();
        *cost = instructions(registers::timebase() - start);
    }
    costs.sort_unstable();
    costs[ROUNDS / 2]
}

/// The same thing, of which the compiler knows nothing any more, as of all memory.
fn opaque<T>(thing: &T) -> &T {
    let mut pointer = core::ptr::from_ref(thing);
    // SAFETY: no instruction at all.
    unsafe { asm!("# {0}", inout(reg) pointer, options(nostack, preserves_flags)) };
    // SAFETY: it is still the pointer to the thing.
    unsafe { &*pointer }
}

/// The instructions of [`CALLS`] times this: of a loop that does it twice, less those of one that does it
/// once.
macro_rules! cost {
    ($what:expr) => {{
        let once = instructions_of(|| (0..CALLS).for_each(|_| $what));
        let twice = instructions_of(|| {
            (0..CALLS).for_each(|_| {
                $what;
                $what;
            })
        });
        twice - once
    }};
}

/// What knows an object: by its reference, and a rep of it by a pointer.
struct Known<'a> {
    object: Ref<dyn Counter>,
    rep: &'a dyn Counter,
}

/// Calls, activations, and first calls.
pub fn calls(_: Boot, _: Options) -> Verdict {
    let vcpus = vcpus(2);
    let [here, other] = [vcpus[0].enter(), vcpus[1].enter()];
    let create = || here.create(Clustered::shared(Rep::make)).map_err(|full| format!("{full}"));
    let object = create()?;
    object.nothing(&here).map_err(|gone| format!("{gone}"))?;
    let known = Known { object, rep: here.get(object) };
    let call = cost!(_ = opaque(&known).object.nothing(opaque(&here))) / CALLS;
    let by_pointer = cost!(_ = opaque(&known).rep.nothing(opaque(&here))) / CALLS;
    let activation = cost!(_ = opaque(&opaque(&vcpus[0]).enter())) / CALLS;

    let mut fresh = Vec::with_capacity(OBJECTS as usize);
    for _ in 0..OBJECTS {
        fresh.push(create()?);
    }
    let first = |here: &Here<'_>| {
        let start = registers::timebase();
        let called = fresh.iter().all(|object| object.nothing(here).is_ok());
        let ticks = registers::timebase() - start;
        if called { Ok(instructions(ticks) / OBJECTS) } else { Err(String::from("one is gone")) }
    };
    say!("BENCH object-call {call} insns");
    say!("BENCH virtual-call {by_pointer} insns");
    say!("BENCH activation {activation} insns");
    say!("BENCH object-first-call {} insns", first(&here)?);
    say!("BENCH object-miss {} insns", first(&other)?);
    Ok(())
}

/// Whose turn it is, and the instructions of all turns.
static TURN: AtomicU64 = AtomicU64::new(0);
static SHARED: AtomicU64 = AtomicU64::new(0);
static OWN: AtomicU64 = AtomicU64::new(0);

/// Waits for its turn, increments both counters, and gives the next vCPU its turn.
fn turn(vcpu: &Vcpu, number: u32, of: u32, [shared, own]: [Ref<dyn Counter>; 2]) {
    while TURN.load(Ordering::Acquire) != u64::from(number) {
        sleep(u64::MAX);
    }
    let here = vcpu.enter();
    for (counter, sum) in [(shared, &SHARED), (own, &OWN)] {
        _ = counter.increment(&here); // finds the rep
        let all = cost!(_ = opaque(&counter).increment(opaque(&here)));
        sum.fetch_add(all, Ordering::Relaxed);
    }
    TURN.store(u64::from(number) + 1, Ordering::Release);
    wake((number + 1) % of);
}

/// A counter with one rep and a counter with a rep for each vCPU, on all vCPUs.
pub fn increments(boot: Boot, _: Options) -> Verdict {
    let count = boot.vcpus;
    let mut vcpus = vcpus(count);
    let others = vcpus.split_off(1);
    let here = vcpus[0].enter();
    let full = |full| format!("{full}");
    let counters = [
        here.create(Clustered::shared(Rep::make)).map_err(full)?,
        here.create(Clustered::per_processor(Rep::make)).map_err(full)?,
    ];
    for (number, vcpu) in (1..).zip(others) {
        start(number, move || {
            turn(&vcpu, number, count, counters);
            loop {
                sleep(u64::MAX);
            }
        })?;
    }
    turn(&vcpus[0], 0, count, counters);
    while TURN.load(Ordering::Acquire) != u64::from(count) {
        sleep(u64::MAX);
    }
    // Each vCPU has called as often as the others.
    let all = counters[0].count(&here);
    let own = counters[1].count(&here);
    if all != own.map(|own| own * u64::from(count)) {
        return Err(format!("the counts are {all:?} and {own:?}"));
    }
    let [shared, own] = [&SHARED, &OWN].map(|sum| sum.load(Ordering::Relaxed) / u64::from(count));
    say!("BENCH counter-shared {shared} insns");
    say!("BENCH counter-own {own} insns");
    Ok(())
}

/// The second vCPU sleeps until it is woken and wakes the first one, which sleeps meanwhile.
pub fn wakes(_: Boot, _: Options) -> Verdict {
    let wait_for = |number| {
        while TURN.load(Ordering::Acquire) % 2 != number {
            sleep(u64::MAX);
        }
    };
    let give = |to| {
        TURN.fetch_add(1, Ordering::AcqRel);
        wake(to);
    };
    start(1, move || {
        loop {
            wait_for(1);
            give(0);
        }
    })?;
    let pairs = || {
        for _ in 0..CALLS {
            give(1);
            wait_for(0);
        }
    };
    pairs();
    say!("BENCH vcpu-wake-pair {} insns", instructions_of(pairs) / CALLS);
    Ok(())
}
