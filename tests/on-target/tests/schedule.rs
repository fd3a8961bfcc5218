//! Shares, caps, reserved time and several processors, by the work that guests are let do.
//!
//! Time is QEMU's count of instructions, some nanoseconds each: a run is the same on every host. With
//! several processors an instruction of any of them takes that long, so what they do together is
//! told by the time for which the hypervisor says that a vCPU had a processor.

use anyhow::{Context, ensure};
use k42_tests::{DomainDescription, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

/// How many nanoseconds an instruction takes, and from which millisecond on work is counted: the
/// firmware is done by then, and all domains have started. An emulated second takes less of one.
const FAST: Pace = Pace { icount: "shift=4,sleep=off", from: 16_000 };
/// The same where what a switch takes is to be little beside what is counted.
const FINE: Pace = Pace { icount: "shift=1,sleep=off", from: 1_500 };

struct Pace {
    icount: &'static str,
    from: u64,
}

pub fn tests() -> Vec<Trial> {
    let mut tests = of(Model::Powernv9, "schedule", 1);
    tests.extend(of(Model::Pseries9, "schedule", 1));
    for model in [Model::Powernv10, Model::Pseries10] {
        tests.extend(of(model, "stress::schedule", 5).into_iter().map(ignored));
    }
    tests
}

fn ignored(test: Trial) -> Trial {
    test.with_ignored_flag(true)
}

/// The tests, in runs `long` times as long as need be.
fn of(model: Model, group: &str, long: u64) -> Vec<Trial> {
    let name = |what: &str| format!("{group}::{}::{what}", model.name());
    vec![
        test(name("weights_are_shares"), move || weights_are_shares(model, 5_000 * long)),
        test(name("a_cap_holds"), move || a_cap_holds(model, 3_000 * long)),
        test(name("no_reserved_period_is_missed"), move || no_period_is_missed(model, 100 * long)),
        test(name("all_work_on_four_processors"), move || all_work(model, 1_000 * long)),
        test(name("no_processor_idles"), move || no_processor_idles(model, 1_000 * long)),
    ]
}

/// What a vCPU did.
#[derive(Clone, Copy, Debug)]
struct Work {
    units: f64,
    /// The part of the time for which it had a processor.
    ran: f64,
}

fn boot(
    title: &str,
    model: Model,
    pace: &Pace,
    processors: u32,
    domains: Vec<DomainDescription>,
) -> anyhow::Result<Machine> {
    let mut description =
        describe::machine(&format!("schedule-{title}-{}", model.name()), model, domains);
    description.processors = processors;
    let counted = ["-icount", pace.icount, "-rtc", "base=2024-01-01,clock=vm", "-seed", "1"];
    Machine::boot_with(&description, &counted)
}

/// A domain whose vCPUs all work, and count for so many milliseconds.
fn worker(name: &str, weight: u16, vcpus: u32, milliseconds: u64) -> DomainDescription {
    let Pace { from, .. } = FAST;
    let to = from + milliseconds;
    let domain = describe::bare(name, &format!("test=work from={from} to={to} vcpus={vcpus}"));
    DomainDescription { weight, vcpus, ..domain }
}

/// What each vCPU of a worker did.
fn work(machine: &mut Machine, name: &str, vcpus: u32) -> anyhow::Result<Vec<Work>> {
    let mut one = || {
        let line = machine.console(name).expect(r"^(?:did (\d+ ran \d+ of \d+) us|not ok .*\n)")?;
        let number = |n: usize| {
            let number = line.split(' ').nth(n).and_then(|number| number.parse::<f64>().ok());
            number.with_context(|| format!("{name}: {line}"))
        };
        Ok(Work { units: number(0)?, ran: number(2)? / number(4)? })
    };
    (0..vcpus).map(|_| one()).collect()
}

fn about(what: &str, value: f64, wanted: f64, within: f64) -> anyhow::Result<()> {
    let fits = (value / wanted - 1.0).abs() <= within;
    ensure!(fits, "{what}: {value:.4}, not {wanted:.4} within {within}");
    Ok(())
}

/// Three that never sleep, with weights of 1 : 2 : 4.
fn weights_are_shares(model: Model, milliseconds: u64) -> anyhow::Result<()> {
    let names = [("one", 1.0), ("two", 2.0), ("four", 4.0)];
    let domains = names.map(|(name, part)| worker(name, 100 * part as u16, 1, milliseconds));
    let mut machine = boot("weights", model, &FAST, 1, domains.into())?;
    let mut all = Vec::new();
    for (name, _) in names {
        all.extend(work(&mut machine, name, 1)?);
    }
    let units: f64 = all.iter().map(|work| work.units).sum();
    for ((name, part), work) in names.iter().zip(&all) {
        about(&format!("units of {name}"), work.units / units, part / 7.0, 0.02)?;
        about(&format!("time of {name}"), work.ran, part / 7.0, 0.02)?;
    }
    Ok(())
}

/// A quarter of a processor, whether somebody else wants it or nobody does.
fn a_cap_holds(model: Model, milliseconds: u64) -> anyhow::Result<()> {
    for (title, others) in [("cap", 1), ("cap-alone", 0)] {
        let mut capped = worker("capped", 256, 1, milliseconds);
        capped.scheduling.cap = 25;
        let mut domains = vec![capped];
        domains.extend((0..others).map(|n| describe::busy(&format!("busy-{n}"))));
        let mut machine = boot(title, model, &FAST, 1, domains)?;
        for work in work(&mut machine, "capped", 1)? {
            about("time of the capped one", work.ran, 0.25, 0.02)?;
        }
    }
    Ok(())
}

/// 2 ms in every 10 ms beside three that spin: no less in any period, and no more.
fn no_period_is_missed(model: Model, count: u64) -> anyhow::Result<()> {
    let Pace { from, .. } = FINE;
    let options = format!("test=periods from={from} count={count} period=10000");
    let mut domains = vec![describe::reserved("reserved", &options, 2_000, 10_000)];
    domains.extend(["a", "b", "c"].map(describe::busy));
    let mut machine = boot("reserved", model, &FINE, 1, domains)?;
    let line = machine.console("reserved").expect(r"^(?:least (\d+ most \d+) of|not ok .*\n)")?;
    let (least, most) = line.split_once(" most ").with_context(|| line.clone())?;
    // What two switches take is the vCPU's own.
    about("microseconds in the least period", least.parse()?, 2_000.0, 0.005)?;
    about("microseconds in the most", most.parse()?, 2_000.0, 0.005)
}

/// Four domains of three vCPUs, all of the same weight: each has its third of a processor.
fn all_work(model: Model, milliseconds: u64) -> anyhow::Result<()> {
    let names = ["a", "b", "c", "d"];
    let domains = names.map(|name| worker(name, 256, 3, milliseconds));
    let mut machine = boot("four", model, &FAST, 4, domains.into())?;
    let mut all = Vec::new();
    for name in names {
        all.extend(work(&mut machine, name, 3)?);
    }
    for work in &all {
        ensure!(work.units > 0.0, "one has not worked");
        about("time of a vCPU", work.ran, 1.0 / 3.0, 0.1)?;
    }
    about("processors at work", all.iter().map(|work| work.ran).sum(), 4.0, 0.02)
}

/// Six that work beside four that ended at once: at first all of them wait for the same two of four
/// processors; the other two take some over, until nobody shares its processor with two others.
fn no_processor_idles(model: Model, milliseconds: u64) -> anyhow::Result<()> {
    let numbers = 1..=10;
    let works = |number: &u32| matches!(number % 4, 1 | 2);
    let domains = numbers.clone().map(|number| match works(&number) {
        true => worker(&format!("worker-{number}"), 256, 1, milliseconds),
        false => describe::bare(&format!("short-{number}"), "test=hello"),
    });
    let mut machine = boot("idle", model, &FAST, 4, domains.collect())?;
    let mut sum = 0.0;
    for number in numbers.filter(works) {
        let all = work(&mut machine, &format!("worker-{number}"), 1)?;
        ensure!(all.iter().all(|work| work.ran > 0.4), "worker {number}: {all:?}");
        sum += all.iter().map(|work| work.ran).sum::<f64>();
    }
    about("processors at work", sum, 4.0, 0.02)
}
