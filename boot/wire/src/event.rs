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

impl<'a> Event<'a> {
    /// Reads a line (without its newline) back; `None` when it is not an event's.
    pub fn parse(line: &'a str) -> Option<Event<'a>> {
        if let Some(text) = line.strip_prefix("hypervisor: ") {
            return Some(Event::Note(text));
        }
        if let Some(text) = line.strip_prefix("measured: ") {
            return Some(Event::Measured(text));
        }
        let (number, rest) = line.strip_prefix("domain ")?.split_once(" (")?;
        let number = number.parse().ok()?;
        let (name, rest) = rest.split_once("): ")?;
        if let Some(text) = rest.strip_prefix("refused: ") {
            return Some(Event::Refused { number, name, text });
        }
        if let Some(rest) = rest.strip_prefix("started on processor ") {
            let (processor, rest) = rest.split_once(", ")?;
            let (mebibytes, ticks) = rest.split_once(" MiB, ")?;
            let ticks = ticks.strip_suffix(" ticks after entry")?;
            return Some(Event::Started {
                number,
                name,
                processor: processor.parse().ok()?,
                mebibytes: mebibytes.parse().ok()?,
                ticks: ticks.parse().ok()?,
            });
        }
        let how = if let Some(text) = rest.strip_prefix("crashed: ") {
            End::Crash(text)
        } else {
            match rest.strip_prefix("ended: ")? {
                "power-off" => End::PowerOff,
                "reboot" => End::Reboot,
                "destroyed" => End::Destroyed,
                other => End::Exit(other.strip_prefix("exit status ")?.parse().ok()?),
            }
        };
        Some(Event::Ended { number, name, how })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    proptest! {
        /// The tool reads back exactly what the hypervisor meant.
        #[test]
        fn events_round_trip(kind in 0..9, number: u16, name in "[a-z0-9-]{1,24}", text in "[ -~]{0,60}",
                             processor: u32, mebibytes: u64, ticks: u64, status: u8) {
            let event = match kind {
                0 => Event::Note(&text),
                1 => Event::Started { number, name: &name, processor, mebibytes, ticks },
                2 => Event::Refused { number, name: &name, text: &text },
                3 => Event::Ended { number, name: &name, how: End::PowerOff },
                4 => Event::Ended { number, name: &name, how: End::Reboot },
                5 => Event::Ended { number, name: &name, how: End::Destroyed },
                6 => Event::Ended { number, name: &name, how: End::Exit(status) },
                7 => Event::Measured(&text),
                _ => Event::Ended { number, name: &name, how: End::Crash(&text) },
            };
            let line = event.to_string();
            prop_assert_eq!(Event::parse(&line), Some(event));
        }

        #[test]
        fn any_line_is_survived(line in "\\PC{0,80}") {
            let _ = Event::parse(&line);
        }
    }
}
