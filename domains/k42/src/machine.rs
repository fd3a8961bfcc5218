//! A running machine: QEMU, its consoles, and what goes on, one happening after the other.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k42_wire::Channel;

use crate::compile::compile;
use crate::consoles::{Consoles, Happening, State};
use crate::description::{Description, Kind};
use crate::input::{END_OF_INPUT, Input};
use crate::line::{Heard, frames, listen};
use crate::qemu::{self, Qemu, Settings};
use crate::symbols::Symbols;
use crate::{disks, files};

/// How many pieces may wait between the threads; a full queue makes the machine wait.
const QUEUE: usize = 64;
/// How much is read from the keyboard or a file at once.
const CHUNK: usize = 4 << 10;

/// What a machine is started with besides its description.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where archive and logs go; `target/run/NAME` if nothing is said.
    pub folder: Option<PathBuf>,
    /// The port for gdb, for which the machine then waits.
    pub gdb: Option<u16>,
    /// More of QEMU's options.
    pub qemu: Vec<String>,
    /// Its memory is a file, and events are written there: [`crate::trace`].
    pub traced: bool,
    /// The hypervisor's image is the one that checks its own state when a guest asks, for tests.
    pub walker: bool,
}

/// A machine that runs.
pub struct Machine {
    /// Ends with this value; none when the line leads elsewhere.
    _qemu: Option<Qemu>,
    /// Let go with this value, after QEMU.
    _disks: Vec<File>,
    consoles: Consoles,
    input: Input,
    to_line: Sender<Vec<u8>>,
    arrivals: Receiver<Arrival>,
    arrive: SyncSender<Arrival>,
    pending: VecDeque<News>,
    /// Asks for more of this side's input; the console it goes to.
    keys: Option<(Sender<()>, bool)>,
}

/// What comes from the threads.
enum Arrival {
    Heard(Heard),
    Keys(Vec<u8>),
}

/// What [`Machine::next`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Of the machine.
    Machine(Happening),
    /// Of this side's input: bytes, none at its end. Ask for more by [`Machine::more_keys`].
    Keys(Vec<u8>),
}

