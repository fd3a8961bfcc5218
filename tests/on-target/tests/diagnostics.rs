//! Reports on domains that crash and on domains that hang.

use k42_tests::{KERNELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let mut tests = reports(Model::Powernv9, "diagnostics");
    tests.push(test("diagnostics::linux_panic", linux_panic));
    tests
}

/// What is the same on every machine; `group` begins the tests' names.
pub fn reports(model: Model, group: &str) -> Vec<Trial> {
    vec![test(format!("{group}::callers_of_a_crash"), move || callers_of_a_crash(model))]
}

/// An address of the report and the name beside it.
const AT: &str = r"^vcpu 0: at [0-9a-f]{16}$";

fn callers_of_a_crash(model: Model) -> anyhow::Result<()> {
    let domains =
        vec![describe::bare("culprit", "test=chain"), describe::bare("other", "test=hello")];
    let name = format!("diagnostics-chain-{}", model.name());
    let mut machine = Machine::boot(&describe::machine(&name, model, domains))?;
    let mut culprit = machine.console("culprit");
    culprit.expect("^vcpu 0: crashed: store at guest real 0x3000000 ")?;
    culprit.expect("^vcpu 0: nip c[0-9a-f]{15} msr [0-9a-f]{16} lr  c[0-9a-f]{15} ctr ")?;
    culprit.expect("^vcpu 0: r28( [0-9a-f]{16}){4}$")?;
    for _ in 0..5 {
        culprit.expect(AT)?;
    }
    machine.console("hypervisor").expect(r"^domain 1 \(culprit\): crashed: store")?;
    machine.console("other").expect("^ok hello$")?;
    Ok(())
}

/// A kernel that gives up says so by a hypercall: its registers and callers are those of the call.
fn linux_panic() -> anyhow::Result<()> {
    let domains = vec![describe::linux("linux", KERNELS[1], "quiet")];
    let description = describe::machine("diagnostics-panic", Model::Powernv9, domains);
    let mut machine = Machine::boot(&description)?;
    let mut linux = machine.console("linux");
    linux.expect("^linux:~# ")?;
    linux.line("echo c > /proc/sysrq-trigger");
    linux.expect("^vcpu 0: crashed: its kernel panicked: ")?;
    for _ in 0..8 {
        linux.expect("^vcpu 0: at c[0-9a-f]{15}$")?;
    }
    machine.wait_end()
}
