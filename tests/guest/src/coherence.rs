//! Work of several vCPUs, marked for the plug-in of the emulator's that counts what their caches tell
//! each other (`tests/coherence`): work of which that is known beforehand, and work of the hypervisor's.
//!
//! vCPUs other than the first stay in real mode with interrupts off. Each has its processor.

use crate::{Options, Verdict};
use alloc::format;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::xen::{VcpuGuestContext, stub};
use k42_lib::GuestAddr;
use kernel_arch::{Boot, guest_address, hypercall::Hypervisor};
use xen_sys::vcpu;

/// The most vCPUs.
const MOST: usize = 8;
/// How often each vCPU does something in turn, and when all do it at once.
const TURNS: u64 = 20;
const TIMES: u64 = 2000;
/// How often all at once do what they do, so that the median does not have a tick of the hypervisor's.
pub const ROUNDS: u64 = 5;
/// Atomic integers in a line.
const WORDS: usize = 16;

/// A line of a cache.
#[repr(align(128))]
struct Line([AtomicU64; WORDS]);

#[repr(align(128))]
struct Stack([AtomicU64; 1024]);

impl Line {
    const fn new() -> Line {
        Line([const { AtomicU64::new(0) }; WORDS])
    }

    fn first(&self) -> &AtomicU64 {
        &self.0[0]
    }
}

static STACKS: [Stack; MOST] = [const { Stack([const { AtomicU64::new(0) }; 1024]) }; MOST];
/// How many vCPUs have started, and how many there are.
static STARTED: Line = Line::new();
static COUNT: Line = Line::new();
/// Meetings: how often a vCPU has come to one.
static MET: Line = Line::new();
/// The turn that it is, counted from the beginning.
static TURN: Line = Line::new();

static SHARED: Line = Line::new();
static OWN: [Line; MOST] = [const { Line::new() }; MOST];

unsafe extern "C" {
    /// Calls what r3 says, on the stack in r1 (`vcpus`).
    fn second_start();
}

/// From here on, what this processor does is counted, under a name: what its cache needs of others.
pub fn begin(name: [u8; 8]) {
    // SAFETY: changes nothing; the plug-in knows the instruction (`tests/coherence/marks.h`).
    unsafe { asm!("xori 21, 21, 0", in("r3") u64::from_le_bytes(name), options(nostack)) };
}

/// Up to here, so many operations.
pub fn end(operations: u64) {
    // SAFETY: as in `begin`.
    unsafe { asm!("xori 22, 22, 0", in("r3") operations, options(nostack)) };
}

/// Says how many vCPUs there are that meet.
pub fn expect(count: u64) {
    COUNT.first().store(count, Ordering::Relaxed);
}

/// Waits until all vCPUs have come here.
pub fn meet() {
    let count = COUNT.first().load(Ordering::Relaxed);
    let round = MET.first().fetch_add(1, Ordering::AcqRel) / count + 1;
    while MET.first().load(Ordering::Acquire) < round * count {}
}

/// What a vCPU does, by its number.
type Work = fn(usize);

fn increment_shared(_: usize) {
    SHARED.first().fetch_add(1, Ordering::Relaxed);
}

fn increment_own(me: usize) {
    OWN[me].first().fetch_add(1, Ordering::Relaxed);
}

/// Each has a word of its own, all in one line: as far apart as two can be.
fn increment_beside(me: usize) {
    SHARED.0[if me == 0 { 0 } else { WORDS - me }].fetch_add(1, Ordering::Relaxed);
}

fn read_shared(_: usize) {
    SHARED.first().load(Ordering::Relaxed);
}

/// The whole line at once, by the instruction that zeroes one.
fn zero_shared(_: usize) {
    // SAFETY: it is nothing but counters.
    unsafe { asm!("dcbz 0, {0}", in(reg) &raw const SHARED, options(nostack)) };
}

