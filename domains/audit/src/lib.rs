//! What an auditor has to read, taken from the code and the built image and held against the
//! budgets of SPECIFICATION.md: `cargo k42 audit`.
//!
//! One module a subject: [`count`] the lines, [`unsafes`] the unsafe code with its reasons,
//! [`calls`] the hypercall tables, [`crates`] what comes from outside, [`image`] and [`stack`] the
//! built hypervisor, [`specification`] the budgets. Each makes a [`table`]; [`report`] puts them
//! together, for a terminal or as one page ([`page`]).
#![forbid(unsafe_code)]

pub mod calls;
pub mod count;
pub mod crates;
pub mod image;
pub mod page;
pub mod report;
pub mod source;
pub mod specification;
pub mod stack;
pub mod table;
pub mod unsafes;

pub use count::{Count, assembly, crate_counts, files, hypervisor, images, rust};

use anyhow::Context;
use std::path::Path;

/// The crates whose code runs in hypervisor mode, by their folders.
pub const HYPERVISOR: [&str; 12] = [
    "lib",
    "boot/wire",
    "boot/archive",
    "boot/measure",
    "hypervisor/abi",
    "hypervisor/xen-sys",
    "hypervisor/core",
    "hypervisor/power",
    "hypervisor/powernv",
    "hypervisor/nested",
    "hypervisor/image",
    "hypervisor/image-nested",
];

/// The two images: what one runs, the other does not have.
pub const IMAGES: [(&str, [&str; 2]); 2] = [
    ("hypervisor", ["hypervisor/powernv", "hypervisor/image"]),
    ("hypervisor-nested", ["hypervisor/nested", "hypervisor/image-nested"]),
];

/// What of those crates is PAPR's personality, which both images have; the hypervisor is built
/// without it, too. Dates are its clock's alone once guests run.
pub const PAPR: [&str; 3] =
    ["hypervisor/abi/src/papr/", "hypervisor/core/src/papr/", "lib/src/calendar.rs"];

/// Files of those crates that do their work before the first guest runs, and how the symbols of
/// what is in them begin: the budget is for what runs after boot, and a test holds that no way in
/// from a guest leads to these.
pub const AT_BOOT: [(&str, &str); 13] = [
    ("boot/archive/src/machine.rs", "boot_archive::machine::"),
    ("boot/archive/src/read.rs", "boot_archive::read::"),
    ("boot/archive/src/vet.rs", "boot_archive::vet::"),
    ("boot/archive/src/error.rs", "boot_archive::error::"),
    ("hypervisor/core/src/start.rs", ">>::start_all"),
    ("hypervisor/core/src/start.rs", ">>::init"),
    ("hypervisor/core/src/start.rs", "CreateError as core::fmt::Display"),
    ("hypervisor/core/src/memory/disk.rs", ">>::map_disk"),
    ("hypervisor/power/src/disks.rs", "hv_power::disks::"),
    ("hypervisor/power/src/tree.rs", "hv_power::tree::"),
    ("hypervisor/power/src/start.rs", "hv_power::start::"),
    ("hypervisor/powernv/src/boot.rs", "hv_powernv::boot::"),
    ("hypervisor/nested/src/boot.rs", "hv_nested::boot::"),
];

/// The crates that may have unsafe code: they touch registers, storage or another address space, or
/// hold what the compiler cannot see of a translation table or of free memory.
pub const UNSAFE_ALLOWED: [&str; 12] = [
    "domains/controller",
    "domains/storage",
    "hypervisor/power",
    "hypervisor/powernv",
    "hypervisor/nested",
    "guest-kernel/alloc",
    "guest-kernel/arch",
    "guest-kernel/image",
    "guest-kernel/object",
    "libos",
    "linux-compat/image",
    "tests/guest",
];

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
