//! Counts what an auditor has to read: lines of code and comment, unsafe blocks and the reasons
//! they give, assembly. [`specification`] reads the budgets of SPECIFICATION.md.
//!
//! The counting is of text, not of syntax: it knows comments, strings enough not to be fooled by
//! this repository, and that a `#[cfg(test)]` module ends its file.
#![forbid(unsafe_code)]

pub mod image;
pub mod specification;

use anyhow::Context;
use std::path::{Path, PathBuf};

/// The crates whose code runs in hypervisor mode, by their folders.
pub const HYPERVISOR: [&str; 8] = [
    "lib",
    "boot/wire",
    "boot/archive",
    "hypervisor/abi",
    "hypervisor/xen-sys",
    "hypervisor/core",
    "hypervisor/powernv",
    "hypervisor/image",
];

/// The crates that may have unsafe code: they touch registers, storage or another address space.
pub const UNSAFE_ALLOWED: [&str; 6] = [
    "hypervisor/powernv",
    "guest-kernel/arch",
    "guest-kernel/image",
    "libos",
    "linux-compat/image",
    "tests/guest",
];

/// Files of those crates that are compiled for the host only.
const HOST_ONLY: [&str; 2] = ["boot/archive/src/write.rs", "hypervisor/image/build.rs"];

/// What a piece of source comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Lines with code.
    pub code: usize,
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
        self.comment += other.comment;
        self.tests += other.tests;
        self.unsafes += other.unsafes;
        self.reasons += other.reasons;
    }
}

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The folders of the workspace's members, as the root Cargo.toml lists them.
pub fn members() -> anyhow::Result<Vec<String>> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml"))?;
    let list = manifest.split("members = [").nth(1).context("Cargo.toml has no members")?;
    let list = list.split(']').next().unwrap_or_default();
    Ok(list.lines().filter_map(|line| Some(line.split('"').nth(1)?.to_owned())).collect())
}

/// Counts Rust source; `all_tests` when the whole file is tests.
pub fn rust(source: &str, all_tests: bool) -> Count {
    let mut count = Count::default();
    let mut tests = all_tests;
    for line in source.lines().map(str::trim) {
        tests |= line == "#[cfg(test)]";
        if line.is_empty() {
        } else if line.starts_with("//") {
            count.comment += 1;
            let reason = line.starts_with("// SAFETY:") || line == "/// # Safety";
            count.reasons += usize::from(reason && !tests);
        } else if tests {
            count.tests += 1;
        } else {
            count.code += 1;
            count.unsafes += usize::from(is_unsafe(line));
        }
    }
    count
}

/// Whether a line of code opens an unsafe block or starts an unsafe item. Types of functions,
/// foreign declarations and attributes are none.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or(line);
    let opens = code.contains("unsafe {") || code.contains("unsafe impl");
    let function = code.contains("unsafe extern \"C\" fn ") || code.contains("unsafe fn ");
    opens || function
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

/// Rust and assembly of the crate in `folder`.
pub fn crate_counts(folder: &str) -> anyhow::Result<(Count, Count)> {
    let (mut code, mut asm) = (Count::default(), Count::default());
    for path in files(&root().join(folder), "rs")? {
        let relative = path.strip_prefix(root())?.to_string_lossy().into_owned();
        if HOST_ONLY.contains(&relative.as_str()) {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let all_tests = relative.contains("/tests/") || name.ends_with("tests.rs");
        code += rust(&std::fs::read_to_string(&path)?, all_tests);
    }
    for path in files(&root().join(folder), "S")? {
        asm += assembly(&std::fs::read_to_string(&path)?);
    }
    Ok((code, asm))
}

/// The sum over the crates that run in hypervisor mode.
pub fn hypervisor() -> anyhow::Result<(Count, Count)> {
    let mut sum = (Count::default(), Count::default());
    for folder in HYPERVISOR {
        let (code, asm) = crate_counts(folder)?;
        sum.0 += code;
        sum.1 += asm;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comment_tests_and_unsafe_are_told_apart() {
        let source = "//! Doc.\n\nfn a() {\n    // SAFETY: why.\n    unsafe { b() };\n}\n\
                      #[cfg(test)]\nmod tests {\n    fn c() { unsafe { b() } }\n}\n";
        let count = rust(source, false);
        assert_eq!(count, Count { code: 3, comment: 2, tests: 4, unsafes: 1, reasons: 1 });
        assert_eq!(assembly("// x\n  li 3, 0\n\n  blr\n").code, 2);
    }
}
