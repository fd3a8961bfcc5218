//! Consoles of programs that read lines and leave it to others to show what is typed.
//!
//! A Linux kernel has a terminal driver, which shows and edits. A K42 domain's console carries
//! bytes, so the tool does for it what a terminal driver does in canonical mode: it shows what is
//! typed, lets it be corrected, and sends it when the line is complete.

/// What a key press leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// What the domain gets.
    pub send: Vec<u8>,
    /// What the screen shows.
    pub show: Vec<u8>,
}

/// A line while it is typed.
#[derive(Clone, Debug, Default)]
pub struct Line {
    bytes: Vec<u8>,
}

const END: u8 = 0x04; // Ctrl-D
const BACKSPACE: u8 = 0x08;
const KILL: u8 = 0x15; // Ctrl-U
const DELETE: u8 = 0x7f;

impl Line {
    /// Takes keys as they come from a terminal in raw mode.
    pub fn press(&mut self, keys: &[u8]) -> Typed {
        let mut typed = Typed::default();
        for key in keys {
            match *key {
                b'\r' | b'\n' => {
                    self.bytes.push(b'\n');
                    typed.send.append(&mut self.bytes);
                    typed.show.push(b'\n');
                }
                // What is typed goes without a new line; nothing typed is the end of the input.
                END if self.bytes.is_empty() => typed.send.push(END),
                END => typed.send.append(&mut self.bytes),
                BACKSPACE | DELETE => self.rub_out(&mut typed),
                KILL => {
                    while !self.bytes.is_empty() {
                        self.rub_out(&mut typed);
                    }
                }
                b'\t' | 0x20..=0x7e | 0x80.. => {
                    self.bytes.push(*key);
                    typed.show.push(*key);
                }
                _ => {}
            }
        }
        typed
    }

    fn rub_out(&mut self, typed: &mut Typed) {
        // A character of several bytes goes as a whole.
        while let Some(byte) = self.bytes.pop() {
            if byte & 0xc0 != 0x80 {
                typed.show.extend(b"\x08 \x08");
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_and_sent_whole() {
        let mut line = Line::default();
        let typed = line.press(b"ecgo");
        assert_eq!((&typed.send[..], &typed.show[..]), (&b""[..], &b"ecgo"[..]));
        assert_eq!(line.press(b"\x7f\x7f").show, b"\x08 \x08\x08 \x08");
        let typed = line.press(b"ho hi\r");
        assert_eq!((&typed.send[..], &typed.show[..]), (&b"echo hi\n"[..], &b"ho hi\n"[..]));
        assert_eq!(line.press(b"\x08").show, b"");
        line.press("x\u{e4}".as_bytes());
        assert_eq!(line.press(b"\x7f\r").send, b"x\n");
        line.press(b"gone");
        assert_eq!(line.press(b"\x15\r").send, b"\n");
    }

    #[test]
    fn the_end_of_input_is_typed_on_an_empty_line() {
        let mut line = Line::default();
        assert_eq!(line.press(b"\x04").send, [END]);
        assert_eq!(line.press(b"half\x04").send, b"half");
        assert_eq!(line.press(b"\x04").send, [END]);
        assert_eq!(line.press(b"\x03\x1b").send, b"");
    }
}
