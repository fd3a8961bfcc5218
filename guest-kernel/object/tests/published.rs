//! What is published lives as long as somebody can have read it, and no longer than that and a round.
#![allow(missing_docs)]

use k42_object::{Here, Published, Vcpu, vcpus};
use proptest::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A value that says when it is dropped.
struct Value {
    number: usize,
    dropped: Arc<AtomicBool>,
}

impl Drop for Value {
    fn drop(&mut self) {
        assert!(!self.dropped.swap(true, Relaxed), "dropped twice");
    }
}

/// Makes values, and knows which are dropped.
#[derive(Default)]
struct Values(Vec<Arc<AtomicBool>>);

impl Values {
    fn next(&mut self) -> Value {
        let (number, dropped) = (self.0.len(), Arc::default());
        self.0.push(Arc::clone(&dropped));
        Value { number, dropped }
    }

    fn dropped(&self) -> Vec<bool> {
        self.0.iter().map(|dropped| dropped.load(Relaxed)).collect()
    }
}

/// Lets the token go round as often as anything can wait for.
fn settle(vcpus: &[Vcpu]) {
    for vcpu in (0..3).flat_map(|_| vcpus) {
        vcpu.clean();
    }
    assert!(!vcpus.iter().any(Vcpu::clean), "something does not end");
}

#[test]
fn a_value_lives_as_long_as_an_activation_that_may_have_read_it() {
    let (vcpus, mut values) = (vcpus(2), Values::default());
    let published = Published::new(&vcpus[0].enter(), values.next());
    let here = vcpus[1].enter();
    let old = published.read(&here);
    published.replace(&vcpus[0].enter(), values.next());
    assert_eq!((old.number, published.read(&here).number), (0, 1));
    for _ in 0..3 {
        vcpus.iter().for_each(|vcpu| _ = vcpu.clean());
        assert_eq!(values.dropped(), [false, false], "while it is read");
    }
    assert_eq!(old.number, 0);
    drop(here);
    // One that begins later does not wait for it, nor keep it.
    let later = vcpus[1].enter();
    settle(&vcpus);
    assert_eq!(values.dropped(), [true, false]);
    assert_eq!(published.read(&later).number, 1);
    drop(published);
    assert_eq!(values.dropped(), [true, true]);
}

#[test]
fn one_vcpu_alone_goes_round_itself() {
    let (vcpus, mut values) = (vcpus(1), Values::default());
    let published = Published::new(&vcpus[0].enter(), values.next());
    (0..10).for_each(|_| published.replace(&vcpus[0].enter(), values.next()));
    settle(&vcpus);
    assert_eq!(values.dropped(), [[true; 10].as_slice(), &[false]].concat());
}

#[test]
fn what_a_vcpu_leaves_behind_lives_as_long_as_the_others() {
    let (mut vcpus, mut values) = (vcpus(2), Values::default());
    let published = Published::new(&vcpus[0].enter(), values.next());
    let second = vcpus.pop().unwrap();
    let here = second.enter();
    let old = published.read(&here);
    published.replace(&vcpus[0].enter(), values.next());
    vcpus[0].clean(); // the first goes with the token's round, the second has not begun one
    published.replace(&vcpus[0].enter(), values.next());
    drop(vcpus);
    assert_eq!(values.dropped(), [false; 3]);
    assert_eq!(old.number, 0);
    drop(here);
    drop(second);
    assert_eq!(values.dropped(), [true, true, false]);
    drop(published);
    assert_eq!(values.dropped(), [true; 3]);
}

#[test]
fn vcpus_that_nobody_would_wait_for_are_refused() {
    let (ours, others) = (vcpus(1), vcpus(1));
    let published = Published::new(&ours[0].enter(), 1);
    let refused = |work: &dyn Fn(&Here<'_>)| {
        let here = others[0].enter();
        catch_unwind(AssertUnwindSafe(|| work(&here))).is_err()
    };
    assert!(refused(&|here| drop(published.read(here).to_string())));
    assert!(refused(&|here| published.replace(here, 2)));
    assert_eq!(*published.read(&ours[0].enter()), 1);
}

const VCPUS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Replace(usize),
    Read(usize),
    /// Begins a long activation on a vCPU, or ends the one that is there.
    Long(usize),
    Clean(usize),
}

fn step() -> impl Strategy<Value = Step> {
    (0usize..4, 0..VCPUS).prop_map(|(what, vcpu)| match what {
        0 => Step::Replace(vcpu),
        1 => Step::Read(vcpu),
        2 => Step::Long(vcpu),
        _ => Step::Clean(vcpu),
    })
}

proptest! {
    #[test]
    fn nothing_is_dropped_that_may_be_read(steps in prop::collection::vec(step(), 1..150)) {
        let (vcpus, mut values) = (vcpus(VCPUS as u32), Values::default());
        let published = Published::new(&vcpus[0].enter(), values.next());
        // By vCPU: an activation, and the first value that it can have read.
        let mut long: [Option<(usize, Here<'_>)>; VCPUS] = Default::default();
        for step in steps {
            let current = values.0.len() - 1;
            match step {
                Step::Replace(vcpu) => published.replace(&vcpus[vcpu].enter(), values.next()),
                Step::Read(vcpu) => {
                    prop_assert_eq!(published.read(&vcpus[vcpu].enter()).number, current);
                }
                Step::Long(vcpu) if long[vcpu].is_some() => long[vcpu] = None,
                Step::Long(vcpu) => long[vcpu] = Some((current, vcpus[vcpu].enter())),
                Step::Clean(vcpu) => _ = vcpus[vcpu].clean(),
            }
            let first = long.iter().flatten().map(|(first, _)| *first).min();
            let kept = first.unwrap_or(values.0.len() - 1);
            prop_assert!(!values.dropped()[kept..].contains(&true));
        }
        drop(long);
        settle(&vcpus);
        let dropped = values.dropped();
        let (last, others) = dropped.split_last().unwrap();
        prop_assert!(!last && others.iter().all(|dropped| *dropped));
    }
}
