//! Builds domains: from a description and the files it names to what the hypervisor copies.
//!
//! A [`Plan`] says what a domain has and holds the contents of its files; [`build`] lays them out
//! in the domain's memory ([`layout`]), writes its device tree ([`linux`], [`k42`]) and returns a
//! [`boot_archive::write::Domain`]. Nothing here reads files or starts machines: `domains/k42` does.
//! What the two kinds of guest find at their start is docs/interfaces.md §1 and §4.
#![forbid(unsafe_code)]

mod disks;
pub mod image;
pub mod k42;
pub mod layout;
pub mod linux;
mod tree;

use std::sync::Arc;

use boot_archive::write::Domain;
use boot_archive::{MEMORY_GRANULE, Machine};

pub use boot_archive::Scheduling;
pub use disks::Disk;
pub use hv_abi::Rights;
pub use image::{Image, ImageError};
pub use layout::LayoutError;

/// The contents of a file, which several domains may share.
pub type File = Arc<[u8]>;

/// Ticks of the timebase a second, on every machine of the architecture.
pub const TIMEBASE_FREQUENCY: u32 = 512_000_000;

/// What a domain is to have.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its number, 1 to 62.
    pub number: u16,
    /// Its name, `[a-z0-9-]{1,24}`.
    pub name: String,
    /// Its memory in bytes, a multiple of 2 MiB.
    pub memory_size: u64,
    /// How many vCPUs it has.
    pub vcpus: u32,
    /// Its proportional share.
    pub weight: u16,
    /// How else its vCPUs take part in the processors.
    pub scheduling: Scheduling,
    /// What it may ask of the hypervisor beyond its own affairs.
    pub rights: Rights,
    /// The number of the LAN that it is on, if it may be on one.
    pub lan: u16,
    /// What runs in it.
    pub guest: Guest,
}

/// What runs in a domain.
#[derive(Clone, Debug)]
pub enum Guest {
    /// An unmodified Linux kernel.
    Linux(linux::Linux),
    /// K42's kernel, with an application to manage or by itself.
    K42(k42::K42),
}

/// Why a domain cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An ELF file is not what it must be.
    #[error("{0}: {1}")]
    Image(&'static str, ImageError),
    /// The domain's memory is too small, or parts of it collide.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The memory size is none.
    #[error("a domain's memory is a multiple of 2 MiB and not 0, this is {0} bytes")]
    MemorySize(u64),
    /// The device tree cannot hold a value, such as a text with a NUL in it.
    #[error("device tree: {0}")]
    Tree(#[from] vm_fdt::Error),
}

/// Builds the domain of this plan for this machine.
pub fn build(machine: Machine, plan: &Plan) -> Result<Domain, BuildError> {
    if plan.memory_size == 0 || !plan.memory_size.is_multiple_of(MEMORY_GRANULE) {
        return Err(BuildError::MemorySize(plan.memory_size));
    }
    match &plan.guest {
        Guest::Linux(guest) => linux::build(machine, plan, guest),
        Guest::K42(guest) => k42::build(plan, guest),
    }
}
