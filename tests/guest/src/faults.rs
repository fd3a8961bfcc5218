//! What a page fault takes, by its kind, on each of the domain's vCPUs in turn: a user touches one page
//! after the other of a region, and the kernel's objects make each touch possible.
//!
//! All vCPUs run in one process, each in regions of its own. What is counted is a pass over pages that
//! fault less a pass over the same pages afterwards: from the user's instruction to the same one again.

use crate::count::instructions;
use crate::user::{self, USER_AT};
use crate::{Options, Verdict, say};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use guest_kernel::context::Context;
use guest_kernel::fcm::computation::{self, Source};
use guest_kernel::fcm::fixed;
use guest_kernel::problem::Problem;
use guest_kernel::process::{Memory, Process};
use guest_kernel::region::Kind;
use guest_kernel::trap::Trap;
use k42_lib::radix::Access;
use k42_lib::{GuestAddr, msr};
use k42_object::{Here, Ref, Vcpu, vcpus};
use kernel_arch::{Boot, registers, sleep, start, wake};
use spin::Mutex;

const PAGE: u64 = 1 << 16;
/// Pages of a pass.
const PAGES: u64 = 32;
/// Passes of a kind.
const ROUNDS: usize = 5;
/// A user that touches pages: r4 is the first one, r5 the distance to the next, CTR how many there are.
/// Loads, and stores from the second part on; each ends with a native call.
pub static USER: [u32; 8] = [
    0xe864_0000, // ld r3, 0(r4)
    0x7c84_2a14, // add r4, r4, r5
    0x4200_fff8, // bdnz
    0x4400_0002, // sc
    0xf864_0000, // std r3, 0(r4)
    0x7c84_2a14, // add r4, r4, r5
    0x4200_fff8, // bdnz
    0x4400_0002, // sc
];
const LOADS: u64 = USER_AT;
/// Where its stores begin.
pub const STORES: u64 = USER_AT + 16;
/// Where the first vCPU's pages are.
const FIRST: u64 = 0x4000_0000;
/// A deadline for what an event ends.
const FAR: u64 = 512_000_000;

/// The kinds, and how many instructions each took.
const KINDS: [&str; 5] = ["zero-fill", "present", "fork-load", "fork-store", "fork-last"];
type Counts = [u64; KINDS.len()];

struct Scene {
    memory: Memory,
    process: Ref<dyn Process>,
    done: Mutex<Vec<Result<Counts, Problem>>>,
}

/// A vCPU's part: pages that it alone touches.
pub struct Part<'a> {
    memory: &'a Memory,
    vcpu: &'a Vcpu,
    process: Ref<dyn Process>,
    /// Where its pages are.
    range: Range<u64>,
}

