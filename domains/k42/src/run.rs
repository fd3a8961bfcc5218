//! `k42 run`: one program in a K42 domain of its own, used like a command of this machine.
//!
//! Standard input goes to the program, what it writes comes out byte for byte, and its exit status
//! is this command's. All else goes to standard error, and only when there is trouble.

use std::fs;
use std::io::{Read, Write, stderr, stdin, stdout};
use std::path::PathBuf;
use std::time::Duration;

use crate::consoles::{Ending, Happening, State};
use crate::description::{
    Description, DomainDescription, Kind, Model, Rights, Scheduling, default_environment,
};
use crate::files;
use crate::input::quote;
use crate::machine::{self, Machine, News, Options};

/// The status when the machine, not the program, is at fault.
pub const TROUBLE: u8 = 125;
/// The status of a program whose domain crashed: as if by a signal (SIGABRT).
pub const CRASHED: u8 = 128 + 6;

/// The status when nobody reads the output any more (`| head`): as if by SIGPIPE.
pub const UNREAD: u8 = 128 + 13;

/// The console of the only domain.
const CONSOLE: usize = 1;

/// What to run and in what.
#[derive(Clone, Debug)]
pub struct Job {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// The root file system, if not the usual one.
    pub root: Option<PathBuf>,
    /// The machine.
    pub model: Model,
    /// The domain's memory in bytes.
    pub memory: u64,
    /// Additions to the environment, `NAME=value` each.
    pub environment: Vec<String>,
    /// The kernel's own options.
    pub bootargs: String,
    /// Whether to tell all that the hypervisor says.
    pub verbose: bool,
}

/// The usual environment with these additions, which go before it where names are the same.
fn environment(more: &[String]) -> Vec<String> {
    let name = |word: &str| word.split('=').next().map(String::from);
    let usual = default_environment();
    let kept = usual.into_iter().filter(|word| more.iter().all(|m| name(m) != name(word)));
    kept.chain(more.iter().cloned()).collect()
}

/// The machine for this job.
fn description(job: &Job) -> Description {
    let (program, arguments) =
        job.words.split_first().map_or((String::new(), &[][..]), |(p, a)| (p.clone(), a));
    let top = files::top();
    Description {
        name: format!("run-{}", std::process::id()),
        model: job.model,
        processors: 1,
        memory: None,
        trace: false,
        domains: vec![DomainDescription {
            name: "run".into(),
            memory: job.memory,
            vcpus: 1,
            weight: boot_archive::DEFAULT_WEIGHT,
            scheduling: Scheduling::default(),
            rights: Rights::INPUT,
            lan: None,
            started_by: None,
            disks: Vec::new(),
            console_first: true,
            kernel: top.join(files::GUEST_KERNEL),
            kind: Kind::K42 {
                root: job.root.clone().unwrap_or_else(|| top.join(files::ROOT)),
                program,
                arguments: arguments.to_vec(),
                environment: environment(&job.environment),
                bootargs: job.bootargs.clone(),
            },
        }],
    }
}

/// Runs the job on this process's streams; the status to exit with.
pub fn run(job: &Job, options: &Options) -> anyhow::Result<u8> {
    run_with(job, options, stdin(), &mut stdout())
}

/// Runs the job on these streams; the status to exit with.
pub fn run_with(
    job: &Job,
    options: &Options,
    input: impl Read + Send + 'static,
    out: &mut impl Write,
) -> anyhow::Result<u8> {
    let description = description(job);
    let folder = machine::folder(&description, options)?;
    let mut machine = Machine::start(&description, options)?;
    machine.read_keys(input);
    let status = carry(&mut machine, out, job.verbose)?;
    machine.finish(Duration::ZERO);
    // Logs are kept where someone will want them.
    if status.is_some() && options.folder.is_none() {
        let _ = fs::remove_dir_all(folder);
    }
    Ok(status.unwrap_or(TROUBLE))
}

/// Carries bytes both ways until the domain has ended; the program's status, or none in trouble.
fn carry(machine: &mut Machine, out: &mut impl Write, verbose: bool) -> anyhow::Result<Option<u8>> {
    let mut open = true;
    loop {
        let happening = match machine.next(None) {
            Some(News::Machine(happening)) => happening,
            Some(News::Keys(bytes)) if bytes.is_empty() => {
                machine.end_input(CONSOLE);
                open = false;
                continue;
            }
            Some(News::Keys(bytes)) => {
                machine.send(CONSOLE, &quote(&bytes));
                if machine.waiting(CONSOLE) == 0 {
                    machine.more_keys();
                }
                continue;
            }
            None => Happening::Closed,
        };
        match happening {
            Happening::Text(0, text) if verbose => stderr().write_all(&text)?,
            Happening::Text(CONSOLE, text) => {
                match out.write_all(&text).and_then(|()| out.flush()) {
                    Ok(()) => {}
                    Err(_) => return Ok(Some(UNREAD)),
                }
            }
            Happening::Taken(..) if open && machine.waiting(CONSOLE) == 0 => machine.more_keys(),
            Happening::Refused(_, text) => eprintln!("k42: refused: {text}"),
            Happening::Ended(CONSOLE) => return Ok(Some(status(machine))),
            Happening::AllEnded | Happening::Closed => {
                eprintln!("k42: the machine stopped before the program had ended");
                eprint!("{}", machine.consoles().trouble());
                return Ok(None);
            }
            _ => {}
        }
    }
}

fn status(machine: &Machine) -> u8 {
    match machine.consoles().get(CONSOLE).map(|console| &console.state) {
        Some(State::Ended(Ending::Exit(status))) => *status,
        Some(State::Ended(Ending::Crash(text))) => {
            eprintln!("k42: crashed: {text}");
            CRASHED
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_added_to() {
        let more = ["PATH=/opt".to_string(), "A=b".to_string()];
        assert_eq!(environment(&more), ["HOME=/", "TERM=vt100", "PATH=/opt", "A=b"]);
    }
}
