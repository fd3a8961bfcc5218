//! Clustered objects (`guest-kernel/object`) with vCPUs that are threads: translations that miss at
//! once, ends that race calls, the token's round, identifiers that come back.
//!
//! Besides its locks, a thread may lose its turn where a rep or a root says so, in the middle of calls.

use k42_models::explore;
use k42_models::vcpus::{run, settle};
use k42_object::{Clustered, Gone, Here, Ref, Vcpu, clustered, vcpus};
use shuttle::sync::Mutex;
use shuttle::thread::yield_now;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

#[clustered]
trait Counter {
    fn add(&self, here: &Here<'_>, by: u64) -> Result<(), Gone>;
    fn value(&self, here: &Here<'_>) -> Result<u64, Gone>;
}

/// What became of an object. Of tests, not of shuttle: no thread loses its turn by it.
#[derive(Default)]
struct Traces {
    made: AtomicUsize,
    reps: AtomicUsize,
    root: AtomicBool,
}

impl Traces {
    /// Whether root and reps are dropped.
    fn ended(&self) -> bool {
        self.root.load(Relaxed) && self.reps.load(Relaxed) == 0
    }
}

/// Adds up in two steps, so that its end in between would be seen.
struct Rep {
    value: AtomicU64,
    traces: Arc<Traces>,
}

impl Drop for Rep {
    fn drop(&mut self) {
        self.traces.reps.fetch_sub(1, Relaxed);
    }
}

impl Counter for Rep {
    fn add(&self, _: &Here<'_>, by: u64) -> Result<(), Gone> {
        // A copy of its own, which is there whatever became of the rep.
        let traces = self.traces.clone();
        self.value.fetch_add(by, Relaxed);
        yield_now();
        assert!(traces.reps.load(Relaxed) != 0, "a rep was dropped with a call in it");
        assert!(!traces.root.load(Relaxed), "a root was dropped with a call in a rep");
        Ok(())
    }

    fn value(&self, _: &Here<'_>) -> Result<u64, Gone> {
        Ok(self.value.load(Relaxed))
    }
}

struct Last(Arc<Traces>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.root.store(true, Relaxed);
    }
}

type Make = Box<dyn Fn(&Here<'_>, u32) -> Arc<dyn Counter> + Send + Sync>;
type Root = Clustered<dyn Counter, Make>;

/// A counter whose reps take their time to be made.
fn counter(traces: &Arc<Traces>, clustered: impl FnOnce(Make) -> Root) -> Root {
    let last = Last(traces.clone());
    clustered(Box::new(move |_, _| {
        let traces = last.0.clone();
        traces.made.fetch_add(1, Relaxed);
        traces.reps.fetch_add(1, Relaxed);
        yield_now();
        Arc::new(Rep { value: AtomicU64::new(0), traces })
    }))
}

/// Three vCPUs, and an object of the first one's.
fn scene(clustered: impl FnOnce(Make) -> Root) -> (Vec<Vcpu>, Arc<Traces>, Ref<dyn Counter>) {
    let (vcpus, traces) = (vcpus(3), Arc::default());
    let object = vcpus[0].enter().create(counter(&traces, clustered)).unwrap();
    (vcpus, traces, object)
}

#[test]
fn misses_at_once_find_one_rep() {
    explore(|| {
        let (vcpus, traces, object) = scene(Clustered::shared);
        let vcpus = run(vcpus, move |vcpu, number| {
            for by in [1, 10] {
                object.add(&vcpu.enter(), by << (8 * number)).unwrap();
            }
        });
        for vcpu in &vcpus {
            assert_eq!(object.value(&vcpu.enter()), Ok(0x0b_0b0b));
        }
        assert_eq!(traces.reps.load(Relaxed), 1, "of {:?} made", traces.made);
    });
}

#[test]
fn a_vcpu_has_its_own_rep() {
    explore(|| {
        let (vcpus, traces, object) = scene(Clustered::per_processor);
        let vcpus = run(vcpus, move |vcpu, number| {
            object.add(&vcpu.enter(), number as u64).unwrap();
        });
        for (number, vcpu) in (0..).zip(&vcpus) {
            assert_eq!(object.value(&vcpu.enter()), Ok(number));
        }
        assert_eq!(traces.made.load(Relaxed), 3);
    });
}

#[test]
fn an_end_races_calls_and_other_ends() {
    explore(|| {
        let (vcpus, traces, object) = scene(Clustered::per_processor);
        let (ends, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let count = ends.clone();
        let vcpus = run(vcpus, move |vcpu, number| {
            for _ in 0..3 {
                let ended_before = ended.load(Relaxed);
                let here = vcpu.enter();
                for _ in 0..2 {
                    let answer = object.add(&here, 1);
                    assert!(answer == Err(Gone) || !ended_before, "a call after the end");
                }
                if number != 2 && here.destroy(object).is_ok() {
                    count.fetch_add(1, Relaxed);
                    ended.store(true, Relaxed);
                }
                drop(here);
                vcpu.clean();
            }
        });
        assert_eq!(ends.load(Relaxed), 1);
        settle(&vcpus);
        assert!(traces.ended(), "it has not ended");
    });
}

/// The first object of a vCPU that has no identifier left after it: the next one that is free is its
/// own.
fn last_of_chunk(vcpu: &Vcpu, traces: &Arc<Traces>) -> Ref<dyn Counter> {
    let here = vcpu.enter();
    let create = |_| here.create(counter(traces, Clustered::per_processor)).unwrap();
    let all: Vec<_> = (0..64).map(create).collect();
    all[0]
}

/// Ends an object, and gives its identifier to another as soon as it is free.
fn reuse(vcpu: &Vcpu, object: Ref<dyn Counter>) {
    vcpu.enter().destroy(object).unwrap();
    while vcpu.clean() {
        yield_now();
    }
    let root = counter(&Arc::default(), Clustered::per_processor);
    assert_eq!(vcpu.enter().create(root), Ok(object), "no identifier else is free");
}

#[test]
fn an_identifier_comes_back_when_nobody_can_know_it() {
    explore(|| {
        let vcpus = vcpus(3);
        let object = last_of_chunk(&vcpus[0], &Arc::default());
        // Activations that were there before the end.
        let knowing = Arc::new(AtomicUsize::new(0));
        let ending = AtomicBool::new(false);
        let vcpus = run(vcpus, move |vcpu, number| {
            if number == 0 {
                ending.store(true, Relaxed);
                reuse(vcpu, object);
                assert_eq!(knowing.load(Relaxed), 0, "reused while somebody knows it");
                assert_eq!(object.value(&vcpu.enter()), Ok(0), "a rep of the one before");
                return;
            }
            let here = vcpu.enter();
            if ending.load(Relaxed) {
                return;
            }
            knowing.fetch_add(1, Relaxed);
            for _ in 0..2 {
                // The first takes this, or nobody.
                let answer = object.add(&here, 1);
                assert!(answer.is_ok() || ending.load(Relaxed), "gone before its end");
                yield_now();
            }
            knowing.fetch_sub(1, Relaxed);
        });
        for vcpu in &vcpus {
            assert_eq!(object.value(&vcpu.enter()), Ok(0), "a rep of the one before");
        }
    });
}

#[test]
fn a_translation_that_a_mediator_ends_is_not_the_next_objects() {
    explore(|| {
        let vcpus = vcpus(3);
        let object = last_of_chunk(&vcpus[0], &Arc::default());
        object.add(&vcpus[1].enter(), 1).unwrap();
        let reused = AtomicBool::new(false);
        run(vcpus, move |vcpu, number| match number {
            0 => {
                reuse(vcpu, object);
                reused.store(true, Relaxed);
            }
            1 => {
                vcpu.clean();
                let here = vcpu.enter();
                for _ in 0..20 {
                    yield_now();
                    if reused.load(Relaxed) {
                        assert_eq!(object.value(&here), Ok(0), "a rep of the one before");
                    }
                }
            }
            _ => drop(vcpu.enter().count(object)),
        });
    });
}

#[test]
fn the_token_ends_all_that_all_end_at_once() {
    explore(|| {
        let vcpus = vcpus(3);
        let left = Arc::new(Mutex::new(Vec::new()));
        let objects = left.clone();
        let all = Arc::new(Mutex::new(Vec::<Arc<Traces>>::new()));
        let created = all.clone();
        let vcpus = run(vcpus, move |vcpu, _| {
            for _ in 0..2 {
                let of_mine = Arc::<Traces>::default();
                created.lock().unwrap().push(of_mine.clone());
                let here = vcpu.enter();
                let root = counter(&of_mine, Clustered::shared);
                let mine = here.create(root).unwrap();
                mine.add(&here, 1).unwrap();
                objects.lock().unwrap().push(mine);
                // Somebody's, perhaps one's own.
                let any = objects.lock().unwrap().pop();
                if let Some(object) = any {
                    object.add(&here, 1).unwrap();
                    here.destroy(object).unwrap();
                }
                drop(here);
                vcpu.clean();
            }
        });
        assert!(left.lock().unwrap().is_empty());
        settle(&vcpus);
        for traces in all.lock().unwrap().iter() {
            assert!(traces.ended());
        }
    });
}

#[test]
fn a_mediator_comes_between_while_calls_go_on() {
    explore(|| {
        let (vcpus, traces, object) = scene(Clustered::shared);
        let calls = Arc::new(Mutex::new(None));
        let watch = calls.clone();
        let vcpus = run(vcpus, move |vcpu, number| match number {
            0 => *watch.lock().unwrap() = Some(vcpu.enter().count(object).unwrap()),
            _ => (0..3).for_each(|_| object.add(&vcpu.enter(), 1).unwrap()),
        });
        let calls = calls.lock().unwrap().take().unwrap();
        let counted = calls.total().next().unwrap().1;
        assert_eq!(object.value(&vcpus[0].enter()), Ok(6), "no call is lost");
        assert!(counted <= 6, "none is counted twice");
        for vcpu in &vcpus {
            object.add(&vcpu.enter(), 1).unwrap();
        }
        let now = calls.total().next().unwrap().1;
        assert_eq!(now, counted + 3, "whoever comes later is counted");
        vcpus[1].enter().destroy(object).unwrap();
        settle(&vcpus);
        assert!(traces.ended());
    });
}

#[test]
fn a_mediator_comes_while_the_object_ends() {
    explore(|| {
        let (vcpus, traces, object) = scene(Clustered::per_processor);
        let vcpus = run(vcpus, move |vcpu, number| {
            let here = vcpu.enter();
            let _ = object.add(&here, 1);
            match number {
                0 => drop(here.count(object)),
                1 => here.destroy(object).unwrap(),
                _ => {}
            }
            let _ = object.add(&here, 1);
        });
        settle(&vcpus);
        assert!(traces.ended());
    });
}
