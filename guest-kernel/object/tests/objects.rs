//! Objects on vCPUs that are here one after the other; `tests/models` has them at once.
#![allow(missing_docs)]

use k42_object::{Clustered, Gone, Here, Ref, Root, Vcpu, Watch, clustered, vcpus};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// What every identifier and call of these tests ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Error {
    Gone,
    Refused,
}

impl From<Gone> for Error {
    fn from(_: Gone) -> Error {
        Error::Gone
    }
}

#[clustered]
trait Counter {
    fn add(&self, here: &Here<'_>, by: u64) -> Result<(), Gone>;
    fn value(&self, here: &Here<'_>) -> Result<u64, Error>;
    /// Calls another object, of this interface or not this one.
    fn add_to(&self, here: &Here<'_>, other: Ref<dyn Counter>, by: u64) -> Result<(), Gone> {
        other.add(here, by)
    }
    /// Ends an object from inside.
    fn end(&self, here: &Here<'_>, object: Ref<dyn Counter>) -> Result<u64, Error>;
}

/// What is left of an object: reps made and dropped, roots dropped.
#[derive(Default)]
struct Traces {
    made: AtomicUsize,
    dropped: AtomicUsize,
    roots: AtomicUsize,
}

impl Traces {
    fn get(&self) -> (usize, usize, usize) {
        (self.made.load(Relaxed), self.dropped.load(Relaxed), self.roots.load(Relaxed))
    }
}

struct Rep {
    value: AtomicU64,
    traces: Arc<Traces>,
}

impl Drop for Rep {
    fn drop(&mut self) {
        self.traces.dropped.fetch_add(1, Relaxed);
    }
}

impl Counter for Rep {
    fn add(&self, _: &Here<'_>, by: u64) -> Result<(), Gone> {
        self.value.fetch_add(by, Relaxed);
        Ok(())
    }

    fn value(&self, _: &Here<'_>) -> Result<u64, Error> {
        match self.value.load(Relaxed) {
            13 => Err(Error::Refused),
            value => Ok(value),
        }
    }

    fn end(&self, here: &Here<'_>, object: Ref<dyn Counter>) -> Result<u64, Error> {
        here.destroy(object)?;
        self.value(here)
    }
}

struct Last(Arc<Traces>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.roots.fetch_add(1, Relaxed);
    }
}

/// A counter with one value for each cluster of so many vCPUs.
fn counter(size: u32, traces: &Arc<Traces>) -> impl Root<dyn Counter> + use<> {
    let last = Last(traces.clone());
    Clustered::per_cluster(NonZero::new(size).unwrap(), move |_: &Here<'_>, _| {
        let traces = last.0.clone();
        traces.made.fetch_add(1, Relaxed);
        Arc::new(Rep { value: AtomicU64::new(0), traces }) as Arc<dyn Counter>
    })
}

fn create(vcpu: &Vcpu) -> Ref<dyn Counter> {
    vcpu.enter().create(counter(u32::MAX, &Arc::default())).unwrap()
}

/// The token goes round so often.
fn rounds(vcpus: &[Vcpu], count: usize) {
    for vcpu in (0..count).flat_map(|_| vcpus) {
        vcpu.clean();
    }
}

#[test]
fn reps_are_made_by_cluster_when_first_called() {
    for (size, clusters) in [(1, 4), (2, 2), (3, 2), (4, 1), (u32::MAX, 1)] {
        let (vcpus, traces) = (vcpus(4), Arc::default());
        let counter = vcpus[0].enter().create(counter(size, &traces)).unwrap();
        assert_eq!(traces.get().0, 0);
        for vcpu in &vcpus {
            counter.add(&vcpu.enter(), 10).unwrap();
            counter.add(&vcpu.enter(), 1).unwrap();
        }
        assert_eq!(traces.get().0, clusters, "clusters of {size}");
        for (number, vcpu) in (0..4).zip(&vcpus) {
            let members = (0..4).filter(|other| other / size == number / size).count() as u64;
            assert_eq!(counter.value(&vcpu.enter()), Ok(11 * members), "clusters of {size}");
        }
    }
}

#[test]
fn the_standard_roots_are_clusters_of_all_and_of_one() {
    let vcpus = vcpus(2);
    let here = vcpus[0].enter();
    let made = Arc::new(Mutex::new(Vec::new()));
    let make = |made: &Arc<Mutex<Vec<(u32, u32)>>>| {
        let made = made.clone();
        move |here: &Here<'_>, cluster: u32| {
            made.lock().unwrap().push((here.vcpu(), cluster));
            Arc::new(Rep { value: AtomicU64::new(0), traces: Arc::default() }) as Arc<dyn Counter>
        }
    };
    let shared: Ref<dyn Counter> = here.create(Clustered::shared(make(&made))).unwrap();
    let own: Ref<dyn Counter> = here.create(Clustered::per_processor(make(&made))).unwrap();
    for object in [shared, own] {
        for vcpu in vcpus.iter().rev() {
            object.add(&vcpu.enter(), 1).unwrap();
        }
    }
    assert_eq!(*made.lock().unwrap(), [(1, 0), (1, 1), (0, 0)]);
}

