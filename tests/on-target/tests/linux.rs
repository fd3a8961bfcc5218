//! Unmodified Linux: both kernels on both machines, and two of them at once.

use k42_tests::{Ending, KERNELS, MODELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in MODELS {
        for kernel in KERNELS {
            let name = format!("linux::{}::{kernel}_to_shell_and_power_off", model.name());
            tests.push(test(name, move || shell(model, kernel)));
        }
    }
    tests.push(test("linux::two_at_once", two_at_once));
    tests.push(test("linux::two_vcpus", || two_vcpus(Model::Powernv9)));
    tests.push(test("processors::two_run_at_once", || two_processors(Model::Powernv9)));
    tests
}

/// What the shell prompts with.
const PROMPT: &str = r"^linux:~# ";

pub fn shell(model: Model, kernel: &str) -> anyhow::Result<()> {
    let name = format!("linux-{}-{kernel}", model.name());
    let domains = vec![describe::linux("linux", kernel, "quiet")];
    let mut machine = Machine::boot(&describe::machine(&name, model, domains))?;
    let mut linux = machine.console("linux");
    linux.expect(PROMPT)?;
    linux.line("uname -r");
    let version = linux.expect(r"^(\d+\.\d+)\.")?;
    anyhow::ensure!(kernel.ends_with(&version), "{kernel} says it is {version}");
    linux.expect(PROMPT)?;
    linux.line("wc -l < /data/numbers; echo $((6 * 7))");
    linux.expect(r"^60000$")?;
    linux.expect(r"^42$")?;
    linux.line("poweroff");
    linux.ends_with(&Ending::PowerOff)?;
    machine.wait_end()
}

/// One powers off; the other goes on.
fn two_at_once() -> anyhow::Result<()> {
    let domains = vec![
        describe::linux("old", KERNELS[0], "quiet"),
        describe::linux("new", KERNELS[1], "quiet"),
    ];
    let mut machine = Machine::boot(&describe::machine("two-linux", Model::Powernv9, domains))?;
    for name in ["old", "new"] {
        machine.console(name).expect(PROMPT)?;
    }
    machine.console("new").line("poweroff");
    machine.console("new").ends_with(&Ending::PowerOff)?;
    let mut old = machine.console("old");
    old.line("echo still $((40 + 2))");
    old.expect("^still 42$")?;
    old.line("poweroff");
    old.ends_with(&Ending::PowerOff)?;
    machine.wait_end()
}

pub fn two_vcpus(model: Model) -> anyhow::Result<()> {
    let mut domain = describe::linux("linux", KERNELS[1], "quiet");
    domain.vcpus = 2;
    let mut description =
        describe::machine(&format!("two-vcpus-{}", model.name()), model, vec![domain]);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    let mut linux = machine.console("linux");
    linux.expect(PROMPT)?;
    linux.line("grep -c ^processor /proc/cpuinfo");
    linux.expect("^2$")?;
    linux.line("poweroff");
    linux.ends_with(&Ending::PowerOff)?;
    machine.wait_end()
}

/// Two guests that never sleep, on a processor each.
pub fn two_processors(model: Model) -> anyhow::Result<()> {
    let names = ["first", "second"];
    let domains = names.iter().map(|name| describe::bare(name, "test=count")).collect();
    let mut description =
        describe::machine(&format!("two-processors-{}", model.name()), model, domains);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    machine.console("hypervisor").expect("^hypervisor: 2 processors, ")?;
    for name in names {
        machine.console(name).expect("^count 3$")?;
    }
    let said = machine.console("hypervisor").said().to_owned();
    for (number, name) in names.iter().enumerate() {
        let line = format!("({name}): started on processor {number},");
        anyhow::ensure!(said.contains(&line), "no {line:?} in {said}");
    }
    Ok(())
}
