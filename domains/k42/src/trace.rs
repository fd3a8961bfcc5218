//! `k42 trace`: what happens in domains and in the hypervisor, on one time line.
//!
//! A machine that is traced has its memory in a file ([`memory`]), and whoever runs there writes events
//! to buffers in it: K42 domains theirs (`k42_lib::trace`), the hypervisor Xen's ([`hypervisor`]). This
//! finds them, reads them while the machine runs ([`record`]), switches what is wanted, and shows it:
//! as text and sums ([`show`]), or for Perfetto and Chrome ([`chrome`]). All that it reads may be made
//! up by the domain that wrote it, and is bounded and checked.

pub mod chrome;
pub mod hypervisor;
pub mod memory;
pub mod record;
pub mod show;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use k42_lib::trace::EVENTS;
use k42_lib::trace::events::mask;

use crate::description::Model;
use crate::files;
use crate::machine::Options;
use crate::run::{Job, run_with};
use memory::Memory;
use record::{Recorder, Trace};

/// How often buffers are looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// What is to become of what was recorded.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Only the sums of events as text.
    pub sums: bool,
    /// A file for Perfetto or Chrome.
    pub json: Option<PathBuf>,
}

/// The classes of these names as a mask, `none` none of them.
pub fn classes(names: &str) -> Result<u64, String> {
    let known: BTreeMap<u8, &str> = EVENTS.iter().map(|event| (event.major, event.class)).collect();
    let known: Vec<&str> = known.into_values().skip(1).collect();
    match names {
        "none" => Ok(0),
        _ => mask(names).map_err(|name| {
            format!("there is no class {name}: there are all, none, {}", known.join(", "))
        }),
    }
}

/// A program to be traced on this machine; the events are those of these classes.
pub fn job(words: Vec<String>, model: Model, events: &str) -> Job {
    let events = if events == "none" { "" } else { events };
    Job {
        words,
        root: None,
        model,
        memory: 256 << 20,
        environment: Vec::new(),
        bootargs: format!("trace={events}"),
        verbose: false,
    }
}

/// The file with the memory of a machine whose logs are in `folder`.
pub fn file(folder: &Path) -> PathBuf {
    folder.join("memory")
}

/// Switches and records a machine that runs: for so long, or what is in its buffers now.
pub fn attach(
    folder: &Path,
    domain: Option<&str>,
    events: Option<u64>,
    time: Duration,
) -> anyhow::Result<Trace> {
    let place = file(folder);
    let memory = Memory::open(&place).with_context(|| {
        format!("{}: boot the machine with --traced, or with `trace = true`", place.display())
    })?;
    let mut recorder = Recorder::new(memory, domain);
    recorder.find()?;
    if let Some(name) = domain {
        ensure!(recorder.has_domain(), "no K42 domain {name} has a trace buffer in that machine");
    }
    if let Some(classes) = events {
        ensure!(recorder.has_domain(), "no K42 domain has a trace buffer in that machine yet");
        recorder.switch(classes)?;
    }
    let end = Instant::now() + time;
    while Instant::now() < end {
        recorder.poll()?;
        thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
    }
    recorder.finish()
}

/// Runs a program in a domain of its own, traced; its exit status and what happened.
pub fn run(
    job: &Job,
    options: &Options,
    input: impl std::io::Read + Send + 'static,
    out: &mut impl Write,
) -> anyhow::Result<(u8, Trace)> {
    let name = format!("trace-{}", std::process::id());
    let folder = options.folder.clone().unwrap_or(files::top().join(files::RUN).join(name));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let place = file(&folder);
    // The recorder may look for it before the machine has it.
    File::create(&place).with_context(|| place.display().to_string())?;
    let done = Arc::new(AtomicBool::new(false));
    let recorder = Recorder::new(Memory::open(&place)?, None);
    let record = {
        let done = done.clone();
        thread::spawn(move || follow(recorder, &done))
    };
    let options = Options { folder: Some(folder.clone()), traced: true, ..options.clone() };
    let status = run_with(job, &options, input, out);
    done.store(true, Ordering::Release);
    let Ok(trace) = record.join() else { bail!("the recorder has failed") };
    // A gibibyte that nobody wants any more.
    let _ = fs::remove_dir_all(&folder);
    Ok((status?, trace?))
}

fn follow(mut recorder: Recorder, done: &AtomicBool) -> anyhow::Result<Trace> {
    while !done.load(Ordering::Acquire) {
        recorder.poll()?;
        thread::sleep(PAUSE);
    }
    recorder.finish()
}

/// Shows what was recorded.
pub fn show(trace: &Trace, output: &Output, out: &mut impl Write) -> anyhow::Result<()> {
    if let Some(path) = &output.json {
        let text = serde_json::to_vec(&chrome::export(trace))?;
        fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    let text = match (output.sums, &output.json) {
        (true, _) => show::sums(trace),
        (false, None) => show::text(trace),
        (false, Some(_)) => String::new(),
    };
    std::io::copy(&mut Cursor::new(text), out)?;
    Ok(())
}

#[cfg(test)]
mod tests;
