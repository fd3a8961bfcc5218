//! Rust source, line by line, with code and comments told apart and the contents of strings blanked.
//!
//! What [`crate::count`] counts and [`crate::unsafes`] searches. It is a scanner of text, not a
//! parser: it knows comments (nested ones too), strings, raw strings, characters and lifetimes.

/// A line of source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Its code: comments left out, what is in strings and characters replaced by spaces.
    pub code: String,
    /// Its comments, with their marks.
    pub comment: String,
    /// Whether there is nothing on it.
    pub blank: bool,
}

impl Line {
    /// Whether it has a comment and no code.
    pub fn is_comment(&self) -> bool {
        !self.comment.is_empty() && self.code.trim().is_empty()
    }
}

/// What the scanner is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    LineComment,
    /// So many block comments deep.
    BlockComment(usize),
    Text,
    /// A raw string that ends with so many `#`.
    RawText(usize),
}

/// Takes source apart into lines.
pub fn lines(source: &str) -> Vec<Line> {
    let mut state = State::Code;
    let mut found = Vec::new();
    for text in source.lines() {
        let mut line = Line { blank: text.trim().is_empty(), ..Line::default() };
        let characters: Vec<char> = text.chars().collect();
        let mut at = 0;
        while at < characters.len() {
            let (next, taken) = step(state, &characters, at);
            // What belongs to a comment or a string is the state's on either side of its marks.
            let comment = |s| matches!(s, State::LineComment | State::BlockComment(_));
            let piece = &characters[at..at + taken];
            if comment(state) || comment(next) {
                line.comment.extend(piece);
            } else if state == State::Code && (taken == 1 || next != State::Code) {
                line.code.extend(piece);
            } else {
                // The quote that ends a string stays, for whoever looks for the end of it.
                let ends = state != next;
                let blank = |&c: &char| if ends && c == '"' { c } else { ' ' };
                line.code.extend(piece.iter().map(blank));
            }
            state = next;
            at += taken;
        }
        if state == State::LineComment {
            state = State::Code;
        }
        found.push(line);
    }
    found
}

/// The state after what is at `at`, and how many characters that is.
fn step(state: State, text: &[char], at: usize) -> (State, usize) {
    let starts = |mark: &str| mark.chars().enumerate().all(|(i, c)| text.get(at + i) == Some(&c));
    let hashes = |from: usize| text.iter().skip(from).take_while(|&&c| c == '#').count();
    match state {
        State::LineComment => (state, 1),
        State::BlockComment(1) if starts("*/") => (State::Code, 2),
        State::BlockComment(deep) if starts("*/") => (State::BlockComment(deep - 1), 2),
        State::BlockComment(deep) if starts("/*") => (State::BlockComment(deep + 1), 2),
        State::BlockComment(_) => (state, 1),
        State::Text if text[at] == '\\' => (state, 2.min(text.len() - at)),
        State::Text if text[at] == '"' => (State::Code, 1),
        State::Text => (state, 1),
        State::RawText(count) if text[at] == '"' && hashes(at + 1) >= count => {
            (State::Code, 1 + count)
        }
        State::RawText(_) => (state, 1),
        State::Code if starts("//") => (State::LineComment, 2),
        State::Code if starts("/*") => (State::BlockComment(1), 2),
        State::Code if text[at] == '"' => (State::Text, 1),
        State::Code if text[at] == 'r' && !in_word(text, at) => {
            let count = hashes(at + 1);
            let raw = text.get(at + 1 + count) == Some(&'"');
            if raw { (State::RawText(count), 2 + count) } else { (state, 1) }
        }
        State::Code if text[at] == '\'' => (state, character(text, at)),
        State::Code => (state, 1),
    }
}

/// Whether what is at `at` goes on with a word (a `b` before it makes a string of bytes).
fn in_word(text: &[char], at: usize) -> bool {
    let word = |i: usize| text[i].is_alphanumeric() || text[i] == '_';
    match at {
        0 => false,
        1 => word(0) && text[0] != 'b',
        _ => word(at - 1) && (text[at - 1] != 'b' || word(at - 2)),
    }
}

/// The length of the character literal at `at`; 1 where the quote is a lifetime's.
fn character(text: &[char], at: usize) -> usize {
    let end = |from: usize| text.iter().skip(from).position(|&c| c == '\'').map(|n| from + n + 1);
    match text.get(at + 1) {
        Some('\\') => end(at + 3).map_or(1, |end| end - at),
        Some(_) if text.get(at + 2) == Some(&'\'') => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(source: &str) -> Vec<String> {
        lines(source).into_iter().map(|line| line.code).collect()
    }

    #[test]
    fn comments_are_no_code() {
        let read = lines("a(); // b\n/* c /* d */\ne */ f();\n//! g\n\n");
        assert_eq!(read[0].code, "a(); ");
        assert_eq!(read[0].comment, "// b");
        assert!(read[1].is_comment());
        assert_eq!((read[2].code.as_str(), read[2].comment.as_str()), (" f();", "e */"));
        assert!(read[3].is_comment() && !read[3].blank && read[4].blank);
    }

    #[test]
    fn strings_and_characters_are_blanked() {
        assert_eq!(code(r#"a("// \" b", c)"#), [r#"a("       ", c)"#]);
        assert_eq!(code("a(\"x\ny\", z)"), ["a(\" ", " \", z)"]);
        assert_eq!(code("f(r#\"a\"b\"#, c)"), ["f(r#\"   \" , c)"]);
        assert_eq!(code("b'\"', '\\'', '\\u{41}', 'x"), ["b   ,     ,         , 'x"]);
        assert_eq!(code("fn a<'a>(b: &'a str) {}"), ["fn a<'a>(b: &'a str) {}"]);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[a-z\"'r#/*\\\\{ \n]{0,200}") {
            prop_assert_eq!(lines(&text).len(), text.lines().count());
        }
    }
}
