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
    let name = |what: &str| format!("{group}::{what}");
    vec![
        test(name("callers_of_a_crash"), move || callers_of_a_crash(model)),
        test(name("stuck_domain"), move || stuck_domain(model)),
        test(name("watchdog"), move || watchdog(model)),
    ]
}

/// It spins with interrupts off, on another processor than the one that hears the request.
fn stuck_domain(model: Model) -> anyhow::Result<()> {
    let domains =
        vec![describe::bare("counter", "test=count"), describe::bare("stuck", "test=spin")];
    let name = format!("diagnostics-stuck-{}", model.name());
    let mut description = describe::machine(&name, model, domains);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    machine.console("stuck").expect("^spinning$")?;
    for _ in 0..2 {
        let mut stuck = machine.console("stuck");
        stuck.dump()?;
        stuck.expect("^vcpu 0: running$")?;
        stuck.expect("^vcpu 0: nip c[0-9a-f]{15} msr [0-9a-f]{16} lr ")?;
        stuck.expect(r"^vcpu 0: at c[0-9a-f]{15} ktest_guest::talk::spin\+0x")?;
        stuck.expect(r"^vcpu 0: at c[0-9a-f]{15} ktest_guest::main\+0x")?;
        stuck.lives()?;
    }
    let count = |machine: &mut Machine| machine.console("counter").expect(r"^count \d+$");
    let before = machine.console("counter").said().matches("count").count();
    for _ in 0..before + 3 {
        count(&mut machine)?;
    }
    // One that sleeps most of the time is reported on wherever it is, and counts on.
    machine.console("counter").dump()?;
    machine.console("counter").expect(r"^vcpu 0: (running|Ready|Blocked\(\d+\))$")?;
    machine.console("counter").expect("^vcpu 0: r28( [0-9a-f]{16}){4}$")?;
    count(&mut machine).map(|_| ())
}

/// An instruction takes 64 ns: time passes as the guests work, however slow this host is.
const BY_INSTRUCTIONS: [&str; 2] = ["-icount", "shift=6,sleep=off"];

/// It is spared while it calls its watchdog, and ends when it does not.
fn watchdog(model: Model) -> anyhow::Result<()> {
    let domains =
        vec![describe::bare("guarded", "test=watchdog"), describe::bare("other", "test=count")];
    let name = format!("diagnostics-watchdog-{}", model.name());
    let description = describe::machine(&name, model, domains);
    let mut machine = Machine::boot_with(&description, &BY_INSTRUCTIONS)?;
    // Two seconds with a watchdog of one.
    machine.console("guarded").expect("^called$")?;
    machine.console("guarded").expect("^vcpu 0: crashed: its watchdog has not been called")?;
    machine
        .console("guarded")
        .expect(r"^vcpu 0: at c[0-9a-f]{15} ktest_guest::talk::watchdog\+0x")?;
    machine.console("hypervisor").expect(r"^domain 1 \(guarded\): crashed: its watchdog")?;
    machine.console("other").lives()
}

fn callers_of_a_crash(model: Model) -> anyhow::Result<()> {
    let domains =
        vec![describe::bare("culprit", "test=chain"), describe::bare("other", "test=hello")];
    let name = format!("diagnostics-chain-{}", model.name());
    let mut machine = Machine::boot(&describe::machine(&name, model, domains))?;
    let mut culprit = machine.console("culprit");
    culprit.expect("^vcpu 0: crashed: store at guest real 0x3000000 ")?;
    culprit.expect("^vcpu 0: nip c[0-9a-f]{15} msr [0-9a-f]{16} lr  c[0-9a-f]{15} ctr ")?;
    culprit.expect("^vcpu 0: r28( [0-9a-f]{16}){4}$")?;
    // Where it was, where its last call returned to, and the chain.
    for name in ["innermost", "innermost", "between", "outermost", "chain"] {
        let line = culprit.expect(r"^vcpu 0: at (c[0-9a-f]{15} .*)\n")?;
        let name = format!("ktest_guest::isolation::{name}+0x");
        anyhow::ensure!(line.contains(&name), "{line}, not {name}");
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
    for name in ["rtas_os_term", "panic", "sysrq_handle_crash", "vfs_write"] {
        linux.expect(&format!(r"^vcpu 0: at c[0-9a-f]{{15}} {name}\+0x"))?;
    }
    machine.wait_end()
}
