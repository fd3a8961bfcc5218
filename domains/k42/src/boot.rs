//! `k42 boot`: a machine and a person, or a machine and a log.

use std::io::{self, IsTerminal, Write, stdin, stdout};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use boot_archive::Console;
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use crate::consoles::Happening;
use crate::description::{Description, Kind};
use crate::files;
use crate::keys::{Action, Keys};
use crate::lines::Line;
use crate::machine::{Machine, News, Options, folder, prepare};
use crate::screen::Screen;

/// How long a machine may take to power itself off when its domains have ended.
const POWER_OFF: Duration = Duration::from_secs(10);

/// Boots the machine and stays until its domains have ended, or the person has had enough.
pub fn boot(description: &Description, options: &Options) -> anyhow::Result<()> {
    let mut machine = Machine::start(description, options)?;
    if let Some(port) = options.gdb {
        eprintln!("[k42] the machine waits for gdb: target remote :{port}");
    }
    let first = description.first_console() + 1;
    machine.read_keys(stdin());
    if stdin().is_terminal() && stdout().is_terminal() {
        let raw = Raw::enter()?;
        let ended = interactive(description, &mut machine, first, &logs(description, options))?;
        drop(raw);
        close(machine, ended)
    } else {
        machine = follow(machine, first, &mut stdout())?;
        close(machine, true)
    }
}

/// Boots a machine whose hypervisor writes lines for a plain terminal: this one.
pub fn boot_plain(description: &Description, options: &Options) -> anyhow::Result<()> {
    let folder = folder(description, options)?;
    let (mut command, _held) = prepare(description, Console::Plain, options, &folder)?;
    let status = command.stdin(Stdio::inherit()).status().context("cannot start QEMU")?;
    if !status.success() {
        bail!("QEMU ended with {status}");
    }
    Ok(())
}

/// Where the logs are, for a person.
fn logs(description: &Description, options: &Options) -> String {
    match &options.folder {
        Some(folder) => folder.display().to_string(),
        None => format!("{}/{}", files::RUN, description.name),
    }
}

/// The terminal in raw mode, until this value is dropped. (A panic aborts without dropping: a hook
/// puts the terminal back; a signal likewise.)
struct Raw;

impl Raw {
    fn enter() -> anyhow::Result<Raw> {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let _ = disable_raw_mode();
            hook(info);
        }));
        ctrlc::set_handler(|| {
            let _ = disable_raw_mode();
            std::process::exit(130);
        })?;
        enable_raw_mode()?;
        Ok(Raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = disable_raw_mode();
    }
}

/// Ends a machine: by itself if its domains have ended, at once if the person wants so.
fn close(machine: Machine, ended: bool) -> anyhow::Result<()> {
    if ended {
        machine.finish(POWER_OFF);
    }
    Ok(())
}

fn gone(machine: &Machine) -> anyhow::Error {
    anyhow::anyhow!(
        "the machine stopped before its domains had ended\n{}",
        machine.consoles().trouble().trim_end()
    )
}

/// Consoles on the screen; returns whether the domains have ended (or else the person has quit).
fn interactive(
    description: &Description,
    machine: &mut Machine,
    first: usize,
    logs: &str,
) -> anyhow::Result<bool> {
    let mut screen = Screen::new(stdout(), first);
    let mut keys = Keys::default();
    let mut lines: Vec<Option<Line>> = vec![None];
    lines.extend(description.domains.iter().map(|domain| match domain.kind {
        Kind::Linux { .. } => None,
        _ => Some(Line::default()),
    }));
    screen.banner(machine.consoles(), &description.name, logs)?;
    loop {
        match machine.next(None) {
            None => return Err(gone(machine)),
            Some(News::Keys(bytes)) if bytes.is_empty() => return Ok(false),
            Some(News::Keys(bytes)) => {
                for action in keys.press(&bytes) {
                    if action == Action::Quit {
                        screen.say("quit: the machine is stopped")?;
                        return Ok(false);
                    }
                    act(action, machine, &mut screen, &mut lines)?;
                }
                machine.more_keys();
            }
            Some(News::Machine(happening)) => match happening {
                Happening::Text(console, text) => screen.text(console, &text)?,
                Happening::Ended(console) => screen.ended(machine.consoles(), console)?,
                Happening::Refused(console, text) => {
                    let name = machine.consoles().get(console).map_or("", |c| c.name.as_str());
                    screen.say(&format!("{name}: refused: {text}"))?;
                }
                Happening::AllEnded => {
                    screen.say("all domains have ended")?;
                    return Ok(true);
                }
                Happening::Closed => return Err(gone(machine)),
                Happening::Started(..) | Happening::Note(_) | Happening::Taken(..) => {}
            },
        }
    }
}

fn act(
    action: Action,
    machine: &mut Machine,
    screen: &mut Screen<impl Write>,
    lines: &mut [Option<Line>],
) -> io::Result<()> {
    let current = screen.current();
    match action {
        Action::Send(bytes) => match lines.get_mut(current) {
            Some(Some(line)) => {
                let typed = line.press(&bytes);
                machine.send(current, &typed.send);
                screen.text(current, &typed.show)
            }
            _ => {
                machine.send(current, &bytes);
                Ok(())
            }
        },
        Action::Next => screen.turn(machine.consoles(), true),
        Action::Previous => screen.turn(machine.consoles(), false),
        Action::Select(console) => screen.show(machine.consoles(), console),
        Action::List => screen.list(machine.consoles()),
        Action::Dump if machine.dump(current) => Ok(()),
        Action::Dump => screen.say("no domain runs here to be reported on"),
        Action::Help => screen.help(),
        Action::Quit => Ok(()),
    }
}

/// All consoles as lines with names, for a log; this side's input goes to one of them.
fn follow(mut machine: Machine, first: usize, out: &mut impl Write) -> anyhow::Result<Machine> {
    let mut open: Vec<Vec<u8>> = vec![Vec::new(); machine.consoles().count()];
    loop {
        let happening = match machine.next(None) {
            None => return Err(gone(&machine)),
            Some(News::Keys(bytes)) => {
                if !bytes.is_empty() {
                    machine.send(first, &bytes);
                    machine.more_keys();
                }
                continue;
            }
            Some(News::Machine(happening)) => happening,
        };
        match happening {
            Happening::Text(console, text) => {
                let Some(line) = open.get_mut(console) else { continue };
                for byte in text {
                    line.push(byte);
                    if byte == b'\n' {
                        print(&machine, console, line, out)?;
                    }
                }
            }
            Happening::AllEnded | Happening::Closed => {
                for (console, line) in open.iter_mut().enumerate().filter(|(_, l)| !l.is_empty()) {
                    print(&machine, console, line, out)?;
                }
                if happening == Happening::Closed {
                    return Err(gone(&machine));
                }
                return Ok(machine);
            }
            _ => {}
        }
    }
}

/// Prints a line with its console's name, without the carriage returns of terminals; empties it.
fn print(
    machine: &Machine,
    console: usize,
    line: &mut Vec<u8>,
    out: &mut impl Write,
) -> io::Result<()> {
    let name = machine.consoles().get(console).map_or("", |console| console.name.as_str());
    write!(out, "[{name}] ")?;
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    out.write_all(line.get(..end).unwrap_or_default())?;
    writeln!(out)?;
    line.clear();
    out.flush()
}