#[test]
fn an_error_of_the_objects_own_comes_through() {
    let vcpus = vcpus(1);
    let (counter, here) = (create(&vcpus[0]), vcpus[0].enter());
    counter.add(&here, 13).unwrap();
    assert_eq!(counter.value(&here), Err(Error::Refused));
}

#[test]
fn objects_call_each_other() {
    let vcpus = vcpus(1);
    let (one, two, here) = (create(&vcpus[0]), create(&vcpus[0]), vcpus[0].enter());
    one.add_to(&here, two, 5).unwrap();
    assert_eq!((one.value(&here), two.value(&here)), (Ok(0), Ok(5)));
}

#[test]
fn an_object_that_has_ended_is_gone_everywhere() {
    let vcpus = vcpus(2);
    let counter = create(&vcpus[0]);
    for vcpu in &vcpus {
        counter.add(&vcpu.enter(), 1).unwrap();
    }
    assert_eq!(vcpus[0].enter().destroy(counter), Ok(()));
    for vcpu in &vcpus {
        let here = vcpu.enter();
        assert_eq!(counter.add(&here, 1), Err(Gone));
        assert_eq!(counter.value(&here), Err(Error::Gone));
        assert_eq!(here.destroy(counter), Err(Gone));
        assert_eq!(here.count(counter).err(), Some(Gone));
    }
}

#[test]
fn a_call_goes_on_in_an_object_that_it_ends() {
    let (vcpus, traces) = (vcpus(1), Arc::default());
    let here = vcpus[0].enter();
    let counter = here.create(counter(1, &traces)).unwrap();
    counter.add(&here, 7).unwrap();
    assert_eq!(counter.end(&here, counter), Ok(7));
    assert_eq!(counter.value(&here), Err(Error::Gone));
    assert!(vcpus[0].clean());
    assert_eq!(traces.get(), (1, 0, 0));
    drop(here);
    while vcpus[0].clean() {}
    assert_eq!(traces.get(), (1, 1, 1));
}

#[test]
fn a_rep_lives_until_every_activation_from_before_has_ended() {
    let (vcpus, traces) = (vcpus(2), Arc::default());
    let counter = vcpus[0].enter().create(counter(1, &traces)).unwrap();
    let old = vcpus[1].enter();
    let rep = old.get(counter);
    rep.add(&old, 1).unwrap();
    let rep = old.get(counter);
    vcpus[0].enter().destroy(counter).unwrap();
    rounds(&vcpus, 5);
    let young = vcpus[1].enter();
    rounds(&vcpus, 5);
    assert_eq!(rep.value(&old), Ok(1));
    assert_eq!(traces.get(), (1, 0, 0));
    drop(old);
    rounds(&vcpus, 3);
    drop(young);
    rounds(&vcpus, 3);
    assert_eq!(traces.get(), (1, 1, 1));
}

#[test]
fn a_rep_that_its_root_does_not_keep_lives_as_long() {
    struct Fresh(Arc<Traces>);
    impl Root<dyn Counter> for Fresh {
        fn rep(&self, _: &Here<'_>) -> Arc<dyn Counter> {
            Arc::new(Rep { value: AtomicU64::new(0), traces: self.0.clone() })
        }
    }
    let (vcpus, traces) = (vcpus(2), Arc::<Traces>::default());
    let counter = vcpus[0].enter().create(Fresh(traces.clone())).unwrap();
    let old = vcpus[1].enter();
    counter.add(&old, 4).unwrap();
    let rep = old.get(counter);
    // Its vCPU forgets it now, and does not drop it.
    vcpus[0].enter().count(counter).unwrap();
    drop(vcpus[1].enter());
    rounds(&vcpus, 3);
    assert_eq!(traces.get().1, 0);
    assert_eq!((rep.value(&old), counter.value(&old)), (Ok(4), Ok(0)));
    drop(old);
    rounds(&vcpus, 1);
    assert_eq!(traces.get().1, 1);
}

#[test]
fn an_identifier_is_reused_after_a_round_and_not_before() {
    let vcpus = vcpus(3);
    let reused = |object: Ref<dyn Counter>| {
        // All that are free now, and back again.
        let here = vcpus[0].enter();
        let objects: Vec<_> = (0..64).map(|_| create(&vcpus[0])).collect();
        objects.iter().for_each(|object| here.destroy(*object).unwrap());
        objects.contains(&object)
    };
    let counter = create(&vcpus[0]);
    let elsewhere = vcpus[2].enter();
    vcpus[0].enter().destroy(counter).unwrap();
    rounds(&vcpus, 4);
    assert!(!reused(counter), "an activation is there from before its end");
    drop(elsewhere);
    rounds(&vcpus, 3);
    assert!(reused(counter));
}

