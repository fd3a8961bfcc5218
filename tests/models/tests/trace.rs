//! A vCPU's trace buffer (`k42_lib::trace`) with several writers, some of which die in the middle, and a
//! reader that looks while they write.
//!
//! Its words are shuttle's atomics: a thread may lose its turn between any two of them.

use k42_lib::trace::read::{Found, Snapshot, at};
use k42_lib::trace::ring::{Ring, SLACK, Word};
use k42_lib::trace::{Head, events};
use k42_models::explore;
use shuttle::sync::atomic::{AtomicU64, Ordering::SeqCst};
use shuttle::thread::spawn;
use std::cell::Cell;
use std::sync::Arc;

/// An event of two words.
const EVENT: u16 = Head::event(2, events::user::MAJOR, 0);
/// Events of a writer that lives.
const EVENTS: u64 = 6;

shuttle::thread_local! {
    /// How many words more this thread uses before it dies.
    static LEFT: Cell<u32> = Cell::new(u32::MAX);
}

/// A word; one that a dead thread uses stays as it is.
#[derive(Default)]
struct Place(AtomicU64);

/// Whether the thread lives, for one use more.
fn lives() -> bool {
    LEFT.with(|left| {
        left.set(left.get().saturating_sub(1));
        left.get() > 0
    })
}

impl Word for Place {
    fn get(&self) -> u64 {
        self.0.load(SeqCst)
    }

    fn set(&self, value: u64) {
        if lives() {
            self.0.store(value, SeqCst);
        }
    }

    fn publish(&self, value: u64) {
        self.set(value);
    }

    fn replace(&self, old: u64, new: u64) -> bool {
        // A dead thread goes nowhere: it may think what it likes.
        !lives() || self.0.compare_exchange(old, new, SeqCst, SeqCst).is_ok()
    }

    fn add(&self, more: u64) {
        if lives() {
            self.0.fetch_add(more, SeqCst);
        }
    }
}

/// Two sub-buffers of thirty-two words: twenty events find room in both.
type Small = Ring<Place, 32, { 64 + SLACK }>;

struct Scene {
    ring: Small,
    /// The timebase: no two looks at it see the same.
    time: AtomicU64,
}

impl Scene {
    fn new() -> Arc<Scene> {
        let scene = Scene { ring: Small::default(), time: AtomicU64::new(u64::MAX >> 34) };
        scene.ring.start(0, 0, "model");
        Arc::new(scene)
    }

    fn write(&self, writer: u64, number: u64) {
        let now = || self.time.fetch_add(1, SeqCst);
        self.ring.write(now, EVENT, [writer << 32 | number, !number]);
    }

    /// The events that are there now, as writer and number, and words in holes. Whatever is read is in
    /// the order of times, and what one writer wrote in its own.
    fn read(&self) -> (Vec<(u64, u64)>, usize) {
        let words: Vec<u64> = self.ring.copy().collect();
        let snapshot = Snapshot::new(&words).unwrap();
        let index = self.ring.control().index.get();
        let (mut found, mut holes, mut last) = (Vec::new(), 0, 0);
        for sub in snapshot.sub_buffers(index) {
            let before = holes;
            for item in sub.records() {
                match item {
                    Found::Hole(words) => holes += words,
                    Found::Event(record) => {
                        let [first, second] = record.data[..] else { panic!("{record:?}") };
                        let (writer, number) = (first >> 32, first & 0xffff_ffff);
                        assert_eq!(second, !number, "an event is half there: {record:?}");
                        assert!(record.time > last, "{} after {last}", record.time);
                        last = record.time;
                        found.push((writer, number));
                    }
                }
            }
            assert!(!sub.whole || holes == before, "a whole sub-buffer has a hole");
        }
        for writer in 0..3 {
            let numbers: Vec<u64> = of(&found, writer);
            assert!(numbers.is_sorted(), "{numbers:?}");
        }
        assert!(snapshot.control(at::LOST) == 0);
        (found, holes)
    }
}

fn of(found: &[(u64, u64)], writer: u64) -> Vec<u64> {
    found.iter().filter(|(who, _)| *who == writer).map(|(_, number)| *number).collect()
}

#[test]
fn writers_at_once_lose_nothing_and_a_reader_sees_what_is_there() {
    explore(|| {
        let scene = Scene::new();
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let scene = scene.clone();
                spawn(move || (0..EVENTS).for_each(|number| scene.write(writer, number)))
            })
            .collect();
        scene.read();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let (found, holes) = scene.read();
        assert_eq!(holes, 0);
        for writer in 0..2 {
            assert_eq!(of(&found, writer), (0..EVENTS).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_writer_that_dies_loses_its_own_event_alone() {
    explore(|| {
        let scene = Scene::new();
        let mut threads = Vec::new();
        // At any of the steps of its first two events, a new sub-buffer's beginning among them.
        let steps = shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 1..20);
        let dying = scene.clone();
        threads.push(spawn(move || {
            LEFT.with(|left| left.set(steps));
            (0..2).for_each(|number| dying.write(2, number));
            LEFT.with(|left| left.set(u32::MAX));
        }));
        for writer in 0..2 {
            let scene = scene.clone();
            threads.push(spawn(move || (0..EVENTS).for_each(|number| scene.write(writer, number))));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let (found, holes) = scene.read();
        for writer in 0..2 {
            assert_eq!(of(&found, writer), (0..EVENTS).collect::<Vec<_>>(), "{holes} in holes");
        }
    });
}
