//! Locks and published values on the machine: what they take where nobody waits, and two vCPUs of which
//! one waits for the other.

use crate::count::{instructions, median};
use crate::vcpus::start_second;
use crate::{Options, Verdict, say};
use alloc::format;
use core::cell::Cell;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use k42_lib::lock::{Activation, Contended, Held, Lock, Waiting, wait_by};
use k42_object::{Published, vcpus};
use kernel_arch::{Boot, hypercall, registers};

k42_lib::levels! { Outer < Inner }

/// Rounds of a loop, and loops; the median counts.
const ROUNDS: u64 = 1000;
const LOOPS: usize = 11;

/// Ticks of so many rounds, which are counted in memory: in the same way, whatever is in them.
fn ticks(round: &mut impl FnMut()) -> u64 {
    let left = Cell::new(ROUNDS);
    let start = registers::timebase();
    while black_box(&left).get() != 0 {
        left.set(left.get() - 1);
        round();
    }
    registers::timebase() - start
}

/// Instructions of a round with something, less those of a round without.
fn cost(mut with: impl FnMut(), mut without: impl FnMut()) -> u64 {
    median::<LOOPS>(|| {
        let (with, without) = (ticks(&mut with), ticks(&mut without));
        // To the nearest.
        (instructions(with.saturating_sub(without)) + ROUNDS / 2) / ROUNDS
    })
}

/// Measures a lock that is taken and let go of, and a read of a published value, each less the same with
/// a value that is just there.
pub fn figures(_: Boot, _: Options) -> Verdict {
    let vcpus = vcpus(1);
    let mut here = vcpus[0].enter();
    let (here, mut held) = Held::nothing(&mut here);
    let (lock, plain) = (Lock::<Outer, u64>::new(0), Cell::new(0));
    let add = || {
        let plain = black_box(&plain);
        plain.set(plain.get() + 1);
    };
    let pair = cost(|| *black_box(&lock).lock(&mut held) += 1, add);
    let counts = (*lock.lock(&mut held), lock.contended());
    if counts != (plain.get(), 0) {
        return Err(format!("a lock that loses counts, or is waited for: {counts:?}"));
    }
    say!("BENCH lock-unlock {pair} insns");

    let (published, sum) = (Published::new(here, 1), Cell::new(0));
    let add = |value: &u64| sum.set(sum.get() + value);
    let here = black_box(here);
    let read = cost(|| add(black_box(&published).read(here)), || add(black_box(&1)));
    say!("BENCH published-read {read} insns");
    let rounds = 2 * ROUNDS * LOOPS as u64;
    if sum.get() == rounds { Ok(()) } else { Err(format!("{} is not {rounds}", sum.get())) }
}

/// A count that each vCPU makes odd and even again, and the one that is taken first.
static COUNT: Lock<Inner, u64> = Lock::new(0);
static FIRST: Lock<Outer, ()> = Lock::new(());
/// How often somebody had to wait.
static TOLD: AtomicU32 = AtomicU32::new(0);
static DONE: AtomicBool = AtomicBool::new(false);
/// So often a vCPU waits for the other at most.
const SPINS: u64 = 1 << 24;

/// As a kernel waits: whoever holds the lock may want the processor.
struct Yielding;

impl Waiting for Yielding {
    fn contended(&self, _: Contended) {
        TOLD.fetch_add(1, SeqCst);
    }

    fn wait(&self, _: u32) {
        hypercall::yield_now();
    }
}

struct Thread;

impl Activation for Thread {}

/// Counts up by two in two steps, so that whoever comes between would be seen; `false` if somebody did.
/// Now and then the vCPU gives its processor to the other in the middle of it.
fn count() -> bool {
    let mut thread = Thread;
    let (_, mut held) = Held::nothing(&mut thread);
    (0..ROUNDS).all(|round| {
        let mut first = FIRST.lock(&mut held);
        let mut count = COUNT.lock(first.split().1);
        let even = count.is_multiple_of(2);
        *count += 1;
        if round.is_multiple_of(16) {
            hypercall::yield_now();
        }
        *count += 1;
        even
    })
}

extern "C" fn second() -> ! {
    let alone = count();
    DONE.store(alone, SeqCst);
    loop {
        hypercall::block();
    }
}

/// Both vCPUs count, and the second finds the first in the middle of it at least once.
pub fn contention(_: Boot, _: Options) -> Verdict {
    wait_by(&Yielding);
    let until = |look: &dyn Fn() -> bool| {
        (0..SPINS).any(|_| {
            hypercall::yield_now();
            look()
        })
    };
    let mut thread = Thread;
    let (_, mut held) = Held::nothing(&mut thread);
    let first = FIRST.lock(&mut held);
    start_second(second)?;
    if !until(&|| TOLD.load(SeqCst) == 1) {
        return Err(format!("told {TOLD:?} times of a lock that is held"));
    }
    drop(first);
    if !count() || !until(&|| DONE.load(SeqCst)) {
        return Err("a vCPU was not alone, or does not come to its end".into());
    }
    let (total, told) = (*COUNT.lock(&mut held), TOLD.load(SeqCst));
    let waits = FIRST.contended() + COUNT.contended();
    if (total, waits) == (4 * ROUNDS, told) {
        Ok(())
    } else {
        Err(format!("{total} counted, {waits} waits, told of {told}"))
    }
}
