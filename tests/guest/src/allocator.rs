//! How many instructions small memory takes, where the emulator counts instructions as time: what a vCPU
//! frees itself, and what another one frees.
//!
//! The first figure is the kernel's own heap behind Rust's allocator. The others are of pools for two vCPUs,
//! which find their parts by a block each, as a kernel with many does; the second vCPU is in real mode.

use crate::vcpus::start_second;
use crate::{Options, Verdict, say};
use alloc::alloc::{alloc, dealloc};
use alloc::format;
use core::alloc::Layout;
use core::arch::asm;
use core::hint::black_box;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use hv_abi::xen::stub;
use k42_alloc::{BATCH, Counts, FirstFit, Node, Pools, Processor, SIZES};
use k42_lib::GuestAddr;
use kernel_arch::{Boot, heap, hypercall::Hypervisor, registers};
use xen_sys::sched;

/// Pairs in a measurement of local ones.
const PAIRS: u64 = 1000;
/// Blocks that are given to the other vCPU at a time, in full batches.
const GIVEN: usize = 32 * BATCH as usize;
/// Measurements; the median counts.
const ROUNDS: usize = 11;
/// What is taken where the size is known: 64 bytes.
const KNOWN: Layout = Layout::new::<[u64; 8]>();

/// A vCPU's own block, to which SPRG3 points.
struct Block {
    number: usize,
    part: AtomicPtr<()>,
}

static BLOCKS: [Block; 2] = [
    Block { number: 0, part: AtomicPtr::new(ptr::null_mut()) },
    Block { number: 1, part: AtomicPtr::new(ptr::null_mut()) },
];

impl Block {
    #[inline(always)]
    fn this() -> &'static Block {
        let block: *const Block;
        // SAFETY: reads a register that nobody else uses.
        unsafe { asm!("mfspr {}, 275", out(reg) block, options(pure, nomem, nostack)) };
        // SAFETY: `adopt` has put it there.
        unsafe { &*block }
    }

    /// From now on this vCPU has the block. Who calls this does not look for it: nothing tells the compiler
    /// that the register changes.
    fn adopt(&'static self) {
        self.part.store(TWO.part(self.number).cast_mut(), Ordering::Relaxed);
        // SAFETY: a register that nobody else uses.
        unsafe { asm!("mtspr 275, {}", in(reg) ptr::from_ref(self), options(nostack)) };
    }
}

struct Vcpu;

// SAFETY: each of two vCPUs has its block, and interrupts are off.
unsafe impl Processor for Vcpu {
    #[inline(always)]
    fn current() -> usize {
        Block::this().number
    }

    #[inline(always)]
    fn own<T>(_: &[T]) -> &T {
        // SAFETY: this vCPU's part of the only pools with this processor.
        unsafe { &*Block::this().part.load(Ordering::Relaxed).cast() }
    }
}

static TWO: Pools<Vcpu, FirstFit, 2> = Pools::new([Node::new(FirstFit::empty())]);

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
        if let Some(block) = TWO.allocate(KNOWN) {
            // SAFETY: just taken.
            unsafe { TWO.free(black_box(block), KNOWN) };
        }
    })
}

/// Waits, without the processor, for one's turn.
fn wait_for(turn: u64) {
    while TURN.load(Ordering::Acquire) != turn {
        stub::sched_op(&Hypervisor, sched::SCHEDOP_YIELD.into(), GuestAddr::new(0));
    }
}

/// Looks at all that is given, without doing anything to it.
fn look() {
    BLOCKS_GIVEN.iter().for_each(|place| _ = black_box(place.load(Ordering::Relaxed)));
}

extern "C" fn second() -> ! {
    BLOCKS[1].adopt();
    free_what_is_given()
}

/// The second vCPU frees what it is given, every other turn.
#[inline(never)]
fn free_what_is_given() -> ! {
    for turn in (1..).step_by(2) {
        wait_for(turn);
        let without = ticks_of(look);
        let with = ticks_of(|| {
            for place in &BLOCKS_GIVEN {
                if let Some(block) = NonNull::new(place.load(Ordering::Relaxed)) {
                    // SAFETY: the first vCPU has taken it, and uses it no more.
                    unsafe { TWO.free(block, KNOWN) };
                }
            }
        });
        TICKS.store(with.saturating_sub(without), Ordering::Relaxed);
        TURN.store(turn + 1, Ordering::Release);
    }
    loop {
        wait_for(0);
    }
}

/// Takes as many as are given.
fn take() {
    for place in &BLOCKS_GIVEN {
        let block = TWO.allocate(KNOWN).map_or(ptr::null_mut(), NonNull::as_ptr);
        place.store(block, Ordering::Relaxed);
    }
}

/// Local pairs of every size, and remote ones.
pub fn pairs(_: Boot, _: Options) -> Verdict {
    // The first of a size takes a slab; what follows is what is counted.
    SIZES.iter().for_each(|size| _ = behind_rust(*size));
    let before = heap::pinned().counts(0);
    let worst = SIZES.map(behind_rust).into_iter().max().unwrap_or(0);
    let after = heap::pinned().counts(0);
    if (Counts { local_frees: before.local_frees, ..after }) != before {
        return Err(format!("{before:?} and then {after:?}"));
    }
    let memory = heap::take(1 << 20, 1 << 16).ok_or("no memory")?;
    BLOCKS[0].adopt();
    of_two_vcpus(worst, memory)
}

/// The figures of the pools for two, which have this MiB; `local` is known already.
#[inline(never)]
fn of_two_vcpus(local: u64, memory: *mut u8) -> Verdict {
    // SAFETY: memory that is nobody else's, once.
    let start = |source: &mut FirstFit| unsafe { source.start(memory, 1 << 20) };
    // SAFETY: it has given nothing yet.
    unsafe { TWO.change(0, start) };
    let known = known();
    start_second(second)?;
    take();
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
    let (first, other) = (TWO.counts(0), TWO.counts(1));
    let all = (ROUNDS * GIVEN) as u64;
    let wanted = Counts { remote_frees: all, batches: all / u64::from(BATCH), ..Counts::default() };
    // All that the second one freed came home, without a lock of its own, and so none was waited for.
    if lost || other != wanted || first.contended != 0 || first.receipts != ROUNDS as u64 {
        return Err(format!("the first has counted {first:?}, the second {other:?}"));
    }
    say!("BENCH alloc-local {local} insns");
    say!("BENCH alloc-local-known {known} insns");
    say!("BENCH alloc-remote-free {remote_free} insns");
    say!("BENCH alloc-remote-pair {} insns", remote_free + retakes[ROUNDS / 2]);
    Ok(())
}
