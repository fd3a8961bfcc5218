//! The order of locks, and what is told of those that somebody waits for.
#![allow(missing_docs)]

use k42_lib::lock::{
    Activation, Before, Contended, Guard, Held, Level, Lock, Nothing, Waiting, wait_by,
};
use proptest::prelude::*;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

k42_lib::levels! { A < B < C < D }

struct Test;

impl Activation for Test {}

/// Whether levels may be nested so, asked at run time: an inherent constant is found before the trait's.
macro_rules! nests {
    ($outer:ty, $inner:ty) => {{
        struct Ask<O, I>(PhantomData<(O, I)>);
        #[allow(dead_code)] // one of the two answers
        trait Otherwise {
            const ANSWER: bool = false;
        }
        impl<O, I> Otherwise for Ask<O, I> {}
        #[allow(dead_code)]
        impl<O: Before<I>, I: Level> Ask<O, I> {
            const ANSWER: bool = true;
        }
        Ask::<$outer, $inner>::ANSWER
    }};
}

#[test]
fn a_level_is_before_all_later_ones_and_no_other() {
    macro_rules! row {
        ($outer:ty) => {
            [nests!($outer, A), nests!($outer, B), nests!($outer, C), nests!($outer, D)]
        };
    }
    assert_eq!(row!(Nothing), [true; 4]);
    assert_eq!(row!(A), [false, true, true, true]);
    assert_eq!(row!(B), [false, false, true, true]);
    assert_eq!(row!(C), [false, false, false, true]);
    assert_eq!(row!(D), [false; 4]);
}

#[test]
fn a_token_is_nothing_at_run_time() {
    assert_eq!(size_of::<Held<'_, A>>(), 0);
    assert_eq!(size_of::<Guard<'_, A, u64>>(), size_of::<&u64>());
}

#[test]
fn a_lock_nobody_waits_for_counts_nothing() {
    let (outer, inner) = (Lock::<A, _>::new(1), Lock::<C, _>::new(2));
    let mut test = Test;
    let (_, mut held) = Held::nothing(&mut test);
    for _ in 0..100 {
        let mut outer = outer.lock(&mut held);
        let (value, held) = outer.split();
        *value += *inner.lock(held);
    }
    assert_eq!(*outer.lock(&mut held), 201);
    assert_eq!((outer.contended(), inner.contended()), (0, 0));
}

#[test]
fn two_of_a_level_are_taken_at_once_and_are_two() {
    let locks = [Lock::<B, _>::new(1), Lock::new(2)];
    let inner = Lock::<C, _>::new(0);
    let mut test = Test;
    let (_, mut held) = Held::nothing(&mut test);
    for [one, other] in [[0, 1], [1, 0]] {
        let mut both = Lock::both([&locks[one], &locks[other]], &mut held).unwrap();
        let (values, held) = both.split();
        assert_eq!(values, [&(one + 1), &(other + 1)]);
        *inner.lock(held) += 1;
    }
    assert!(Lock::both([&locks[0], &locks[0]], &mut held).is_none());
    // All are free again.
    assert_eq!(locks.each_ref().map(|lock| *lock.lock(&mut held)), [1, 2]);
    assert_eq!(*inner.lock(&mut held), 2);
}

thread_local! {
    /// Where this thread is told of what it waits for.
    static TOLD: Cell<Option<&'static Told>> = const { Cell::new(None) };
}

#[derive(Default)]
struct Told {
    locks: Mutex<Vec<Contended>>,
    turns: AtomicUsize,
}

struct Teller;

impl Waiting for Teller {
    fn contended(&self, lock: Contended) {
        if let Some(told) = TOLD.get() {
            told.locks.lock().unwrap().push(lock);
        }
    }

    fn wait(&self, turns: u32) {
        if let Some(told) = TOLD.get() {
            assert_eq!(told.turns.fetch_add(1, SeqCst), turns as usize);
        }
        thread::yield_now();
    }
}

struct Deaf;

impl Waiting for Deaf {
    fn contended(&self, _: Contended) {
        panic!("the first one who says how to wait is heard");
    }

    fn wait(&self, _: u32) {}
}

#[test]
fn who_waits_is_counted_and_told() {
    static LOCK: Lock<B, u64> = Lock::new(0);
    wait_by(&Teller);
    wait_by(&Deaf);
    let told: &'static Told = Box::leak(Box::default());
    let free = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut test = Test;
        let (_, mut held) = Held::nothing(&mut test);
        let mut guard = LOCK.lock(&mut held);
        scope.spawn(|| {
            TOLD.set(Some(told));
            let mut test = Test;
            let value = *LOCK.lock(&mut Held::nothing(&mut test).1);
            assert!(free.load(SeqCst), "taken while it was held");
            assert_eq!(value, 7);
        });
        // Long enough to be looked at more than once.
        while told.turns.load(SeqCst) < 3 {
            thread::yield_now();
        }
        *guard = 7;
        free.store(true, SeqCst);
        drop(guard);
    });
    let address = ptr::from_ref(&LOCK).addr();
    assert_eq!(*told.locks.lock().unwrap(), [Contended { level: "B", address, count: 1 }]);
    assert_eq!(LOCK.contended(), 1);
}

proptest! {
    /// Threads take locks of one level by two, in whatever order they name them, and none waits for ever.
    #[test]
    fn pairs_in_any_order_come_to_an_end(
        pairs in prop::collection::vec(prop::collection::vec((0usize..4, 0usize..4), 1..40), 2..4),
    ) {
        let locks: [Lock<A, u64>; 4] = [const { Lock::new(0) }; 4];
        thread::scope(|scope| {
            for pairs in &pairs {
                let locks = &locks;
                scope.spawn(move || {
                    let mut test = Test;
                    let (_, mut held) = Held::nothing(&mut test);
                    for (one, other) in pairs {
                        if let Some(mut both) = Lock::both([&locks[*one], &locks[*other]], &mut held) {
                            let ([one, other], _) = both.split();
                            (*one, *other) = (*one + 1, *other + 1);
                        }
                    }
                });
            }
        });
        let mut test = Test;
        let (_, mut held) = Held::nothing(&mut test);
        for (number, lock) in locks.iter().enumerate() {
            let wanted = pairs.iter().flatten().filter(|(one, other)| one != other);
            let wanted = wanted.filter(|(one, other)| [*one, *other].contains(&number)).count();
            prop_assert_eq!(*lock.lock(&mut held), wanted as u64);
        }
    }
}
