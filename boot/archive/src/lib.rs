//! The boot archive: everything the hypervisor starts domains from, in one file.
//!
//! The host tool parses descriptions and images and writes an archive ([`write`], feature `write`);
//! the hypervisor reads one flattened device tree and copies bytes ([`read`]). Layout and property
//! names are in docs/interfaces.md §1.
//!
//! What is trusted: an archive comes from the machine's owner, so nothing here guards one domain
//! against another. It may still be damaged or of another version, and then [`Archive::parse`] says
//! what is wrong: [`vet`] checks the index's structure once, so that the `fdt` crate, which panics
//! on a broken tree, only ever sees a sound one, and each domain's values are checked as it is read.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(feature = "write", test))]
extern crate std;

pub mod error;
pub mod machine;
pub mod read;
mod vet;
#[cfg(feature = "write")]
pub mod write;

pub use error::{ArchiveError, IndexFault, Place};
pub use machine::{Console, Machine, Processor};
pub use read::{Archive, DomainImage, Load};

/// What the root node's `compatible` says.
pub const COMPATIBLE: &str = "k42,boot-archive-1";
/// Where the payload begins: the first multiple of this after the index.
pub const PAYLOAD_ALIGNMENT: u64 = 64 << 10;
/// A domain's memory is a multiple of this.
pub const MEMORY_GRANULE: u64 = 2 << 20;
/// The longest name of a domain, in bytes.
pub const MAX_NAME: usize = 24;
/// The highest domain number: its console channel has the same number (docs/interfaces.md §2).
pub const MAX_DOMAIN: u16 = 62;
/// The weight of a domain that names none.
pub const DEFAULT_WEIGHT: u32 = 256;

/// The set of hypercalls a domain speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Personality {
    /// PAPR's: Linux.
    Papr,
    /// Xen's: K42.
    Xen,
}

impl Personality {
    /// Its name in the archive.
    pub const fn name(self) -> &'static str {
        match self {
            Personality::Papr => "papr",
            Personality::Xen => "xen",
        }
    }

    /// The personality of that name.
    pub fn from_name(name: &str) -> Option<Personality> {
        [Personality::Papr, Personality::Xen].into_iter().find(|p| p.name() == name)
    }
}

/// How a domain's vCPUs take part in the processors, besides their weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scheduling {
    /// The most each gets of what is shared, in hundredths of a processor; 0 for no such bound.
    pub cap: u32,
    /// The processors that they may run on, a bit for each.
    pub processors: u32,
    /// Ticks that each gets in every period of so many ticks.
    pub reserved: Option<(u64, u64)>,
}

impl Default for Scheduling {
    fn default() -> Scheduling {
        Scheduling { cap: 0, processors: u32::MAX, reserved: None }
    }
}

/// Whether `name` may name a domain: `[a-z0-9-]{1,24}`.
pub fn is_domain_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
