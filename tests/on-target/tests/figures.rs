//! Counts of instructions stay within SPECIFICATION.md's budgets. A count is the same on every
//! host: nothing here depends on how fast it is.

use k42_audit::specification::budget;
use k42_tests::{MODELS, Model, figures};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in MODELS {
        let name = |what| format!("figures::{}::{what}", model.name());
        tests.push(test(name("null_hypercall"), move || null_hypercall(model)));
        tests.push(test(name("event_round_trip"), move || event_round_trip(model)));
        tests.push(test(name("grant_map_unmap"), move || grant_map_unmap(model)));
        tests.push(test(name("grant_copy"), move || grant_copy(model)));
        tests.push(test(name("populate"), move || populate(model)));
        tests.push(test(name("lan_frame"), move || lan_frame(model)));
        tests.push(test(name("vcpu_switch_pair"), move || vcpu_switch_pair(model)));
        tests.push(test(name("getppid"), move || getppid(model)));
        tests.push(test(name("start"), move || start(model)));
    }
    tests
}

fn within(what: &str, count: u64, key: &str) -> anyhow::Result<()> {
    let most = budget(key)?;
    anyhow::ensure!(count > 0 && count <= most, "{what}: {count} instructions of {most}");
    Ok(())
}

fn null_hypercall(model: Model) -> anyhow::Result<()> {
    within("null hypercall", figures::null_hypercall(model)?, "null-hypercall")
}

fn event_round_trip(model: Model) -> anyhow::Result<()> {
    within("event round trip", figures::event_round_trip(model)?, "event-round-trip")
}

fn grant_map_unmap(model: Model) -> anyhow::Result<()> {
    within("grant mapped and unmapped", figures::grant_map_unmap(model)?, "grant-map-unmap")
}

fn grant_copy(model: Model) -> anyhow::Result<()> {
    within("grant copy", figures::grant_copy(model)?, "grant-copy-4k")
}

fn populate(model: Model) -> anyhow::Result<()> {
    within("a GiB at run time", figures::populate(model)?, "populate-gib")
}

fn lan_frame(model: Model) -> anyhow::Result<()> {
    within("LAN frame", figures::lan_frame(model)?, "lan-frame-1500")
}

fn vcpu_switch_pair(model: Model) -> anyhow::Result<()> {
    within("pair of switches", figures::vcpu_switch_pair(model)?, "vcpu-switch-pair")
}

fn getppid(model: Model) -> anyhow::Result<()> {
    let pair = figures::side_by_side(model)?;
    within("reflected getppid", pair.k42, "reflected-getppid")?;
    anyhow::ensure!(pair.k42 < pair.linux, "{} instructions, Linux {}", pair.k42, pair.linux);
    Ok(())
}

fn start(model: Model) -> anyhow::Result<()> {
    let count = figures::start_k42(model)?;
    within("start of a K42 domain", count, "start-k42-domain")
}
