//! One screen for many consoles: shows one at a time, on a terminal in raw mode.
//!
//! What is written goes to any [`Write`], so that tests look at bytes. Lines that are the tool's
//! own begin with `[k42]`.

use std::io::{self, Write};

use crate::consoles::{Consoles, Ending, State};
use crate::keys::HELP;

/// How many lines of a console are shown again when it comes back.
const REPLAY: usize = 20;

/// The screen.
pub struct Screen<W> {
    out: W,
    /// The console that is shown.
    current: usize,
    /// The last byte written, to know whether a line is open.
    last: u8,
}

impl<W: Write> Screen<W> {
    /// A screen that shows this console.
    pub fn new(out: W, current: usize) -> Screen<W> {
        Screen { out, current, last: b'\n' }
    }

    /// The console that is shown.
    pub fn current(&self) -> usize {
        self.current
    }

    /// Where to write, when all is done.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// What a person should know at the start.
    pub fn banner(&mut self, consoles: &Consoles, machine: &str, logs: &str) -> io::Result<()> {
        self.say(&format!(
            "{machine}: {} domains, each with its own console",
            consoles.count() - 1
        ))?;
        self.list(consoles)?;
        self.say(&format!("logs are in {logs}"))?;
        self.say("Ctrl-] then n: next console, l: list, ?: help, q: quit")?;
        self.header(consoles)
    }

    /// A console has said something; it is shown if it is the one on the screen.
    pub fn text(&mut self, console: usize, text: &[u8]) -> io::Result<()> {
        if console == self.current { self.write(text) } else { Ok(()) }
    }

    /// A domain has ended.
    pub fn ended(&mut self, consoles: &Consoles, console: usize) -> io::Result<()> {
        let Some(console) = consoles.get(console) else { return Ok(()) };
        self.say(&format!("{}: {}", console.name, console.state))?;
        if let State::Ended(Ending::Crash(_)) = console.state {
            self.say("the others live on; its log has what it said before")?;
        }
        Ok(())
    }

    /// Shows another console: a header, and what it said last.
    pub fn show(&mut self, consoles: &Consoles, console: usize) -> io::Result<()> {
        if console >= consoles.count() {
            let last = consoles.count() - 1;
            return self.say(&format!("there is no console {console}; there are 0 to {last}"));
        }
        self.current = console;
        self.header(consoles)?;
        let tail = consoles.get(console).map(|console| console.tail(REPLAY)).unwrap_or_default();
        self.write(&without_questions(&tail))
    }

    /// Shows the console `step` further round, back or forth; the hypervisor's by number only.
    pub fn turn(&mut self, consoles: &Consoles, forth: bool) -> io::Result<()> {
        let domains = consoles.count().saturating_sub(1).max(1);
        let at = self.current.checked_sub(1);
        let next = match (at, forth) {
            (None, true) => 0,
            (None, false) => domains - 1,
            (Some(at), true) => (at + 1) % domains,
            (Some(at), false) => (at + domains - 1) % domains,
        };
        self.show(consoles, next + 1)
    }

    /// Lists the consoles and how they are.
    pub fn list(&mut self, consoles: &Consoles) -> io::Result<()> {
        for (number, console) in consoles.iter() {
            let mark = if number == self.current { '*' } else { ' ' };
            let state = &console.state;
            self.say(&format!("{mark}{number} {:24} {state}", console.name))?;
        }
        Ok(())
    }

    /// Explains the keys.
    pub fn help(&mut self) -> io::Result<()> {
        self.say("after Ctrl-]:")?;
        HELP.iter().try_for_each(|(key, text)| self.say(&format!("  {key:8} {text}")))
    }

    fn header(&mut self, consoles: &Consoles) -> io::Result<()> {
        let current = self.current;
        match consoles.get(current) {
            Some(console) => self
                .say(&format!("--- console {current}: {} ({}) ---", console.name, console.state)),
            None => Ok(()),
        }
    }

