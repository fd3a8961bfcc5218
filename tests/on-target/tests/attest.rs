//! What the hypervisor measures is what the host tool works out from the files.

use k42::attest::attest;
use k42::description::{Kind, Rights};
use k42::files;
use k42_tests::{Description, KERNELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    [Model::Powernv9, Model::Pseries9]
        .map(|model| {
            let name = format!("attest::{}::names_what_differs", model.name());
            test(name, move || names_what_differs(model))
        })
        .into()
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
