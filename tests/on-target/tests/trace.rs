//! Trace buffers, mapped by a controller.

use k42::description::Rights;
use k42_tests::{Ending, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let models = [Model::Powernv9, Model::Pseries9].map(|model| {
        test(format!("trace::{}::a_controller_finds_its_calls", model.name()), move || run(model))
    });
    models.into()
}

/// The guest judges by itself.
fn run(model: Model) -> anyhow::Result<()> {
    let mut reader = describe::bare("reader", "test=trace");
    reader.rights |= Rights::CONTROL;
    let title = format!("trace-{}", model.name());
    let mut machine = Machine::boot(&describe::machine(&title, model, vec![reader]))?;
    let verdict = machine.console("reader").expect(r"^(ok|not ok) .*$")?;
    anyhow::ensure!(verdict == "ok", "the guest says: {}", machine.console("reader").said());
    machine.console("reader").ends_with(&Ending::Exit(0))
}
