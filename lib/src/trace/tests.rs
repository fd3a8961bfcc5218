extern crate std;
use super::read::{CONTROL, Found, Record, Snapshot, at, size};
use super::ring::{MAGIC, Ring, SLACK, Word};
use super::{EVENTS, Event, Head, Kind, Phase, events};
use core::cell::Cell;
use core::sync::atomic::AtomicU64;
use proptest::prelude::*;
use std::format;
use std::vec::Vec;

/// Four sub-buffers of sixteen words.
type Small = Ring<AtomicU64, 16, { 64 + SLACK }>;

/// Where events of tests have their numbers: `user::numbers`.
const NUMBERS: u16 = Head::event(2, events::user::MAJOR, 0);

fn small() -> std::boxed::Box<Small> {
    let ring = std::boxed::Box::new(Small::default());
    ring.start(3, 0x4_0000, "a-name");
    ring
}

/// A time that goes on by itself.
struct Clock(Cell<u64>, u64);

impl Clock {
    fn now(&self) -> u64 {
        self.0.set(self.0.get() + self.1);
        self.0.get()
    }
}

fn copy<const SUB: usize, const PLACES: usize>(ring: &Ring<AtomicU64, SUB, PLACES>) -> Vec<u64> {
    ring.copy().collect()
}

/// All events of a copy, and how many words are in holes.
fn read(words: &[u64]) -> (Vec<(u64, u64)>, usize) {
    let snapshot = Snapshot::new(words).unwrap();
    let (mut events, mut holes) = (Vec::new(), 0);
    for sub in snapshot.sub_buffers(snapshot.control(at::INDEX)) {
        for found in sub.records() {
            match found {
                Found::Hole(words) => holes += words,
                Found::Event(Record { time, data, .. }) => events.push((time, data[0])),
            }
        }
    }
    (events, holes)
}

#[test]
fn numbers_are_dense_and_formats_name_fields() {
    let mut before: Option<&Event> = None;
    for event in EVENTS {
        let next = match before {
            Some(before) if before.major == event.major => before.minor + 1,
            Some(before) => {
                assert_eq!(event.major, before.major + 1, "{}", event.class);
                0
            }
            None => 0,
        };
        assert_eq!(event.minor, next, "{}::{}", event.class, event.name);
        for field in event.fields {
            assert!(event.format.contains(&format!("{{{}}}", field.name)), "{}", event.name);
        }
        assert_eq!(event.format.matches('{').count(), event.fields.len(), "{}", event.name);
        let texts = event.fields.iter().filter(|field| field.kind == Kind::Text).count();
        assert!(texts == 0 || event.fields.len() == 1, "{}: a text is alone", event.name);
        assert!(event.phase != Phase::Switches || !event.fields.is_empty(), "{}", event.name);
        before = Some(event);
    }
    assert_eq!(events::mask("mem, trap"), Ok(1 << 1 | 1 << 5));
    assert_eq!(events::mask("all"), Ok(!1));
    assert_eq!(events::mask("mem,memory"), Err("memory"));
    assert_eq!(events::mask("control"), Err("control"));
}