impl<'a> Part<'a> {
    /// The part of the vCPU that asks, in a process whose code is [`USER`]. No two have pages of one table.
    pub fn new(memory: &'a Memory, vcpu: &'a Vcpu, process: Ref<dyn Process>) -> Part<'a> {
        let first = FIRST + u64::from(kernel_arch::current()) * PAGES * PAGE;
        Part { memory, vcpu, process, range: first..first + PAGES * PAGE }
    }

    /// Runs the user over these of the pages, in this process; how many ticks that took.
    pub fn pass(
        &self,
        process: Ref<dyn Process>,
        entry: u64,
        pages: Range<u64>,
    ) -> Result<u64, Problem> {
        let machine = &self.memory.machine;
        let space = process.space(&self.vcpu.enter())?;
        let state = msr::SF | msr::PR | msr::ME | msr::IR | msr::DR | msr::RI | msr::LE;
        let mut context = Context {
            next: entry,
            msr: state,
            count: pages.end - pages.start,
            ..Context::default()
        };
        context.gpr[0] = 1 << 16;
        context.gpr[4] = self.range.start + pages.start * PAGE;
        context.gpr[5] = PAGE;
        let begin = registers::timebase();
        loop {
            machine.run(space, &mut context);
            match Trap::decode(&context) {
                Trap::Access(address, access) => {
                    process.handle_fault(&self.vcpu.enter(), address, access)?;
                }
                Trap::NativeCall => return Ok(registers::timebase() - begin),
                Trap::Timer => machine.rearm_timer(),
                Trap::Nothing => (),
                Trap::Offence(offence) => {
                    say!("{offence}, at {:#x}", context.next);
                    return Err(Problem::Forbidden);
                }
            }
        }
    }

    /// Instructions of a fault in that pass.
    fn faults(&self, process: Ref<dyn Process>, entry: u64) -> Result<u64, Problem> {
        // The first one needs tables.
        self.pass(process, entry, 0..1)?;
        let with = self.pass(process, entry, 1..PAGES)?;
        let without = self.pass(process, entry, 1..PAGES)?;
        Ok(instructions(with.saturating_sub(without)) / (PAGES - 1))
    }

    /// Makes the region: of zeros, or of what lies in memory there.
    pub fn create(&self, here: &Here<'_>, source: Option<GuestAddr>) -> Result<(), Problem> {
        let Memory { machine, pm, .. } = self.memory;
        let (fcm, access) = match source {
            Some(start) => (fixed::create(here, machine, start)?, Access::READ),
            None => {
                let fcm = computation::create(here, machine, pm, Source::Zeros)?;
                (fcm, Access::READ | Access::WRITE)
            }
        };
        self.process.create_region(here, self.range.clone(), Kind::Default, access, fcm)
    }

    /// Ends it.
    pub fn destroy(&self) -> Result<(), Problem> {
        let here = self.vcpu.enter();
        self.process.destroy_regions(&here, self.range.clone())
    }

    /// Counts all kinds.
    fn run(&self) -> Result<Counts, Problem> {
        let process = self.process;
        // What is made once for a vCPU, and tables.
        self.create(&self.vcpu.enter(), None)?;
        self.pass(process, STORES, 0..PAGES)?;
        self.destroy()?;

        self.create(&self.vcpu.enter(), None)?;
        let zero_fill = self.faults(process, STORES)?;
        self.destroy()?;

        self.create(&self.vcpu.enter(), Some(GuestAddr::new(0)))?;
        let present = self.faults(process, LOADS)?;
        self.destroy()?;

        self.create(&self.vcpu.enter(), None)?;
        self.pass(process, STORES, 0..PAGES)?;
        let child = process.fork(&self.vcpu.enter())?;
        let load = self.faults(child, LOADS)?;
        let store = self.faults(child, STORES)?;
        let here = self.vcpu.enter();
        child.end(&here)?;
        here.destroy(child)?;
        drop(here);
        let last = self.faults(process, STORES)?;
        self.destroy()?;
        // What has ended is forgotten before the next round.
        (0..8).for_each(|_| _ = self.vcpu.clean());
        Ok([zero_fill, present, load, store, last])
    }
}

/// Runs one vCPU's part.
fn run(scene: &Scene, vcpu: &Vcpu) {
    let part = Part::new(&scene.memory, vcpu, scene.process);
    // A look of the hypervisor's that falls into a pass is not the fault's: the median counts.
    let rounds: Result<Vec<Counts>, Problem> = (0..ROUNDS).map(|_| part.run()).collect();
    let counts = rounds.map(|rounds| {
        core::array::from_fn(|kind| {
            let mut counts: Vec<u64> = rounds.iter().map(|counts| counts[kind]).collect();
            counts.sort_unstable();
            counts[ROUNDS / 2]
        })
    });
    scene.done.lock().push(counts);
    wake(0);
}

/// Counts on all vCPUs of the domain, one after the other.
pub fn faults(boot: Boot, _: Options) -> Verdict {
    let count = boot.vcpus;
    let mut vcpus = vcpus(count);
    let others = vcpus.split_off(1);
    let frames = boot.domain.frames().to_vec();
    let memory = Memory::new(Arc::new(boot.domain), frames, count);
    let scene = scene(&vcpus[0].enter(), memory).map_err(|problem| format!("{problem:?}"))?;
    let scene = Arc::new(scene);
    run(&scene, &vcpus[0]);
    for (number, vcpu) in (1..).zip(others) {
        let its = scene.clone();
        start(number, move || run(&its, &vcpu))?;
        while scene.done.lock().len() <= number as usize {
            sleep(registers::timebase() + FAR);
        }
    }
    tell(&scene.done.lock())
}

fn scene(here: &Here<'_>, memory: Memory) -> Result<Scene, Problem> {
    let process = user::process(here, &memory, &USER)?;
    Ok(Scene { memory, process, done: Mutex::default() })
}

/// Says what the first vCPU counted, and by how many thousandths others counted more at most.
fn tell(done: &[Result<Counts, Problem>]) -> Verdict {
    let counts: Result<Vec<Counts>, Problem> = done.iter().copied().collect();
    let counts = counts.map_err(|problem| format!("{problem:?}"))?;
    for (kind, name) in KINDS.iter().enumerate() {
        let of = || counts.iter().map(|counts| counts[kind]);
        let (least, most) = (of().min().unwrap_or(0), of().max().unwrap_or(0));
        if least == 0 {
            return Err(String::from("a fault that takes nothing"));
        }
        say!("BENCH fault-{name} {} insns", counts[0][kind]);
        say!("BENCH fault-{name}-spread {} thousandths", (most - least) * 1000 / least);
    }
    Ok(())
}
