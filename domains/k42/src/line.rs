//! The serial line as this side hears it: bytes come in, pieces that belong together go out.

use std::io::{ErrorKind, Read};

use k42_wire::Channel;
use k42_wire::frame::{self, MAX_PAYLOAD};
use k42_wire::host::{Listener, Said};

/// A piece of what the machine says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Text outside any frame: the firmware's, or a hypervisor's in trouble.
    Raw(Vec<u8>),
    /// Output on a channel.
    Output(Channel, Vec<u8>),
    /// A domain has taken so many bytes of its input.
    Taken(Channel, usize),
    /// The machine is gone.
    Closed,
}

/// Takes bytes apart; neighbours of one channel stay together.
pub fn split(listener: &mut Listener, bytes: &[u8]) -> Vec<Heard> {
    let mut pieces: Vec<Heard> = Vec::new();
    for item in bytes.iter().filter_map(|byte| listener.push(*byte)) {
        match (item, pieces.last_mut()) {
            (Said::Raw(byte), Some(Heard::Raw(text))) => text.push(byte),
            (Said::Raw(byte), _) => pieces.push(Heard::Raw(vec![byte])),
            (Said::Data(channel, byte), Some(Heard::Output(last, text))) if *last == channel => {
                text.push(byte);
            }
            (Said::Data(channel, byte), _) => pieces.push(Heard::Output(channel, vec![byte])),
            (Said::Taken(channel, count), _) => {
                pieces.push(Heard::Taken(channel, count.into()));
            }
        }
    }
    pieces
}

/// Hears all that comes, until the line closes or `tell` wants no more.
pub fn listen(mut line: impl Read, mut tell: impl FnMut(Heard) -> bool) {
    let mut listener = Listener::default();
    let mut buffer = [0; 4096];
    loop {
        match line.read(&mut buffer) {
            Ok(0) => break,
            Ok(size) => {
                let bytes = buffer.get(..size).unwrap_or_default();
                if !split(&mut listener, bytes).into_iter().all(&mut tell) {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    tell(Heard::Closed);
}

/// `bytes` in frames for a channel.
pub fn frames(channel: Channel, bytes: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    for payload in bytes.chunks(MAX_PAYLOAD) {
        if let Some(header) = frame::header(channel, payload.len()) {
            line.extend(header);
            line.extend(payload);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However the line is cut into reads, each channel hears its own bytes in order.
        #[test]
        fn channels_hear_their_own(parts in prop::collection::vec(
            (0u8..4, prop::collection::vec(any::<u8>(), 0..600)), 0..10), cut in 1usize..300) {
            let mut line = Vec::new();
            let mut want: Vec<Vec<u8>> = vec![Vec::new(); 4];
            for (number, bytes) in &parts {
                line.extend(frames(Channel::new(*number).unwrap(), bytes));
                line.extend(frame::taken(Channel::new(*number).unwrap(), 7));
                want[usize::from(*number)].extend_from_slice(bytes);
            }
            let mut listener = Listener::default();
            let mut got = vec![Vec::new(); 4];
            let mut taken = 0;
            for piece in line.chunks(cut).flat_map(|chunk| split(&mut listener, chunk)) {
                match piece {
                    Heard::Output(channel, bytes) => got[usize::from(channel.number())].extend(bytes),
                    Heard::Taken(_, 7) => taken += 1,
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(got, want);
            prop_assert_eq!(taken, parts.len());
        }
    }

    #[test]
    fn the_end_is_heard() {
        let mut heard = Vec::new();
        listen(&b"OPAL\x01\x41\x02hi"[..], |piece| {
            heard.push(piece);
            true
        });
        let channel = Channel::new(1).unwrap();
        assert_eq!(heard.len(), 3);
        assert_eq!(heard[0], Heard::Raw(b"OPAL".to_vec()));
        assert_eq!(heard[1], Heard::Output(channel, b"hi".to_vec()));
        assert_eq!(heard[2], Heard::Closed);
    }
}
