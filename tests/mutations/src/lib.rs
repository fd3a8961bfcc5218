//! The list of mutations (`mutations.toml`): what each breaks, where, and by which change of the text.
//!
//! `main` applies them; the test here holds the list against the sources.
#![forbid(unsafe_code)]

use anyhow::{Context, ensure};
use std::path::Path;
use toml::{Table, Value};

/// One place of the hypervisor, of clustered objects or of the kernel's heap, broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// What no longer holds.
    pub breaks: String,
    /// The file, from the workspace's root.
    pub file: String,
    /// Its text, which is there exactly once.
    pub find: String,
    /// What stands there instead.
    pub replace: String,
}

impl Mutation {
    /// The file's text with the change.
    ///
    /// # Errors
    /// The text is not there, or more than once: the list says what to do.
    pub fn apply(&self, root: &Path) -> anyhow::Result<String> {
        let path = root.join(&self.file);
        let source = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let count = source.matches(&self.find).count();
        ensure!(
            count == 1,
            "{}: the text of the mutation \"{}\" is there {count} times, not once.\n\
             Put the code as it is now into tests/mutations/mutations.toml; take the mutation out \
             only if the code needs no such check any more.\n{}",
            self.file,
            self.breaks,
            self.find
        );
        Ok(source.replace(&self.find, &self.replace))
    }
}

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// All mutations.
///
/// # Errors
/// The list cannot be read.
pub fn list() -> anyhow::Result<Vec<Mutation>> {
    let path = root().join("tests/mutations/mutations.toml");
    read(&std::fs::read_to_string(&path)?).with_context(|| path.display().to_string())
}

fn read(text: &str) -> anyhow::Result<Vec<Mutation>> {
    let mut found = Vec::new();
    for (file, entries) in text.parse::<Table>()? {
        for (breaks, texts) in entries.as_table().context("a file's table is wanted")? {
            let texts: Option<Vec<&str>> =
                texts.as_array().and_then(|t| t.iter().map(Value::as_str).collect());
            let Some(&[find, replace]) = texts.as_deref() else {
                anyhow::bail!("{breaks}: wants the text to find and its replacement")
            };
            let (file, breaks) = (file.clone(), breaks.clone());
            found.push(Mutation { breaks, file, find: find.into(), replace: replace.into() });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_finds_its_text() {
        let wrong: Vec<String> = list()
            .unwrap()
            .iter()
            .filter_map(|m| m.apply(root()).err().map(|error| format!("{error:#}")))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }

    #[test]
    fn an_entry_is_two_texts() {
        let list = read("[\"a.rs\"]\n\"no lock\" = ['lock()', '']").unwrap();
        assert_eq!((list[0].file.as_str(), list[0].find.as_str()), ("a.rs", "lock()"));
        assert!(read("[\"a.rs\"]\n\"no lock\" = ['lock()']").is_err());
    }
}
