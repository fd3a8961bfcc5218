//! A domain's vCPUs on processors of their own: events, timers, down and up.

use k42_tests::{Ending, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let two = [Model::Powernv9, Model::Powernv10, Model::Pseries9].map(|model| {
        test(format!("vcpus::{}::tell_each_other_and_wait", model.name()), move || {
            run(model, "vcpus", 2)
        })
    });
    let mut tests = Vec::from(two);
    tests.push(test("vcpus::share_a_processor", || run(Model::Powernv9, "vcpus", 1)));
    for (model, processors) in [(Model::Powernv9, 1), (Model::Powernv9, 2), (Model::Pseries9, 2)] {
        let title = format!("vcpus::{}::wake_from_a_user_{processors}", model.name());
        tests.push(test(title, move || run(model, "interrupted", processors)));
    }
    for processors in [1, 2] {
        tests.push(test(format!("vcpus::wait_for_a_lock::{processors}"), move || {
            run(Model::Powernv9, "contention", processors)
        }));
    }
    tests
}

/// The guest judges by itself.
fn run(model: Model, what: &str, processors: u32) -> anyhow::Result<()> {
    let mut guest = describe::bare("guest", &format!("test={what}"));
    guest.vcpus = 2;
    let title = format!("vcpus-{what}-{}-{processors}", model.name());
    let mut description = describe::machine(&title, model, vec![guest]);
    description.processors = processors;
    let mut machine = Machine::boot(&description)?;
    let verdict = machine.console("guest").expect(r"^(ok|not ok) .*\n")?;
    anyhow::ensure!(verdict == "ok", "the guest says: {}", machine.console("guest").said());
    machine.console("guest").ends_with(&Ending::Exit(0))
}