#[test]
fn identifiers_go_home() {
    let vcpus = vcpus(2);
    for _ in 0..400 {
        let here = vcpus[0].enter();
        let objects: Vec<_> = (0..64).map(|_| create(&vcpus[0])).collect();
        drop(here);
        let here = vcpus[1].enter();
        objects.into_iter().for_each(|object| here.destroy(object).unwrap());
        drop(here);
        rounds(&vcpus, 3);
    }
}

#[test]
fn calls_are_counted_by_method_and_vcpu_from_when_it_is_asked() {
    let vcpus = vcpus(2);
    let counter = create(&vcpus[0]);
    for vcpu in &vcpus {
        counter.add(&vcpu.enter(), 1).unwrap();
    }
    let calls = vcpus[0].enter().count(counter).unwrap();
    for (vcpu, count) in vcpus.iter().zip([3, 2]) {
        for _ in 0..count {
            counter.add(&vcpu.enter(), 1).unwrap();
        }
    }
    assert_eq!(counter.value(&vcpus[1].enter()), Ok(7));
    let on: Vec<_> = calls.on(0).collect();
    assert_eq!(on, [("add", 3), ("value", 0), ("add_to", 0), ("end", 0)]);
    let total: Vec<_> = calls.total().collect();
    assert_eq!(total, [("add", 5), ("value", 1), ("add_to", 0), ("end", 0)]);
    assert_eq!(calls.on(2).count(), 0);
    // A second one in front of the first; both end with the object.
    let again = vcpus[1].enter().count(counter).unwrap();
    counter.add(&vcpus[1].enter(), 1).unwrap();
    assert_eq!((again.total().next(), calls.total().next()), (Some(("add", 1)), Some(("add", 6))));
    vcpus[1].enter().destroy(counter).unwrap();
    assert_eq!(counter.add(&vcpus[0].enter(), 1), Err(Gone));
    rounds(&vcpus, 3);
    assert_eq!(Arc::strong_count(&calls), 1);
}

#[test]
fn a_watch_sees_both_ends_of_a_call_and_may_refuse_it() {
    struct Gate(Mutex<Vec<(bool, usize)>>);
    impl Watch for Gate {
        fn before(&self, _: &Here<'_>, method: usize) -> Result<(), Gone> {
            self.0.lock().unwrap().push((true, method));
            if method == 1 { Err(Gone) } else { Ok(()) }
        }
        fn after(&self, _: &Here<'_>, method: usize) {
            self.0.lock().unwrap().push((false, method));
        }
    }
    let vcpus = vcpus(1);
    let (counter, other, here) = (create(&vcpus[0]), create(&vcpus[0]), vcpus[0].enter());
    let gate = Arc::new(Gate(Mutex::default()));
    here.interpose(counter, gate.clone()).unwrap();
    counter.add(&here, 2).unwrap();
    assert_eq!(counter.value(&here), Err(Error::Gone));
    // An object's own error comes back through `after`, too.
    counter.add_to(&here, counter, 1).unwrap();
    assert_eq!(counter.end(&here, other), Ok(3));
    let seen = [(true, 0), (false, 0), (true, 1), (true, 2), (true, 0), (false, 0), (false, 2)];
    assert_eq!(gate.0.lock().unwrap()[..7], seen);
    assert_eq!(gate.0.lock().unwrap()[7..], [(true, 3), (false, 3)]);
}

#[test]
fn a_root_may_call_other_objects_and_miss() {
    let vcpus = vcpus(1);
    let (other, here) = (create(&vcpus[0]), vcpus[0].enter());
    let make = move |here: &Here<'_>, _| {
        other.add(here, 9).unwrap();
        Arc::new(Rep { value: AtomicU64::new(1), traces: Arc::default() }) as Arc<dyn Counter>
    };
    let counter: Ref<dyn Counter> = here.create(Clustered::shared(make)).unwrap();
    assert_eq!((counter.value(&here), other.value(&here)), (Ok(1), Ok(9)));
}

#[test]
fn an_object_may_end_while_its_rep_is_made() {
    let vcpus = vcpus(1);
    let here = vcpus[0].enter();
    let own = Arc::new(Mutex::new(None::<Ref<dyn Counter>>));
    let cell = own.clone();
    let make = move |here: &Here<'_>, _| {
        let object = cell.lock().unwrap().unwrap();
        here.destroy(object).unwrap();
        Arc::new(Rep { value: AtomicU64::new(1), traces: Arc::default() }) as Arc<dyn Counter>
    };
    let counter = here.create(Clustered::shared(make)).unwrap();
    *own.lock().unwrap() = Some(counter);
    assert_eq!(counter.value(&here), Err(Error::Gone));
    assert_eq!(counter.value(&here), Err(Error::Gone));
}

#[test]
#[should_panic(expected = "1 to 64 vCPUs")]
fn there_are_vcpus() {
    vcpus(0);
}
