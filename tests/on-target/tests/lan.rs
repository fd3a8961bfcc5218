//! Frames between domains, on one processor and on two, on bare metal and nested.

use k42_tests::{Ending, MODELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

/// Questions that are asked of one station.
const ROUNDS: u32 = 100;

pub fn tests() -> Vec<Trial> {
    let models = [MODELS[0], MODELS[1], Model::Pseries9];
    let tests = models.into_iter().flat_map(|model| [(model, 1), (model, 2)]);
    tests
        .map(|(model, processors)| {
            let name = format!("lan::{}::frames_on_{processors}_processors", model.name());
            test(name, move || frames(model, processors))
        })
        .collect()
}

/// One domain talks with another; a third answers too when it hears a frame to all, and hears
/// nothing of what passes between the two. Who sends from another's address sends nothing.
fn frames(model: Model, processors: u32) -> anyhow::Result<()> {
    let domains = vec![
        describe::bare("echo", &format!("test=lanstation domain=1 questions={ROUNDS}")),
        describe::bare("ping", &format!("test=lanping rounds={ROUNDS}")),
        describe::bare("witness", "test=lanstation domain=3 questions=0"),
    ];
    let title = format!("lan-{}-{processors}", model.name());
    let mut description = describe::machine(&title, model, domains);
    description.processors = processors;
    let mut machine = Machine::boot(&description)?;
    for name in ["ping", "echo", "witness"] {
        let verdict = machine.console(name).expect(r"^(ok|not ok) .*$")?;
        anyhow::ensure!(verdict == "ok", "{name} says: {}", machine.console(name).said());
        machine.console(name).ends_with(&Ending::Exit(0))?;
    }
    machine.console("hypervisor").expect(
        r"^domain 2 \(ping\): refused: h_send_logical_lan: the source is not its port's address",
    )?;
    machine.wait_end()
}
