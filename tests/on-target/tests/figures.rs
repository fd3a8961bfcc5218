//! Counts of instructions stay within SPECIFICATION.md's budgets. A count is the same on every
//! host: nothing here depends on how fast it is.

use k42_audit::specification::budget;
use k42_tests::figures::{self, Clock};
use k42_tests::{MODELS, Model, operations};
use libtest_mimic::Trial;

use crate::test;

const COUNTED: Clock = Clock::Instructions;

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in MODELS {
        let name = |what: &str| format!("figures::{}::{what}", model.name());
        tests.push(test(name("null_hypercall"), move || null_hypercall(model)));
        tests.push(test(name("allocation"), move || allocation(model)));
        tests.push(test(name("event_round_trip"), move || event_round_trip(model)));
        tests.push(test(name("event_upcall"), move || event_upcall(model)));
        tests.push(test(name("timer"), move || timer(model)));
        tests.push(test(name("reserved_late"), move || reserved_late(model)));
        tests.push(test(name("create"), move || create(model)));
        tests.push(test(name("grant_map_unmap"), move || grant_map_unmap(model)));
        tests.push(test(name("grant_copy"), move || grant_copy(model)));
        tests.push(test(name("populate"), move || populate(model)));
        tests.push(test(name("lan_frame"), move || lan_frame(model)));
        tests.push(test(name("disk_read"), move || disk_read(model)));
        tests.push(test(name("vcpu_switch_pair"), move || vcpu_switch_pair(model)));
        tests.push(test(name("objects"), move || objects(model)));
        tests.push(test(name("increments"), move || increments(model)));
        tests.push(test(name("lock_unlock"), move || lock_unlock(model)));
        tests.push(test(name("published_read"), move || published_read(model)));
        tests.push(test(name("vcpu_wake_pair"), move || vcpu_wake_pair(model)));
        tests.push(test(name("getppid"), move || getppid(model)));
        tests.push(test(name("start"), move || start(model)));
        for vcpus in [1, 2, 4, 8, 32] {
            let name = name(&format!("faults_on_{vcpus}_vcpus"));
            tests.push(test(name, move || faults(model, vcpus)));
        }
        tests.push(test(name("trace"), move || trace(model)));
        tests.push(test(name("linux_operations"), move || linux_operations(model)));
    }
    tests
}

fn within(what: &str, count: u64, key: &str) -> anyhow::Result<()> {
    let most = budget(key)?;
    anyhow::ensure!(count > 0 && count <= most, "{what}: {count} instructions of {most}");
    Ok(())
}

fn null_hypercall(model: Model) -> anyhow::Result<()> {
    within("null hypercall", figures::null_hypercall(model, COUNTED)?, "null-hypercall")
}

fn allocation(model: Model) -> anyhow::Result<()> {
    let figures::Allocation { local, known, remote_free, remote } =
        figures::allocation(model, COUNTED)?;
    within("local pair", local, "alloc-local")?;
    within("local pair of a known size", known, "alloc-local-known")?;
    within("remote free", remote_free, "alloc-remote-free")?;
    within("remote pair", remote, "alloc-remote-pair")
}

fn lock_unlock(model: Model) -> anyhow::Result<()> {
    within("lock and unlock", figures::lock_unlock(model, COUNTED)?, "lock-unlock")
}

fn published_read(model: Model) -> anyhow::Result<()> {
    within("published value read", figures::published_read(model, COUNTED)?, "published-read")
}

fn event_round_trip(model: Model) -> anyhow::Result<()> {
    within("event round trip", figures::event_round_trip(model, COUNTED)?, "event-round-trip")
}

fn event_upcall(model: Model) -> anyhow::Result<()> {
    let figures::EventWay { send, upcall } = figures::event_way(model, COUNTED, 1)?;
    within("event sent", send, "event-send")?;
    within("event to its upcall", upcall, "event-upcall")?;
    within(
        "to another processor",
        figures::event_upcall_other(model, COUNTED)?,
        "event-upcall-other",
    )
}

fn timer(model: Model) -> anyhow::Result<()> {
    within("timer set and told", figures::timer(model, COUNTED)?, "timer-upcall")
}

fn reserved_late(model: Model) -> anyhow::Result<()> {
    let figures::Late { most, worst } = figures::reserved_late(model, COUNTED)?;
    within("the worst of 2,000 but two", most, "reserved-late-999")?;
    within("the worst of 2,000", worst, "reserved-late-worst")
}

fn create(model: Model) -> anyhow::Result<()> {
    within("domain created", figures::create(model, COUNTED)?, "create-domain")?;
    within("to its first instruction", figures::create_to_first(model, COUNTED)?, "create-to-first")
}