fn call(_: usize) {
    stub::xen_version(&Hypervisor, 17, GuestAddr::new(0));
}

/// Work that is done in turns. Marks are round the work alone, so that passing the turn on, which moves
/// lines, too, is not counted; once before that it is not marked at all. The plug-in follows memory from
/// the first mark on, so the first is one that moves nothing.
const IN_TURNS: [([u8; 8], Work); 5] = [
    (*b"own\0\0\0\0\0", increment_own),
    (*b"shared\0\0", increment_shared),
    (*b"beside\0\0", increment_beside),
    (*b"read\0\0\0\0", read_shared),
    (*b"zero\0\0\0\0", zero_shared),
];

fn in_turns(me: usize, name: [u8; 8], work: Work) {
    meet();
    let count = COUNT.first().load(Ordering::Relaxed) as usize;
    let start = TURN.first().load(Ordering::Relaxed);
    meet();
    for turn in 0..=TURNS {
        let mine = start + turn * count as u64 + me as u64;
        while TURN.first().load(Ordering::Acquire) != mine {}
        if turn == 0 {
            work(me);
        } else {
            begin(name);
            work(me);
            end(1);
        }
        TURN.first().store(mine + 1, Ordering::Release);
    }
}

/// So many operations, of all vCPUs at once, each as fast as it can.
pub fn all_at_once<A>(name: [u8; 8], operations: u64, work: impl FnOnce() -> A) -> A {
    meet();
    begin(name);
    let answer = work();
    end(operations);
    meet();
    answer
}

fn at_once(me: usize, name: [u8; 8], work: Work) {
    work(me);
    all_at_once(name, TIMES, || (0..TIMES).for_each(|_| work(me)));
}

fn do_known(me: usize) {
    for (name, work) in IN_TURNS {
        in_turns(me, name, work);
    }
    at_once(me, *b"at-once\0", increment_shared);
}

fn do_sharing(me: usize) {
    for _ in 0..ROUNDS {
        at_once(me, *b"calls\0\0\0", call);
    }
}

extern "C" fn known_beside() -> ! {
    beside(do_known)
}

extern "C" fn sharing_beside() -> ! {
    beside(do_sharing)
}

fn beside(work: Work) -> ! {
    work(STARTED.first().fetch_add(1, Ordering::AcqRel) as usize + 1);
    loop {
        core::hint::spin_loop();
    }
}

/// Starts a vCPU.
fn start(number: usize, run: extern "C" fn() -> !) -> Verdict {
    let context = VcpuGuestContext {
        entry: guest_address(second_start as *const ()).value(),
        stack: guest_address(STACKS[number].0.as_ptr_range().end).value() - 128,
        argument: run as *const () as u64,
        flags: VcpuGuestContext::LITTLE_ENDIAN,
    };
    let call = |command: u32, argument| {
        stub::vcpu_op(&Hypervisor, command.into(), number as u64, argument)[0]
    };
    let at = guest_address(&raw const context);
    let steps = [call(vcpu::VCPUOP_INITIALISE, at), call(vcpu::VCPUOP_UP, GuestAddr::new(0))];
    if steps == [0; 2] { Ok(()) } else { Err(format!("vCPU {number}: {steps:?}")) }
}

/// Has `vcpus` vCPUs do it.
fn with_all(options: Options, run: extern "C" fn() -> !, work: Work) -> Verdict {
    let count = options.number("vcpus").map_or(1, |count| count as usize).min(MOST);
    expect(count as u64);
    (1..count).try_for_each(|number| start(number, run))?;
    work(0);
    Ok(())
}

/// Work of which everything is known.
pub fn known(_: Boot, options: Options) -> Verdict {
    with_all(options, known_beside, do_known)
}

/// Work of the hypervisor's for vCPUs that have nothing in common.
pub fn sharing(_: Boot, options: Options) -> Verdict {
    with_all(options, sharing_beside, do_sharing)
}
