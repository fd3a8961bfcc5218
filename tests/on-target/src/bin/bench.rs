//! `make bench`: a table a machine, with a row for each thing that is counted, ours and the peer's,
//! measured in the same run; and sizes.
//!
//! A row of [`ROWS`] is all that a new figure takes: a function of `k42_tests::figures`, the name of
//! the same thing in `tests/peer/peer.c` where the peer has it, and what is aimed at. A row of
//! [`OPERATIONS`] is an operation of `tests/linux`: in a Linux domain, in a guest of KVM, and on bare
//! Linux. A row of [`SHARING`] is work that processors do at once and that has nothing in common.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use k42_audit::table::number;
use k42_tests::coherence::{self, Window, Windows};
use k42_tests::figures::{
    Clock, activation, alloc_known, alloc_local, alloc_remote, counter_own, counter_shared, create,
    create_to_first, disk_read, event_round_trip, event_send, event_upcall, event_upcall_other,
    fault_fork_last, fault_fork_store, fault_present, fault_zero_fill, getppid, grant_copy,
    grant_map_unmap, lan_frame, lock_unlock, null_hypercall, object_call, object_first_call,
    object_miss, populate, published_read, reserved_late_999, reserved_late_worst, start_k42,
    start_linux, timer, trace_compiled_out, trace_disabled, trace_enabled, vcpu_switch_pair,
    vcpu_wake_pair, virtual_call,
};
use k42_tests::operations::{self, Figures};
use k42_tests::peer::Peer;
use k42_tests::{MODELS, Model};

/// How a figure is measured.
type Measure = fn(Model, Clock) -> anyhow::Result<u64>;

/// A figure.
struct Row {
    what: &'static str,
    here: Measure,
    /// What the peer calls the same; none for what only we have.
    peer: Option<&'static str>,
    aim: Aim,
}

/// What a figure should be.
#[derive(Clone, Copy)]
enum Aim {
    /// So many instructions at most.
    Count(u64),
    /// Less than the peer's.
    LessThanPeer,
    /// A tenth of the peer's at most.
    Tenth,
    /// Nothing is aimed at.
    Nothing,
}

use Aim::{Count, LessThanPeer, Nothing, Tenth};

const fn row(what: &'static str, here: Measure, peer: Option<&'static str>, aim: Aim) -> Row {
    Row { what, here, peer, aim }
}

#[rustfmt::skip] // a table
const ROWS: &[Row] = &[
    row("null hypercall, there and back",             null_hypercall,   Some("hypercall"),          Count(150)),
    row("memory taken and freed, by Rust's allocator", alloc_local,     None,                       Nothing),
    row("memory taken and freed, of a known size",    alloc_known,      None,                       Count(40)),
    row("memory taken, freed elsewhere, and home again", alloc_remote,  None,                       Nothing),
    row("event to another domain and back",           event_round_trip, Some("round-trip-eventfd"), Count(2_000)),
    row("event to its upcall, same processor",        event_upcall,     Some("signal-eventfd"),     LessThanPeer),
    row("event to its upcall, an idle processor",     event_upcall_other, Some("signal-eventfd"),   LessThanPeer),
    row("event sent: the sender's call",              event_send,       None,                       Nothing),
    row("timer set, and from its time to its upcall", timer,            Some("timer-sleeping"),     LessThanPeer),
    row("timer in reserved time, load: worst of 2,000", reserved_late_worst, None,                  Nothing),
    row("timer in reserved time, load: 99.9 %",       reserved_late_999, None,                      Nothing),
    row("domain created",                             create,           Some("create"),             Tenth),
    row("domain created, to its first instruction",   create_to_first,  Some("create-to-first-instruction"), Tenth),
    row("page granted by another mapped and unmapped", grant_map_unmap, None,                     Nothing),
    row("page granted by another copied, 4 KiB",      grant_copy,       None,                       Nothing),
    row("memory at run time, a GiB of it",            populate,         Some("populate-gib"),       Tenth),
    row("LAN frame of 1,500 bytes to its receiver",   lan_frame,        Some("lan-frame"),          LessThanPeer),
    row("read of 4 KiB from a disk, all domains",     disk_read,        None,                       Nothing),
    row("two switches between two vCPUs",             vcpu_switch_pair, Some("vcpu-switch-pair"),        Count(1_500)),
    row("a K42 vCPU woken by another, and back",      vcpu_wake_pair,   None,                       Nothing),
    row("clustered object: call",                     object_call,      None,                       Nothing),
    row("the same rep called by a pointer",           virtual_call,     None,                       Nothing),
    row("clustered object: call that finds its rep",  object_miss,      None,                       Nothing),
    row("clustered object: call that has it made",    object_first_call, None,                      Nothing),
    row("activation begun and ended",                 activation,       None,                       Nothing),
    row("1,000 increments, a rep for each of 8 vCPUs", counter_own,     None,                       Nothing),
    row("1,000 increments, a rep for all 8 vCPUs",    counter_shared,   None,                       Nothing),
    row("lock taken and let go of, nobody waits",     lock_unlock,      None,                       Nothing),
    row("published value read",                       published_read,   None,                       Nothing),
    row("getppid, K42 domain and bare Linux",         getppid,          Some("getppid"),            LessThanPeer),
    // Half of what bare Linux takes for 4 KiB, which the table of its operations has.
    row("K42: fault, a first store to 64 KiB",        fault_zero_fill,  None,                       Count(1_980)),
    row("K42: fault, a load from a page that is there", fault_present,  None,                       Count(1_480)),
    row("K42: fault after a fork, 64 KiB copied",     fault_fork_store, None,                       Nothing),
    row("K42: fault after a fork, the other has ended", fault_fork_last, None,                      Nothing),
    row("event of one word traced",                   trace_enabled,    None,                       Count(30)),
    row("event that is not wanted",                   trace_disabled,   None,                       Count(3)),
    row("event that is compiled out",                 trace_compiled_out, None,                     Count(0)),
    row("entry to first instruction, K42, 64 MiB",    start_k42,        None,                       Nothing),
    row("entry to first instruction, Linux, 512 MiB", start_linux,      None,                       Nothing),
];

