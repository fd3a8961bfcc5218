//! Pages that two domains share by grants, and memory that a domain returns and takes again.

use k42::description::DomainDescription;
use k42_tests::{Ending, Machine, Model, NESTED, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in [Model::Powernv9, Model::Powernv10].into_iter().chain(NESTED) {
        let name = |what: &str| format!("memory::{}::{what}", model.name());
        tests.extend([
            test(name("shared_by_grants"), move || shared_by_grants(model)),
            test(name("store_to_a_read_only_grant"), move || refused(model, "store", "store")),
            test(name("load_after_unmap"), move || refused(model, "load", "load")),
            test(name("returned_and_taken_again"), move || returned_and_taken_again(model)),
            test(name("load_of_what_was_returned"), move || load_of_what_was_returned(model)),
        ]);
    }
    tests
}

/// A lender, a borrower, and a witness.
fn pair(model: Model, name: &str, then: &str) -> anyhow::Result<Machine> {
    let domains = vec![
        describe::bare("lend", "test=lend"),
        describe::bare("borrow", &format!("test=borrow{then}")),
    ];
    Machine::boot(&describe::machine(&format!("memory-{}-{name}", model.name()), model, domains))
}

fn shared_by_grants(model: Model) -> anyhow::Result<()> {
    let mut machine = pair(model, "shared", "")?;
    for name in ["borrow", "lend"] {
        machine.console(name).expect(&format!("^ok {name}$"))?;
        machine.console(name).ends_with(&Ending::Exit(0))?;
    }
    Ok(())
}

/// The borrower is ended for what it does at last; the lender gets its pages back.
fn refused(model: Model, then: &str, access: &str) -> anyhow::Result<()> {
    let mut machine = pair(model, then, &format!(" then={then}"))?;
    let line = format!(r"^domain 2 \(borrow\): crashed: {access} at guest real 0x200000[0-9a-f]+");
    machine.console("hypervisor").expect(&line)?;
    machine.console("lend").expect("^ok lend$")?;
    machine.console("lend").ends_with(&Ending::Exit(0))
}

fn balloon(model: Model, then: &str) -> anyhow::Result<Machine> {
    let domain = describe::bare("balloon", &format!("test=balloon{then}"));
    let domains = vec![DomainDescription { memory: 128 << 20, ..domain }];
    Machine::boot(&describe::machine(&format!("memory-{}-balloon", model.name()), model, domains))
}

fn returned_and_taken_again(model: Model) -> anyhow::Result<()> {
    let mut machine = balloon(model, "")?;
    machine.console("balloon").expect("^ok balloon$")?;
    machine.console("balloon").ends_with(&Ending::Exit(0))
}

fn load_of_what_was_returned(model: Model) -> anyhow::Result<()> {
    let mut machine = balloon(model, " then=load")?;
    let line = r"^domain 1 \(balloon\): crashed: load at guest real 0x4000000 ";
    machine.console("hypervisor").expect(line).map(|_| ())
}
