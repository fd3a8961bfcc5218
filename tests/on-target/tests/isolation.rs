//! What one guest does wrong is that guest's end, with a line that says who, what and where; the
//! others go on.

use k42_tests::{Ending, KERNELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let mut tests = hostile(Model::Powernv9, "isolation");
    tests.extend(stuck(Model::Powernv9, "isolation"));
    tests
}

/// Guests that are stuck beside others that work; `group` begins the tests' names.
pub fn stuck(model: Model, group: &str) -> Vec<Trial> {
    let name = |what: &str| format!("{group}::{what}");
    vec![
        test(name("linux_counts_while_k42_spins"), move || linux_counts_while_k42_spins(model)),
        test(name("k42_counts_while_linux_spins"), move || k42_counts_while_linux_spins(model)),
        test(name("linux_panic"), move || linux_panic(model)),
    ]
}

/// What a hostile guest does by itself; `group` begins the tests' names.
pub fn hostile(model: Model, group: &str) -> Vec<Trial> {
    let culprit = |name: &str, said: &'static str| {
        let bootargs = format!("test={name}");
        test(format!("{group}::{name}"), move || crash(model, &bootargs, said))
    };
    let judge = |title: &str, name: &'static str| {
        test(format!("{group}::{title}"), move || passes(model, name))
    };
    vec![
        culprit("jump", r"instruction fetch at guest real 0x[0-9a-f]+ .*outside its memory"),
        culprit("read", r"load at guest real 0x[0-9a-f]+ .*outside its memory"),
        culprit("write", r"store at guest real 0x[0-9a-f]+ .*outside its memory"),
        judge("privileged_instruction", "priv"),
        judge("hypercall_from_problem_state", "userhcall"),
        test(format!("{group}::random_hypercalls"), move || random_hypercalls(model)),
    ]
}

/// The culprit, a guest that counts, and a Linux, in turns on one processor.
fn with_witnesses(model: Model, name: &str, bootargs: &str) -> anyhow::Result<Machine> {
    let mut linux = describe::linux("linux", KERNELS[1], "quiet");
    linux.weight = 1024; // the others never sleep
    let domains =
        vec![describe::bare("culprit", bootargs), describe::bare("counter", "test=count"), linux];
    let name = format!("isolation-{}-{name}", model.name());
    Machine::boot(&describe::machine(&name, model, domains))
}

/// Both witnesses do something new.
fn others_live(machine: &mut Machine) -> anyhow::Result<()> {
    machine.console("linux").line("echo alive $((40 + 2))");
    machine.console("linux").expect("^alive 42$")?;
    let counted = count(machine)?;
    anyhow::ensure!(count(machine)? > counted, "the counter stands still");
    Ok(())
}

/// The counter's next number.
fn count(machine: &mut Machine) -> anyhow::Result<u64> {
    Ok(machine.console("counter").expect(r"^count (\d+)$")?.parse()?)
}

fn crash(model: Model, bootargs: &str, said: &str) -> anyhow::Result<()> {
    let mut machine = with_witnesses(model, bootargs.trim_start_matches("test="), bootargs)?;
    let line = format!(r"^domain 1 \(culprit\): crashed: {said}; instruction 0x[0-9a-f]+, link");
    machine.console("hypervisor").expect(&line)?;
    machine.console("linux").expect("^linux:~# ")?;
    others_live(&mut machine)
}

/// A guest that judges by itself.
fn passes(model: Model, name: &str) -> anyhow::Result<()> {
    let domains = vec![describe::bare("guest", &format!("test={name}"))];
    let title = format!("isolation-{}-{name}", model.name());
    let mut machine = Machine::boot(&describe::machine(&title, model, domains))?;
    let verdict = machine.console("guest").expect(r"^(ok|not ok) .*$")?;
    anyhow::ensure!(verdict == "ok", "the guest says: {}", machine.console("guest").said());
    machine.console("guest").ends_with(&Ending::Exit(0))
}

fn random_hypercalls(model: Model) -> anyhow::Result<()> {
    let mut machine = with_witnesses(model, "fuzz", "test=fuzz seed=20060418 calls=100000")?;
    machine.console("hypervisor").expect(r"^domain 1 \(culprit\): refused: .*; instruction 0x")?;
    machine.console("linux").expect("^linux:~# ")?;
    let calls =
        machine.console("culprit").expect(r"^fuzz (\d+) calls, seed 20060418, \d+ refused")?;
    anyhow::ensure!(calls.parse::<u64>()? >= 100_000, "only {calls} calls");
    others_live(&mut machine)
}

fn linux_counts_while_k42_spins(model: Model) -> anyhow::Result<()> {
    let mut machine = with_witnesses(model, "spin", "test=spin")?;
    machine.console("culprit").expect("^spinning$")?;
    machine.console("linux").expect("^linux:~# ")?;
    others_live(&mut machine)?;
    machine.console("culprit").lives()
}

/// Linux's own debugger waits for the console with interrupts off.
fn k42_counts_while_linux_spins(model: Model) -> anyhow::Result<()> {
    let domains = vec![
        describe::linux("linux", KERNELS[1], "quiet"),
        describe::k42(
            "clock",
            &["sh", "-c", "n=0; while :; do echo count $n; n=$((n + 1)); read -t 1 x; done"],
        ),
    ];
    let name = format!("isolation-{}-xmon", model.name());
    let mut machine = Machine::boot(&describe::machine(&name, model, domains))?;
    machine.console("linux").expect("^linux:~# ")?;
    machine.console("linux").line("mount -t proc proc /proc 2>/dev/null; echo 1 > /proc/sys/kernel/sysrq; echo x > /proc/sysrq-trigger");
    machine.console("linux").expect(r"mon> ")?;
    let next = |machine: &mut Machine| -> anyhow::Result<u64> {
        Ok(machine.console("clock").expect(r"^count (\d+)$")?.parse()?)
    };
    // What it had counted before the debugger came is passed over.
    let before = machine.console("clock").said().matches("count").count() as u64;
    while next(&mut machine)? < before + 3 {}
    // The debugger still answers: it was Linux that spun, and it lives.
    machine.console("linux").line("x");
    machine.console("linux").expect("^linux:~# |# $")?;
    Ok(())
}

fn linux_panic(model: Model) -> anyhow::Result<()> {
    let mut machine = with_witnesses(model, "panic", "test=count")?;
    machine.console("linux").expect("^linux:~# ")?;
    machine.console("linux").line("echo c > /proc/sysrq-trigger");
    machine.console("hypervisor").expect(r"^domain 3 \(linux\): crashed: its kernel panicked: ")?;
    let counted = count(&mut machine)?;
    anyhow::ensure!(count(&mut machine)? > counted, "the counter stands still");
    Ok(())
}