/// What an operation of Linux should take in a domain.
#[derive(Clone, Copy)]
enum Goal {
    /// What it takes on bare Linux, within a hundredth: nothing of it needs the hypervisor.
    Bare,
    /// Less than in a guest of KVM.
    LessThanGuest,
}

use Goal::{Bare, LessThanGuest};

/// What a person calls an operation, what the program does, and the goal.
#[rustfmt::skip] // a table
const OPERATIONS: &[(&str, &str, Goal)] = &[
    ("getppid, by sc",                           "getppid-sc",       Bare),
    ("getppid, by scv",                          "getppid-scv",      Bare),
    ("gettimeofday, vDSO",                       "gettimeofday",     Bare),
    ("read of 0 bytes, /dev/zero",               "read-zero",        Bare),
    ("stat",                                     "stat",             Bare),
    ("open and close",                           "open-close",       Bare),
    ("pread of 4 KiB",                           "pread-4k",         Bare),
    ("signal to itself",                         "signal",           Bare),
    ("protection fault, to its handler and back", "protection-fault", Bare),
    ("mmap and munmap, 64 KiB",                  "mmap-munmap",      Bare),
    ("fault on an anonymous page",               "anonymous-fault",  Bare),
    ("fault on a page of a shared file",         "file-fault",       Bare),
    ("pipe, to itself",                          "pipe-self",        Bare),
    ("pipe, to another process and back",        "pipe-pair",        Bare),
    ("UNIX socket, there and back",              "socket-pair",      Bare),
    ("sched_yield, two switches",                "yield-pair",       Bare),
    ("futex, to another thread and back",        "futex-pair",       Bare),
    ("pthread created and joined",               "thread",           Bare),
    ("fork, exit, wait",                         "fork",             Bare),
    ("fork, exec, exit, wait",                   "fork-exec",        Bare),
    ("vfork, exec, exit, wait",                  "vfork-exec",       Bare),
    ("a tick of the kernel, from a loop",        "tick",             Bare),
    ("sleep of 1 ms: how late it ends",          "sleep-late",       LessThanGuest),
    ("kernel's first instruction to its shell",  operations::BOOT,   LessThanGuest),
];

