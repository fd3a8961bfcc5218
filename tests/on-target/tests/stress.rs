//! Long runs, for `make stress`: they are marked as ignored and take no part in `make test`.

use k42_tests::{Ending, KERNELS, MODELS, Machine, Model, NESTED, describe};
use libtest_mimic::Trial;

use crate::{attack, control, debian, isolation, net, objects, sizes, test};

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in [Model::Powernv9, Model::Pseries9, Model::Pseries10] {
        let group = format!("stress::{}", model.name());
        let name = |what: &str| format!("{group}::{what}");
        tests.extend([
            test(name("a_million_random_hypercalls"), move || a_million_random_hypercalls(model)),
            test(name("four_linux_on_two_processors"), move || four_linux_on_two_processors(model)),
            test(name("sixty_domains"), move || sixty_domains(model)),
            test(name("a_thousand_domains_come_and_go"), move || control::come_and_go(model, 170)),
        ]);
    }
    for model in MODELS.into_iter().chain(NESTED) {
        let title = format!("stress::{}::a_million_calls_of_attackers", model.name());
        tests.push(test(title, move || attack::attack(model, [450_000, 600_000], 1)));
    }
    for model in NESTED {
        tests.extend(isolation::stuck(model, &format!("stress::{}", model.name())));
    }
    tests.extend(net::all());
    tests.extend(objects::long());
    tests.extend(sizes::all());
    tests.extend(debian::tests());
    tests.into_iter().map(|test| test.with_ignored_flag(true)).collect()
}

/// Ten guests with a seed each, all at once, beside a Linux that works.
fn a_million_random_hypercalls(model: Model) -> anyhow::Result<()> {
    let mut linux = describe::linux("linux", KERNELS[1], "quiet");
    linux.weight = 4096;
    let mut domains = vec![linux];
    let names: Vec<String> = (0..10).map(|n| format!("fuzz-{n}")).collect();
    for (seed, name) in names.iter().enumerate() {
        domains.push(describe::bare(name, &format!("test=fuzz seed={seed} calls=100000")));
    }
    let mut description = describe::machine("stress-fuzz", model, domains);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    for name in &names {
        machine.console(name).expect(r"^fuzz 100000 calls, seed \d+, \d+ refused")?;
        machine.console(name).ended()?;
    }
    let mut linux = machine.console("linux");
    linux.expect("^linux:~# ")?;
    linux.line("echo alive $((40 + 2))");
    linux.expect("^alive 42$")?;
    linux.line("poweroff");
    linux.ends_with(&Ending::PowerOff)?;
    machine.wait_end()
}

/// Old and new kernels, one and two vCPUs, all at work; their sums are right.
fn four_linux_on_two_processors(model: Model) -> anyhow::Result<()> {
    let names = ["a", "b", "c", "d"];
    let domains = names.iter().enumerate().map(|(n, name)| {
        let mut domain = describe::linux(name, KERNELS[n % 2], "quiet");
        domain.vcpus = 1 + (n as u32) / 2;
        domain
    });
    let mut description = describe::machine("stress-linux", model, domains.collect());
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    let sum =
        "i=0; while [ $i -lt 20 ]; do sha256sum /data/bytes; i=$((i + 1)); done | sort -u | wc -l";
    for name in names {
        machine.console(name).expect("^linux:~# ")?;
        machine.console(name).line(&format!("{sum}; sha256sum /data/bytes"));
    }
    let mut sums = Vec::new();
    for name in names {
        machine.console(name).expect("^1$")?;
        sums.push(machine.console(name).expect("^[0-9a-f]{64}  /data/bytes$")?);
    }
    anyhow::ensure!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
    for name in names {
        machine.console(name).line("poweroff");
        machine.console(name).ends_with(&Ending::PowerOff)?;
    }
    machine.wait_end()
}

/// As many domains as there are channels for, two of them broken.
fn sixty_domains(model: Model) -> anyhow::Result<()> {
    let names: Vec<String> = (0..60).map(|n| format!("guest-{n}")).collect();
    let mut domains: Vec<_> = names.iter().map(|name| describe::bare(name, "test=hello")).collect();
    domains.push(describe::bare("jumper", "test=jump"));
    domains.push(describe::bare("reader", "test=read"));
    let mut description = describe::machine("stress-sixty", model, domains);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    for name in &names {
        machine.console(name).expect("^ok hello$")?;
        machine.console(name).ends_with(&Ending::Exit(0))?;
    }
    for name in ["jumper", "reader"] {
        machine.console(name).expect("^vcpu 0: crashed: ")?;
    }
    machine.wait_end()
}
