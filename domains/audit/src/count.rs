//! Counts lines of code and comment, unsafe code and reasons, assembly.
//!
//! The counting is of text ([`crate::source`]): a `#[cfg(test)]` module ends its file. What is
//! compiled with the feature `walker` alone is tests too: no image that is shipped is built with it.

use crate::source::{Line, lines};
use crate::table::{Table, number};
use crate::unsafes::kinds;
use crate::{AT_BOOT, HYPERVISOR, IMAGES, PAPR, root};
use anyhow::Context;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Files of the hypervisor's crates of which nothing is in an image of it: they are for the host, for
/// guests, for people, or for a hypervisor without PAPR.
const ELSEWHERE: [&str; 14] = [
    "boot/archive/src/write.rs",
    "boot/wire/src/host.rs",
    "hypervisor/abi/src/guest.rs",
    "hypervisor/abi/src/rows.rs",
    "hypervisor/core/src/papr/absent.rs",
    "lib/src/lock.rs",
    "lib/src/trace.rs",
    "lib/src/trace/events.rs",
    "lib/src/trace/read.rs",
    "lib/src/trace/ring.rs",
    "lib/src/trace/schema.rs",
    "lib/src/vector/kernel.rs",
    "hypervisor/image/build.rs",
    "hypervisor/image-nested/build.rs",
];

/// What a piece of source comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Lines with code.
    pub code: usize,
    /// Lines with code that runs at boot only.
    pub boot: usize,
    /// Lines with nothing but a comment.
    pub comment: usize,
    /// Lines of code in tests.
    pub tests: usize,
    /// Unsafe blocks, functions and implementations outside tests.
    pub unsafes: usize,
    /// `SAFETY:` reasons and `# Safety` sections outside tests.
    pub reasons: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.code += other.code;
        self.boot += other.boot;
        self.comment += other.comment;
        self.tests += other.tests;
        self.unsafes += other.unsafes;
        self.reasons += other.reasons;
    }
}

/// Counts Rust source; `all_tests` when the whole file is tests.
pub fn rust(source: &str, all_tests: bool) -> Count {
    let mut count = Count::default();
    let mut tests = all_tests;
    let lines = lines(source);
    let walker = walker(&lines);
    for (at, line) in lines.iter().enumerate() {
        tests |= line.code.trim() == "#[cfg(test)]";
        if line.blank {
        } else if line.is_comment() {
            count.comment += 1;
            let text = line.comment.trim();
            let reason = text.starts_with("// SAFETY:") || text == "/// # Safety";
            count.reasons += usize::from(reason && !tests);
        } else if tests || walker.iter().any(|item| item.contains(&at)) {
            count.tests += 1;
        } else {
            count.code += 1;
            count.unsafes += kinds(&lines, at).len();
        }
    }
    count
}

/// The items that the feature `walker` brings: their attribute, and what follows up to the end of
/// its braces, or of its line where it has none.
fn walker(lines: &[Line]) -> Vec<RangeInclusive<usize>> {
    let is_attribute = |line: &Line| line.code.trim().starts_with("#[cfg(feature = ");
    let starts = (0..lines.len()).filter(|at| is_attribute(&lines[*at]));
    let end = |start: usize| {
        let mut depth = 0;
        let found = lines.iter().enumerate().skip(start + 1).find(|(_, line)| {
            depth += line.code.matches('{').count();
            depth -= line.code.matches('}').count();
            depth == 0 && line.code.trim_end().ends_with(['}', ';', ','])
        });
        found.map_or(lines.len(), |(at, _)| at)
    };
    starts.map(|start| start..=end(start)).collect()
}

/// Counts assembly.
pub fn assembly(source: &str) -> Count {
    let mut count = Count::default();
    for line in source.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with("//") {
            count.comment += 1;
        } else {
            count.code += 1;
        }
    }
    count
}

