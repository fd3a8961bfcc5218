//! Locks in their order (`lib/src/lock.rs`) and published values (`guest-kernel/object/src/published.rs`)
//! with vCPUs that are threads.
//!
//! Besides locks, a thread may lose its turn where it waits, and where the tests say so: with a lock held,
//! or with a value that it has read.

use k42_lib::lock::{Activation, Contended, Held, Lock, Nothing, Waiting, wait_by};
use k42_models::explore;
use k42_models::vcpus::{run, settle};
use k42_object::{Published, Vcpu, vcpus};
use shuttle::thread::{spawn, yield_now};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

k42_lib::levels! { Process < Region < Fcm }

/// A thread of a schedule.
struct Thread;

impl Activation for Thread {}

/// Lets others run while it waits, and counts what it is told of, by level, for each schedule.
struct Waits;

shuttle::lazy_static! {
    static ref TOLD: [AtomicUsize; 3] = Default::default();
}

fn told(level: &str) -> &'static AtomicUsize {
    let number = ["Process", "Region", "Fcm"].iter().position(|name| *name == level);
    &TOLD[number.expect("a level of ours")]
}

impl Waiting for Waits {
    fn contended(&self, lock: Contended) {
        told(lock.level).fetch_add(1, Relaxed);
    }

    fn wait(&self, _: u32) {
        yield_now();
    }
}

/// A value of two halves that only a holder of its lock sees apart.
#[derive(Default)]
struct Halves(usize, usize);

impl Halves {
    fn add(&mut self) {
        assert_eq!(self.0, self.1, "somebody else is in the middle");
        self.0 += 1;
        yield_now();
        self.1 += 1;
    }
}

#[derive(Default)]
struct Locks {
    process: Lock<Process, Halves>,
    regions: [Lock<Region, Halves>; 2],
    fcm: Lock<Fcm, Halves>,
}

impl Locks {
    /// What somebody does who holds nothing, in one way of several.
    fn work(&self, way: usize, held: &mut Held<'_, Nothing>) {
        match way {
            0 => {
                let mut process = self.process.lock(held);
                let (halves, held) = process.split();
                halves.add();
                let mut region = self.regions[0].lock(held);
                let (halves, held) = region.split();
                halves.add();
                self.fcm.lock(held).add();
            }
            1 | 2 => {
                let pair = [&self.regions[way - 1], &self.regions[2 - way]];
                let mut both = Lock::both(pair, held).unwrap();
                let (halves, held) = both.split();
                halves.into_iter().for_each(Halves::add);
                self.fcm.lock(held).add();
            }
            _ => {
                self.fcm.lock(held).add();
                self.process.lock(held).add();
            }
        }
    }
}

#[test]
fn locks_in_order_are_held_by_one_and_waited_for_by_none_for_ever() {
    /// Of all schedules.
    static WAITS: AtomicUsize = AtomicUsize::new(0);
    wait_by(&Waits);
    explore(|| {
        let locks = Arc::new(Locks::default());
        let start = |number: usize| {
            let locks = locks.clone();
            spawn(move || {
                let mut thread = Thread;
                let (_, mut held) = Held::nothing(&mut thread);
                (0..2).for_each(|turn| locks.work((number + turn) % 4, &mut held));
            })
        };
        // Ways 0 1, 1 2, 2 3.
        let threads: Vec<_> = (0..3).map(start).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut thread = Thread;
        let (_, mut held) = Held::nothing(&mut thread);
        assert_eq!(locks.process.lock(&mut held).0, 2);
        assert_eq!(locks.regions.each_ref().map(|lock| lock.lock(&mut held).0), [5, 4]);
        assert_eq!(locks.fcm.lock(&mut held).0, 6);
        let regions: u32 = locks.regions.iter().map(Lock::contended).sum();
        let counted = [locks.process.contended(), regions, locks.fcm.contended()];
        let counted = counted.map(|count| count as usize);
        assert_eq!(counted, TOLD.each_ref().map(|told| told.load(Relaxed)));
        WAITS.fetch_add(counted.iter().sum(), Relaxed);
    });
    assert_ne!(WAITS.load(Relaxed), 0, "no schedule has somebody wait");
}

#[test]
fn who_finds_a_lock_held_is_counted_and_nobody_else() {
    wait_by(&Waits);
    explore(|| {
        let lock = Arc::new(Lock::<Fcm, _>::new(false));
        let other = lock.clone();
        let mut thread = Thread;
        let (_, mut held) = Held::nothing(&mut thread);
        let mut guard = lock.lock(&mut held);
        let waits = spawn(move || {
            let mut thread = Thread;
            *other.lock(&mut Held::nothing(&mut thread).1)
        });
        while told("Fcm").load(Relaxed) == 0 {
            yield_now();
        }
        *guard = true;
        drop(guard);
        assert!(waits.join().unwrap(), "it was held until then");
        assert!(*lock.lock(&mut held));
        assert_eq!(lock.contended(), 1);
    });
}

