//! Input on its way to the domains: none before a domain has started, no more under way than it has
//! room for, none lost.

use std::collections::{BTreeMap, VecDeque};

use k42_wire::Channel;
use k42_wire::frame::INPUT_WINDOW;

use crate::line::frames;

/// What tells a K42 domain's program that its input is at an end: Ctrl-D, as on a terminal.
pub const END_OF_INPUT: u8 = 0x04;
/// What makes the byte after it an ordinary one: Ctrl-V, as on a terminal.
const LITERAL: u8 = 0x16;

/// Bytes for a K42 domain in which none has a meaning of its own.
pub fn quote(bytes: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if matches!(*byte, END_OF_INPUT | LITERAL) {
            quoted.push(LITERAL);
        }
        quoted.push(*byte);
    }
    quoted
}

/// What waits and what is under way, by channel.
#[derive(Debug, Default)]
pub struct Input {
    flows: BTreeMap<u8, Flow>,
}

#[derive(Debug, Default)]
struct Flow {
    open: bool,
    waiting: VecDeque<u8>,
    under_way: usize,
}

impl Input {
    /// Takes bytes for a channel.
    pub fn push(&mut self, channel: Channel, bytes: &[u8]) {
        self.flows.entry(channel.number()).or_default().waiting.extend(bytes);
    }

    /// The channel's domain has started. Before, the firmware would take what is sent.
    pub fn open(&mut self, channel: Channel) {
        self.flows.entry(channel.number()).or_default().open = true;
    }

    /// The machine says that a channel has taken so many bytes.
    pub fn taken(&mut self, channel: Channel, count: usize) {
        if let Some(flow) = self.flows.get_mut(&channel.number()) {
            flow.under_way = flow.under_way.saturating_sub(count);
        }
    }

    /// Forgets what waits for a channel that nobody reads any more.
    pub fn forget(&mut self, channel: Channel) {
        self.flows.remove(&channel.number());
    }

    /// How many bytes wait for a channel.
    pub fn waiting(&self, channel: Channel) -> usize {
        self.flows.get(&channel.number()).map_or(0, |flow| flow.waiting.len())
    }

    /// The frames that may be sent now.
    pub fn ready(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        for (number, flow) in self.flows.iter_mut().filter(|(_, flow)| flow.open) {
            let room = INPUT_WINDOW.saturating_sub(flow.under_way).min(flow.waiting.len());
            let bytes: Vec<u8> = flow.waiting.drain(..room).collect();
            flow.under_way += bytes.len();
            if let Some(channel) = Channel::new(*number) {
                line.extend(frames(channel, &bytes));
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{Heard, split};
    use k42_wire::host::Listener;
    use proptest::prelude::*;

    #[test]
    fn bytes_with_a_meaning_are_quoted() {
        assert_eq!(quote(b"a\x04\x16b"), b"a\x16\x04\x16\x16b");
    }

    proptest! {
        /// All bytes arrive in order, whatever the steps in which a domain takes them, and there
        /// are never more under way than the window.
        #[test]
        fn nothing_is_lost(bytes in prop::collection::vec(any::<u8>(), 0..6000),
                           steps in prop::collection::vec(1usize..400, 1..20)) {
            let channel = Channel::new(9).unwrap();
            let (mut input, mut listener) = (Input::default(), Listener::default());
            let (mut got, mut under_way) = (Vec::new(), 0);
            input.push(channel, &bytes);
            prop_assert!(input.ready().is_empty());
            input.open(channel);
            for step in steps.iter().cycle() {
                for piece in split(&mut listener, &input.ready()) {
                    let Heard::Output(_, piece) = piece else { panic!("{piece:?}") };
                    under_way += piece.len();
                    got.extend(piece);
                }
                prop_assert!(under_way <= INPUT_WINDOW);
                if under_way == 0 {
                    break;
                }
                let taken = under_way.min(*step);
                under_way -= taken;
                input.taken(channel, taken);
            }
            prop_assert_eq!(got, bytes);
            prop_assert_eq!(input.waiting(channel), 0);
        }
    }
}
