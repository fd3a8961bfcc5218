//! The tests on the emulated machine, one QEMU at a time; `cargo test` has the usual options.
//!
//! A test is a name and a function; `?` in it fails the test with the last lines of each console.
#![forbid(unsafe_code)]

mod attack;
mod attest;
mod coherence;
mod control;
mod debian;
mod demo;
mod diagnostics;
mod disks;
mod events;
mod figures;
mod isolation;
mod k42;
mod lan;
mod linux;
mod memory;
mod modules;
mod nested;
mod net;
mod objects;
mod papr;
mod programs;
mod schedule;
mod sizes;
mod stress;
mod trace;
mod vcpus;

use libtest_mimic::{Arguments, Failed, Trial};

/// A test that takes part in every run.
fn test(
    name: impl Into<String>,
    body: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> Trial {
    Trial::test(name, move || body().map_err(|error| Failed::from(format!("{error:#}"))))
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    let tests = [
        attack::tests(),
        attest::tests(),
        coherence::tests(),
        linux::tests(),
        k42::tests(),
        events::tests(),
        isolation::tests(),
        diagnostics::tests(),
        disks::tests(),
        lan::tests(),
        memory::tests(),
        modules::tests(),
        programs::tests(),
        schedule::tests(),
        sizes::tests(),
        control::tests(),
        figures::tests(),
        demo::tests(),
        nested::tests(),
        net::tests(),
        objects::tests(),
        papr::tests(),
        stress::tests(),
        trace::tests(),
        vcpus::tests(),
    ];
    libtest_mimic::run(&arguments, tests.into_iter().flatten().collect()).exit();
}
