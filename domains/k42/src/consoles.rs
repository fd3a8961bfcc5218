//! The machine's consoles: the hypervisor's, number 0, and one for each domain, with what each has
//! said of late, what it has said at all (a log file), and how its domain is.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use k42_wire::event::ALL_ENDED;
use k42_wire::{Channel, End, Event};

use crate::line::Heard;
use crate::symbols::Symbols;

/// How much a console remembers, in bytes.
const MEMORY: usize = 16 << 10;
/// The longest line of the hypervisor's that is read as an event.
const MAX_LINE: usize = 4 << 10;

/// No line of a report that has an address is this long.
const REPORT_LINE: usize = 64;

/// How a domain came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It asked to be powered off.
    PowerOff,
    /// It asked for a reboot.
    Reboot,
    /// Its application exited with this status.
    Exit(u8),
    /// A controller ended it.
    Destroyed,
    /// It was stopped for what it did.
    Crash(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::PowerOff => write!(f, "powered off"),
            Ending::Reboot => write!(f, "asked for a reboot, which is its end as yet"),
            Ending::Destroyed => write!(f, "was ended by its controller"),
            Ending::Exit(status) => write!(f, "exited with status {status}"),
            Ending::Crash(text) => write!(f, "crashed: {text}"),
        }
    }
}

impl From<End<'_>> for Ending {
    fn from(end: End<'_>) -> Ending {
        match end {
            End::PowerOff => Ending::PowerOff,
            End::Reboot => Ending::Reboot,
            End::Destroyed => Ending::Destroyed,
            End::Exit(status) => Ending::Exit(status),
            End::Crash(text) => Ending::Crash(text.into()),
        }
    }
}

/// How a console's domain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not started.
    Waiting,
    /// It runs.
    Running,
    /// It has ended.
    Ended(Ending),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Waiting => write!(f, "not started"),
            State::Running => write!(f, "running"),
            State::Ended(ending) => write!(f, "{ending}"),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A console said something.
    Text(usize, Vec<u8>),
    /// A domain has started; so many ticks of the timebase after the hypervisor was entered.
    Started(usize, u64),
    /// A domain made a hypercall that was refused, for the first time.
    Refused(usize, String),
    /// A domain has ended.
    Ended(usize),
    /// A note of the hypervisor's own.
    Note(String),
    /// All domains have ended.
    AllEnded,
    /// A domain has taken bytes of its input.
    Taken(Channel, usize),
    /// The machine is gone.
    Closed,
}

/// One console.
pub struct Console {
    /// Its domain's name; "hypervisor" for number 0.
    pub name: String,
    /// How its domain is.
    pub state: State,
    log: Option<File>,
    recent: VecDeque<u8>,
    symbols: Symbols,
    /// The beginning of its line so far, which may become one of a report.
    line: Vec<u8>,
}

/// All consoles of a machine.
pub struct Consoles {
    list: Vec<Console>,
    /// What is outside all frames.
    firmware: Console,
    /// The hypervisor's line so far.
    line: Vec<u8>,
}

impl Console {
    fn new(name: &str, state: State, logs: Option<&Path>) -> anyhow::Result<Console> {
        let open = |folder: &Path| {
            let path = folder.join(format!("{name}.log"));
            File::create(&path).with_context(|| path.display().to_string())
        };
        let log = logs.map(open).transpose()?;
        let (name, symbols, line) = (name.into(), Symbols::default(), Vec::new());
        Ok(Console { name, state, log, recent: VecDeque::new(), symbols, line })
    }

    /// The same text, with names beside the addresses of reports.
    fn named(&mut self, text: &[u8]) -> Vec<u8> {
        let mut named = Vec::with_capacity(text.len());
        for byte in text {
            if *byte == b'\n' {
                if let Some(name) = self.symbols.beside(&self.line) {
                    named.extend(format!(" {name}").bytes());
                }
                self.line.clear();
            } else if self.line.len() < REPORT_LINE {
                self.line.push(*byte);
            }
            named.push(*byte);
        }
        named
    }

    fn take(&mut self, text: &[u8]) {
        // A full disk is no reason to stop the machine; the console itself still shows all.
        let _ = self.log.as_mut().map_or(Ok(()), |log| log.write_all(text));
        self.recent.extend(text);
        let surplus = self.recent.len().saturating_sub(MEMORY);
        self.recent.drain(..surplus);
    }

    /// The last lines that it said, at most so many, and what came after the last newline.
    pub fn tail(&self, lines: usize) -> Vec<u8> {
        let newlines: Vec<usize> = self
            .recent
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .map(|(at, _)| at)
            .collect();
        let start = match newlines.len().checked_sub(lines + 1) {
            Some(skip) => newlines.get(skip).map_or(0, |at| at + 1),
            None => 0,
        };
        self.recent.range(start..).copied().collect()
    }
}

impl Consoles {
    /// Consoles for domains of these names, which log to files in `logs`.
    pub fn new(domains: &[String], logs: Option<&Path>) -> anyhow::Result<Consoles> {
        let mut list = vec![Console::new("hypervisor", State::Waiting, logs)?];
        for name in domains {
            list.push(Console::new(name, State::Waiting, logs)?);
        }
        let firmware = Console::new("firmware", State::Running, logs)?;
        Ok(Consoles { list, firmware, line: Vec::new() })
    }

    /// What the addresses in a console's reports are called.
    pub fn set_symbols(&mut self, number: usize, symbols: Symbols) {
        if let Some(console) = self.list.get_mut(number) {
            console.symbols = symbols;
        }
    }

    /// How many there are, the hypervisor's included.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The console of this number.
    pub fn get(&self, number: usize) -> Option<&Console> {
        self.list.get(number)
    }

