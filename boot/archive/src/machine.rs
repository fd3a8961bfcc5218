//! The machine that an archive is for, and how the hypervisor speaks on its serial line: asked of
//! an archive at boot ([`crate::read`]), and by the host tool.

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
