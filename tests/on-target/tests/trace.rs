//! Traces: the hypervisor's buffers, mapped by a controller; and all of a machine's, from outside.

use std::io::Cursor;
use std::time::Duration;

use anyhow::{Context, ensure};
use k42::description::Rights;
use k42::machine::Options;
use k42::trace::hypervisor::Event;
use k42::trace::record::{Happened, Trace, Track, What};
use k42::trace::{attach, classes, job, run};
use k42_lib::trace::events;
use k42_tests::{Ending, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in [Model::Powernv9, Model::Pseries9] {
        let name = |what| format!("trace::{}::{what}", model.name());
        tests.push(test(name("a_controller_finds_its_calls"), move || own_calls(model)));
        tests.push(test(name("a_fault_goes_from_object_to_object"), move || fault(model)));
    }
    tests.push(test("trace::classes_are_switched_while_a_domain_runs", switched));
    tests
}

/// The name of a domain's event.
fn name(happened: &Happened) -> Option<&'static str> {
    let What::Domain(major, minor, _) = happened.what else { return None };
    Some(events::find(major, minor)?.name)
}

/// A program's faults, from Process to HAT, and the hypervisor's part on the same time line.
fn fault(model: Model) -> anyhow::Result<()> {
    let words = ["echo", "hello"].map(String::from).to_vec();
    let mut output = Vec::new();
    let input = Cursor::new(Vec::new());
    let (status, trace) =
        run(&job(words, model, "mem,trap,process"), &Options::default(), input, &mut output)?;
    ensure!(status == 0 && output == b"hello\n", "{status}: {output:?}");
    let Trace { events, dropped } = trace;
    let vcpu: Vec<_> = events.iter().filter(|event| event.track != Track::Processor(0)).collect();
    let run = Track::Vcpu("run".into(), 0);
    ensure!(dropped == 0 && vcpu.iter().all(|event| event.track == run), "{vcpu:?}");
    ensure!(vcpu.is_sorted_by_key(|event| event.time), "times go back");
    let mut names: Vec<_> = vcpu.iter().filter_map(|event| name(event)).collect();
    ensure!(names.len() == vcpu.len(), "what is no event: {vcpu:?}");
    names.retain(|name| *name != "frame_allocated");
    let begin = ["create", "switch", "resume", "trap", "fault_start"];
    ensure!(names.starts_with(&begin) && names.ends_with(&["exit"]), "{names:?}");
    let (mut faults, mut steps) = (0, names.iter());
    while steps.by_ref().any(|name| *name == "fault_start") {
        let fault: Vec<_> = steps.by_ref().take(6).copied().collect();
        ensure!(fault == ["process", "region", "fcm", "hat", "fault_end", "resume"], "{fault:?}");
        faults += 1;
    }
    ensure!(faults > 10, "{faults} faults");
    // The hypervisor runs the vCPU before all that, and is called by it in between.
    let what: Vec<_> = events.iter().map(|event| &event.what).collect();
    let runs = what.iter().position(|what| **what == What::Hypervisor(Event::Runs(1, 0)));
    let first = events.iter().position(|event| event.track == run);
    let last = events.iter().rposition(|event| event.track == run);
    let (runs, first, last) = runs
        .zip(first)
        .zip(last)
        .map(|((runs, first), last)| (runs, first, last))
        .context("an end is missing")?;
    ensure!(runs < first, "events before the vCPU runs");
    let between = what.get(first..last).unwrap_or_default();
    let calls = between.iter().filter(|what| matches!(what, What::Hypervisor(Event::Call(..))));
    ensure!(calls.count() > 0, "no hypercalls between the domain's events");
    Ok(())
}

/// A domain that runs without a trace, is switched to one, and back.
fn switched() -> anyhow::Result<()> {
    let domain = describe::k42("busy", &["cat"]);
    let mut description = describe::machine("trace-switched", Model::Powernv9, vec![domain]);
    description.trace = true;
    let mut machine = Machine::boot(&description)?;
    let folder = k42::machine::folder(&description, &Options::default())?;
    let traced = |classes| attach(&folder, Some("busy"), classes, Duration::ZERO);
    let mut line = |text: &str| -> anyhow::Result<()> {
        machine.console("busy").line(text);
        machine.console("busy").expect(&format!("^({text})$")).map(|_| ())
    };
    line("nothing is wanted")?;
    ensure!(traced(None)?.events.is_empty(), "events before any were wanted");
    traced(Some(classes("trap").map_err(anyhow::Error::msg)?))?;
    line("traps are wanted")?;
    let some = traced(Some(0))?.events;
    let calls = some.iter().filter(|event| name(event) == Some("call")).count();
    ensure!(calls > 0 && some.iter().all(|event| name(event) != Some("fault_start")), "{some:?}");
    line("nothing is wanted any more")?;
    // What the switch found under way may still have come.
    let more = traced(None)?.events.len() - some.len();
    ensure!(more <= 3, "{more} events after the switch");
    attach(&folder, Some("other"), None, Duration::ZERO).expect_err("there is no such domain");
    machine.console("busy").end_input();
    machine.console("busy").ends_with(&Ending::Exit(0))?;
    Ok(std::fs::remove_file(k42::trace::file(&folder))?)
}

/// The guest judges by itself.
fn own_calls(model: Model) -> anyhow::Result<()> {
    let mut reader = describe::bare("reader", "test=trace");
    reader.rights |= Rights::CONTROL;
    let title = format!("trace-{}", model.name());
    let mut machine = Machine::boot(&describe::machine(&title, model, vec![reader]))?;
    let verdict = machine.console("reader").expect(r"^(ok|not ok) .*$")?;
    anyhow::ensure!(verdict == "ok", "the guest says: {}", machine.console("reader").said());
    machine.console("reader").ends_with(&Ending::Exit(0))
}
