//! Clustered objects on all vCPUs of a domain at once: counters that all increment, and objects that
//! begin and end on any of them while the others call.
//!
//! Every vCPU does the same and says what went wrong; the first one gives the verdict. What it takes of
//! the kernel is tried as well: further vCPUs, sleeping and waking, lines that stay whole.

use crate::{Options, Verdict, say};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZero;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use k42_object::{Clustered, Full, Gone, Here, Ref, Vcpu, clustered, vcpus};
use kernel_arch::{Boot, hypercall, registers, sleep, start, wake};
use spin::Mutex;

/// Objects that all vCPUs call, each in a place of which they know.
const PLACES: usize = 64;
/// So many objects may have begun and not been forgotten, the size of the heap being what it is.
const MOST: u64 = 400;
/// Ticks of a nap: 1 ms.
const NAP: u64 = 512_000;
/// Naps within which objects are forgotten that nobody calls any more: 30 s.
const NAPS: u64 = 30_000;
/// Lines that each vCPU says, each longer than what goes to the console at once.
const LINES: u32 = 10;

#[clustered]
trait Counter {
    fn add(&self, here: &Here<'_>, by: u64) -> Result<(), Gone>;
    fn sum(&self, here: &Here<'_>) -> Result<u64, Gone>;
    fn name(&self, here: &Here<'_>) -> Result<u64, Gone>;
}

/// What has begun and not ended: objects, by what their reps share, and reps.
static OBJECTS: AtomicU64 = AtomicU64::new(0);
static REPS: AtomicU64 = AtomicU64::new(0);

/// What a counter's reps share.
struct Shared {
    name: u64,
    reps: AtomicU64,
    counts: Mutex<Vec<Arc<AtomicU64>>>,
}

impl Shared {
    fn new(name: u64) -> Arc<Shared> {
        OBJECTS.fetch_add(1, Relaxed);
        Arc::new(Shared { name, reps: AtomicU64::new(0), counts: Mutex::default() })
    }

    fn rep(self: &Arc<Shared>) -> Arc<dyn Counter> {
        REPS.fetch_add(1, Relaxed);
        self.reps.fetch_add(1, Relaxed);
        let count = Arc::new(AtomicU64::new(0));
        self.counts.lock().push(count.clone());
        Arc::new(Rep { count, shared: self.clone() })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        OBJECTS.fetch_sub(1, Relaxed);
    }
}

struct Rep {
    count: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

impl Counter for Rep {
    fn add(&self, _: &Here<'_>, by: u64) -> Result<(), Gone> {
        self.count.fetch_add(by, Relaxed);
        Ok(())
    }

    fn sum(&self, _: &Here<'_>) -> Result<u64, Gone> {
        Ok(self.shared.counts.lock().iter().map(|count| count.load(Relaxed)).sum())
    }

    fn name(&self, _: &Here<'_>) -> Result<u64, Gone> {
        Ok(self.shared.name)
    }
}

impl Drop for Rep {
    fn drop(&mut self) {
        self.shared.reps.fetch_sub(1, Relaxed);
        REPS.fetch_sub(1, Relaxed);
    }
}

/// A counter with a rep for each `size` vCPUs.
fn counter(here: &Here<'_>, shared: &Arc<Shared>, size: u32) -> Result<Ref<dyn Counter>, Full> {
    let (shared, size) = (shared.clone(), NonZero::new(size).unwrap_or(NonZero::<u32>::MAX));
    here.create(Clustered::per_cluster(size, move |_: &Here<'_>, _| shared.rep()))
}

/// An object that may end, with the name that it answers by.
type Place = Mutex<Option<(Ref<dyn Counter>, u64)>>;

/// What all vCPUs know.
struct Scene {
    vcpus: u32,
    /// How often each adds to each counter, and how many steps each takes among objects that end.
    adds: u64,
    steps: u64,
    /// Counters with a rep for all, for two vCPUs, for each; and one that not all vCPUs call.
    counters: [(Ref<dyn Counter>, Arc<Shared>); 4],
    places: [Place; PLACES],
    /// Identifiers that objects have had, a bit each, and how many objects there were.
    seen: Vec<AtomicU64>,
    begun: AtomicU64,
    met: AtomicU32,
    problem: Mutex<Option<String>>,
}

impl Scene {
    fn new(here: &Here<'_>, options: Options) -> Result<Scene, Full> {
        let mut counters = Vec::new();
        for size in [0, 2, 1, 1] {
            let shared = Shared::new(0);
            counters.push((counter(here, &shared, size)?, shared));
        }
        Ok(Scene {
            vcpus: here.vcpus(),
            adds: options.number("adds").unwrap_or(2_000),
            steps: options.number("steps").unwrap_or(6_000),
            counters: counters.try_into().unwrap_or_else(|_| unreachable!("four were made")),
            places: [const { Mutex::new(None) }; PLACES],
            seen: (0..256).map(|_| AtomicU64::new(0)).collect(),
            begun: AtomicU64::new(0),
            met: AtomicU32::new(0),
            problem: Mutex::new(None),
        })
    }

    fn wrong(&self, vcpu: u32, what: &str) {
        self.problem.lock().get_or_insert_with(|| format!("vCPU {vcpu}: {what}"));
    }

    /// Until all vCPUs have come for this, the `time`th, they sleep; the last one wakes them.
    fn meet(&self, vcpu: &Vcpu, time: u32) {
        let all = time * self.vcpus;
        if self.met.fetch_add(1, core::sync::atomic::Ordering::AcqRel) + 1 == all {
            (0..self.vcpus).for_each(wake);
        }
        while self.met.load(core::sync::atomic::Ordering::Acquire) < all {
            nap(vcpu);
        }
    }

    /// Whether it is this vCPU that does not call the last counter.
    fn stays_away(&self, vcpu: u32) -> bool {
        vcpu != 0 && vcpu + 1 != self.vcpus
    }

    /// Adds to the counters.
    fn count(&self, vcpu: &Vcpu, number: u32) {
        for _ in 0..self.adds {
            let here = vcpu.enter();
            for (which, (counter, _)) in self.counters.iter().enumerate() {
                if (which != 3 || !self.stays_away(number)) && counter.add(&here, 1).is_err() {
                    self.wrong(number, "a counter that lives is gone");
                }
            }
        }
    }

    /// Looks at the sums and at how many reps there are.
    fn look(&self, vcpu: &Vcpu) {
        let (here, few) = (vcpu.enter(), self.vcpus.min(2));
        let reps = [1, self.vcpus.div_ceil(2), self.vcpus, few];
        let callers = [self.vcpus, self.vcpus, self.vcpus, few];
        for (n, (counter, shared)) in self.counters.iter().enumerate() {
            let (sum, made) = (counter.sum(&here), shared.reps.load(Relaxed));
            if sum != Ok(self.adds * u64::from(callers[n])) || made != u64::from(reps[n]) {
                self.wrong(0, &format!("counter {n}: {sum:?} with {made} reps"));
            }
        }
    }

    /// Calls objects and ends them, and has others begin.
    fn churn(&self, vcpu: &Vcpu, number: u32) {
        let mut random = 0x9e37_79b9_7f4a_7c15 ^ u64::from(number + 1);
        for step in 0..self.steps {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let place = &self.places[random as usize % PLACES];
            if random >> 32 & 7 == 0 {
                self.replace(vcpu, number, place, (random >> 40) as u32 % 3, step);
            } else {
                self.call(vcpu, number, place);
            }
            if step % 16 == 0 {
                vcpu.clean();
            }
        }
    }

    /// Calls an object: it answers for itself, or is gone.
    fn call(&self, vcpu: &Vcpu, number: u32, place: &Place) {
        let here = vcpu.enter();
        let Some((counter, name)) = *place.lock() else { return };
        for _ in 0..3 {
            match counter.name(&here) {
                Ok(answer) if answer != name => self.wrong(number, "another object answers"),
                Ok(_) => _ = counter.add(&here, 1),
                Err(Gone) => break,
            }
        }
    }

    /// Puts a new object in the place of one, which ends.
    fn replace(&self, vcpu: &Vcpu, number: u32, place: &Place, size: u32, step: u64) {
        while OBJECTS.load(Relaxed) >= MOST {
            vcpu.clean();
            hypercall::yield_now();
        }
        let (here, name) = (vcpu.enter(), u64::from(number) << 40 | step);
        let Ok(begun) = counter(&here, &Shared::new(name), size) else {
            return self.wrong(number, "no identifier is left");
        };
        let index = begun.identifier();
        self.begun.fetch_add(1, Relaxed);
        self.seen[index as usize / 64].fetch_or(1 << (index % 64), Relaxed);
        let before = place.lock().replace((begun, name));
        if let Some((ended, _)) = before {
            let ends = [here.destroy(ended), here.destroy(ended), ended.add(&here, 1)];
            if ends != [Ok(()), Err(Gone), Err(Gone)] {
                self.wrong(number, &format!("an end comes to {ends:?}"));
            }
        }
    }

    /// All objects end.
    fn end(&self, vcpu: &Vcpu) {
        let here = vcpu.enter();
        let living = self.places.iter().filter_map(|place| place.lock().take());
        let living = living.map(|(counter, _)| counter);
        for counter in living.chain(self.counters.iter().map(|(counter, _)| *counter)) {
            if here.destroy(counter).is_err() {
                self.wrong(0, "an object that lives does not end");
            }
        }
    }

    /// What one vCPU does.
    fn run(&self, vcpu: &Vcpu, number: u32) {
        self.meet(vcpu, 1);
        for line in 0..LINES {
            say!("vCPU {number} says {line} {number:0>600}");
        }
        self.count(vcpu, number);
        self.meet(vcpu, 2);
        if number == 0 {
            self.look(vcpu);
        }
        self.meet(vcpu, 3);
        self.churn(vcpu, number);
        self.meet(vcpu, 4);
        if number == 0 {
            self.end(vcpu);
        }
        // The counters are still known here: by what their reps share.
        let left = || OBJECTS.load(Relaxed) > self.counters.len() as u64 || REPS.load(Relaxed) > 0;
        if !(0..NAPS).any(|_| {
            nap(vcpu);
            !left()
        }) {
            self.wrong(number, "objects that have ended are not forgotten");
        }
        self.meet(vcpu, 5);
    }
}

/// Cleans up and sleeps for a while, or until it is woken.
fn nap(vcpu: &Vcpu) {
    vcpu.clean();
    sleep(registers::timebase() + NAP);
}

/// Runs the scene on all vCPUs of the domain.
pub fn objects(boot: Boot, options: Options) -> Verdict {
    let mut vcpus = vcpus(boot.vcpus);
    let others = vcpus.split_off(1);
    let own = &vcpus[0];
    let scene = Scene::new(&own.enter(), options).map_err(|full| format!("{full}"))?;
    let scene = Arc::new(scene);
    for (number, vcpu) in (1..).zip(others) {
        let scene = scene.clone();
        start(number, move || {
            if kernel_arch::current() != number {
                scene.wrong(number, "it has another's number");
            }
            scene.run(&vcpu, number);
        })?;
    }
    scene.run(own, 0);
    let seen: u32 = scene.seen.iter().map(|word| word.load(Relaxed).count_ones()).sum();
    let begun = scene.begun.load(Relaxed);
    say!("{begun} objects had {seen} identifiers");
    if u64::from(seen) >= begun {
        scene.wrong(0, "no identifier is used again");
    }
    scene.problem.lock().take().map_or(Ok(()), Err)
}
