//! The serial line, shared: every domain has a console channel, the hypervisor has channel 0.
//!
//! Output is gathered a line at a time and leaves in frames, or, for a bare terminal, in lines
//! that begin with the domain's name (`k42_wire`). Input is sorted into a queue for each domain,
//! and the host is told how much of it was taken, so that it never sends more than fits.

use crate::machine::Machine;
use arrayvec::{ArrayString, ArrayVec};
use heapless::{Deque, HistoryBuf};
use k42_wire::frame::{self, Channel, Decoder, Item};

/// Output waits for its newline, but no longer than this many bytes.
const LINE: usize = 192;
/// Input that a domain has not taken yet.
const INPUT: usize = frame::INPUT_WINDOW;
/// Channels: the hypervisor's and one for each domain.
const CHANNELS: usize = Channel::MAX as usize + 1;
/// The longest name of a domain.
pub const NAME: usize = boot_archive::MAX_NAME;

/// What is kept of the hypervisor's own words.
const HISTORY: usize = 4096;

/// How output is marked with its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// In frames, for the host tool.
    Framed,
    /// In lines that begin with the domain's name.
    Plain,
}

struct ChannelState {
    name: ArrayString<NAME>,
    output: ArrayVec<u8, LINE>,
    input: Deque<u8, INPUT>,
    /// Input bytes taken since the host was last told.
    taken: u16,
}

/// The consoles of all domains and the line that carries them.
pub struct Console {
    style: Style,
    decoder: Decoder,
    channels: [ChannelState; CHANNELS],
    /// The channel that a plain line last spoke for.
    speaking: Option<Channel>,
    /// The hypervisor's own words, and how many bytes there were ever.
    history: HistoryBuf<u8, HISTORY>,
    said: u32,
    /// Input has come for a domain whose queue was full.
    overrun: bool,
}

impl Console {
    /// Consoles without names, all empty.
    #[allow(clippy::new_without_default)] // no default is a constant
    pub const fn new() -> Console {
        const EMPTY: ChannelState = ChannelState {
            name: ArrayString::new_const(),
            output: ArrayVec::new_const(),
            input: Deque::new(),
            taken: 0,
        };
        Console {
            style: Style::Plain,
            decoder: Decoder::new(),
            channels: [EMPTY; CHANNELS],
            speaking: None,
            history: HistoryBuf::new(),
            said: 0,
            overrun: false,
        }
    }

    /// Chooses how output is marked.
    pub fn set_style(&mut self, style: Style) {
        self.style = style;
    }

    /// Names a channel, for plain lines.
    pub fn set_name(&mut self, channel: Channel, name: &str) {
        if let Some(state) = self.channels.get_mut(usize::from(channel.number())) {
            state.name.clear();
            let _ = state.name.try_push_str(name); // a longer name does not come out of an archive
        }
    }

    /// Takes output of a channel.
    pub fn write(&mut self, machine: &impl Machine, channel: Channel, bytes: &[u8]) {
        if channel == Channel::HYPERVISOR {
            self.history.extend_from_slice(bytes);
            self.said = self.said.wrapping_add(u32::try_from(bytes.len()).unwrap_or(0));
        }
        for byte in bytes {
            let Some(state) = self.channels.get_mut(usize::from(channel.number())) else { return };
            let _ = state.output.try_push(*byte); // there is room: a full line is flushed below
            if *byte == b'\n' || state.output.is_full() {
                self.flush(machine, channel);
            }
        }
    }

    /// Copies the hypervisor's own words from the byte of that number on, or from the oldest that
    /// is kept; the number of the byte to go on with, and how many were copied.
    pub fn history(&self, from: u32, into: &mut [u8]) -> (u32, usize) {
        let kept = u32::try_from(self.history.len()).unwrap_or(0);
        let left = self.said.wrapping_sub(from).min(kept);
        let skipped = usize::try_from(kept.saturating_sub(left)).unwrap_or(0);
        let words = self.history.oldest_ordered().skip(skipped);
        let count = into.iter_mut().zip(words).map(|(to, byte)| *to = *byte).count();
        let copied = u32::try_from(count).unwrap_or(0);
        (self.said.wrapping_sub(left).wrapping_add(copied), count)
    }

    /// Forgets them.
    pub fn forget_history(&mut self) {
        self.history.clear();
    }

    /// Sends what a channel has gathered.
    pub fn flush(&mut self, machine: &impl Machine, channel: Channel) {
        let Some(state) = self.channels.get_mut(usize::from(channel.number())) else { return };
        let Some(header) = frame::header(channel, state.output.len()) else { return };
        match self.style {
            Style::Framed => {
                let whole = header.into_iter().chain(state.output.iter().copied());
                machine.console_write(&whole.collect::<ArrayVec<u8, { frame::HEADER + LINE }>>());
            }
            Style::Plain => {
                if self.speaking.is_some_and(|last| last != channel) {
                    machine.console_write(b"\n");
                }
                if self.speaking != Some(channel) && !state.name.is_empty() {
                    machine.console_write(b"[");
                    machine.console_write(state.name.as_bytes());
                    machine.console_write(b"] ");
                }
                machine.console_write(&state.output);
                let ended = state.output.last() == Some(&b'\n');
                self.speaking = if ended { None } else { Some(channel) };
            }
        }
        state.output.clear();
    }

    /// Sends what every channel has gathered.
    pub fn flush_all(&mut self, machine: &impl Machine) {
        for channel in (0..=Channel::MAX).filter_map(Channel::new) {
            self.flush(machine, channel);
        }
    }

    /// Takes what has arrived on the line, and calls `arrived` for each channel that got input.
    /// Returns true when some was lost, the first time: the host sent more than a queue holds
    /// ahead of its domain, which the host tool never does.
    pub fn poll(&mut self, machine: &impl Machine, mut arrived: impl FnMut(Channel)) -> bool {
        let before = self.overrun;
        let mut bytes = [0; 64];
        loop {
            let count = machine.console_read(&mut bytes);
            let Some(got) = bytes.get(..count).filter(|got| !got.is_empty()) else {
                return self.overrun && !before;
            };
            let mut last = None;
            for byte in got {
                let (channel, byte) = match self.decoder.push(*byte) {
                    Some(Item::Data(channel, byte)) => (channel, byte),
                    // A person at a bare terminal speaks to the first domain.
                    Some(Item::Raw(byte)) => (Channel::FIRST_DOMAIN, byte),
                    None => continue,
                };
                let state = self.channels.get_mut(usize::from(channel.number()));
                self.overrun |= state.is_some_and(|state| state.input.push_back(byte).is_err());
                if last.replace(channel) != Some(channel) {
                    arrived(channel);
                }
            }
        }
    }

    /// Gives a domain its input, as much as there is and fits; returns how many bytes.
    pub fn read(&mut self, machine: &impl Machine, channel: Channel, into: &mut [u8]) -> usize {
        let Some(state) = self.channels.get_mut(usize::from(channel.number())) else { return 0 };
        let input = core::iter::from_fn(|| state.input.pop_front());
        let count = into.iter_mut().zip(input).map(|(to, byte)| *to = byte).count();
        state.taken = state.taken.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
        let tell = state.taken > 0 && (state.input.is_empty() || state.taken >= frame::INPUT_STEP);
        if tell && self.style == Style::Framed {
            machine.console_write(&frame::taken(channel, state.taken));
            state.taken = 0;
        }
        count
    }

    /// Whether a domain has input waiting.
    pub fn has_input(&self, channel: Channel) -> bool {
        let state = self.channels.get(usize::from(channel.number()));
        state.is_some_and(|state| !state.input.is_empty())
    }
}
