//! Lines that move between processors' caches, as a plug-in of the emulator's counts them
//! (`tests/coherence`): for Linux on the bare machine, and for vCPUs of a domain on a processor each.
//!
//! A program marks what is counted, and gives it a name (`tests/guest/src/coherence.rs`); docs/measuring.md
//! says what is followed and what not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use k42::files;

use crate::bare::{Linux, folder};
use crate::figures::Clock;
use crate::{Machine, Model, describe};

const PLUGIN: &str = "target/coherence.so";
const INITRD: &str = "target/inputs/coherence.cpio";
/// What the program on Linux says last, and that Linux's memory in bytes.
const DONE: &str = "coherence: done";
const MEMORY: u64 = 1 << 30;

/// What was counted of a name, for a number of processors that did it at once, each time.
pub type Windows = BTreeMap<(String, u32), Vec<Window>>;

/// What is counted from a mark to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// How many operations the processors did, together.
    pub operations: u64,
    /// What they needed of each other in user mode.
    pub user: Lines,
    /// In supervisor mode: a domain's kernel.
    pub supervisor: Lines,
    /// In hypervisor mode, which is that of Linux's kernel on the bare machine. In a nested
    /// hypervisor it cannot be told from supervisor mode.
    pub hypervisor: Lines,
}

/// Lines that a processor needed of others, by what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// To read what another had modified.
    pub read_modified: u64,
    /// To read what others had as it is in memory.
    pub read_shared: u64,
    /// To write what others had, and not this one.
    pub write: u64,
    /// To write what others had, and this one, too: nothing moves, the others forget it.
    pub upgrade: u64,
}

impl Lines {
    /// How many lines moved.
    pub fn transfers(self) -> u64 {
        self.read_modified + self.read_shared + self.write
    }

    fn add(self, other: Lines) -> Lines {
        Lines {
            read_modified: self.read_modified + other.read_modified,
            read_shared: self.read_shared + other.read_shared,
            write: self.write + other.write,
            upgrade: self.upgrade + other.upgrade,
        }
    }
}

impl Window {
    /// In all modes together.
    pub fn all(&self) -> Lines {
        self.user.add(self.supervisor).add(self.hypervisor)
    }

    /// All of several times together.
    pub fn sum(windows: &[Window]) -> Window {
        windows.iter().fold(Window::default(), |sum, window| Window {
            operations: sum.operations + window.operations,
            user: sum.user.add(window.user),
            supervisor: sum.supervisor.add(window.supervisor),
            hypervisor: sum.hypervisor.add(window.hypervisor),
        })
    }

    /// The one of several times in which the median of lines moved or was forgotten.
    pub fn median(windows: &[Window]) -> Option<&Window> {
        let mut windows: Vec<&Window> = windows.iter().collect();
        windows.sort_by_key(|window| window.all().transfers() + window.all().upgrade);
        windows.get(windows.len() / 2).copied()
    }
}

/// What Linux does for 1, 2, 4 and so on of a machine's processors, whose work has nothing in common:
/// by the names of `tests/coherence/linux.c`.
///
/// # Errors
/// When the machine does not say.
pub fn linux(model: Model, processors: u32) -> anyhow::Result<Windows> {
    let name = "coherence-linux";
    let (plugin, reports) = plugin(name, model)?;
    let initrd = files::top().join(INITRD);
    let more = ["-plugin", plugin.as_str()];
    Linux { name, initrd: &initrd, words: "", memory: MEMORY, processors, more: &more }.run(
        model,
        Clock::Instructions,
        DONE,
    )?;
    read(&reports)
}