/// A published value that says when it is dropped.
struct Canary {
    number: usize,
    dropped: Arc<AtomicBool>,
}

impl Drop for Canary {
    fn drop(&mut self) {
        assert!(!self.dropped.swap(true, Relaxed), "dropped twice");
    }
}

/// What there is to publish, and what has become of it.
struct Cage(Vec<Arc<AtomicBool>>);

impl Cage {
    fn new(size: usize) -> Arc<Cage> {
        Arc::new(Cage((0..size).map(|_| Arc::default()).collect()))
    }

    fn canary(&self, number: usize) -> Canary {
        Canary { number, dropped: self.0[number].clone() }
    }

    fn dropped(&self) -> usize {
        self.0.iter().filter(|dropped| dropped.load(Relaxed)).count()
    }
}

/// Reads a few times in an activation: what was read first is there to its end, and none is older than
/// the one before.
fn read(vcpu: &Vcpu, published: &Published<Canary>) {
    let here = vcpu.enter();
    let mut read: Vec<(&Canary, Arc<AtomicBool>)> = Vec::new();
    for _ in 0..2 {
        let canary = published.read(&here);
        // A copy of its own, which is there whatever became of the value.
        read.push((canary, canary.dropped.clone()));
        yield_now();
        for (_, dropped) in &read {
            assert!(!dropped.load(Relaxed), "dropped while it is read");
        }
        assert!(read.is_sorted_by_key(|(canary, _)| canary.number), "an older one came back");
    }
}

#[test]
fn what_is_read_is_not_dropped_and_all_else_is() {
    explore(|| {
        let (vcpus, cage) = (vcpus(3), Cage::new(5));
        let published = Arc::new(Published::new(&vcpus[0].enter(), cage.canary(0)));
        let (values, shared) = (cage.clone(), published.clone());
        let vcpus = run(vcpus, move |vcpu, number| match number {
            0 => {
                for number in 1..5 {
                    shared.replace(&vcpu.enter(), values.canary(number));
                    vcpu.clean();
                    yield_now();
                }
            }
            _ => {
                for _ in 0..3 {
                    read(vcpu, &shared);
                    vcpu.clean();
                }
            }
        });
        settle(&vcpus);
        assert_eq!(cage.dropped(), 4);
        assert_eq!(published.read(&vcpus[1].enter()).number, 4);
        drop(published);
        assert_eq!(cage.dropped(), 5);
    });
}

/// A map that all read and each changes, by a changed copy: a lock keeps the changes apart.
#[test]
fn changed_copies_lose_no_change() {
    wait_by(&Waits);
    explore(|| {
        let vcpus = vcpus(3);
        let map = Published::new(&vcpus[0].enter(), Vec::<(usize, usize)>::new());
        let map = Arc::new((Lock::<Process, ()>::new(()), map));
        let shared = map.clone();
        let vcpus = run(vcpus, move |vcpu, number| {
            for turn in 0..2 {
                let mut here = vcpu.enter();
                let (here, mut held) = Held::nothing(&mut here);
                let (lock, map) = &*shared;
                let change = lock.lock(&mut held);
                let mut copy = map.read(here).clone();
                yield_now();
                let place = copy.partition_point(|(key, _)| *key < number * 2 + turn);
                copy.insert(place, (number * 2 + turn, turn));
                map.replace(here, copy);
                drop(change);
                let own = map.read(here).binary_search_by_key(&(number * 2), |(key, _)| *key);
                assert!(own.is_ok(), "who has changed it sees the change");
            }
            vcpu.clean();
        });
        let here = vcpus[2].enter();
        assert_eq!(map.1.read(&here)[..], [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0), (5, 1)]);
    });
}

/// A vCPU goes for good with values that the others still read.
#[test]
fn what_a_vcpu_leaves_behind_is_dropped_with_the_last_one() {
    explore(|| {
        let (mut vcpus, cage) = (vcpus(2), Cage::new(3));
        let published = Arc::new(Published::new(&vcpus[0].enter(), cage.canary(0)));
        let (values, shared) = (cage.clone(), published.clone());
        let (second, first) = (vcpus.pop().unwrap(), vcpus.pop().unwrap());
        let writer = spawn(move || {
            for number in 1..3 {
                shared.replace(&first.enter(), values.canary(number));
                first.clean();
            }
        });
        read(&second, &published);
        writer.join().unwrap();
        read(&second, &published);
        drop(second);
        assert_eq!(cage.dropped(), 2);
    });
}
