//! Frames: `0x01, 0x40 + channel, length, payload`.
//!
//! Bytes outside a frame are not an error: before the hypervisor runs, the firmware writes plain
//! text on the same line. They come out of the [`Decoder`] as [`Item::Raw`].
//!
//! Input has flow control, so that none is lost: the host keeps at most [`INPUT_WINDOW`] bytes of
//! a channel under way, and the machine says in a [`taken`] frame how many it has taken.

/// First byte of every frame (ASCII SOH, which no console text contains).
pub const START: u8 = 0x01;
/// Added to the channel number so that the header stays printable.
const CHANNEL_BASE: u8 = 0x40;
/// The longest payload of one frame, in bytes.
pub const MAX_PAYLOAD: usize = 255;
/// Bytes before the payload.
pub const HEADER: usize = 3;

/// The most bytes that may be under way to a channel.
pub const INPUT_WINDOW: usize = 1024;
/// The machine reports taken bytes at least this often.
pub const INPUT_STEP: u16 = 256;

/// A console channel: 0 is the hypervisor, `n` is domain `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(u8);

impl Channel {
    /// The hypervisor's own channel.
    pub const HYPERVISOR: Channel = Channel(0);
    /// The first domain's, to which unframed input goes.
    pub const FIRST_DOMAIN: Channel = Channel(1);
    /// The highest channel number.
    pub const MAX: u8 = 62;
    /// That of [`taken`] frames: no console's.
    pub(crate) const TAKEN: Channel = Channel(Self::MAX + 1);

    /// Channel `number`, or `None` above [`Channel::MAX`].
    pub const fn new(number: u8) -> Option<Channel> {
        if number <= Self::MAX { Some(Channel(number)) } else { None }
    }

    /// The channel's number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// The header of a frame of `length` payload bytes, 1..=[`MAX_PAYLOAD`]; `None` outside that range.
pub fn header(channel: Channel, length: usize) -> Option<[u8; HEADER]> {
    match u8::try_from(length) {
        Ok(0) | Err(_) => None,
        Ok(length) => Some([START, CHANNEL_BASE.wrapping_add(channel.0), length]),
    }
}

/// The frame by which the machine says that it has taken `count` bytes of a channel's input.
pub fn taken(channel: Channel, count: u16) -> [u8; HEADER + 3] {
    let [low, high] = count.to_le_bytes();
    [START, CHANNEL_BASE + Channel::TAKEN.0, 3, channel.0, low, high]
}

/// What a [`Decoder`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A byte outside any frame: the firmware's.
    Raw(u8),
    /// A payload byte of a channel.
    Data(Channel, u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Outside,
    Started,
    Header(Channel),
    Payload(Channel, u8),
}

/// Takes frames apart, a byte at a time. A broken header is passed over.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
}

impl Decoder {
    /// A decoder that stands outside any frame.
    pub const fn new() -> Decoder {
        Decoder { state: State::Outside }
    }

    /// Takes the next byte of the line.
    pub fn push(&mut self, byte: u8) -> Option<Item> {
        match self.state {
            State::Outside if byte == START => self.state = State::Started,
            State::Outside => return Some(Item::Raw(byte)),
            State::Started => {
                self.state = match byte.checked_sub(CHANNEL_BASE).map(Channel) {
                    Some(channel) if channel <= Channel::TAKEN => State::Header(channel),
                    _ if byte == START => State::Started,
                    _ => State::Outside,
                }
            }
            State::Header(_) if byte == 0 => self.state = State::Outside,
            State::Header(channel) => self.state = State::Payload(channel, byte),
            State::Payload(channel, left) => {
                self.state = match left {
                    0 | 1 => State::Outside,
                    more => State::Payload(channel, more - 1),
                };
                return Some(Item::Data(channel, byte));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        /// Whatever is framed comes out on its channel, in order, and text between frames as raw.
        #[test]
        fn frames_round_trip(parts in prop::collection::vec(
            (0u8..=Channel::MAX, prop::collection::vec(any::<u8>(), 1..=MAX_PAYLOAD), "[ -~]{0,8}"), 0..20)) {
            let mut line = Vec::new();
            let mut want = Vec::new();
            for (number, payload, text) in &parts {
                let channel = Channel::new(*number).unwrap();
                line.extend(header(channel, payload.len()).unwrap());
                line.extend(payload);
                line.extend(text.bytes());
                want.extend(payload.iter().map(|b| Item::Data(channel, *b)));
                want.extend(text.bytes().map(Item::Raw));
            }
            let mut decoder = Decoder::new();
            let got: Vec<Item> = line.iter().filter_map(|b| decoder.push(*b)).collect();
            prop_assert_eq!(got, want);
        }

        /// No input makes the decoder stop finding the next good frame after a full one.
        #[test]
        fn noise_is_survived(noise in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut decoder = Decoder::new();
            for byte in noise { decoder.push(byte); }
            for _ in 0..=MAX_PAYLOAD + HEADER { decoder.push(b' '); }
            prop_assert_eq!(decoder.push(b'x'), Some(Item::Raw(b'x')));
        }
    }

    #[test]
    fn empty_and_oversized_frames_do_not_exist() {
        let channel = Channel::new(3).unwrap();
        assert_eq!(header(channel, 0), None);
        assert_eq!(header(channel, MAX_PAYLOAD + 1), None);
        assert_eq!(Channel::new(63), None);
    }
}