fn grant_map_unmap(model: Model) -> anyhow::Result<()> {
    within(
        "grant mapped and unmapped",
        figures::grant_map_unmap(model, COUNTED)?,
        "grant-map-unmap",
    )
}

fn grant_copy(model: Model) -> anyhow::Result<()> {
    within("grant copy", figures::grant_copy(model, COUNTED)?, "grant-copy-4k")
}

fn populate(model: Model) -> anyhow::Result<()> {
    within("a GiB at run time", figures::populate(model, COUNTED)?, "populate-gib")
}

fn disk_read(model: Model) -> anyhow::Result<()> {
    within("disk read", figures::disk_read(model, COUNTED)?, "disk-read-4k")
}

fn lan_frame(model: Model) -> anyhow::Result<()> {
    within("LAN frame", figures::lan_frame(model, COUNTED)?, "lan-frame-1500")
}

fn vcpu_switch_pair(model: Model) -> anyhow::Result<()> {
    within("pair of switches", figures::vcpu_switch_pair(model, COUNTED)?, "vcpu-switch-pair")
}

fn vcpu_wake_pair(model: Model) -> anyhow::Result<()> {
    within("pair of wake-ups", figures::vcpu_wake_pair(model, COUNTED)?, "vcpu-wake-pair")
}

fn objects(model: Model) -> anyhow::Result<()> {
    let figures = figures::objects(model, COUNTED)?;
    within("call of an object", figures.call, "object-call")?;
    within("call by a pointer", figures.virtual_call, "virtual-call")?;
    within("activation", figures.activation, "activation")?;
    within("miss", figures.miss, "object-miss")?;
    within("first call", figures.first_call, "object-first-call")
}

/// The same for 1, 2, 4, 8 and 32 vCPUs, within 2 %.
fn increments(model: Model) -> anyhow::Result<()> {
    let one = figures::increments(model, COUNTED, 1)?;
    for vcpus in [2, 4, 8, 32] {
        let many = figures::increments(model, COUNTED, vcpus)?;
        for (one, many) in one.into_iter().zip(many) {
            let flat = one > 0 && many * 100 <= one * 102 && one * 100 <= many * 102;
            anyhow::ensure!(flat, "a thousand increments: {one} on one vCPU, {many} on {vcpus}");
        }
    }
    within("a thousand increments", one[1], "counter-own")?;
    within("a thousand increments of what is shared", one[0], "counter-shared")
}

fn getppid(model: Model) -> anyhow::Result<()> {
    let pair = figures::side_by_side(model, COUNTED)?;
    within("reflected getppid", pair.k42, "reflected-getppid")?;
    anyhow::ensure!(pair.k42 < pair.linux, "{} instructions, Linux {}", pair.k42, pair.linux);
    Ok(())
}

/// Every vCPU takes what the first one does: nothing is shared, and nobody waits.
fn faults(model: Model, vcpus: u32) -> anyhow::Result<()> {
    let kinds = ["zero-fill", "present", "fork-load", "fork-store", "fork-last"];
    for (kind, fault) in kinds.iter().zip(figures::faults(model, COUNTED, vcpus, &kinds)?) {
        within(kind, fault.count, &format!("fault-{kind}"))?;
        let figures::Fault { spread, .. } = fault;
        anyhow::ensure!(spread <= 20, "{kind}: {spread} thousandths more on some vCPU");
    }
    Ok(())
}

fn start(model: Model) -> anyhow::Result<()> {
    let count = figures::start_k42(model, COUNTED)?;
    within("start of a K42 domain", count, "start-k42-domain")
}

fn trace(model: Model) -> anyhow::Result<()> {
    within("event noted", figures::trace_enabled(model, COUNTED)?, "trace-enabled")?;
    within("event not wanted", figures::trace_disabled(model, COUNTED)?, "trace-disabled")?;
    let out = figures::trace_compiled_out(model, COUNTED)?;
    anyhow::ensure!(out == 0, "event compiled out: {out} instructions");
    Ok(())
}

fn linux_operations(model: Model) -> anyhow::Result<()> {
    let figures = operations::here(model)?;
    for (name, key) in [
        ("getppid-sc", "linux-getppid"),
        ("anonymous-fault", "linux-fault"),
        ("pipe-pair", "linux-pipe-pair"),
        ("fork", "linux-fork"),
        ("tick", "linux-tick"),
        ("sleep-late", "linux-sleep-late"),
        (operations::BOOT, "linux-boot"),
    ] {
        within(name, figures.get(name).copied().unwrap_or_default(), key)?;
    }
    Ok(())
}
