//! The keyboard of a terminal: Ctrl-] begins a command, all else is the domain's.

/// Ctrl-].
pub const PREFIX: u8 = 0x1d;

/// The commands, for a person: the key after Ctrl-] and what it does.
pub const HELP: [(&str, &str); 8] = [
    ("n", "next console"),
    ("p", "previous console"),
    ("0..9", "console of that number; 0 is the hypervisor's"),
    ("l", "list of consoles"),
    ("d", "dump: registers and callers of the console's domain, which goes on"),
    ("q", "quit: stops the whole machine"),
    ("Ctrl-]", "sends Ctrl-] itself"),
    ("?", "this help"),
];

/// What a person wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// These bytes go to the console that is shown.
    Send(Vec<u8>),
    /// Show the next console.
    Next,
    /// Show the previous console.
    Previous,
    /// Show the console of this number.
    Select(usize),
    /// List the consoles.
    List,
    /// Ask for a report on the domain of the console that is shown.
    Dump,
    /// Stop the machine.
    Quit,
    /// Explain the keys.
    Help,
}

/// Tells commands from what is for the domain.
#[derive(Debug, Default)]
pub struct Keys {
    /// Whether the last key was the prefix.
    prefixed: bool,
}

impl Keys {
    /// What these keys mean.
    pub fn press(&mut self, keys: &[u8]) -> Vec<Action> {
        let mut actions = Vec::new();
        for key in keys {
            if !std::mem::take(&mut self.prefixed) {
                match (*key, actions.last_mut()) {
                    (PREFIX, _) => self.prefixed = true,
                    (key, Some(Action::Send(bytes))) => bytes.push(key),
                    (key, _) => actions.push(Action::Send(vec![key])),
                }
                continue;
            }
            actions.push(match key {
                b'n' => Action::Next,
                b'p' => Action::Previous,
                b'0'..=b'9' => Action::Select(usize::from(key - b'0')),
                b'l' => Action::List,
                b'd' => Action::Dump,
                b'q' => Action::Quit,
                &PREFIX => Action::Send(vec![PREFIX]),
                _ => Action::Help,
            });
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_input() {
        let mut keys = Keys::default();
        assert_eq!(
            keys.press(b"ls\r\x1dnx\x1d\x1d\x1d"),
            [
                Action::Send(b"ls\r".to_vec()),
                Action::Next,
                Action::Send(b"x".to_vec()),
                Action::Send(vec![PREFIX]),
            ]
        );
        assert_eq!(keys.press(b"3"), [Action::Select(3)]);
        assert_eq!(keys.press(b"\x1dp\x1dl"), [Action::Previous, Action::List]);
        assert_eq!(keys.press(b"\x1dz\x1dd\x1dq"), [Action::Help, Action::Dump, Action::Quit]);
        assert_eq!(keys.press(b"n"), [Action::Send(b"n".to_vec())]);
    }
}