/// What vCPUs of a domain do that has a processor for each of them, by the names that its test gives.
///
/// # Errors
/// When the machine does not say.
pub fn guest(model: Model, test: &str, vcpus: u32) -> anyhow::Result<Windows> {
    let name = format!("coherence-{test}-{vcpus}");
    let (plugin, reports) = plugin(&name, model)?;
    let mut guest = describe::bare("guest", &format!("test={test} vcpus={vcpus}"));
    guest.vcpus = vcpus;
    let mut description = describe::machine(&name, model, vec![guest]);
    description.processors = vcpus;
    let options = [Clock::Instructions.options(), &["-plugin", &plugin]].concat();
    let mut machine = Machine::boot_with(&description, &options)?;
    let verdict = machine.console("guest").expect(r"^(ok|not ok) .*$")?;
    ensure!(verdict == "ok", "the guest says: {}", machine.console("guest").said());
    read(&reports)
}

/// The plug-in with its option, and the file that it writes to.
fn plugin(name: &str, model: Model) -> anyhow::Result<(String, PathBuf)> {
    let plugin = files::top().join(PLUGIN);
    ensure!(plugin.is_file(), "there is no {PLUGIN}; `make build` makes it");
    let reports = folder(name, model)?.join("lines");
    let text = |path: &Path| path.to_string_lossy().replace(',', ",,");
    Ok((format!("{},out={}", text(&plugin), text(&reports)), reports))
}

fn read(reports: &Path) -> anyhow::Result<Windows> {
    parse(&fs::read_to_string(reports)?).with_context(|| reports.display().to_string())
}

/// What the plug-in has written.
fn parse(text: &str) -> anyhow::Result<Windows> {
    let mut windows = Windows::new();
    let mut open = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let what = || format!("not understood: {line:?}");
        match (words.as_slice(), &mut open) {
            (["window", name, "processors", processors, "operations", operations], None) => {
                let window = Window { operations: operations.parse()?, ..Window::default() };
                open = Some(((String::from(*name), processors.parse()?), window));
            }
            (["user", lines @ ..], Some((_, open))) => open.user = of(lines).with_context(what)?,
            (["supervisor", lines @ ..], Some((_, open))) => {
                open.supervisor = of(lines).with_context(what)?;
            }
            (["hypervisor", lines @ ..], Some((_, open))) => {
                open.hypervisor = of(lines).with_context(what)?;
            }
            (["line", ..], Some(_)) => {} // for people
            (["done"], Some(_)) => {
                let (key, window) = open.take().with_context(what)?;
                windows.entry(key).or_default().push(window);
            }
            _ => anyhow::bail!(what()),
        }
    }
    Ok(windows)
}

/// The numbers of a mode.
fn of(words: &[&str]) -> Option<Lines> {
    let ["read-modified", a, "read-shared", b, "write", c, "upgrade", d] = words else {
        return None;
    };
    let [read_modified, read_shared, write, upgrade] =
        [a, b, c, d].map(|number| number.parse().ok());
    Some(Lines {
        read_modified: read_modified?,
        read_shared: read_shared?,
        write: write?,
        upgrade: upgrade?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "window a processors 2 operations 8\n\
        user read-modified 1 read-shared 2 write 3 upgrade 4\n\
        supervisor read-modified 0 read-shared 0 write 0 upgrade 1\n\
        hypervisor read-modified 0 read-shared 0 write 5 upgrade 0\n\
        line 0x80 at 0x100 user upgrade 4\n\
        done\n";

    #[test]
    fn each_time_is_told() {
        let windows =
            parse(&[REPORT, REPORT, &REPORT.replace("modified 1", "modified 9")].concat());
        let windows = &windows.unwrap()[&("a".into(), 2)];
        let sum = Window::sum(windows);
        let all = Lines { read_modified: 11, read_shared: 6, write: 24, upgrade: 15 };
        assert_eq!((windows.len(), sum.operations, sum.all()), (3, 24, all));
        assert_eq!(Window::median(windows).map(|window| window.all().transfers()), Some(11));
    }

    #[test]
    fn what_is_not_a_report_is_refused() {
        for (from, to) in [("window", "door"), ("write", "right"), ("upgrade 4", "upgrade")] {
            assert!(parse(&REPORT.replace(from, to)).is_err(), "{to}");
        }
        assert!(parse(&REPORT.repeat(2).replace("done\n", "")).is_err());
    }
}
