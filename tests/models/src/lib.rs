//! The hypervisor's real code on a fake machine whose processors are threads of shuttle: at every
//! lock, the machine's own among them, shuttle decides who goes on. A test explores so many orders
//! (`SCHEDULES`); one that fails is printed, for `shuttle::replay`.
//!
//! [`Scene`] is domains at a start, [`Step`] what a vCPU does next, [`Scene::run`] lets all run at
//! once until every processor sleeps for good. Then every program must have come to its end, so that
//! a lost wake-up or a lost kick is a failure; shuttle itself finds threads that wait for each other's
//! locks, the walker whatever else is wrong.
//!
//! The hypervisor's atomic variables are not shuttle's. Each use of one is between two locks, of the
//! hypervisor or of the machine, and so happens in every order with them.
//!
//! Clustered objects (`tests/objects.rs`), locks and published values (`tests/sync.rs`) need no scene: their
//! vCPUs are threads that do what they like ([`vcpus`]). So are those of the kernel's heap (`tests/alloc.rs`), whose
//! atomic variables say themselves where others may come in between.
#![forbid(unsafe_code)]

mod host;
mod scene;
pub mod vcpus;

pub use scene::{Info, Scene, Step, Work, call};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

/// How many schedules a test tries of each kind, unless `SCHEDULES` says it.
const SCHEDULES: usize = 1000;
/// So many changes of priority in a schedule of the second kind.
const CHANGES: usize = 3;

/// Runs a scenario under many schedules: half of them choose a thread at each step, half keep to
/// priorities which change a few times (PCT, Burckhardt and others, ASPLOS 2010).
///
/// # Panics
/// As the scenario does; when threads wait for each other.
pub fn explore(scenario: fn()) {
    let schedules = std::env::var("SCHEDULES").ok().and_then(|count| count.parse().ok());
    let schedules = schedules.unwrap_or(SCHEDULES);
    run(RandomScheduler::new_from_seed(1, schedules), scenario);
    run(PctScheduler::new_from_seed(1, CHANGES, schedules), scenario);
}

fn run(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = Config::new();
    config.stack_size = 1 << 21;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario);
}
