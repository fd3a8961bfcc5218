//! The commands of the host tool: `cargo k42 …`.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use boot_archive::Console;
use clap::{Parser, Subcommand};
use k42::attest::attest;
use k42::compile::compile;
use k42::description::{Description, Model};
use k42::machine::Options;
use k42::run::{Job, TROUBLE, run};
use k42::{boot, description, files, trace};

/// Boots machines with K42 and Linux domains on the thin hypervisor.
#[derive(Parser)]
#[command(name = "k42", bin_name = "cargo k42")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boot a machine and show its consoles.
    Boot {
        /// The machine's description, such as domains/demo.toml.
        file: PathBuf,
        /// Let `trace` see what happens: the machine's memory is a file, beside the logs.
        #[arg(long)]
        traced: bool,
        /// Have the hypervisor write lines for a plain terminal, and show just those.
        #[arg(long)]
        plain: bool,
        /// Wait for gdb on this port before the first instruction.
        #[arg(long, value_name = "PORT")]
        gdb: Option<u16>,
        /// The folder for archive and logs [default: target/run/NAME].
        #[arg(long, value_name = "DIR")]
        log: Option<PathBuf>,
        /// Another option for QEMU; may be given more than once.
        #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
        qemu: Vec<String>,
    },
    /// Run a program in a K42 domain of its own.
    Run {
        /// The root file system, a cpio archive [default: target/inputs/root.cpio].
        #[arg(long, value_name = "CPIO")]
        root: Option<PathBuf>,
        /// The machine.
        #[arg(long, default_value = "powernv9", value_parser = model)]
        machine: Model,
        /// The domain's memory.
        #[arg(long, default_value = "256M", value_parser = memory)]
        memory: u64,
        /// Set a variable of the program's environment.
        #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
        env: Vec<String>,
        /// Options of the guest kernel.
        #[arg(long, value_name = "OPTIONS", default_value = "")]
        bootargs: String,
        /// Tell all that the hypervisor says.
        #[arg(short, long)]
        verbose: bool,
        /// Wait for gdb on this port before the first instruction.
        #[arg(long, value_name = "PORT")]
        gdb: Option<u16>,
        /// Another option for QEMU; may be given more than once.
        #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
        qemu: Vec<String>,
        /// The program, a path or a name, and its arguments.
        #[arg(required = true, last = true, value_name = "PROGRAM")]
        words: Vec<String>,
    },
    /// Record what happens in K42 domains and in the hypervisor, and show it.
    ///
    /// Either of a machine that runs, booted with --traced, or of a program that is run for it:
    /// `cargo k42 trace domains/demo.toml --events mem --seconds 5`, `cargo k42 trace --sums -- ls /`.
    Trace {
        /// The description of the machine that runs; none for a program.
        #[arg(required_unless_present = "words", conflicts_with = "words")]
        file: Option<PathBuf>,
        /// The folder with the running machine's logs [default: target/run/NAME].
        #[arg(long, value_name = "DIR", conflicts_with = "words")]
        log: Option<PathBuf>,
        /// Only this domain of the machine.
        #[arg(long, value_name = "NAME", conflicts_with = "words")]
        domain: Option<String>,
        /// Switch to these classes of events from now on: all, none, or names with commas between
        /// [default: all for a program, those that are on for a machine].
        #[arg(long, value_name = "CLASSES", value_parser = classes)]
        events: Option<String>,
        /// How long to record a machine that runs; what its buffers hold comes first.
        #[arg(long, default_value_t = 0, conflicts_with = "words")]
        seconds: u64,
        /// Show only how often each event came, and how long what it ends took.
        #[arg(long)]
        sums: bool,
        /// Write a file for ui.perfetto.dev or chrome://tracing.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// The machine for a program.
        #[arg(long, default_value = "powernv9", value_parser = model)]
        machine: Model,
        /// The program, a path or a name, and its arguments.
        #[arg(last = true, value_name = "PROGRAM")]
        words: Vec<String>,
    },
    /// Check descriptions, with the files they name.
    Check {
        /// The descriptions.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Name what differs between a machine's last run and the files that it should start from.
    ///
    /// The hypervisor hashes all that it starts a domain from and says so in its log. This hashes the
    /// same from the description and its files (kernel, device tree, file systems, rights, and the
    /// hypervisor's own image) and compares. Exit status: 0 all agrees, 1 something differs, with a
    /// line for each thing, 2 it cannot be told: a file or the log is missing.
    Attest {
        /// The machine's description.
        file: PathBuf,
        /// The folder with the run's logs [default: target/run/NAME].
        #[arg(long, value_name = "DIR")]
        log: Option<PathBuf>,
    },
    /// Print what an auditor of the hypervisor has to read; fails when a budget is passed.
    Audit {
        /// Where to write the same as a page [default: target/audit.html].
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Write the boot archive of a machine.
    Archive {
        /// The machine's description.
        file: PathBuf,
        /// Where to write it.
        #[arg(short, long, value_name = "OUT")]
        output: PathBuf,
        /// For a machine at a plain terminal.
        #[arg(long)]
        plain: bool,
    },
}

fn model(name: &str) -> Result<Model, String> {
    let names = Model::ALL.map(Model::name).join(", ");
    Model::from_name(name).ok_or_else(|| format!("there are {names}"))
}

fn memory(text: &str) -> Result<u64, String> {
    description::parse_memory(text)
}

fn variable(word: &str) -> Result<String, String> {
    match word.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(word.into()),
        _ => Err("write NAME=VALUE".into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let fault = match arguments.command {
        Command::Run { .. } | Command::Trace { .. } => TROUBLE,
        Command::Attest { .. } => 2,
        _ => 1,
    };
    match obey(arguments.command) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("k42: {error:#}");
            ExitCode::from(fault)
        }
    }
}