    /// The number of the console with this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|console| console.name == name)
    }

    /// The consoles with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Console)> {
        self.list.iter().enumerate()
    }

    /// The channel of console `number`.
    pub fn channel(&self, number: usize) -> Option<Channel> {
        let channel = u8::try_from(number).ok().and_then(Channel::new);
        channel.filter(|_| number < self.list.len())
    }

    /// What the firmware and the hypervisor said last, for a machine that is in trouble.
    pub fn trouble(&self) -> String {
        let mut text = String::new();
        for console in std::iter::once(&self.firmware).chain(self.list.first()) {
            let tail = console.tail(15);
            if !tail.is_empty() {
                let tail = String::from_utf8_lossy(&tail).replace('\r', "");
                text += &format!("--- {} ---\n{}\n", console.name, tail.trim_end());
            }
        }
        text
    }

    /// Takes a piece of what the machine says; tells what it means.
    pub fn hear(&mut self, heard: Heard) -> Vec<Happening> {
        match heard {
            Heard::Raw(text) => {
                self.firmware.take(&text);
                Vec::new()
            }
            Heard::Output(channel, text) => {
                let number = usize::from(channel.number());
                let mut happenings = Vec::new();
                if let Some(console) = self.list.get_mut(number) {
                    let text = console.named(&text);
                    console.take(&text);
                    happenings.push(Happening::Text(number, text));
                }
                if channel == Channel::HYPERVISOR {
                    self.hypervisor(&text, &mut happenings);
                }
                happenings
            }
            Heard::Taken(channel, count) => vec![Happening::Taken(channel, count)],
            Heard::Closed => vec![Happening::Closed],
        }
    }

    /// Reads the hypervisor's lines as events.
    fn hypervisor(&mut self, text: &[u8], happenings: &mut Vec<Happening>) {
        for byte in text {
            if *byte != b'\n' {
                if self.line.len() < MAX_LINE {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            if let Some(event) = Event::parse(line.trim_end_matches('\r')) {
                happenings.extend(self.event(event));
            }
        }
    }

    fn event(&mut self, event: Event<'_>) -> Option<Happening> {
        if let Some(hypervisor) = self.list.first_mut() {
            hypervisor.state = State::Running;
        }
        let (number, happening) = match event {
            Event::Note(ALL_ENDED) => return Some(Happening::AllEnded),
            Event::Note(text) => return Some(Happening::Note(text.into())),
            Event::Measured(_) => return None, // `attest` reads it in the log
            Event::Started { number, ticks, .. } => {
                (number, Happening::Started(number.into(), ticks))
            }
            Event::Refused { number, text, .. } => {
                (number, Happening::Refused(number.into(), text.into()))
            }
            Event::Ended { number, .. } => (number, Happening::Ended(number.into())),
        };
        // Number 0 is not a domain's, and the hypervisor only knows those of the archive.
        let console = self.list.get_mut(usize::from(number)).filter(|_| number > 0)?;
        match event {
            Event::Started { .. } => console.state = State::Running,
            Event::Ended { how, .. } => console.state = State::Ended(how.into()),
            _ => {}
        }
        Some(happening)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(number: u8, text: &str) -> Heard {
        Heard::Output(Channel::new(number).unwrap(), text.into())
    }

    #[test]
    fn events_become_states() {
        let mut consoles = Consoles::new(&["one".into(), "two".into()], None).unwrap();
        let start = "domain 2 (two): started on processor 0, 64 MiB, 77 ticks after entry\r\n";
        let (left, right) = start.split_at(20);
        assert_eq!(consoles.hear(output(0, left)).len(), 1);
        assert_eq!(consoles.hear(output(0, right))[1], Happening::Started(2, 77));
        assert_eq!(consoles.get(2).unwrap().state, State::Running);
        assert_eq!(consoles.get(1).unwrap().state, State::Waiting);
        let happenings = consoles.hear(output(0, "domain 2 (two): crashed: at 0x40\n"));
        assert_eq!(happenings[1], Happening::Ended(2));
        let crash = Ending::Crash("at 0x40".into());
        assert_eq!(consoles.get(2).unwrap().state, State::Ended(crash));
        assert_eq!(
            consoles.hear(output(0, "hypervisor: all domains have ended\n"))[1],
            Happening::AllEnded
        );
        // A guest cannot speak for the hypervisor, and unknown domains and lines do no harm.
        assert_eq!(consoles.hear(output(1, "domain 1 (one): ended: power-off\n")).len(), 1);
        assert_eq!(consoles.hear(output(0, "domain 9 (x): ended: power-off\nwhat?\n")).len(), 1);
        assert_eq!(consoles.hear(output(7, "nobody")), []);
        assert_eq!(consoles.find("two"), Some(2));
        assert_eq!(consoles.channel(3), None);
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let mut consoles = Consoles::new(&["one".into()], None).unwrap();
        let text: String = (0..5000).map(|n| format!("{n}\n")).collect();
        consoles.hear(output(1, &text));
        consoles.hear(output(1, "# "));
        assert_eq!(consoles.get(1).unwrap().tail(2), b"4998\n4999\n# ");
        assert_eq!(consoles.get(0).unwrap().tail(2), b"");
        consoles.hear(Heard::Raw(b"OPAL\r\n".to_vec()));
        assert_eq!(consoles.trouble(), "--- firmware ---\nOPAL\n");
    }

    #[test]
    fn each_console_has_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut consoles = Consoles::new(&["one".into()], Some(folder.path())).unwrap();
        consoles.hear(output(1, "a\n"));
        consoles.hear(output(1, "b\n"));
        consoles.hear(Heard::Raw(b"fw".to_vec()));
        let read = |name| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("one.log"), "a\nb\n");
        assert_eq!(read("firmware.log"), "fw");
        assert_eq!(read("hypervisor.log"), "");
    }
}
