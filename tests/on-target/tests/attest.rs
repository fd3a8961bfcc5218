//! What the hypervisor measures is what the host tool works out from the files.

use k42::attest::attest;
use k42::description::{Kind, Rights};
use k42::files;
use k42_tests::{Description, KERNELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in [Model::Powernv9, Model::Pseries9] {
        let name = |what| format!("attest::{}::{what}", model.name());
        tests.push(test(name("names_what_differs"), move || names_what_differs(model)));
        let title = name("names_what_differs_where_a_controller_starts");
        tests.push(test(title, move || where_a_controller_starts(model)));
    }
    tests
}

/// What differs between the last run of this machine and the files.
fn differences(description: &Description) -> anyhow::Result<Vec<String>> {
    let folder = files::top().join(files::RUN).join(&description.name);
    Ok(attest(description, &folder)?.differences)
}

fn names_what_differs(model: Model) -> anyhow::Result<()> {
    let name = format!("attest-{}", model.name());
    let domains = vec![
        describe::linux("linux", KERNELS[1], "quiet"),
        describe::k42("k42", &["cat"]),
        describe::bare("guest", "test=measure"),
    ];
    let description = describe::machine(&name, model, domains);
    let mut machine = Machine::boot(&description)?;
    let register = machine.console("guest").expect("^register ([0-9a-f]{64})$")?;
    machine.console("guest").expect("^ok measure$")?;
    for name in ["linux", "k42"] {
        machine.console(name).started()?;
    }
    drop(machine);

    let folder = files::top().join(files::RUN).join(&description.name);
    let verdict = attest(&description, &folder)?;
    anyhow::ensure!(verdict.differences.is_empty(), "{:?}", verdict.differences);
    let own = format!("domain 3 (guest): {register}");
    anyhow::ensure!(verdict.registers.contains(&own), "{own}; {:?}", verdict.registers);

    // A byte of a kernel's text.
    let mut changed = description.clone();
    let mut kernel = std::fs::read(&changed.domains[0].kernel)?;
    kernel[0x20_0000] ^= 1;
    changed.domains[0].kernel = folder.join("changed-kernel");
    std::fs::write(&changed.domains[0].kernel, kernel)?;
    let want = "domain 1 (linux): the Linux kernel differs: its bytes are others";
    anyhow::ensure!(differences(&changed)? == [want], "{:?}", differences(&changed)?);

    // A root file system that ends in another byte.
    let mut changed = description.clone();
    if let Kind::K42 { root, .. } = &mut changed.domains[1].kind {
        let mut bytes = std::fs::read(&root)?;
        *bytes.last_mut().unwrap_or(&mut 0) ^= 1;
        *root = folder.join("changed-root");
        std::fs::write(&root, bytes)?;
    }
    let want = "domain 2 (k42): the root file system differs: its bytes are others";
    anyhow::ensure!(differences(&changed)? == [want], "{:?}", differences(&changed)?);

    let mut changed = description.clone();
    changed.domains[2].rights = Rights::CONTROL;
    let told = differences(&changed)?;
    let named = told.first().is_some_and(|line| line.starts_with("domain 3 (guest): the rights"));
    anyhow::ensure!(told.len() == 1 && named, "{told:?}");
    Ok(())
}

/// A controller declares what it loads, and gives what it starts the part of the processors that
/// the description says: the hypervisor logs both before the start.
fn where_a_controller_starts(model: Model) -> anyhow::Result<()> {
    let name = format!("attest-controller-{}", model.name());
    let mut domains = vec![
        describe::controller("keeper", 128, ""),
        describe::linux("linux", KERNELS[1], "quiet"),
        describe::k42("hello", &["echo", "hello"]),
    ];
    domains[0].rights |= Rights::RESERVED;
    for held in &mut domains[1..] {
        held.started_by = Some("keeper".into());
    }
    domains[1].weight = 512;
    domains[1].scheduling.cap = 25;
    domains[1].scheduling.processors = 0b10;
    domains[2].weight = 0;
    domains[2].rights |= Rights::RESERVED;
    domains[2].scheduling.reserved = Some((1_024_000, 5_120_000)); // 2 of 10 ms
    let mut description = describe::machine(&name, model, domains);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    machine.console("linux").started()?;
    machine.console("hello").expect("^hello$")?;
    drop(machine);
    anyhow::ensure!(differences(&description)?.is_empty(), "{:?}", differences(&description)?);

    // A file of a domain that the controller starts: it is in the controller's archive, too.
    let folder = files::top().join(files::RUN).join(&description.name);
    let mut changed = description.clone();
    let mut kernel = std::fs::read(&changed.domains[1].kernel)?;
    kernel[0x20_0000] ^= 1;
    changed.domains[1].kernel = folder.join("changed-kernel");
    std::fs::write(&changed.domains[1].kernel, kernel)?;
    let told = differences(&changed)?;
    let want = "domain 2 (linux): the Linux kernel differs: its bytes are others";
    anyhow::ensure!(told.len() == 2 && told[1] == want, "{told:?}");
    anyhow::ensure!(told[0].starts_with("domain 1 (keeper): "), "{told:?}");

    let shares: [fn(&mut Description); 4] = [
        |changed| changed.domains[1].weight = 256,
        |changed| changed.domains[1].scheduling.cap = 50,
        |changed| changed.domains[1].scheduling.processors = 0b11,
        |changed| changed.domains[2].scheduling.reserved = Some((1_024_000, 10_240_000)),
    ];
    for change in shares {
        let mut changed = description.clone();
        change(&mut changed);
        let told = differences(&changed)?;
        let named = told.iter().any(|line| line.contains(": the start differs: "));
        anyhow::ensure!(told.len() == 2 && named, "{told:?}");
    }
    Ok(())
}
