//! How processors that are threads sleep, are kicked, and see time pass.

use hv_core::ProcessorId;
use hv_fake::Host;
use shuttle::sync::{Condvar, Mutex};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

shuttle::thread_local! {
    static ME: Cell<usize> = Cell::new(usize::MAX);
}

/// What a sleep ends with when no processor will ever be woken again.
struct Over;

/// What ended a sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    Kick,
    Alarm,
}

struct State {
    kicked: Vec<bool>,
    alarms: Vec<u64>,
    asleep: Vec<bool>,
    now: u64,
    /// Time does not pass any more.
    stopped: bool,
    over: bool,
}

impl State {
    fn woken(&self, processor: usize) -> Option<Woken> {
        match (self.kicked[processor], self.alarms[processor] <= self.now) {
            (true, _) => Some(Woken::Kick),
            (_, true) => Some(Woken::Alarm),
            _ => None,
        }
    }
}

/// The processors' sleep.
pub(crate) struct Bells {
    state: Mutex<State>,
    heard: Condvar,
}

impl Bells {
    pub(crate) fn new(processors: usize, now: u64) -> Arc<Bells> {
        let state = State {
            kicked: vec![false; processors],
            alarms: vec![u64::MAX; processors],
            asleep: vec![false; processors],
            now,
            stopped: false,
            over: false,
        };
        Arc::new(Bells { state: Mutex::new(state), heard: Condvar::new() })
    }

    /// The calling thread is this processor from now on.
    pub(crate) fn take_part(processor: usize) {
        ME.with(|me| me.set(processor));
    }

    /// Sleeps until a kick or the alarm.
    pub(crate) fn sleep(&self) -> Woken {
        let me = ME.with(Cell::get);
        let mut state = self.state.lock().unwrap();
        state.asleep[me] = true;
        loop {
            if let Some(woken) = state.woken(me) {
                state.asleep[me] = false;
                state.kicked[me] = false;
                return woken;
            }
            self.end_if_all_sleep(&mut state);
            if state.over {
                drop(state);
                resume_unwind(Box::new(Over));
            }
            state = self.heard.wait(state).unwrap();
        }
    }

    fn end_if_all_sleep(&self, state: &mut State) {
        let asleep = |n: usize| state.asleep[n] && state.woken(n).is_none();
        if state.stopped && (0..state.asleep.len()).all(asleep) {
            state.over = true;
            self.heard.notify_all();
        }
    }

    /// It is `now`.
    pub(crate) fn pass(&self, now: u64) {
        self.state.lock().unwrap().now = now;
        self.heard.notify_all();
    }

    /// Time passes no more.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock().unwrap();
        state.stopped = true;
        self.end_if_all_sleep(&mut state);
    }
}

/// Does a processor's work until all sleep for good.
pub(crate) fn until_over(work: impl FnOnce()) {
    match catch_unwind(AssertUnwindSafe(work)) {
        Err(other) if !other.is::<Over>() => resume_unwind(other),
        _ => {}
    }
}

/// What the machine has of it.
pub(crate) struct Bell(pub(crate) Arc<Bells>);

impl Host for Bell {
    fn set_alarm(&self, at: u64) {
        self.0.state.lock().unwrap().alarms[ME.with(Cell::get)] = at;
    }

    fn wait(&self) {
        self.0.sleep();
    }

    fn kick(&self, processor: ProcessorId) {
        self.0.state.lock().unwrap().kicked[processor.0 as usize] = true;
        self.0.heard.notify_all();
    }
}
