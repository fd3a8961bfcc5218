//! Operations of Linux, counted by one program (`tests/linux`) that the login shell runs: in a Linux
//! domain; in a guest of KVM on the peer, made of the same bytes with the same device tree; and on
//! the bare machine, from the same initial file system.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use boot_archive::{Console, write::Domain};
use k42::compile;
use k42::description::{DomainDescription, Kind};
use k42::files;

use crate::bare::{COMMAND_LINE, Linux, folder};
use crate::figures::{Clock, instructions};
use crate::peer::{self, figure};
use crate::{Description, KERNELS, Machine, Model, describe};

/// Figures by their names in `tests/linux/operations.c`, in instructions, and [`BOOT`].
pub type Figures = BTreeMap<String, u64>;

/// From the kernel's first instruction until its shell is about to prompt; not on bare Linux.
pub const BOOT: &str = "boot";

const INITRD: &str = "target/inputs/operations.cpio";
/// The same for all three: how the kernel gathers and keeps free pages depends on it.
const MEMORY: u64 = 1 << 30;
/// What the program says last.
const DONE: &str = "operations: done";
const COUNTED: Clock = Clock::Instructions;

/// The domain, and behind it one that says what time it is and ends.
fn description(model: Model) -> Description {
    let domains = vec![linux(), describe::bare("clock", "test=time")];
    describe::machine("operations", model, domains)
}

fn linux() -> DomainDescription {
    let mut domain = describe::linux("linux", KERNELS[1], COMMAND_LINE);
    domain.memory = MEMORY;
    if let Kind::Linux { initrd, .. } = &mut domain.kind {
        *initrd = Some(files::top().join(INITRD));
    }
    domain
}

/// What operations take in a Linux domain.
///
/// # Errors
/// When the machine does not say.
pub fn here(model: Model) -> anyhow::Result<Figures> {
    let mut machine = Machine::boot_with(&description(model), COUNTED.options())?;
    // The hypervisor tells times since its entry, and the domains read the machine's timebase.
    let time: u64 = machine.console("clock").expect(r"^timebase (\d+)\n")?.parse()?;
    let entry = time.saturating_sub(machine.console("clock").started()?);
    let began = entry + machine.console("linux").started()?;
    machine.console("linux").expect(&format!("^{DONE}\n"))?;
    figures(machine.console("linux").said().lines(), Some(began))
}

/// What they take on the machine itself.
///
/// # Errors
/// When it does not say.
pub fn bare(model: Model) -> anyhow::Result<Figures> {
    let initrd = files::top().join(INITRD);
    let name = "operations-bare";
    let linux =
        Linux { name, initrd: &initrd, words: "", memory: MEMORY, processors: 1, more: &[] };
    figures(linux.run(model, COUNTED, DONE)?.iter().map(String::as_str), None)
}

/// What they take in a guest of KVM.
///
/// # Errors
/// When it does not say.
pub fn guest(model: Model) -> anyhow::Result<Figures> {
    let domains = compile::build(&description(model), Console::Framed)?;
    let domain = domains.first().context("there is no domain")?;
    let name = "operations-guest";
    let initrd = folder(name, model)?.join("initrd");
    fs::write(&initrd, with_guest(fs::read(files::top().join(peer::INITRD))?, domain)?)?;
    let words = format!(
        "guest_memory={} guest_entry={} guest_tree={}",
        domain.memory_size, domain.entry, domain.device_tree
    );
    let linux = Linux {
        name,
        initrd: &initrd,
        words: &words,
        memory: peer::MEMORY,
        processors: 1,
        more: &[],
    };
    let lines = linux.run(model, COUNTED, DONE)?;
    let began = lines.iter().filter_map(|line| figure(line)).find(|(name, _)| name == "started");
    let (_, began) = began.context("the guest does not start")?;
    figures(lines.iter().map(String::as_str), Some(began))
}

/// The peer's initial file system and, as one more file, the beginning of the domain's memory.
fn with_guest(mut initrd: Vec<u8>, domain: &Domain) -> anyhow::Result<Vec<u8>> {
    let mut memory = Vec::new();
    for load in &domain.loads {
        let start = usize::try_from(load.guest_address)?;
        let end = start + load.data.len();
        memory.resize(end.max(memory.len()), 0);
        memory[start..end].copy_from_slice(&load.data);
    }
    let file = cpio::newc::Builder::new("guest").mode(0o100_600);
    cpio::write_cpio([(file, std::io::Cursor::new(memory))].into_iter(), &mut initrd)?;
    Ok(initrd)
}

/// The figures in what a console said; `began` is the timebase at the kernel's first instruction.
fn figures<'a>(
    lines: impl Iterator<Item = &'a str>,
    began: Option<u64>,
) -> anyhow::Result<Figures> {
    let mut figures: Figures = lines.filter_map(figure).collect();
    figures.remove("started");
    let shell = figures.remove("timebase").context("it does not say when its shell came")?;
    if let Some(began) = began {
        figures.insert(BOOT.into(), instructions(shell.saturating_sub(began)));
    }
    Ok(figures)
}
