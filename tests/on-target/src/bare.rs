//! Linux on the bare machine: what the peer and the measured domains are compared on.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use anyhow::{bail, ensure};
use k42::files;
use k42::qemu::{self, Qemu, Settings};

use crate::figures::Clock;
use crate::machine::HANG;
use crate::{KERNELS, Model};

/// Linux at its fastest, without self-tests of ciphers in the background. On bare metal QEMU names no
/// page sizes, and so programs get no large pages there: nor do they in the guests that are compared
/// with it. Where programs lie is not drawn by lot, for how many page tables they need depends on it.
pub(crate) const COMMAND_LINE: &str =
    "quiet mitigations=off cryptomgr.notests transparent_hugepage=never norandmaps";

/// A Linux to boot.
pub(crate) struct Linux<'a> {
    /// The folder's name, for the machine's log.
    pub(crate) name: &'a str,
    /// The initial file system.
    pub(crate) initrd: &'a Path,
    /// More words for its command line.
    pub(crate) words: &'a str,
    /// The machine's memory in bytes.
    pub(crate) memory: u64,
    /// How many processors it has.
    pub(crate) processors: u32,
    /// More of QEMU's options.
    pub(crate) more: &'a [&'a str],
}

impl Linux<'_> {
    /// Boots it, with the newer kernel, until it says the line `last`; all that it says before.
    pub(crate) fn run(
        &self,
        model: Model,
        clock: Clock,
        last: &str,
    ) -> anyhow::Result<Vec<String>> {
        let kernel = files::top().join("target/inputs").join(KERNELS[1]);
        let shown = self.initrd.strip_prefix(files::top()).unwrap_or(self.initrd).display();
        let remedy = files::remedy(&shown.to_string());
        ensure!(self.initrd.is_file(), "there is no {shown}; {remedy}");
        let log = File::create(folder(self.name, model)?.join("qemu.log"))?;
        let command_line = format!("console=hvc0 {COMMAND_LINE} {}", self.words);
        let append = ["-append", &command_line];
        let more = append.iter().chain(clock.options()).chain(self.more);
        let settings = Settings {
            model,
            processors: self.processors,
            memory: self.memory,
            memory_file: None,
            gdb: None,
            disks: Vec::new(),
            more: more.map(|&word| word.into()).collect(),
        };
        // Its standard input stays open, and QEMU ends with `_qemu`.
        let (_qemu, output, _input) =
            Qemu::start(qemu::command(&settings, &kernel, self.initrd), log)?;

        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if tell.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    return;
                }
            }
        });
        let mut said: Vec<String> = Vec::new();
        loop {
            match lines.recv_timeout(HANG) {
                Ok(line) if line == last => return Ok(said),
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("it ended early, saying {:?}", said.last())
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("nothing for {HANG:?} after {:?}", said.last())
                }
            }
        }
    }
}

/// The folder of such a machine's files.
pub(crate) fn folder(name: &str, model: Model) -> anyhow::Result<PathBuf> {
    let folder = files::top().join(files::RUN).join(format!("{name}-{}", model.name()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
