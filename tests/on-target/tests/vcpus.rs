//! A domain's vCPUs on processors of their own: events, timers, down and up.

use k42_tests::{Ending, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let two = [Model::Powernv9, Model::Powernv10, Model::Pseries9].map(|model| {
        test(format!("vcpus::{}::tell_each_other_and_wait", model.name()), move || run(model, 2))
    });
    let mut tests = Vec::from(two);
    tests.push(test("vcpus::share_a_processor", || run(Model::Powernv9, 1)));
    tests
}

/// The guest judges by itself.
fn run(model: Model, processors: u32) -> anyhow::Result<()> {
    let mut guest = describe::bare("guest", "test=vcpus");
    guest.vcpus = 2;
    let title = format!("vcpus-{}-{processors}", model.name());
    let mut description = describe::machine(&title, model, vec![guest]);
    description.processors = processors;
    let mut machine = Machine::boot(&description)?;
    let verdict = machine.console("guest").expect(r"^(ok|not ok) .*$")?;
    anyhow::ensure!(verdict == "ok", "the guest says: {}", machine.console("guest").said());
    machine.console("guest").ends_with(&Ending::Exit(0))
}
