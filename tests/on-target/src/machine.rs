//! A machine under test.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use k42::consoles::Happening;
use k42::machine::{News, Options};
use regex::Regex;

use crate::text::Plain;
use crate::{Description, Ending, State};

/// Ends a machine that hangs. The slowest of what is waited for takes a tenth of it.
pub(crate) const HANG: Duration = Duration::from_secs(300);
/// How long reports may take of the domains of one that hangs.
const REPORT: Duration = Duration::from_secs(20);
/// How many lines of each console a failure shows: reports on eight vCPUs among them.
const TAIL: usize = 400;

/// A machine that runs, with all that its consoles have said.
pub struct Machine {
    inner: k42::machine::Machine,
    transcripts: Vec<Transcript>,
    /// From the hypervisor's entry to each domain's first instruction, in timebase ticks.
    started: Vec<Option<u64>>,
    all_ended: bool,
    closed: bool,
}

#[derive(Default)]
struct Transcript {
    plain: Plain,
    text: String,
    /// What comes before this has been waited for already.
    seen: usize,
}

/// One of its consoles.
pub struct Console<'m> {
    machine: &'m mut Machine,
    number: usize,
}

impl Machine {
    /// Boots the machine of this description.
    pub fn boot(description: &Description) -> anyhow::Result<Machine> {
        Machine::boot_with(description, &[])
    }

    /// The same with more options for QEMU.
    pub fn boot_with(description: &Description, qemu: &[&str]) -> anyhow::Result<Machine> {
        let qemu = qemu.iter().map(|option| (*option).into()).collect();
        Machine::boot_as(description, &Options { qemu, ..Options::default() })
    }

    /// The same with the hypervisor that checks its own state when a guest asks.
    pub fn boot_walker(description: &Description) -> anyhow::Result<Machine> {
        Machine::boot_as(description, &Options { walker: true, ..Options::default() })
    }

    fn boot_as(description: &Description, options: &Options) -> anyhow::Result<Machine> {
        let inner = k42::machine::Machine::start(description, options)?;
        let count = inner.consoles().count();
        let transcripts = (0..count).map(|_| Transcript::default()).collect();
        let started = vec![None; count];
        Ok(Machine { inner, transcripts, started, all_ended: false, closed: false })
    }

    /// Boots the machine of a description as it stands in a file.
    pub fn boot_toml(name: &str, text: &str) -> anyhow::Result<Machine> {
        let name = format!("test-{name}");
        Machine::boot(&Description::parse(&name, &format!("{name}.toml"), text)?)
    }

    /// The console of the domain with this name; the hypervisor's is `hypervisor`.
    ///
    /// # Panics
    /// When there is none: the test is wrong.
    pub fn console(&mut self, name: &str) -> Console<'_> {
        match self.inner.consoles().find(name) {
            Some(number) => Console { machine: self, number },
            None => panic!("the machine has no console {name}"),
        }
    }

    /// Waits until all domains have ended and the machine has powered itself off.
    pub fn wait_end(mut self) -> anyhow::Result<()> {
        self.until("the machine to power itself off", |machine| machine.closed.then_some(()))?;
        if !self.all_ended {
            bail!("the machine stopped before its domains had ended\n{}", self.tails());
        }
        Ok(())
    }

    /// Waits until `test` finds something.
    fn until<T>(
        &mut self,
        what: &str,
        mut test: impl FnMut(&mut Machine) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + HANG;
        loop {
            if let Some(found) = test(self) {
                return Ok(found);
            }
            if self.closed {
                bail!("the machine stopped, waiting for {what}\n{}", self.tails());
            }
            match self.inner.next(Some(deadline)) {
                Some(News::Machine(happening)) => self.take(happening),
                Some(News::Keys(_)) => {}
                None => {
                    self.report();
                    bail!("nothing for {HANG:?}, waiting for {what}\n{}", self.tails());
                }
            }
        }
    }

    /// Has every domain that hangs reported on, as a person would by a key, and listens for a while.
    fn report(&mut self) {
        for number in 1..self.transcripts.len() {
            self.inner.dump(number);
        }
        let deadline = Instant::now() + REPORT;
        while let Some(news) = self.inner.next(Some(deadline)) {
            if let News::Machine(happening) = news {
                self.take(happening);
            }
        }
    }

    fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Text(number, bytes) => {
                if let Some(transcript) = self.transcripts.get_mut(number) {
                    transcript.text += &transcript.plain.push(&bytes);
                }
            }
            Happening::Started(number, ticks) => {
                if let Some(started) = self.started.get_mut(number) {
                    *started = Some(ticks);
                }
            }
            Happening::AllEnded => self.all_ended = true,
            Happening::Closed => self.closed = true,
            _ => {}
        }
    }

    /// What each console said last.
    fn tails(&self) -> String {
        let mut tails = self.inner.consoles().trouble();
        for (console, transcript) in self.inner.consoles().iter().zip(&self.transcripts).skip(1) {
            let lines: Vec<&str> = transcript.text.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
            let (number, console) = console;
            tails += &format!(
                "--- console {number}: {} ({}) ---\n{}\n",
                console.name,
                console.state,
                tail.join("\n")
            );
        }
        tails
    }
}

