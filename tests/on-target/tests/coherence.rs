//! The plug-in that counts lines between caches: work of which the count is known, to the line.
//!
//! What two vCPUs do in turns is marked without the passing on of the turn, and both have done it once
//! before. So each count is what follows from the model's rules, whoever runs when.

use anyhow::{Context, ensure};
use k42_tests::Model;
use k42_tests::coherence::{self, Lines, Window};
use libtest_mimic::Trial;

use crate::test;

/// How often each vCPU does it (`tests/guest/src/coherence.rs`), in turns and all at once.
const TURNS: u64 = 20;
const TIMES: u64 = 2000;

pub fn tests() -> Vec<Trial> {
    // A nested hypervisor would be counted in its guest's mode.
    let known_tests = [(Model::Powernv9, 2), (Model::Powernv10, 3)].map(|(model, vcpus)| {
        let name = format!("coherence::{}::{vcpus}_vcpus", model.name());
        test(name, move || known(model, vcpus))
    });
    let disjoint_tests = [2, 8].map(|vcpus| {
        let model = Model::Powernv9;
        let name = format!("coherence::{}::disjoint_{vcpus}_vcpus", model.name());
        test(name, move || disjoint(model, vcpus))
    });
    known_tests.into_iter().chain(disjoint_tests).collect()
}

fn known(model: Model, vcpus: u32) -> anyhow::Result<()> {
    let windows = coherence::guest(model, "coherence", vcpus)?;
    let find = |name: &str, processors| {
        let window = windows.get(&(String::from(name), processors)).map(|all| Window::sum(all));
        window.with_context(|| format!("no {name} in {windows:?}"))
    };
    let times = TURNS * u64::from(vcpus);
    let zero = Lines::default();
    // Each increment reads what the one before has modified, and then has that one forget it.
    let moved = Lines { read_modified: times, upgrade: times, ..zero };
    let zeroed = Lines { write: times, ..zero };
    let expected =
        [("shared", moved), ("own", zero), ("beside", moved), ("read", zero), ("zero", zeroed)];
    for (name, lines) in expected {
        let window = find(name, 1)?;
        ensure!(window.operations == times, "{name}: {window:?}");
        ensure!(window.supervisor == lines, "{name}: {window:?}, not {lines:?}");
    }
    interleaved(&find("at-once", vcpus)?, vcpus)
}

/// Processors take turns of 500 instructions, in which one increments some hundred times. Were the turns
/// those of the emulator, thousands of times as long, next to nothing would move.
fn interleaved(window: &Window, vcpus: u32) -> anyhow::Result<()> {
    ensure!(window.operations == TIMES * u64::from(vcpus), "{window:?}");
    let moves = window.supervisor.transfers();
    let (least, most) = (window.operations / 250, window.operations / 2);
    ensure!((least..most).contains(&moves), "{moves} of {least} to {most}: {window:?}");
    Ok(())
}

/// Work of the K42 kernel's that vCPUs do at once, and how many lines may move for a hundred operations of it,
/// however many vCPUs there are.
const DISJOINT: [(&str, u64); 4] = [
    ("blocks", 1),
    ("own", 1),
    // Each in a process of its own, and all in one.
    ("faults-p", 2),
    ("faults-t", 2),
];

/// The guest's lines alone count: the hypervisor looks at time and consoles when it is time, a dozen lines of
/// its own each, in whatever is going on.
fn disjoint(model: Model, vcpus: u32) -> anyhow::Result<()> {
    let windows = coherence::guest(model, "disjoint", vcpus)?;
    // The median of several times, of how many operations.
    let moves = |name: &str| {
        let all = windows.get(&(String::from(name), vcpus));
        let all = all.with_context(|| format!("no {name} in {windows:?}"))?;
        let guest = |window: &Window| window.user.transfers() + window.supervisor.transfers();
        let mut moves: Vec<_> = all.iter().map(|w| (guest(w), w.operations)).collect();
        moves.sort_unstable();
        moves.get(moves.len() / 2).copied().with_context(|| format!("{name} was never done"))
    };
    for (name, most) in DISJOINT {
        let (lines, operations) = moves(name)?;
        ensure!(100 * lines <= most * operations, "{name}: {lines} lines in {operations}");
    }
    // A counter that all have: what moves is seen.
    let (lines, operations) = moves("shared")?;
    ensure!(20 * lines >= operations, "shared: {lines} lines in {operations}");
    Ok(())
}