/// Who does a row's work.
#[derive(Clone, Copy)]
enum Who {
    /// Linux on the bare machine (`tests/coherence/linux.c`).
    Linux,
    /// A domain with a processor for each vCPU, by the name of its test (`tests/guest`).
    Domain(&'static str),
}

/// What a person calls the work, who does it, and its name there. All of a test's names are counted in
/// one run.
#[rustfmt::skip] // a table
const SHARING: &[(&str, Who, &str)] = &[
    ("Linux: fault on an anonymous page, threads",    Who::Linux,             "faults-t"),
    ("Linux: the same, processes",                    Who::Linux,             "faults-p"),
    ("Linux: mmap, a store, munmap, threads",         Who::Linux,             "mmaps-t"),
    ("Linux: the same, processes",                    Who::Linux,             "mmaps-p"),
    ("Linux: getppid, threads",                       Who::Linux,             "calls-t"),
    ("Linux: the same, processes",                    Who::Linux,             "calls-p"),
    ("null hypercall, vCPUs of a domain",             Who::Domain("sharing"), "calls"),
    ("K42: fault on a page of 64 KiB, a process",     Who::Domain("disjoint"), "faults-t"),
    ("K42: the same, a process on each vCPU",         Who::Domain("disjoint"), "faults-p"),
    ("K42: a block of the heap, taken and given back", Who::Domain("disjoint"), "blocks"),
    ("K42: an increment, a rep for each vCPU",        Who::Domain("disjoint"), "own"),
    ("K42: an increment, a rep for all, for contrast", Who::Domain("disjoint"), "shared"),
];

/// How many processors do it at once.
const AT_ONCE: [u32; 4] = [1, 2, 4, 8];

/// With the word `lines` only those between caches are counted.
fn main() -> anyhow::Result<ExitCode> {
    let mut failures = Vec::new();
    let all = std::env::args().nth(1).is_none_or(|word| word != "lines");
    for model in MODELS.into_iter().filter(|_| all) {
        figures(model, &mut failures)?;
        if let Err(error) = linux(model) {
            failures.push(format!("{}: operations of Linux: {error:#}", model.name()));
        }
    }
    if let Err(error) = sharing(Model::Powernv9) {
        failures.push(format!("lines between caches: {error:#}"));
    }
    if all {
        sizes()?;
    }
    for failure in &failures {
        eprintln!("bench: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures and prints all rows on a machine. What cannot be measured is told at the end: it does
/// not take the other rows with it.
fn figures(model: Model, failures: &mut Vec<String>) -> anyhow::Result<()> {
    let machine = model.name();
    let measure = |clock| {
        progress(model, &format!("Linux with KVM-HV, {clock:?}"));
        Peer::measure(model, clock).with_context(|| format!("{machine}: the peer"))
    };
    let (peer, timed) = (measure(Clock::Instructions)?, measure(Clock::Host)?);
    println!(
        "\nInstructions on {machine}, counted by QEMU (-icount); time is the ratio by the clock\n"
    );
    println!("{:<48}{:>13}{:>15}{:>8}{:>8}  aim", "", "here", "KVM-HV", "ratio", "time");
    for row in ROWS {
        progress(model, row.what);
        match line(model, row, &peer, &timed) {
            Ok(line) => println!("{:<48}{line}", row.what),
            Err(error) => failures.push(format!("{machine}: {}: {error:#}", row.what)),
        }
    }
    for (name, theirs) in peer.figures().filter(|(name, _)| !compared(name)) {
        println!("{:<48}{:>13}{:>15}", format!("the peer's {name}"), "", number(theirs));
    }
    Ok(())
}

/// A row's cells.
fn line(model: Model, row: &Row, peer: &Peer, timed: &Peer) -> anyhow::Result<String> {
    let here = (row.here)(model, Clock::Instructions)?;
    let Some(name) = row.peer else { return Ok(cells(here, None, None, row.aim)) };
    let time = (row.here)(model, Clock::Host)? as f64 / timed.figure(name)? as f64;
    Ok(cells(here, Some(peer.figure(name)?), Some(time), row.aim))
}

/// Whether a row has this figure of the peer's.
fn compared(name: &str) -> bool {
    ROWS.iter().any(|row| row.peer == Some(name))
}

fn progress(model: Model, what: &str) {
    eprintln!("bench: {}: {what}", model.name());
}

fn cells(here: u64, theirs: Option<u64>, time: Option<f64>, aim: Aim) -> String {
    let (peer, ratio) = match theirs {
        Some(theirs) => (number(theirs), format!("{:.3}", here as f64 / theirs as f64)),
        None => ("only here".into(), String::new()),
    };
    let aim = match (aim, theirs) {
        (Count(most), _) => verdict(&format!("≤ {}", number(most)), here <= most),
        (LessThanPeer, Some(theirs)) => verdict("< KVM-HV", here < theirs),
        (Tenth, Some(theirs)) => verdict("≤ a tenth", here.saturating_mul(10) <= theirs),
        (LessThanPeer | Tenth, None) | (Nothing, _) => String::new(),
    };
    let time = time.map(|time| format!("{time:.3}")).unwrap_or_default();
    format!("{:>13}{peer:>15}{ratio:>8}{time:>8}  {aim}", number(here))
}

/// Measures and prints all operations of Linux on a machine.
fn linux(model: Model) -> anyhow::Result<()> {
    let progress = |what| progress(model, &format!("operations of Linux, {what}"));
    progress("in a domain");
    let here = operations::here(model).context("a domain")?;
    progress("in a guest of KVM");
    let guest = operations::guest(model).context("a guest of KVM")?;
    progress("on bare Linux");
    let bare = operations::bare(model).context("bare Linux")?;
    println!("\nOperations of Linux on {}, in instructions\n", model.name());
    let columns = ["here", "KVM guest", "bare", "to KVM", "to bare"];
    let [first, second, third, fourth, fifth] = columns;
    println!("{:<48}{first:>13}{second:>15}{third:>13}{fourth:>8}{fifth:>8}  aim", "");
    for (what, name, goal) in OPERATIONS {
        println!("{what:<48}{}", operation(name, *goal, [&here, &guest, &bare]));
    }
    Ok(())
}

/// An operation's cells. What a kernel does not offer has no number.
fn operation(name: &str, goal: Goal, figures: [&Figures; 3]) -> String {
    let [here, guest, bare] = figures.map(|figures| figures.get(name).copied());
    let cell = |figure: Option<u64>| figure.map_or("not offered".into(), number);
    let ratio = |theirs: Option<u64>| match (here, theirs) {
        (Some(here), Some(theirs)) => format!("{:.3}", here as f64 / theirs as f64),
        _ => String::new(),
    };
    let bare_cell = if name == operations::BOOT { String::new() } else { cell(bare) };
    let met = |theirs: Option<u64>, hundredths: u64| match (here, theirs) {
        (Some(here), Some(theirs)) => here.saturating_mul(100) <= theirs.saturating_mul(hundredths),
        _ => false,
    };
    let aim = match goal {
        Bare => verdict("≤ 1.01 of bare", met(bare, 101)),
        LessThanGuest => verdict("< KVM", met(guest, 99)),
    };
    let (here, to_guest, to_bare) = (cell(here), ratio(guest), ratio(bare));
    format!("{here:>13}{:>15}{bare_cell:>13}{to_guest:>8}{to_bare:>8}  {aim}", cell(guest))
}

/// Counts and prints, for all work on 1, 2, 4 and 8 processors, the lines that move between their caches.
fn sharing(model: Model) -> anyhow::Result<()> {
    let progress = |what: &str| progress(model, &format!("lines between caches, {what}"));
    progress("Linux");
    let linux = coherence::linux(model, AT_ONCE[AT_ONCE.len() - 1])?;
    let mut domains: BTreeMap<&str, Windows> = BTreeMap::new();
    for (_, who, _) in SHARING {
        let Who::Domain(test) = *who else { continue };
        if domains.contains_key(test) {
            continue;
        }
        progress(test);
        for vcpus in AT_ONCE {
            domains.entry(test).or_default().append(&mut coherence::guest(model, test, vcpus)?);
        }
    }
    println!("\nLines between caches on {}, an operation: moved + forgotten\n", model.name());
    let [first, second, third, fourth] = AT_ONCE;
    println!("{:<48}{first:>15}{second:>15}{third:>15}{fourth:>15}", "processors");
    for (what, who, name) in SHARING {
        let windows = match who {
            Who::Linux => &linux,
            Who::Domain(test) => &domains[test],
        };
        let cells = AT_ONCE.map(|at_once| {
            let rounds = windows.get(&(String::from(*name), at_once));
            let Some(window) = rounds.and_then(|rounds| Window::median(rounds)) else {
                return "not counted".into();
            };
            let (lines, operations) = (window.all(), window.operations as f64);
            let each = |count: u64| count as f64 / operations;
            format!("{:.2} + {:.2}", each(lines.transfers()), each(lines.upgrade))
        });
        let [first, second, third, fourth] = cells;
        println!("{what:<48}{first:>15}{second:>15}{third:>15}{fourth:>15}");
    }
    Ok(())
}

fn verdict(aim: &str, met: bool) -> String {
    format!("{aim}, {}", if met { "met" } else { "not met" })
}

fn sizes() -> anyhow::Result<()> {
    let (code, assembly) = k42_audit::hypervisor()?;
    println!("\nSizes of the hypervisor (all code that runs in hypervisor mode)\n");
    println!("lines of Rust, without tests                {:>12}", code.code);
    println!("lines of Rust, with tests of these crates   {:>12}", code.code + code.tests);
    println!("lines of comment                            {:>12}", code.comment);
    println!("lines of assembly                           {:>12}", assembly.code);
    println!("unsafe blocks, functions, implementations   {:>12}", code.unsafes);
    for image in ["hypervisor", "guest-kernel", "linux-compat"] {
        let bytes = k42_audit::image::loaded_bytes(image)?;
        println!("bytes of the image {image:<25}{bytes:>12}");
    }
    Ok(())
}
