//! The console's input as a stream that can end.
//!
//! A console has no end of its own, so two bytes mean something, as on a terminal: 0x04 (end of
//! transmission) ends the stream for one read, 0x16 (literal next) makes the byte after it an
//! ordinary one. Whoever feeds the console puts 0x16 before those two.

use alloc::collections::VecDeque;

/// Ends the stream.
pub const END: u8 = 0x04;
/// Quotes the next byte.
pub const LITERAL: u8 = 0x16;

/// Input that has arrived and has not been read.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// `None` is an end.
    waiting: VecDeque<Option<u8>>,
    literal: bool,
}

impl Input {
    /// Nothing has arrived.
    pub const fn new() -> Self {
        Input { waiting: VecDeque::new(), literal: false }
    }

    /// Takes what the console said.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let literal = core::mem::take(&mut self.literal);
            match byte {
                LITERAL if !literal => self.literal = true,
                END if !literal => self.waiting.push_back(None),
                _ => self.waiting.push_back(Some(byte)),
            }
        }
    }

    /// Whether a read would give something, be it the end.
    pub fn is_ready(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Gives what there is up to the next end, which counts only when nothing is before it.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let mut count = 0;
        for place in into {
            match self.waiting.front() {
                Some(Some(byte)) => *place = *byte,
                Some(None) if count == 0 => {
                    self.waiting.pop_front();
                    break;
                }
                Some(None) | None => break,
            }
            self.waiting.pop_front();
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_read_once_and_literals_are_bytes() {
        let mut input = Input::new();
        input.feed(b"ab\x16");
        input.feed(b"\x04c\x16\x16\x04\x04d");
        let mut bytes = [0; 4];
        assert_eq!((input.read(&mut bytes), &bytes), (4, b"ab\x04c"));
        assert_eq!((input.read(&mut bytes), bytes[0]), (1, 0x16));
        assert_eq!(input.read(&mut bytes), 0);
        assert_eq!(input.read(&mut bytes), 0);
        assert_eq!((input.read(&mut bytes), bytes[0]), (1, b'd'));
        assert!(!input.is_ready());
    }
}