/// The files below `folder` with this ending, sorted.
pub fn files(folder: &Path, ending: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, ending)?);
        } else if path.extension().is_some_and(|have| have == ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a file, named from the workspace's root, is tests.
pub(crate) fn is_tests(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("tests.rs") || file.ends_with("/walker.rs")
}

/// Whether nothing of a file of the hypervisor's crates is in its images.
pub(crate) fn is_elsewhere(file: &str) -> bool {
    ELSEWHERE.contains(&file)
}

/// Counts of a file.
pub struct Module {
    /// The file, from the workspace's root.
    pub file: String,
    /// Its counts.
    pub count: Count,
}

impl Module {
    /// Whether it is assembly.
    pub fn is_assembly(&self) -> bool {
        self.file.ends_with(".S")
    }
}

/// The files of the crate in `folder`: Rust, then assembly.
pub fn modules(folder: &str) -> anyhow::Result<Vec<Module>> {
    let mut found = Vec::new();
    for ending in ["rs", "S"] {
        for path in files(&root().join(folder), ending)? {
            let file = path.strip_prefix(root())?.to_string_lossy().into_owned();
            if is_elsewhere(&file) {
                continue;
            }
            let source = std::fs::read_to_string(&path)?;
            let mut count =
                if ending == "S" { assembly(&source) } else { rust(&source, is_tests(&file)) };
            if AT_BOOT.iter().any(|(at_boot, _)| *at_boot == file) {
                count.boot = core::mem::take(&mut count.code);
            }
            found.push(Module { file, count });
        }
    }
    Ok(found)
}

/// Rust and assembly of the crate in `folder`.
pub fn crate_counts(folder: &str) -> anyhow::Result<(Count, Count)> {
    let (mut code, mut asm) = (Count::default(), Count::default());
    for module in modules(folder)? {
        if module.is_assembly() {
            asm += module.count;
        } else {
            code += module.count;
        }
    }
    Ok((code, asm))
}

/// The sums over the crates of each image that runs in hypervisor mode.
pub fn images() -> anyhow::Result<Vec<(&'static str, Count, Count)>> {
    let sum = |(name, own): &(&'static str, [&str; 2])| {
        let other = IMAGES.iter().filter(|(other, _)| other != name).flat_map(|(_, crates)| crates);
        let other: Vec<_> = other.filter(|folder| !own.contains(folder)).collect();
        let (rust, assembly) = sum(|folder| !other.contains(&&folder))?;
        Ok((*name, rust, assembly))
    };
    IMAGES.iter().map(sum).collect()
}

/// The sum over all crates that run in hypervisor mode, in one image or the other.
pub fn hypervisor() -> anyhow::Result<(Count, Count)> {
    sum(|_| true)
}

/// The sum over PAPR's personality, which both images have and could be without.
pub fn papr() -> anyhow::Result<Count> {
    let mut sum = Count::default();
    for folder in HYPERVISOR {
        let of_it = |module: &Module| PAPR.iter().any(|folder| module.file.starts_with(folder));
        for module in modules(folder)?.into_iter().filter(of_it) {
            sum += module.count;
        }
    }
    Ok(sum)
}

fn sum(counts: impl Fn(&str) -> bool) -> anyhow::Result<(Count, Count)> {
    let mut sum = (Count::default(), Count::default());
    for folder in HYPERVISOR.into_iter().filter(|folder| counts(folder)) {
        let (code, asm) = crate_counts(folder)?;
        sum.0 += code;
        sum.1 += asm;
    }
    Ok(sum)
}

/// The table of all modules that run in hypervisor mode, with a sum for each crate and for all.
pub(crate) fn table() -> anyhow::Result<Table> {
    let columns = ["module", "code", "at boot", "comment", "tests", "unsafe"];
    let mut table = Table::new("lines", "Lines of what runs in hypervisor mode", &columns);
    let row = |name: String, c: Count| {
        let figures = [c.code, c.boot, c.comment, c.tests, c.unsafes].map(|n| number(n as u64));
        [vec![name], figures.to_vec()].concat()
    };
    for folder in HYPERVISOR {
        let mut sum = Count::default();
        for module in modules(folder)? {
            sum += module.count;
            if !is_tests(&module.file) {
                table.row(row(module.file, module.count));
            }
        }
        table.row(row(format!("{folder}, together"), sum));
    }
    let (code, asm) = hypervisor()?;
    table.row(row("all Rust".into(), code));
    table.row(row("all assembly".into(), asm));
    let papr = papr()?;
    table.row(row("Rust of PAPR's personality".into(), papr));
    for (image, code, asm) in images()? {
        table.row(row(format!("Rust in the image {image}"), code));
        let mut without = vec![String::new(); columns.len()];
        without[0] = format!("Rust in the image {image} without PAPR");
        without[1] = number((code.code - papr.code) as u64);
        table.row(without);
        table.row(row(format!("assembly in the image {image}"), asm));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_personality_is_all_of_its_folders() {
        let (all, papr) = (hypervisor().unwrap().0, papr().unwrap());
        assert!(papr.code > 200 && papr.code < all.code / 4, "{papr:?} of {all:?}");
        for place in PAPR {
            assert!(root().join(place).exists(), "{place}");
        }
    }

    #[test]
    fn code_comment_tests_and_unsafe_are_told_apart() {
        let source = "//! Doc.\n\nfn a() {\n    // SAFETY: why.\n    unsafe { b() };\n}\n\
                      #[cfg(test)]\nmod tests {\n    fn c() { unsafe { b() } }\n}\n";
        let count = rust(source, false);
        assert_eq!(count, Count { code: 3, boot: 0, comment: 2, tests: 4, unsafes: 1, reasons: 1 });
        let source = "fn a() {}\n#[cfg(feature = \"walker\")]\nfn b(\n) {\n    c();\n}\n\
                      #[cfg(feature = \"walker\")]\nmod d;\nfn e() {}\n";
        let count = rust(source, false);
        assert_eq!(count, Count { code: 2, tests: 7, ..Count::default() });
        assert_eq!(assembly("// x\n  li 3, 0\n\n  blr\n").code, 2);
    }
}
