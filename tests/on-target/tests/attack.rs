//! Guests that know the interface and attack by it, two of two vCPUs each, on two processors, beside
//! one that has to get its sums right. The hypervisor is the one with the walker: after each batch
//! of calls it looks at all of its state, and stops the machine when something is wrong.

use k42_tests::{Ending, KERNELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

/// Calls of a vCPU between two walks, as in `tests/guest`.
const BATCH: u64 = 1024;

pub fn tests() -> Vec<Trial> {
    let tests = [Model::Powernv9, Model::Pseries9].map(|model| {
        test(format!("attack::{}::twenty_thousand_calls", model.name()), move || {
            attack(model, [20_000, 28_000], 2006)
        })
    });
    let mut tests = Vec::from(tests);
    tests.push(test("attack::powernv9::platform", || platform(Model::Powernv9, 60_000, 2026)));
    tests
}

/// A guest calls what Linux calls, as no Linux would, beside one that does and one that must get its
/// sums right.
pub fn platform(model: Model, calls: u64, seed: u64) -> anyhow::Result<()> {
    let options = format!("test=platform seed={seed} calls={calls}");
    let mut linux = describe::linux("linux", KERNELS[1], "quiet");
    linux.weight = 1024; // the attacker never sleeps
    let domains =
        vec![describe::papr("attacker", &options), describe::k42("bystander", &["sh"]), linux];
    let name = format!("attack-{}-platform-{calls}", model.name());
    let mut machine = Machine::boot_walker(&describe::machine(&name, model, domains))?;
    sums(&mut machine)?;
    machine.console("linux").expect("^linux:~# ")?;
    let mut attacker = machine.console("attacker");
    let line = format!(r"^platform {calls} calls, seed \d+, (\d+) refused, (\d+) walks$");
    let refused: u64 = attacker.expect(&line)?.parse()?;
    anyhow::ensure!(refused > calls / 10 && refused < calls, "{refused} of {calls} are refused");
    attacker.expect("^ok platform$")?;
    let walks = format!(" {} walks", calls.div_ceil(BATCH));
    anyhow::ensure!(attacker.said().contains(&walks), "the state was not walked{walks}");
    attacker.ends_with(&Ending::Exit(0))?;
    sums(&mut machine)?;
    machine.console("linux").line("echo alive $((40 + 2))");
    machine.console("linux").expect("^alive 42$").map(|_| ())
}

/// The two attackers make so many calls: one goes on when the other has ended.
pub fn attack(model: Model, calls: [u64; 2], seed: u64) -> anyhow::Result<()> {
    let names = ["attacker-1", "attacker-2"];
    let mut domains = Vec::new();
    for (own, (name, calls)) in (1..).zip(names.iter().zip(calls)) {
        let (peer, seed) = (3 - own, seed + own);
        let options = format!("test=attack own={own} peer={peer} seed={seed} calls={calls}");
        let mut attacker = describe::bare(name, &options);
        attacker.vcpus = 2;
        domains.push(attacker);
    }
    domains.push(describe::k42("bystander", &["sh"]));
    let name = format!("attack-{}-{}", model.name(), calls[0]);
    let mut description = describe::machine(&name, model, domains);
    description.processors = 2;
    let mut machine = Machine::boot_walker(&description)?;
    sums(&mut machine)?;
    for (name, calls) in names.iter().zip(calls) {
        let mut console = machine.console(name);
        let line = format!(r"^attack {calls} calls, seed \d+, \d+ refused, (\d+) walks$");
        let walks: u64 = console.expect(&line)?.parse()?;
        anyhow::ensure!(walks >= calls / BATCH, "{name} had the state walked {walks} times");
        console.ends_with(&Ending::Exit(0))?;
    }
    sums(&mut machine)?;
    let mut bystander = machine.console("bystander");
    bystander.end_input();
    bystander.ends_with(&Ending::Exit(0))?;
    machine.wait_end()
}

/// The bystander's answer is right.
fn sums(machine: &mut Machine) -> anyhow::Result<()> {
    let mut bystander = machine.console("bystander");
    bystander
        .line("n=0; i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); n=$((n + i)); done; echo sum $n");
    bystander.expect("^sum 500500$")?;
    Ok(())
}
