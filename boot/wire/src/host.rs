//! The host's half: reading what the hypervisor says. No image has it.

use crate::event::{End, Event};
use crate::frame::{Channel, Decoder, Item};

/// What a [`Listener`] hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A byte outside any frame: the firmware's.
    Raw(u8),
    /// A payload byte of a channel.
    Data(Channel, u8),
    /// So many bytes of a channel's input have been taken.
    Taken(Channel, u16),
}

/// Takes apart what the machine says, a byte at a time.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    decoder: Decoder,
    /// What has come of a [`crate::frame::taken`] frame's three bytes.
    report: (usize, [u8; 3]),
}

impl Listener {
    /// Takes the next byte of the line.
    pub fn push(&mut self, byte: u8) -> Option<Said> {
        let said = match self.decoder.push(byte)? {
            Item::Data(Channel::TAKEN, byte) => return self.report(byte),
            Item::Data(channel, byte) => Said::Data(channel, byte),
            Item::Raw(byte) => Said::Raw(byte),
        };
        self.report.0 = 0; // a frame that was not whole is passed over
        Some(said)
    }

    fn report(&mut self, byte: u8) -> Option<Said> {
        let (have, bytes) = &mut self.report;
        *bytes.get_mut(*have)? = byte;
        *have = (*have + 1) % bytes.len();
        let [channel, low, high] = *bytes;
        let channel = Channel::new(channel).filter(|_| *have == 0)?;
        Some(Said::Taken(channel, u16::from_le_bytes([low, high])))
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
    use std::vec::Vec;

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

    #[test]
    fn taken_frames_are_told_from_data() {
        let channel = Channel::new(5).unwrap();
        let mut listener = Listener::default();
        let got: Vec<Said> =
            crate::frame::taken(channel, 300).iter().filter_map(|b| listener.push(*b)).collect();
        assert_eq!(got, [Said::Taken(channel, 300)]);
        assert_eq!(listener.push(b'x'), Some(Said::Raw(b'x')));
    }
}
