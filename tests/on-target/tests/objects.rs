//! Clustered objects on the vCPUs of a domain, on processors of their own and sharing them.

use k42_tests::{Ending, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let on = |model: Model, vcpus| {
        let name = format!("objects::{}::on_{vcpus}_vcpus", model.name());
        test(name, move || run(model, vcpus, ""))
    };
    vec![
        on(Model::Powernv9, 1),
        on(Model::Powernv9, 2),
        on(Model::Powernv9, 8),
        on(Model::Powernv10, 8),
        on(Model::Pseries9, 8),
    ]
}

/// For `make stress`: millions of calls.
pub fn long() -> Vec<Trial> {
    let long = |model: Model| {
        let name = format!("stress::{}::objects_on_8_vcpus", model.name());
        test(name, move || run(model, 8, "adds=75000 steps=150000"))
    };
    [Model::Powernv9, Model::Powernv10].map(long).into()
}

/// The guest judges by itself, but for its lines.
fn run(model: Model, vcpus: u32, options: &str) -> anyhow::Result<()> {
    let mut guest = describe::bare("guest", &format!("test=objects {options}"));
    guest.vcpus = vcpus;
    let title = format!("objects-{}-{vcpus}", model.name());
    let mut description = describe::machine(&title, model, vec![guest]);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    let mut guest = machine.console("guest");
    let verdict = guest.expect(r"^(ok|not ok) .*\n")?;
    anyhow::ensure!(verdict == "ok", "the guest says: {}", guest.said());
    let lines: Vec<&str> = guest.said().lines().map(str::trim_end).collect();
    for vcpu in 0..vcpus {
        for number in 0..10 {
            let line = format!("vCPU {vcpu} says {number} {vcpu:0>600}");
            anyhow::ensure!(lines.contains(&line.as_str()), "no line {line:?}: {}", guest.said());
        }
    }
    guest.ends_with(&Ending::Exit(0))
}
