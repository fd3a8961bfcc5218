//! What the hypervisor says on channel 0: one line an event, readable by a person and by a tool.

use core::fmt;

/// How a domain came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// It asked to be powered off.
    PowerOff,
    /// It asked for a reboot (which starts nothing again yet: the domain stays down).
    Reboot,
    /// Its application exited with this status.
    Exit(u8),
    /// A controller ended it.
    Destroyed,
    /// It was stopped for what it did: who is in the event, what and where is in the text.
    Crash(&'a str),
}

/// One line of channel 0, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A note of the hypervisor's own.
    Note(&'a str),
    /// A record of the measurement log, and the log's register with it.
    Measured(&'a str),
    /// Domain `number` runs.
    Started {
        /// The domain's number.
        number: u16,
        /// The domain's name.
        name: &'a str,
        /// The processor its first vCPU runs on.
        processor: u32,
        /// Its memory in MiB.
        mebibytes: u64,
        /// Timebase ticks from the hypervisor's entry to the domain's first instruction.
        ticks: u64,
    },
    /// The first hypercall of domain `number` that was refused.
    Refused {
        /// The domain's number.
        number: u16,
        /// The domain's name.
        name: &'a str,
        /// What was refused, and where.
        text: &'a str,
    },
    /// Domain `number` has ended.
    Ended {
        /// The domain's number.
        number: u16,
        /// The domain's name.
        name: &'a str,
        /// How.
        how: End<'a>,
    },
}

/// The note that closes a run.
pub const ALL_ENDED: &str = "all domains have ended";

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Event::Note(text) => write!(f, "hypervisor: {text}"),
            Event::Measured(text) => write!(f, "measured: {text}"),
            Event::Started { number, name, processor, mebibytes, ticks } => write!(
                f,
                "domain {number} ({name}): started on processor {processor}, {mebibytes} MiB, {ticks} ticks after entry"
            ),
            Event::Refused { number, name, text } => {
                write!(f, "domain {number} ({name}): refused: {text}")
            }
            Event::Ended { number, name, how } => {
                write!(f, "domain {number} ({name}): ")?;
                match how {
                    End::PowerOff => write!(f, "ended: power-off"),
                    End::Reboot => write!(f, "ended: reboot"),
                    End::Destroyed => write!(f, "ended: destroyed"),
                    End::Exit(status) => write!(f, "ended: exit status {status}"),
                    End::Crash(text) => write!(f, "crashed: {text}"),
                }
            }
        }
    }
}
