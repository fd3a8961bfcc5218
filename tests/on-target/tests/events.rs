//! Events between two domains: each sleeps until the other's comes, and none is lost.

use k42_tests::{Ending, MODELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let name = |model: Model| format!("events::{}::there_and_back", model.name());
    MODELS.map(|model| test(name(model), move || there_and_back(model))).into()
}

/// A thousand there and back, on one processor and on two.
pub fn there_and_back(model: Model) -> anyhow::Result<()> {
    for processors in 1..=2 {
        let domains =
            vec![describe::bare("echo", "test=echo"), describe::bare("ping", "test=ping")];
        let name = format!("events-{}-{processors}", model.name());
        let mut description = describe::machine(&name, model, domains);
        description.processors = processors;
        let mut machine = Machine::boot(&description)?;
        for name in ["echo", "ping"] {
            machine.console(name).expect(&format!("^ok {name}$"))?;
            machine.console(name).ends_with(&Ending::Exit(0))?;
        }
        machine.wait_end()?;
    }
    Ok(())
}
