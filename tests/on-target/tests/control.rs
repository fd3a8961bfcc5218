//! A controller makes domains in a domain of its own; what they had is free again afterwards.

use k42_tests::{DomainDescription, Ending, KERNELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    vec![
        test("control::starts_linux_again_that_reboots", starts_linux_again_that_reboots),
        test("control::domains_come_and_go", || come_and_go(Model::Powernv9, 6)),
        test("control::pseries9::domains_come_and_go", || come_and_go(Model::Pseries9, 6)),
    ]
}

/// What a controller's own last line says of the machine's memory: nothing is lost.
const BALANCE: &str = r"^(\d+) starts, free pages: \d+ before, \d+ after$";

fn held(mut domain: DomainDescription) -> DomainDescription {
    domain.started_by = Some("keeper".into());
    domain
}

/// Linux beside a K42 application manager, neither of which the hypervisor knows at boot.
fn starts_linux_again_that_reboots() -> anyhow::Result<()> {
    let domains = vec![
        describe::controller("keeper", 128, ""),
        held(describe::linux("linux", KERNELS[1], "quiet")),
        held(describe::k42("hello", &["echo", "hello from a domain of a domain"])),
    ];
    let mut machine = Machine::boot(&describe::machine("control", Model::Powernv9, domains))?;
    machine.console("hello").expect("^hello from a domain of a domain$")?;
    machine.console("hello").ends_with(&Ending::Exit(0))?;
    let mut linux = machine.console("linux");
    linux.expect("^linux:~# ")?;
    linux.line("reboot");
    linux.expect("reboot: Restarting system")?;
    linux.expect("^linux:~# ")?;
    linux.line("poweroff");
    machine.console("keeper").expect(BALANCE)?;
    machine.console("linux").ends_with(&Ending::PowerOff)?;
    machine.console("keeper").ends_with(&Ending::Exit(0))?;
    machine.wait_end()
}

/// Domains that end well, badly, and by their controller, so many times each: every page that was
/// free before is free afterwards.
pub fn come_and_go(model: Model, cycles: u64) -> anyhow::Result<()> {
    let options = format!("cycles={cycles} end=spins");
    let domains = vec![
        describe::controller("keeper", 64, &options),
        held(describe::bare("hello", "test=hello")),
        held(describe::bare("jumps", "test=jump")),
        held(describe::bare("writes", "test=write")),
        held(describe::bare("spins", "test=spin")),
        held(describe::bare("attacks", "test=fuzz seed=7 calls=2000")),
        held(describe::k42("k42", &["echo", "one of many"])),
    ];
    let kinds = domains.len() as u64 - 1;
    let name = format!("control-{}-{cycles}", model.name());
    let mut description = describe::machine(&name, model, domains);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    let starts: u64 = machine.console("keeper").expect(BALANCE)?.parse()?;
    anyhow::ensure!(starts >= kinds * cycles, "only {starts} starts");
    machine.console("keeper").ends_with(&Ending::Exit(0))?;
    machine.wait_end()
}
