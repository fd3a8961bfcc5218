//! What an archive says of the machine that it is for and of its domains' part in it: asked of it at
//! boot ([`crate::read`]), and by the host tool.

/// What the root node's `compatible` says.
pub const COMPATIBLE: &str = "k42,boot-archive-1";
/// Where the payload begins: the first multiple of this after the index.
pub const PAYLOAD_ALIGNMENT: u64 = 64 << 10;
/// A domain's memory is a multiple of this.
pub const MEMORY_GRANULE: u64 = 2 << 20;
/// The highest domain number: its console channel has the same number (docs/interfaces.md §2).
pub const MAX_DOMAIN: u16 = 62;

/// The machine that the domains' device trees were built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    /// QEMU's `powernv9`: POWER9.
    Powernv9,
    /// QEMU's `powernv10`: POWER10.
    Powernv10,
    /// QEMU's `pseries` with nested guests, on POWER9: the hypervisor is itself a guest.
    Pseries9,
    /// The same on POWER10.
    Pseries10,
}

/// A kind of processor, which the domains' device trees describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processor {
    /// POWER9.
    Power9,
    /// POWER10.
    Power10,
}

impl Machine {
    /// Every machine.
    pub const ALL: [Machine; 4] =
        [Machine::Powernv9, Machine::Powernv10, Machine::Pseries9, Machine::Pseries10];

    /// Its name in the archive and in descriptions.
    pub const fn name(self) -> &'static str {
        match self {
            Machine::Powernv9 => "powernv9",
            Machine::Powernv10 => "powernv10",
            Machine::Pseries9 => "pseries9",
            Machine::Pseries10 => "pseries10",
        }
    }

    /// The machine of that name.
    pub fn from_name(name: &str) -> Option<Machine> {
        Machine::ALL.into_iter().find(|m| m.name() == name)
    }

    /// Its processors.
    pub const fn processor(self) -> Processor {
        match self {
            Machine::Powernv9 | Machine::Pseries9 => Processor::Power9,
            Machine::Powernv10 | Machine::Pseries10 => Processor::Power10,
        }
    }

    /// Whether the hypervisor runs nested on it, as a guest of another hypervisor.
    pub const fn is_nested(self) -> bool {
        matches!(self, Machine::Pseries9 | Machine::Pseries10)
    }
}

/// How the hypervisor speaks on the serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Console {
    /// In frames, for the host tool.
    Framed,
    /// In lines that carry the domain's name, for a person at a plain terminal.
    Plain,
}

impl Console {
    /// Its name in the archive.
    pub const fn name(self) -> &'static str {
        match self {
            Console::Framed => "framed",
            Console::Plain => "plain",
        }
    }

    /// The console of that name.
    pub fn from_name(name: &str) -> Option<Console> {
        [Console::Framed, Console::Plain].into_iter().find(|c| c.name() == name)
    }
}

/// How a domain's vCPUs take part in the processors, besides their weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scheduling {
    /// The most each gets of what is shared, in hundredths of a processor; 0 for no such bound.
    pub cap: u16,
    /// The processors that they may run on, a bit for each.
    pub processors: u32,
    /// Ticks that each gets in every period of so many ticks.
    pub reserved: Option<(u64, u64)>,
}

impl Default for Scheduling {
    fn default() -> Scheduling {
        Scheduling { cap: 0, processors: u32::MAX, reserved: None }
    }
}

/// A disk: storage of the machine that keeps what is in it, for one domain (docs/hypervisor.md, Disks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Which of the machine's, from 0.
    pub number: u32,
    /// Where the domain has it: a guest real address beyond its memory, a multiple of the size.
    pub guest_address: u64,
    /// Its bytes: a power of two, at least [`MEMORY_GRANULE`].
    pub size: u64,
}

impl crate::Personality {
    /// The personality of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Papr, Self::Xen].into_iter().find(|p| p.name() == name)
    }
}