#[test]
fn what_is_written_is_read() {
    let (ring, clock) = (small(), Clock(Cell::new(u64::MAX >> 8), 3));
    for n in 0..5 {
        ring.write(|| clock.now(), NUMBERS, [n, 7]);
    }
    let words = copy(&ring);
    let snapshot = Snapshot::new(&words).unwrap();
    assert_eq!(snapshot.name(), *b"a-name\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!((snapshot.control(at::VCPU), snapshot.control(at::ADDRESS)), (3, 0x4_0000));
    let (events, holes) = read(&words);
    assert_eq!(events.iter().map(|event| event.1).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(events.is_sorted() && events[4].0 == clock.0.get() && holes == 0, "{events:?}");
}

#[test]
fn texts_are_read_as_far_as_there_is_room() {
    let ring = std::boxed::Box::new(Ring::<AtomicU64, 64, { 256 + SLACK }>::default());
    ring.start(0, 0, "");
    let long = "0123456789".repeat(30);
    for text in ["", "a text", "12345678", &long] {
        ring.write_text(|| 5, Head::event(0, events::user::MAJOR, 1), text);
    }
    let words = copy(&ring);
    let snapshot = Snapshot::new(&words).unwrap();
    let mut texts: Vec<std::string::String> = Vec::new();
    for found in snapshot.sub_buffers(0).flat_map(|sub| sub.records()) {
        let Found::Event(record) = found else { panic!("{found:?}") };
        assert_eq!(record.event().map(|event| event.name), Some("text"));
        let bytes: Vec<u8> = record.data.iter().flat_map(|word| word.to_le_bytes()).collect();
        let text = std::string::String::from_utf8(bytes).unwrap();
        texts.push(std::string::String::from(text.trim_end_matches('\0')));
    }
    assert_eq!(texts, ["", "a text", "12345678", &long[..super::ring::TEXT]]);
}

#[test]
fn the_oldest_go_or_the_newest_are_lost() {
    for policy in [0, 1] {
        let (ring, clock) = (small(), Clock(Cell::new(0), 1));
        ring.control().policy.set(policy);
        for n in 0..100 {
            ring.write(|| clock.now(), NUMBERS, [n, n]);
        }
        let (events, holes) = read(&copy(&ring));
        let numbers: Vec<u64> = events.iter().map(|event| event.1).collect();
        let kept = numbers.len() as u64;
        assert!(holes == 0 && (12..=16).contains(&kept), "{kept}");
        let first = if policy == 0 { 100 - kept } else { 0 };
        assert_eq!(numbers, (first..first + kept).collect::<Vec<_>>());
        assert_eq!(ring.control().lost.get(), if policy == 0 { 0 } else { 100 - kept });
    }
}

#[test]
fn nothing_is_wanted_at_first_and_classes_are_switched() {
    let ring = small();
    assert!(!ring.wants(!0));
    ring.switch(events::mem::MASK);
    assert!(ring.wants(events::mem::MASK) && !ring.wants(events::trap::MASK));
}

#[test]
fn a_buffer_of_no_sound_shape_is_none() {
    let mut words = copy(&small());
    assert!(Snapshot::new(&words).is_some());
    for (sub, all) in
        [(0, 64), (2, 64), (24, 64), (16, 48), (128, 64), (16, 0), (16, 128), (4, 1024)]
    {
        words[at::SHAPE] = sub << 32 | all;
        let places = CONTROL + 1024;
        let whole: Vec<u64> = words.iter().copied().cycle().take(places).collect();
        // One of 128 words is whole where there are so many.
        let sound = (sub, all) == (16, 128);
        assert_eq!(Snapshot::new(&whole).is_some(), sound, "{all} words in parts of {sub}");
        assert!(Snapshot::new(&whole[..CONTROL + 127]).is_none());
    }
}

#[test]
fn a_sub_buffer_that_was_begun_meanwhile_is_left_out() {
    let (ring, clock) = (small(), Clock(Cell::new(0), 1));
    let write = |n| ring.write(|| clock.now(), NUMBERS, [n, n]);
    (0..20).for_each(write);
    let words = copy(&ring);
    let all = read(&words).0.len();
    (20..24).for_each(write);
    let snapshot = Snapshot::new(&words).unwrap();
    let later = snapshot.sub_buffers(ring.control().index.get());
    let left = later.flat_map(|sub| sub.records()).count();
    assert!(left < all && left >= all - 5, "{left} of {all}");
}

/// What a writer does in a test: notes this many words, or dies before it has stored any; then so much
/// time goes by.
#[derive(Clone, Copy, Debug)]
struct Step {
    words: usize,
    dies: bool,
    pause: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let pause = prop_oneof![8 => 1u64..1000, 1 => (1u64 << 30)..(1 << 36)];
    (1usize..=2, proptest::bool::weighted(0.1), pause).prop_map(|(words, dies, pause)| Step {
        words,
        dies,
        pause,
    })
}

proptest! {
    /// Events come back whole, in order, with their times; those of writers that died do not, and
    /// nothing else is lost.
    #[test]
    fn a_writer_that_dies_loses_its_own_event(steps in prop::collection::vec(step(), 1..200)) {
        let ring = small();
        let time = Cell::new(1 << 40);
        let mut expected = Vec::new();
        for (n, step) in steps.iter().enumerate() {
            time.set(time.get() + step.pause);
            let now = || time.get();
            let n = n as u64;
            match step.words {
                // Moves the index as an event of two words would, and stores nothing.
                _ if step.dies => ring.abandon(now, 3),
                1 => ring.write(now, Head::event(1, events::object::MAJOR, 0), [n]),
                _ => ring.write(now, NUMBERS, [n, !n]),
            }
            if !step.dies {
                expected.push((time.get(), n));
            }
        }
        let words = copy(&ring);
        let (events, holes) = read(&words);
        let kept = expected.len() - events.len();
        prop_assert_eq!(&events, &expected[kept..]);
        prop_assert!(kept == 0 || events.len() > 3);
        let snapshot = Snapshot::new(&words).unwrap();
        let whole = snapshot.sub_buffers(0).all(|sub| sub.whole);
        prop_assert_eq!(whole, holes == 0);
    }

    /// Any words at all are read without a panic, and no more comes of them than they are.
    #[test]
    fn any_words_are_read(
        mut words in prop::collection::vec(any::<u64>(), CONTROL..CONTROL + 200),
        shape in prop_oneof![Just(16u64 << 32 | 64), Just(8 << 32 | 128), any::<u64>()],
        index in prop_oneof![0u64..300, any::<u64>()],
        heads in prop::collection::vec((any::<prop::sample::Index>(), 0u16..3, 0usize..6, 0u8..9, 0u8..9), 0..60),
    ) {
        let _ = (Snapshot::new(&words), size(&words));
        words[at::MAGIC] = MAGIC;
        words[at::SHAPE] = shape;
        words[at::INDEX] = index;
        let places = CONTROL..words.len();
        for (place, lap, length, major, minor) in heads {
            if !places.is_empty() {
                let event = Head::event(length, major, minor);
                words[CONTROL + place.index(places.len())] = Head::new(7, lap, event).0;
            }
        }
        if let Some(snapshot) = Snapshot::new(&words) {
            let mut sum = 0;
            for sub in snapshot.sub_buffers(index).chain(snapshot.sub_buffers(!0)).chain(snapshot.sub_buffers(0)) {
                for found in sub.records() {
                    sum += match found {
                        Found::Hole(words) => words,
                        Found::Event(record) => record.data.len() + 1,
                    };
                }
            }
            prop_assert!(sum <= 3 * (words.len() - CONTROL));
        }
    }
}