    /// A line of the tool's own.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        if self.last != b'\n' {
            self.write(b"\n")?;
        }
        self.write(format!("[k42] {line}\n").as_bytes())
    }

    /// Writes; a terminal in raw mode needs a carriage return for each new line.
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(text.len());
        for byte in text {
            if *byte == b'\n' && self.last != b'\r' {
                bytes.push(b'\r');
            }
            bytes.push(*byte);
            self.last = *byte;
        }
        self.out.write_all(&bytes)?;
        self.out.flush()
    }
}

/// Text without the control sequences that a terminal answers (`ESC [ … n` asks where the cursor
/// is, `ESC [ … c` what it is): shown again, they would be answered again, to nobody's question.
fn without_questions(text: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if let Some(body) = rest.strip_prefix(b"[").filter(|_| *byte == 0x1b) {
            let end = body.iter().position(|byte| (0x40..0x7f).contains(byte));
            if let Some((end, b'n' | b'c')) = end.map(|end| (end, body[end])) {
                rest = &body[end + 1..];
                continue;
            }
        }
        kept.push(*byte);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Heard;
    use k42_wire::Channel;

    fn consoles() -> Consoles {
        Consoles::new(&["linux".into(), "clock".into()], None).unwrap()
    }

    fn hear(consoles: &mut Consoles, number: u8, text: &str) {
        consoles.hear(Heard::Output(Channel::new(number).unwrap(), text.into()));
    }

    fn shown(screen: Screen<Vec<u8>>) -> String {
        String::from_utf8(screen.into_inner()).unwrap()
    }

    #[test]
    fn one_console_is_shown_at_a_time() {
        let mut consoles = consoles();
        let mut screen = Screen::new(Vec::new(), 1);
        screen.text(1, b"# ").unwrap();
        screen.text(2, b"tick\n").unwrap();
        hear(&mut consoles, 2, "tick\n");
        screen.turn(&consoles, true).unwrap();
        screen.text(1, b"hidden").unwrap();
        screen.text(2, b"tock\r\n").unwrap();
        assert_eq!(
            shown(screen),
            "# \r\n[k42] --- console 2: clock (not started) ---\r\ntick\r\ntock\r\n"
        );
    }

    #[test]
    fn questions_are_not_asked_again() {
        let text = b"\x1b[1;32m# \x1b[6n\x1b[?1cls\x1b[0m\x1b\x1b[";
        assert_eq!(without_questions(text), b"\x1b[1;32m# ls\x1b[0m\x1b\x1b[");
    }

    #[test]
    fn consoles_are_reached_round_and_by_number() {
        let consoles = consoles();
        let mut screen = Screen::new(Vec::new(), 1);
        let mut seen = Vec::new();
        for forth in [true, true, false, false] {
            screen.turn(&consoles, forth).unwrap();
            seen.push(screen.current());
        }
        assert_eq!(seen, [2, 1, 2, 1]);
        screen.show(&consoles, 0).unwrap();
        screen.turn(&consoles, false).unwrap();
        assert_eq!(screen.current(), 2);
        screen.show(&consoles, 9).unwrap();
        assert_eq!(screen.current(), 2);
        assert!(shown(screen).ends_with("[k42] there is no console 9; there are 0 to 2\r\n"));
    }

    #[test]
    fn ends_are_announced_in_a_line() {
        let mut consoles = consoles();
        let mut screen = Screen::new(Vec::new(), 1);
        screen.text(1, b"half").unwrap();
        hear(&mut consoles, 0, "domain 2 (clock): ended: exit status 3\n");
        screen.ended(&consoles, 2).unwrap();
        assert_eq!(shown(screen), "half\r\n[k42] clock: exited with status 3\r\n");
    }

    #[test]
    fn the_banner_explains_the_screen() {
        let mut screen = Screen::new(Vec::new(), 1);
        screen.banner(&consoles(), "demo", "target/run/demo").unwrap();
        screen.help().unwrap();
        let text = shown(screen);
        for part in [
            "demo: 2 domains",
            "target/run/demo",
            "*1 linux",
            " 2 clock",
            "Ctrl-]",
            "quit",
            "console 1: linux",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