/// The folder of a machine's archive and logs, made.
pub fn folder(description: &Description, options: &Options) -> anyhow::Result<PathBuf> {
    let default = || files::top().join(files::RUN).join(&description.name);
    let folder = options.folder.clone().unwrap_or_else(default);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Writes the archive and says how to start QEMU with it; the machine's disks are held as long as the
/// files that are returned live.
pub fn prepare(
    description: &Description,
    console: boot_archive::Console,
    options: &Options,
    folder: &Path,
) -> anyhow::Result<(std::process::Command, Vec<File>)> {
    let kind = if options.walker { files::WALKER } else { "" };
    let image = format!("{}{kind}", files::hypervisor(description.model));
    let hypervisor = files::top().join(&image);
    ensure!(hypervisor.is_file(), "there is no {image}; {}", files::remedy(&image));
    let archive = folder.join("boot-archive");
    let traced = options.traced || description.trace;
    let description = &Description { trace: traced, ..description.clone() };
    let memory_file = traced.then(|| crate::trace::file(folder));
    if let Some(path) = &memory_file {
        // A machine's memory is zero at first.
        File::create(path).with_context(|| path.display().to_string())?;
    }
    fs::write(&archive, compile(description, console)?)
        .with_context(|| archive.display().to_string())?;
    let held = disks::hold(description)?;
    let sized = |path: &Path| Some((path.to_path_buf(), path.metadata().ok()?.len()));
    let settings = Settings {
        model: description.model,
        processors: description.processors,
        memory: description.machine_memory(),
        gdb: options.gdb,
        disks: disks::files(description).filter_map(sized).collect(),
        memory_file,
        more: options.qemu.clone(),
    };
    Ok((qemu::command(&settings, &hypervisor, &archive), held))
}

impl Machine {
    /// Builds the archive, starts QEMU with it and listens.
    pub fn start(description: &Description, options: &Options) -> anyhow::Result<Machine> {
        let folder = folder(description, options)?;
        let (command, held) =
            prepare(description, boot_archive::Console::Framed, options, &folder)?;
        let names: Vec<String> = description.domains.iter().map(|d| d.name.clone()).collect();
        let mut consoles = Consoles::new(&names, Some(&folder))?;
        for (number, domain) in (1..).zip(&description.domains) {
            let library = matches!(domain.kind, Kind::K42 { .. })
                .then(|| files::top().join(files::LINUX_COMPAT));
            let files = library.into_iter().chain([domain.kernel.clone()]).collect();
            consoles.set_symbols(number, Symbols::of(files));
        }
        let log = File::create(folder.join("qemu.log"))?;
        let (qemu, output, input) = Qemu::start(command, log)?;
        Ok(Machine { _qemu: Some(qemu), _disks: held, ..Machine::attach(consoles, output, input) })
    }

    /// A machine at the other end of a line that is there already.
    pub fn attach(
        consoles: Consoles,
        line: impl Read + Send + 'static,
        mut to: impl Write + Send + 'static,
    ) -> Machine {
        let (arrive, arrivals) = sync_channel(QUEUE);
        let (to_line, frames) = channel::<Vec<u8>>();
        let tell = arrive.clone();
        thread::spawn(move || listen(line, |heard| tell.send(Arrival::Heard(heard)).is_ok()));
        // Writing has a thread of its own: the machine may read slowly while it has much to say.
        thread::spawn(move || {
            for bytes in frames {
                if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
                    break;
                }
            }
        });
        let (input, pending) = (Input::default(), VecDeque::new());
        let _disks = Vec::new();
        Machine {
            _qemu: None,
            _disks,
            consoles,
            input,
            to_line,
            arrivals,
            arrive,
            pending,
            keys: None,
        }
    }

    /// The consoles.
    pub fn consoles(&self) -> &Consoles {
        &self.consoles
    }

    /// From now on, what comes from `source` is news. The first bytes come unasked.
    pub fn read_keys(&mut self, mut source: impl Read + Send + 'static) {
        let (more, asked) = channel();
        let tell = self.arrive.clone();
        self.keys = Some((more, true));
        thread::spawn(move || {
            let mut buffer = [0; CHUNK];
            loop {
                let size = source.read(&mut buffer).unwrap_or(0);
                let bytes = buffer.get(..size).unwrap_or_default().to_vec();
                if tell.send(Arrival::Keys(bytes)).is_err() || size == 0 || asked.recv().is_err() {
                    return;
                }
            }
        });
    }

    /// Asks for more of what [`Machine::read_keys`] reads, unless that has been asked already.
    pub fn more_keys(&mut self) {
        if let Some((more, asked)) = &mut self.keys
            && !*asked
        {
            *asked = true;
            // Nobody is left to ask after the end of the input.
            let _ = more.send(());
        }
    }

    /// Sends bytes to a console's domain, as fast as it takes them; not to one that has ended.
    pub fn send(&mut self, console: usize, bytes: &[u8]) {
        let state = self.consoles.get(console).map(|console| &console.state);
        if let (Some(State::Waiting | State::Running), Some(channel)) =
            (state, self.consoles.channel(console))
        {
            self.input.push(channel, bytes);
            self.flush();
        }
    }

    /// Asks the hypervisor for a report on a console's domain, which goes on; false when none runs.
    pub fn dump(&mut self, console: usize) -> bool {
        let runs = |number| self.consoles.get(number).is_some_and(|c| c.state == State::Running);
        let domain = self
            .consoles
            .channel(console)
            .filter(|channel| *channel != Channel::HYPERVISOR && runs(console));
        let Some(domain) = domain else { return false };
        // A line that is gone is told as `Closed`.
        let _ = self.to_line.send(frames(Channel::HYPERVISOR, &[domain.number()]));
        true
    }

    /// Tells a console's domain that its input is at an end.
    pub fn end_input(&mut self, console: usize) {
        self.send(console, &[END_OF_INPUT]);
    }

    /// How many bytes for a console's domain have not gone out yet.
    pub fn waiting(&self, console: usize) -> usize {
        self.consoles.channel(console).map_or(0, |channel| self.input.waiting(channel))
    }

    fn flush(&mut self) {
        let frames = self.input.ready();
        if !frames.is_empty() {
            // A line that is gone is told as `Closed`.
            let _ = self.to_line.send(frames);
        }
    }

    /// The next thing that happens; `None` when nothing has until the deadline.
    pub fn next(&mut self, deadline: Option<Instant>) -> Option<News> {
        loop {
            if let Some(news) = self.pending.pop_front() {
                return Some(news);
            }
            let arrival = match deadline {
                None => self.arrivals.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.arrivals.recv_timeout(left)
                }
            };
            match arrival {
                Ok(Arrival::Keys(bytes)) => {
                    if let Some((_, asked)) = &mut self.keys {
                        *asked = false;
                    }
                    self.pending.push_back(News::Keys(bytes));
                }
                Ok(Arrival::Heard(heard)) => {
                    for happening in self.consoles.hear(heard) {
                        self.react(&happening);
                        self.pending.push_back(News::Machine(happening));
                    }
                }
                // This value holds a sender itself, so the queue is never without one.
                Err(_) => return None,
            }
        }
    }

    /// What a happening means for the input.
    fn react(&mut self, happening: &Happening) {
        match happening {
            Happening::Started(console, _) => {
                if let Some(channel) = self.consoles.channel(*console) {
                    self.input.open(channel);
                    self.flush();
                }
            }
            Happening::Taken(channel, count) => {
                self.input.taken(*channel, *count);
                self.flush();
            }
            Happening::Ended(console) => {
                if let Some(channel) = self.consoles.channel(*console) {
                    self.input.forget(channel);
                }
            }
            _ => {}
        }
    }

    /// Gives a machine whose domains have ended the time to power itself off; then ends it.
    pub fn finish(mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while let Some(news) = self.next(Some(deadline)) {
            if news == News::Machine(Happening::Closed) {
                return;
            }
        }
    }
}
