//! A domain's vCPUs, on processors of their own or on one: events, timers, down and up, locks.

use k42_tests::{Ending, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let two = [Model::Powernv9, Model::Powernv10, Model::Pseries9].map(|model| {
        test(format!("vcpus::{}::tell_each_other_and_wait", model.name()), move || {
            run("vcpus", model, 2)
        })
    });
    let mut tests = Vec::from(two);
    tests.push(test("vcpus::share_a_processor", || run("vcpus", Model::Powernv9, 1)));
    for processors in [1, 2] {
        tests.push(test(format!("vcpus::wait_for_a_lock::{processors}"), move || {
            run("contention", Model::Powernv9, processors)
        }));
    }
    tests
}

/// The guest judges by itself.
fn run(name: &str, model: Model, processors: u32) -> anyhow::Result<()> {
    let mut guest = describe::bare("guest", &format!("test={name}"));
    guest.vcpus = 2;
    let title = format!("{name}-{}-{processors}", model.name());
    let mut description = describe::machine(&title, model, vec![guest]);
    description.processors = processors;
    let mut machine = Machine::boot(&description)?;
    let verdict = machine.console("guest").expect(r"^(ok|not ok) .*$")?;
    anyhow::ensure!(verdict == "ok", "the guest says: {}", machine.console("guest").said());
    machine.console("guest").ends_with(&Ending::Exit(0))
}
