//! Every place with unsafe code, with the reason that it gives.
//!
//! Of blocks, functions, implementations and traits; an `unsafe` in a type of function, in an
//! attribute or before foreign declarations does nothing by itself and is left out. The reason is
//! the `SAFETY:` comment above the statement, or the `# Safety` section of the documentation.

use crate::count::{self, files};
use crate::source::{Line, lines};
use crate::table::Table;

/// What is unsafe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `unsafe { … }`
    Block,
    /// `unsafe fn`
    Function,
    /// `unsafe impl`
    Implementation,
    /// `unsafe trait`
    Trait,
}

impl Kind {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Block => "block",
            Kind::Function => "fn",
            Kind::Implementation => "impl",
            Kind::Trait => "trait",
        }
    }
}

/// A place with unsafe code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The file, from the workspace's root.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What it is.
    pub kind: Kind,
    /// The line's text.
    pub text: String,
    /// Why it is sound, or what the caller has to see to.
    pub reason: Option<String>,
}

/// The unsafe code of the crate in `folder`, without its tests.
pub fn crate_sites(folder: &str) -> anyhow::Result<Vec<Site>> {
    let mut found = Vec::new();
    for path in files(&crate::root().join(folder), "rs")? {
        let file = path.strip_prefix(crate::root())?.to_string_lossy().into_owned();
        if !count::is_tests(&file) && !count::is_elsewhere(&file) {
            found.extend(sites(&file, &std::fs::read_to_string(&path)?));
        }
    }
    Ok(found)
}

/// The unsafe code of `source`, up to its tests.
pub fn sites(file: &str, source: &str) -> Vec<Site> {
    let lines = lines(source);
    let mut found = Vec::new();
    for (at, text) in source.lines().enumerate() {
        if text.trim() == "#[cfg(test)]" {
            break;
        }
        for kind in kinds(&lines, at) {
            let reason = reason(&lines[..at]);
            let (file, text) = (file.to_owned(), text.trim().to_owned());
            found.push(Site { file, line: at + 1, kind, text, reason });
        }
    }
    found
}

/// What the words `unsafe` of line `at` begin.
pub(crate) fn kinds(lines: &[Line], at: usize) -> Vec<Kind> {
    let code = &lines[at].code;
    let uses = words(code, "unsafe").into_iter().filter_map(|from| {
        // What follows may be on the next line.
        let mut rest = code[from..].trim().to_owned();
        let mut more = lines[at + 1..].iter();
        while rest.len() < 4
            && let Some(line) = more.next()
        {
            rest = format!("{rest} {}", line.code.trim()).trim().to_owned();
        }
        kind(&rest)
    });
    uses.collect()
}

fn kind(rest: &str) -> Option<Kind> {
    let first = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    match first {
        "" if rest.starts_with('{') => Some(Kind::Block),
        "impl" => Some(Kind::Implementation),
        "trait" => Some(Kind::Trait),
        // `fn name`, not the type `fn(…)`
        "fn" => rest[2..].starts_with(' ').then_some(Kind::Function),
        "extern" => {
            let item = rest[6..].trim_start();
            let item = item.strip_prefix('"').and_then(|abi| abi.split_once('"'));
            item.and_then(|(_, item)| kind(item.trim_start()).filter(|&k| k == Kind::Function))
        }
        _ => None,
    }
}

/// Where text goes on after each `word` in it.
pub(crate) fn words(text: &str, word: &str) -> Vec<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let uses = text.match_indices(word).filter(|&(at, _)| {
        !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part)
    });
    uses.map(|(at, _)| at + word.len()).collect()
}

/// The reason that the comments at the end of `before` give.
fn reason(before: &[Line]) -> Option<String> {
    let mut comments = Vec::new();
    for line in before.iter().rev() {
        let code = line.code.trim();
        if line.is_comment() {
            comments.push(line.comment.trim_start_matches(['/', '!']).trim());
        } else if !comments.is_empty() || line.blank || code.ends_with([';', '}', '{']) {
            break;
        }
        // Attributes, and the lines before that the statement began on, are passed over.
    }
    comments.reverse();
    let start = comments.iter().position(|c| c.starts_with("SAFETY:") || *c == "# Safety")?;
    let text = comments[start..].join(" ");
    let text = text.strip_prefix("SAFETY:").or_else(|| text.strip_prefix("# Safety"))?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The table of `sites`.
pub fn table(id: &'static str, title: &'static str, sites: &[Site]) -> Table {
    let mut table = Table::new(id, title, &["place", "what", "code", "reason"]);
    for site in sites {
        let reason = site.reason.clone().unwrap_or_else(|| "none given".into());
        let place = format!("{}:{}", site.file, site.line);
        table.row([place, site.kind.name().into(), site.text.clone(), reason]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_with_its_reason() {
        let source = "\
// SAFETY: one thread.
unsafe impl Sync for A {}
/// Does it.
///
/// # Safety
/// Called once.
#[inline]
pub unsafe fn a() {
    // SAFETY: the pointer is
    // good.
    let b = f(
        unsafe { *c });
    unsafe
    { d() }
}
unsafe extern \"C\" fn e() {}
";
        let found = sites("a.rs", source);
        let kinds: Vec<_> = found.iter().map(|site| (site.line, site.kind)).collect();
        use Kind::{Block, Function, Implementation};
        let want = [(2, Implementation), (8, Function), (12, Block), (13, Block), (16, Function)];
        assert_eq!(kinds, want);
        let reasons: Vec<_> = found.iter().map(|site| site.reason.as_deref()).collect();
        let good = Some("the pointer is good.");
        assert_eq!(reasons, [Some("one thread."), Some("Called once."), good, None, None]);
    }

    #[test]
    fn what_is_not_unsafe_code_is_left_out() {
        let source = "#![forbid(unsafe_code)]\n#[unsafe(no_mangle)]\nunsafe extern \"C\" {\n}\n\
                      // unsafe { a() }\nstruct S(unsafe extern \"C\" fn(u64), unsafe fn(u8));\n\
                      fn b() { c(\"unsafe { d() }\") }\n#[cfg(test)]\nmod t { unsafe { e() } }\n";
        assert_eq!(sites("a.rs", source), []);
    }

    #[test]
    fn a_reason_belongs_to_one_statement() {
        let source = "// SAFETY: good.\nlet a = unsafe { b() };\nlet c = unsafe { d() };\n";
        let found = sites("a.rs", source);
        assert!(found[0].reason.is_some() && found[1].reason.is_none());
    }
}
