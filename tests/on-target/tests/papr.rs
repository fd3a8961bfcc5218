//! What unmodified Linux finds of its platform: interrupts, a clock, processors that come and go, the
//! time that others had them, and the end of a kernel that panics.

use std::time::{SystemTime, UNIX_EPOCH};

use k42_tests::{Description, Ending, KERNELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in [Model::Powernv9, Model::Powernv10, Model::Pseries9] {
        let title = format!("papr::{}::interrupts_clock_and_scv", model.name());
        tests.push(test(title, move || interrupts_clock_and_scv(model)));
    }
    for model in [Model::Powernv9, Model::Pseries9] {
        let title = format!("papr::{}::processors_come_and_go", model.name());
        tests.push(test(title, move || processors_come_and_go(model)));
    }
    let model = Model::Powernv9;
    tests.push(test("papr::a_panic_stops_all_processors", move || panic(model)));
    for kernel in KERNELS {
        tests.push(test(format!("papr::{kernel}::steal"), move || steal(kernel)));
    }
    tests
}

/// A machine with one Linux, which has so many vCPUs.
fn linux(test: &str, model: Model, kernel: &str, vcpus: u32) -> Description {
    let mut domain = describe::linux("linux", kernel, "quiet");
    domain.vcpus = vcpus;
    describe::machine(&format!("papr-{test}-{}", model.name()), model, vec![domain])
}

const PROMPT: &str = r"^linux:~# ";

fn interrupts_clock_and_scv(model: Model) -> anyhow::Result<()> {
    let mut machine = Machine::boot(&linux("platform", model, KERNELS[1], 1))?;
    let mut linux = machine.console("linux");
    linux.expect(PROMPT)?;
    // What is typed comes by an interrupt, and nobody looks for it in between.
    let mut count = || -> anyhow::Result<u64> {
        linux.line("grep hvc_console /proc/interrupts");
        let seen = linux.expect(r"^ *\d+: +(\d+) +XICS 4096 Edge +hvc_console")?.parse()?;
        linux.expect(PROMPT)?;
        Ok(seen)
    };
    let (before, after) = (count()?, count()?);
    anyhow::ensure!(after > before, "{before} interrupts, then {after}");
    // Where the processor allows it, interrupts stay translated, and `scv` is there for it.
    linux.line("getppid scv");
    let real_mode = model == Model::Powernv9;
    linux.expect(if real_mode { "^scv is not offered$" } else { "^scv works$" })?;
    // It has all the randomness that it needs before its clock goes.
    linux.line("dmesg | grep 'crng init done'");
    linux.expect(r"^\[ +0\.000000\] random: crng init done$")?;
    // The hour is right, whoever long this machine has taken to say it.
    linux.line("date +%s");
    let said: u64 = linux.expect(r"^(\d{9,})\n")?.parse()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    anyhow::ensure!(said.abs_diff(now) < 3600, "it says {said}, the host {now}");
    // It is the domain's own.
    linux.line("date -u -s '2001-02-03 04:05:06' && hwclock -w -u && hwclock -r -u");
    linux.expect(r"^Sat Feb  3 04:0\d:\d\d 2001")?;
    linux.line("poweroff");
    linux.ends_with(&Ending::PowerOff)?;
    machine.wait_end()
}

/// More vCPUs than processors, each taken out of use and brought back.
fn processors_come_and_go(model: Model) -> anyhow::Result<()> {
    let mut machine = Machine::boot(&linux("hotplug", model, KERNELS[1], 3))?;
    let mut linux = machine.console("linux");
    linux.expect(PROMPT)?;
    linux.line("cd /sys/devices/system/cpu; online() { echo \"online $(cat online)\"; }; online");
    linux.expect("^online 0-2$")?;
    for _ in 0..3 {
        linux.line("echo 0 > cpu1/online; echo 0 > cpu2/online; online");
        linux.expect("^online 0$")?;
        linux.line("echo 1 > cpu2/online; online; echo 1 > cpu1/online; online");
        linux.expect("^online 0,2$")?;
        linux.expect("^online 0-2$")?;
    }
    // They do work again, also the one that all interrupts had gone to.
    linux.line("echo 0 > cpu0/online; online; for n in 1 2; do taskset -c $n echo on $n; done");
    linux.expect("^online 1-2$")?;
    for n in 1..=2 {
        linux.expect(&format!("^on {n}$"))?;
    }
    linux.line("poweroff");
    linux.ends_with(&Ending::PowerOff)?;
    machine.wait_end()
}

/// The one that panics has the others stop wherever they are, be it with interrupts off.
fn panic(model: Model) -> anyhow::Result<()> {
    let mut machine = Machine::boot(&linux("panic", model, KERNELS[1], 2))?;
    let mut linux = machine.console("linux");
    linux.expect(PROMPT)?;
    linux.line("taskset -c 1 sh -c 'while :; do :; done' & taskset -c 0 sh -c 'echo c > /proc/sysrq-trigger'");
    linux.expect("^vcpu 0: crashed: its kernel panicked: ")?;
    linux.expect("^vcpu 1: ")?;
    linux.expect(
        r"^vcpu 1: at c[0-9a-f]{15} (nmi_stop_this_cpu|handle_nmi_ipi|\w*stop_this_cpu)\+0x",
    )?;
    machine.console("hypervisor").expect(r"^domain 1 \(linux\): crashed: its kernel panicked")?;
    machine.wait_end()
}

/// Beside a domain that wants all of the processor, Linux sees what it did not get, and by the dispatch
/// trace log how often it got it.
fn steal(kernel: &str) -> anyhow::Result<()> {
    let domains = vec![describe::linux("linux", kernel, "quiet"), describe::busy("busy")];
    let name = format!("papr-steal-{kernel}");
    let mut machine = Machine::boot(&describe::machine(&name, Model::Powernv9, domains))?;
    let mut linux = machine.console("linux");
    linux.expect(PROMPT)?;
    linux.line("echo 1 > /proc/powerpc/vcpudispatch_stats");
    linux.expect(PROMPT)?;
    let mut cpu = || -> anyhow::Result<Vec<u64>> {
        linux.line("grep '^cpu ' /proc/stat");
        let figures = linux.expect(r"^cpu +((\d+ ?)+)\n")?;
        linux.expect(PROMPT)?;
        Ok(figures.split_whitespace().map_while(|figure| figure.parse().ok()).collect())
    };
    let before = cpu()?;
    let mut spent = vec![0; before.len()];
    // Work until it has had as much as can be judged.
    while spent.iter().take(3).sum::<u64>() < 200 {
        let now = cpu()?;
        spent = now.iter().zip(&before).map(|(now, before)| now.saturating_sub(*before)).collect();
    }
    let (worked, stolen) = (spent.iter().take(3).sum::<u64>(), spent[7]);
    anyhow::ensure!(
        stolen > worked / 2 && stolen < worked * 2,
        "it worked for {worked} ticks and waited for {stolen}: {spent:?}"
    );
    linux.line("cat /proc/powerpc/vcpudispatch_stats");
    let dispatches: u64 = linux.expect(r"^cpu0 (\d+) ")?.parse()?;
    anyhow::ensure!(dispatches > 20, "{dispatches} dispatches");
    machine.console("busy").lives()
}
