//! Work of the kernel's on all of a domain's vCPUs at once, of which no part has anything to do with
//! another, and a counter that all have, for contrast. What their caches tell each other meanwhile is
//! counted by a plug-in ([`crate::coherence`]); `tests/coherence/linux.c` is Linux's side.
//!
//! Each does it once before, so that reps, tables and pools are there.

use crate::coherence::{ROUNDS, all_at_once, expect, meet};
use crate::costs::{Counter, Rep};
use crate::faults::{Part, STORES, USER};
use crate::{Options, Verdict, say, user};
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::hint::black_box;
use guest_kernel::problem::Problem;
use guest_kernel::process::{Memory, Process};
use k42_object::{Clustered, Here, Ref, Vcpu, vcpus};
use kernel_arch::{Boot, hypercall, start};

/// Pages of a round: as many as a vCPU's list of free frames keeps in any case, so that they come back to
/// the vCPU that had them. The first is touched before, for tables.
const PAGES: u64 = 8;
/// Blocks of the heap that are in use at a time, and how often in a round.
const BLOCKS: usize = 8;
const TIMES: u64 = 100;
/// Increments of a round.
const INCREMENTS: u64 = 1000;

/// What all vCPUs know.
struct Scene {
    memory: Memory,
    /// The process in which all run.
    process: Ref<dyn Process>,
    /// Counters with a rep for each vCPU, and with one for all.
    own: Ref<dyn Counter>,
    shared: Ref<dyn Counter>,
}

impl Scene {
    fn new(here: &Here<'_>, memory: Memory) -> Result<Scene, Problem> {
        Ok(Scene {
            process: user::process(here, &memory, &USER)?,
            own: here.create(Clustered::per_processor(Rep::make))?,
            shared: here.create(Clustered::shared(Rep::make))?,
            memory,
        })
    }

    /// A vCPU's part. The others would wait for ever for one that cannot do its own: then all ends.
    fn run(&self, vcpu: &Vcpu) {
        if let Err(problem) = self.try_run(vcpu) {
            say!("not ok disjoint: {problem:?}");
            hypercall::exit(1);
        }
        meet();
    }

    fn try_run(&self, vcpu: &Vcpu) -> Result<(), Problem> {
        self.faults(vcpu, *b"faults-t", self.process)?;
        let own = user::process(&vcpu.enter(), &self.memory, &USER)?;
        self.faults(vcpu, *b"faults-p", own)?;
        increments(vcpu, *b"own\0\0\0\0\0", self.own)?;
        increments(vcpu, *b"shared\0\0", self.shared)?;
        allocations();
        Ok(())
    }

    /// First stores to pages.
    fn faults(&self, vcpu: &Vcpu, name: [u8; 8], process: Ref<dyn Process>) -> Result<(), Problem> {
        let part = Part::new(&self.memory, vcpu, process);
        for round in 0..=ROUNDS {
            // No vCPU's last round ends in this one.
            meet();
            part.create(&vcpu.enter(), None)?;
            part.pass(process, STORES, 0..1)?;
            let rest = || part.pass(process, STORES, 1..PAGES);
            _ = if round == 0 { rest() } else { all_at_once(name, PAGES - 1, rest) }?;
            part.destroy()?;
            // What has ended is forgotten before the next round.
            (0..8).for_each(|_| _ = vcpu.clean());
        }
        Ok(())
    }
}

/// Calls of an object.
fn increments(vcpu: &Vcpu, name: [u8; 8], counter: Ref<dyn Counter>) -> Result<(), Problem> {
    counter.increment(&vcpu.enter())?;
    for _ in 0..ROUNDS {
        all_at_once(name, INCREMENTS, || {
            (0..INCREMENTS).try_for_each(|_| counter.increment(&vcpu.enter()))
        })?;
    }
    Ok(())
}

/// Blocks of the kernel's heap, taken and given back.
fn allocations() {
    let some = || drop(black_box([(); BLOCKS].map(|()| Box::new([0u64; 8]))));
    some();
    for _ in 0..ROUNDS {
        all_at_once(*b"blocks\0\0", TIMES * BLOCKS as u64, || (0..TIMES).for_each(|_| some()));
    }
}

/// Has all vCPUs of the domain do it, each on a processor of its own.
pub fn disjoint(boot: Boot, _: Options) -> Verdict {
    let count = boot.vcpus;
    expect(count.into());
    let mut vcpus = vcpus(count);
    let others = vcpus.split_off(1);
    let frames = boot.domain.frames().to_vec();
    let memory = Memory::new(Arc::new(boot.domain), frames, count);
    let scene = Scene::new(&vcpus[0].enter(), memory).map_err(|problem| format!("{problem:?}"))?;
    let scene = Arc::new(scene);
    for (number, vcpu) in (1..).zip(others) {
        let its = scene.clone();
        start(number, move || its.run(&vcpu))?;
    }
    scene.run(&vcpus[0]);
    Ok(())
}