impl Console<'_> {
    fn name(&self) -> String {
        self.machine.inner.consoles().get(self.number).map_or("", |c| c.name.as_str()).into()
    }

    fn transcript(machine: &mut Machine, number: usize) -> Option<&mut Transcript> {
        machine.transcripts.get_mut(number)
    }

    /// Waits for text that this regular expression matches, after what was waited for before;
    /// returns the text of its first group, or all of it without one. `^` and `$` are a line's.
    pub fn expect(&mut self, pattern: &str) -> anyhow::Result<String> {
        let regex = Regex::new(&format!("(?m){pattern}")).context("the test is wrong")?;
        let number = self.number;
        let what = format!("{pattern:?} on console {}", self.name());
        self.machine.until(&what, |machine| {
            let transcript = Console::transcript(machine, number)?;
            let captures = regex.captures(transcript.text.get(transcript.seen..)?)?;
            let found = captures.get(1).or(captures.get(0))?.as_str().to_string();
            let end = captures.get(0)?.end();
            transcript.seen += end;
            Some(found)
        })
    }

    /// Sends text to the domain.
    pub fn send(&mut self, text: &str) {
        self.machine.inner.send(self.number, text.as_bytes());
    }

    /// Sends a line to the domain.
    pub fn line(&mut self, text: &str) {
        self.send(&format!("{text}\n"));
    }

    /// Asks for a report on the domain, as a person does by a key.
    ///
    /// # Errors
    /// When no domain runs there.
    pub fn dump(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.machine.inner.dump(self.number), "{} does not run", self.name());
        Ok(())
    }

    /// Tells the domain's program that its input is at an end.
    pub fn end_input(&mut self) {
        self.machine.inner.end_input(self.number);
    }

    /// All that the console has said so far.
    pub fn said(&self) -> &str {
        self.machine.transcripts.get(self.number).map_or("", |transcript| &transcript.text)
    }

    /// Waits until the domain runs; from the hypervisor's entry to its first instruction it took
    /// so many ticks.
    pub fn started(&mut self) -> anyhow::Result<u64> {
        let (number, what) = (self.number, format!("{} to start", self.name()));
        self.machine.until(&what, |machine| machine.started.get(number).copied().flatten())
    }

    /// Waits until the domain has ended; says how.
    pub fn ended(&mut self) -> anyhow::Result<Ending> {
        let (number, what) = (self.number, format!("{} to end", self.name()));
        self.machine.until(&what, |machine| match &machine.inner.consoles().get(number)?.state {
            State::Ended(ending) => Some(ending.clone()),
            State::Waiting | State::Running => None,
        })
    }

    /// Waits until the domain has ended, as it should.
    pub fn ends_with(&mut self, expected: &Ending) -> anyhow::Result<()> {
        let ending = self.ended()?;
        if ending == *expected {
            return Ok(());
        }
        Err(anyhow!("{}: {ending}, not {expected}\n{}", self.name(), self.machine.tails()))
    }

    /// An error if the domain has ended.
    pub fn lives(&self) -> anyhow::Result<()> {
        match self.machine.inner.consoles().get(self.number).map(|console| &console.state) {
            Some(State::Running) => Ok(()),
            _ => Err(anyhow!("{} does not run\n{}", self.name(), self.machine.tails())),
        }
    }
}
