//! The peer: Linux with KVM-HV on the same emulated machine. Its one process (`tests/peer`) measures,
//! prints `BENCH name N insns` for each figure and powers the machine off.

use std::collections::BTreeMap;

use anyhow::Context;
use k42::files;

use crate::Model;
use crate::bare::Linux;
use crate::figures::Clock;

pub(crate) const INITRD: &str = "target/inputs/peer.cpio";
/// What it says when it has measured all.
pub(crate) const DONE: &str = "peer: done";
pub(crate) const MEMORY: u64 = 2 << 30;

/// What the peer measured of itself.
#[derive(Debug)]
pub struct Peer(BTreeMap<String, u64>);

impl Peer {
    /// Measures all of it.
    ///
    /// # Errors
    /// When it does not come to its end.
    pub fn measure(model: Model, clock: Clock) -> anyhow::Result<Peer> {
        let initrd = files::top().join(INITRD);
        let linux = Linux {
            name: "peer",
            initrd: &initrd,
            words: "",
            memory: MEMORY,
            processors: 1,
            more: &[],
        };
        let lines = linux.run(model, clock, DONE)?;
        Ok(Peer(lines.iter().filter_map(|line| figure(line)).collect()))
    }

    /// All its figures, by name.
    pub fn figures(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, &figure)| (name.as_str(), figure))
    }

    /// The figure of that name.
    ///
    /// # Errors
    /// When it has none.
    pub fn figure(&self, name: &str) -> anyhow::Result<u64> {
        self.0.get(name).copied().with_context(|| format!("the peer has no figure {name}"))
    }
}

/// A figure's line, `BENCH name N insns`.
pub(crate) fn figure(line: &str) -> Option<(String, u64)> {
    let mut words = line.strip_prefix("BENCH ")?.split(' ');
    Some((words.next()?.into(), words.next()?.parse().ok()?))
}
