//! The peer: Linux with KVM-HV on the same emulated machine. Its one process (`tests/peer`) measures,
//! prints `BENCH name N insns` for each figure and powers the machine off.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use anyhow::{Context, bail, ensure};
use k42::files;
use k42::qemu::{self, Qemu, Settings};

use crate::figures::Clock;
use crate::machine::HANG;
use crate::{KERNELS, Model};

const INITRD: &str = "target/inputs/peer.cpio";
/// No self-tests of ciphers in the background, and Linux at its fastest.
const COMMAND_LINE: &str = "console=hvc0 quiet mitigations=off cryptomgr.notests";
const MEMORY: u64 = 2 << 30;

/// What the peer measured of itself.
#[derive(Debug)]
pub struct Peer(BTreeMap<String, u64>);

impl Peer {
    /// Measures all of it.
    ///
    /// # Errors
    /// When it does not come to its end.
    pub fn measure(model: Model, clock: Clock) -> anyhow::Result<Peer> {
        run(model, clock.options())
    }

    /// All its figures, by name.
    pub fn figures(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, &figure)| (name.as_str(), figure))
    }

    /// The figure of that name.
    ///
    /// # Errors
    /// When it has none.
    pub fn figure(&self, name: &str) -> anyhow::Result<u64> {
        self.0.get(name).copied().with_context(|| format!("the peer has no figure {name}"))
    }
}

fn run(model: Model, options: &[&str]) -> anyhow::Result<Peer> {
    let kernel = files::top().join("target/inputs").join(KERNELS[1]);
    let initrd = files::top().join(INITRD);
    ensure!(initrd.is_file(), "there is no {INITRD}; {}", files::remedy(INITRD));
    let folder = files::top().join(files::RUN).join(format!("peer-{}", model.name()));
    fs::create_dir_all(&folder)?;
    let more = ["-append", COMMAND_LINE].iter().chain(options).map(|&word| word.into()).collect();
    let settings =
        Settings { model, processors: 1, memory: MEMORY, gdb: None, disks: Vec::new(), more };
    let command = qemu::command(&settings, &kernel, &initrd);
    // Its standard input stays open, and QEMU ends with `_qemu`.
    let (_qemu, output, _input) = Qemu::start(command, File::create(folder.join("qemu.log"))?)?;

    let (tell, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if tell.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    });
    let mut figures = BTreeMap::new();
    let mut last = String::new();
    loop {
        match lines.recv_timeout(HANG) {
            Ok(line) if line == "peer: done" => return Ok(Peer(figures)),
            Ok(line) => {
                figures.extend(figure(&line));
                last = line;
            }
            Err(RecvTimeoutError::Disconnected) => bail!("it ended early, saying {last:?}"),
            Err(RecvTimeoutError::Timeout) => bail!("nothing for {HANG:?} after {last:?}"),
        }
    }
}

/// A figure's line, `BENCH name N insns`.
fn figure(line: &str) -> Option<(String, u64)> {
    let mut words = line.strip_prefix("BENCH ")?.split(' ');
    Some((words.next()?.into(), words.next()?.parse().ok()?))
}
