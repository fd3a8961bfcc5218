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
pub use machine::{
    COMPATIBLE, Console, Disk, MAX_DOMAIN, MEMORY_GRANULE, Machine, PAYLOAD_ALIGNMENT, Processor,
    Scheduling,
};
pub use read::{Archive, DomainImage, Load};

/// The longest name of a domain, in bytes.
pub const MAX_NAME: usize = 24;
/// The weight of a domain that names none.
pub const DEFAULT_WEIGHT: u16 = 256;

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
}

/// Whether `name` may name a domain: `[a-z0-9-]{1,24}`.
pub fn is_domain_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
