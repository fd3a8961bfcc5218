//! How many instructions small memory takes, where the emulator counts instructions as time: what a vCPU
//! frees itself, and what another one frees. It is the kernel's own heap, first behind Rust's allocator.

use crate::{Options, Verdict, say};
use alloc::alloc::{alloc, dealloc};
use alloc::format;
use core::alloc::Layout;
use core::hint::black_box;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use k42_alloc::{BATCH, Counts, SIZES};
use kernel_arch::hypercall::{vcpu_op, yield_now};
use kernel_arch::{Boot, heap, registers, start};
use xen_sys::vcpu::VCPUOP_IS_UP;

/// Pairs in a measurement of local ones.
const PAIRS: u64 = 1000;
/// Blocks that are given to the other vCPU at a time, in full batches.
const GIVEN: usize = 32 * BATCH as usize;
/// Measurements; the median counts.
const ROUNDS: usize = 11;
/// What is taken where the size is known: 64 bytes.
const KNOWN: Layout = Layout::new::<[u64; 8]>();

/// Whose turn it is; what is given; how long the second vCPU took.
static TURN: AtomicU64 = AtomicU64::new(0);
static BLOCKS_GIVEN: [AtomicPtr<u8>; GIVEN] = [const { AtomicPtr::new(ptr::null_mut()) }; GIVEN];
static TICKS: AtomicU64 = AtomicU64::new(0);

/// Instructions of each of `count`, from ticks with and without them: 0.512 ticks an instruction.
fn each(with: u64, without: u64, count: u64) -> u64 {
    with.saturating_sub(without) * 1000 / 512 / count
}

fn ticks_of(work: impl FnOnce()) -> u64 {
    let start = registers::timebase();
    work();
    registers::timebase() - start
}

fn median(mut figure: impl FnMut() -> u64) -> u64 {
    let mut figures = [0; ROUNDS];
    figures.fill_with(&mut figure);
    figures.sort_unstable();
    figures[ROUNDS / 2]
}

/// Instructions of a pair, less the loop's own.
#[inline(always)]
fn median_of(mut pair: impl FnMut()) -> u64 {
    median(|| {
        let without = ticks_of(|| (0..PAIRS).for_each(|_| black_box(())));
        each(ticks_of(|| (0..PAIRS).for_each(|_| pair())), without, PAIRS)
    })
}

/// A pair of a size, behind Rust's allocator.
fn behind_rust(size: usize) -> u64 {
    let layout = black_box(Layout::from_size_align(size, 8).unwrap_or(KNOWN));
    median_of(|| {
        // SAFETY: a size that is not zero.
        let block = unsafe { alloc(layout) };
        // SAFETY: just taken.
        unsafe { dealloc(black_box(block), layout) };
    })
}

/// A pair of a size that the compiler knows.
fn known() -> u64 {
    median_of(|| {
        if let Some(block) = heap::pinned().allocate(KNOWN) {
            // SAFETY: just taken.
            unsafe { heap::pinned().free(black_box(block), KNOWN) };
        }
    })
}

/// Waits, without the processor, for one's turn.
fn wait_for(turn: u64) {
    while TURN.load(Ordering::Acquire) != turn {
        yield_now();
    }
}

/// Looks at all that is given, without doing anything to it.
fn look() {
    BLOCKS_GIVEN.iter().for_each(|place| _ = black_box(place.load(Ordering::Relaxed)));
}

/// What the second vCPU does: it frees what it is given, every other turn, and goes down.
fn free_what_is_given(turns: u64) {
    for turn in (1..turns).step_by(2) {
        wait_for(turn);
        let without = ticks_of(look);
        let with = ticks_of(|| {
            for place in &BLOCKS_GIVEN {
                if let Some(block) = NonNull::new(place.load(Ordering::Relaxed)) {
                    // SAFETY: the first vCPU has taken it, and uses it no more.
                    unsafe { heap::pinned().free(block, KNOWN) };
                }
            }
        });
        TICKS.store(with.saturating_sub(without), Ordering::Relaxed);
        TURN.store(turn + 1, Ordering::Release);
    }
}

/// Takes as many as are given.
fn take() {
    for place in &BLOCKS_GIVEN {
        let block = heap::pinned().allocate(KNOWN).map_or(ptr::null_mut(), NonNull::as_ptr);
        place.store(block, Ordering::Relaxed);
    }
}

/// Local pairs of every size, and remote ones.
pub fn pairs(_: Boot, _: Options) -> Verdict {
    // The first of a size takes a slab; what follows is what is counted.
    SIZES.iter().for_each(|size| _ = behind_rust(*size));
    let before = heap::pinned().counts(0);
    let worst = SIZES.map(behind_rust).into_iter().max().unwrap_or(0);
    let known = known();
    let after = heap::pinned().counts(0);
    if (Counts { local_frees: before.local_frees, ..after }) != before {
        return Err(format!("{before:?} and then {after:?}"));
    }
    say!("BENCH alloc-local {worst} insns");
    say!("BENCH alloc-local-known {known} insns");
    remote()
}

/// Blocks that the first vCPU takes and the second one frees.
fn remote() -> Verdict {
    let turns = 2 * ROUNDS as u64;
    take();
    let before = heap::pinned().counts(0);
    start(1, move || free_what_is_given(turns))?;
    let (mut turn, mut retakes, mut lost) = (1, [0; ROUNDS], false);
    let remote_free = median(|| {
        TURN.store(turn, Ordering::Release);
        wait_for(turn + 1);
        let without = ticks_of(look);
        let round = (turn / 2) as usize;
        retakes[round] = each(ticks_of(take), without, GIVEN as u64);
        lost |= BLOCKS_GIVEN.iter().any(|place| place.load(Ordering::Relaxed).is_null());
        turn += 2;
        each(TICKS.load(Ordering::Relaxed), 0, GIVEN as u64)
    });
    retakes.sort_unstable();
    let after = heap::pinned().counts(0);
    while vcpu_op(VCPUOP_IS_UP, 1, &0u64) != 0 {
        yield_now();
    }
    let (other, all) = (heap::pinned().counts(1), (ROUNDS * GIVEN) as u64);
    // Full batches, without a lock; and as it goes down what it ran, which the first vCPU has made.
    let batches = all / u64::from(BATCH) + 1;
    let wanted = Counts { remote_frees: all + 1, batches, locks: 1, ..Counts::default() };
    if lost || other != wanted || after.receipts - before.receipts != ROUNDS as u64 {
        return Err(format!("the first has counted {after:?}, the second {other:?}"));
    }
    say!("BENCH alloc-remote-free {remote_free} insns");
    say!("BENCH alloc-remote-pair {} insns", remote_free + retakes[ROUNDS / 2]);
    Ok(())
}