fn classes(names: &str) -> Result<String, String> {
    trace::classes(names).map(|_| names.into())
}

/// The folder with a machine's logs, if nothing else is said.
fn usual(description: &Description) -> PathBuf {
    files::top().join(files::RUN).join(&description.name)
}

/// Prints a long text. A reader that has seen enough of it is no fault.
fn print(text: &impl Display) -> io::Result<()> {
    match write!(io::stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn obey(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Boot { file, traced, plain, gdb, log, qemu } => {
            let description = Description::load(&file)?;
            let options = Options { folder: log, traced, gdb, qemu, walker: false };
            match plain {
                true => boot::boot_plain(&description, &options)?,
                false => boot::boot(&description, &options)?,
            }
            Ok(0)
        }
        Command::Run { root, machine, memory, env, bootargs, verbose, gdb, qemu, words } => {
            let job =
                Job { words, root, model: machine, memory, environment: env, bootargs, verbose };
            run(&job, &Options { gdb, qemu, ..Options::default() })
        }
        Command::Trace { file, log, domain, events, seconds, sums, json, machine, words } => {
            let output = trace::Output { sums, json };
            let (status, trace) = match file {
                Some(file) => {
                    let description = Description::load(&file)?;
                    let folder = log.unwrap_or_else(|| usual(&description));
                    let time = Duration::from_secs(seconds);
                    let events = events.as_deref().and_then(|names| trace::classes(names).ok());
                    (0, trace::attach(&folder, domain.as_deref(), events, time)?)
                }
                None => {
                    let events = events.as_deref().unwrap_or("all");
                    let job = trace::job(words, machine, events);
                    trace::run(&job, &Options::default(), io::stdin(), &mut io::stderr())?
                }
            };
            trace::show(&trace, &output, &mut io::stdout())?;
            Ok(status)
        }
        Command::Check { files } => {
            let mut faults = 0;
            for file in files {
                let result = Description::load(&file)
                    .and_then(|description| compile(&description, Console::Framed));
                match result {
                    Ok(_) => println!("{}: good", file.display()),
                    Err(error) => {
                        faults += 1;
                        eprintln!("{error:#}");
                    }
                }
            }
            Ok(u8::from(faults > 0))
        }
        Command::Attest { file, log } => {
            let description = Description::load(&file)?;
            let folder = log.unwrap_or_else(|| usual(&description));
            let verdict = attest(&description, &folder)?;
            verdict.registers.iter().for_each(|line| println!("{line}"));
            verdict.differences.iter().for_each(|line| println!("DIFFERS  {line}"));
            if verdict.differences.is_empty() {
                println!("all that ran is what the files give");
            }
            Ok(u8::from(!verdict.differences.is_empty()))
        }
        Command::Audit { html } => {
            let html = html.unwrap_or_else(|| k42_audit::root().join("target/audit.html"));
            let report = k42_audit::report::audit()?;
            std::fs::write(&html, report.page())
                .with_context(|| format!("cannot write {}", html.display()))?;
            print(&report)?;
            for line in &report.wrong {
                eprintln!("k42: {line}");
            }
            Ok(u8::from(!report.wrong.is_empty()))
        }
        Command::Archive { file, output, plain } => {
            let console = if plain { Console::Plain } else { Console::Framed };
            std::fs::write(&output, compile(&Description::load(&file)?, console)?)?;
            Ok(0)
        }
    }
}
