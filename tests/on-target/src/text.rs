//! What a person would read on a console: text without carriage returns and terminal commands.

/// Takes out of a console's bytes what is not text.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence, `ESC [ … letter`.
    Sequence,
}

impl Plain {
    /// The text in the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        let mut text = Vec::new();
        for byte in bytes {
            self.state = match (&self.state, *byte) {
                (State::Text, 0x1b) => State::Escape,
                (State::Text, b'\r') => State::Text,
                (State::Text, byte) => {
                    text.push(byte);
                    State::Text
                }
                (State::Escape, b'[') => State::Sequence,
                (State::Sequence, 0x20..0x40) => State::Sequence,
                (State::Escape | State::Sequence, _) => State::Text,
            };
        }
        String::from_utf8_lossy(&text).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_left() {
        let mut plain = Plain::default();
        assert_eq!(plain.push(b"linux:~# \x1b[6nls\r\n\x1b["), "linux:~# ls\n");
        assert_eq!(plain.push(b"1;32mbin\x1b[0m\x1bc\n"), "bin\n");
    }
}
