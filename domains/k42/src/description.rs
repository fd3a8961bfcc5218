//! What a machine and its domains are to be: the TOML files under `domains/`, checked.
//!
//! [`Description::parse`] reports everything wrong with a file at once, each with file, line, field
//! and a way to mend it. Programs may also put a [`Description`] together themselves.

mod disks;
mod fields;
mod read;
mod scheduling;
pub(crate) mod size;

use std::path::{Path, PathBuf};

pub use boot_archive::{Machine as Model, Personality, Processor};
pub use domain_builder::{Rights, Scheduling};
pub use fields::{Problem, Problems};

/// A machine and the domains that start with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The name of the folder for its logs.
    pub name: String,
    /// Which machine QEMU emulates.
    pub model: Model,
    /// How many processors it has.
    pub processors: u32,
    /// Its memory in bytes; `None` for what the domains need.
    pub memory: Option<u64>,
    /// Whether the hypervisor writes events from the start, and memory is a file that others read.
    pub trace: bool,
    /// The domains; the first is number 1.
    pub domains: Vec<DomainDescription>,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainDescription {
    /// Its name, `[a-z0-9-]{1,24}`.
    pub name: String,
    /// Its memory in bytes, a multiple of 2 MiB.
    pub memory: u64,
    /// How many vCPUs it has.
    pub vcpus: u32,
    /// Its proportional share.
    pub weight: u16,
    /// How else its vCPUs take part in the processors.
    pub scheduling: Scheduling,
    /// What it may ask of the hypervisor beyond its own affairs.
    pub rights: Rights,
    /// The name of the LAN that it is on, if it is to be on one; that without a name if none is.
    pub lan: Option<String>,
    /// The name of the controller that starts it, if that is not the hypervisor at boot.
    pub started_by: Option<String>,
    /// Its disks: files, which a storage domain of the machine serves.
    pub disks: Vec<PathBuf>,
    /// Whether its console is the one shown first.
    pub console_first: bool,
    /// The kernel, an ELF file.
    pub kernel: PathBuf,
    /// What the kernel is and what it starts.
    pub kind: Kind,
}

/// The kinds of domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Unmodified Linux.
    Linux {
        /// The initial file system.
        initrd: Option<PathBuf>,
        /// The kernel's command line.
        command_line: String,
    },
    /// K42, managing one application.
    K42 {
        /// The root file system, a cpio archive.
        root: PathBuf,
        /// The program: a path in the root file system, or a name to look for there.
        program: String,
        /// Its arguments after its name.
        arguments: Vec<String>,
        /// Its environment, `NAME=value` each.
        environment: Vec<String>,
        /// The kernel's own options.
        bootargs: String,
    },
    /// A kernel of ours that starts the domains that name it.
    Controller {
        /// Its options.
        bootargs: String,
    },
    /// A kernel of ours that serves all others their disks.
    Storage,
    /// A kernel of ours by itself, such as a test.
    Bare {
        /// The hypercalls that it speaks: Xen's, or in a test PAPR's.
        personality: Personality,
        /// The kernel's options.
        bootargs: String,
    },
}

/// The least memory that QEMU gives such a machine.
pub const LEAST_MEMORY: u64 = 1 << 30;
/// What no domain can have: where the hypervisor's image, the boot archive and the firmware are
/// (0x2000_0000 to 0x3300_0000), and something for the hypervisor's own tables.
pub const TAKEN_MEMORY: u64 = 0x1300_0000 + (16 << 20);

impl Description {
    /// Reads the file at `path`, which need not be below the top of the source tree.
    pub fn load(path: &Path) -> anyhow::Result<Description> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Description::parse(&name, &path.to_string_lossy(), &text)?)
    }

    /// Reads a description; `file` is what errors call it.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Description, Problems> {
        read::description(name, file, text)
    }

    /// The memory of the domains together.
    pub fn domains_memory(&self) -> u64 {
        self.domains.iter().map(|domain| domain.memory).sum()
    }

    /// The machine's memory in bytes: what is said, or the domains' and 1 GiB, in whole GiB.
    pub fn machine_memory(&self) -> u64 {
        let needed = (self.domains_memory() + LEAST_MEMORY).next_multiple_of(LEAST_MEMORY);
        self.memory.unwrap_or(needed)
    }

    /// The number of the LAN that this domain is on: those that have names are numbered from 1, in
    /// the order of the domains.
    pub fn lan_number(&self, domain: &DomainDescription) -> u16 {
        let mut names: Vec<&String> = Vec::new();
        for name in self.domains.iter().filter_map(|domain| domain.lan.as_ref()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let named = domain.lan.as_ref();
        (1..).zip(names).find(|(_, name)| Some(*name) == named).map_or(0, |(number, _)| number)
    }

    /// The number, from 0, of the domain whose console is shown first: the one that asks for it,
    /// or else the first Linux, or else the first.
    pub fn first_console(&self) -> usize {
        let position = |test: fn(&DomainDescription) -> bool| self.domains.iter().position(test);
        position(|domain| domain.console_first)
            .or_else(|| position(|domain| matches!(domain.kind, Kind::Linux { .. })))
            .unwrap_or(0)
    }
}

/// The environment of a program that names none.
pub fn default_environment() -> Vec<String> {
    ["PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/", "TERM=vt100"].map(String::from).to_vec()
}

/// A domain's memory as people write it, in bytes; or what is wrong with it.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = size::parse(text).ok_or_else(|| size::HOW.to_string())?;
    match bytes > 0 && bytes.is_multiple_of(boot_archive::MEMORY_GRANULE) {
        true => Ok(bytes),
        false => Err("not a multiple of 2 MiB".into()),
    }
}
