//! The disks of a machine: files of the host's, each of which a domain has for itself. A storage domain
//! serves them (`domains/storage`); the machine has them mapped as storage (docs/hypervisor.md).

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use domain_builder::Disk;

use crate::description::{Description, size};
use crate::files;

/// The most that a machine has: functions of a PCI device (`hypervisor/power/src/disks.rs`).
pub const MOST: usize = 8;
/// The least and the most that one has: a leaf, and what a storage domain has room for.
const SIZES: std::ops::RangeInclusive<u64> = boot_archive::MEMORY_GRANULE..=1 << 40;

/// The files of a machine, by the numbers of their disks.
pub fn files(description: &Description) -> impl Iterator<Item = &Path> {
    description.domains.iter().flat_map(|domain| &domain.disks).map(PathBuf::as_path)
}

/// The disks of a machine, in the same order: what its storage domain is told.
///
/// # Errors
/// A file is not what [`bytes`] wants.
pub fn all(description: &Description) -> anyhow::Result<Vec<Disk>> {
    let mut disks = Vec::new();
    for (client, domain) in (1..).zip(&description.domains) {
        for (unit, file) in (0..).zip(&domain.disks) {
            let size = bytes(file).map_err(anyhow::Error::msg)?;
            disks.push(Disk { number: disks.len() as u32, size, client, unit });
        }
    }
    Ok(disks)
}

/// How large the disk in a file is; or what is wrong with the file, and how to mend it. A disk is its
/// file, so that the size has to be one that can be mapped.
pub fn bytes(file: &Path) -> Result<u64, String> {
    let shown = file.strip_prefix(files::top()).unwrap_or(file).display().to_string();
    let make = |size: u64| format!("`truncate --size {} {shown}`", size::show(size));
    let bytes = match file.metadata() {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(format!("{shown} is no file; {} makes one", make(1 << 30))),
        Err(error) => return Err(format!("{shown}: {error}; {} makes one", make(1 << 30))),
    };
    let (least, most) = (*SIZES.start(), *SIZES.end());
    if bytes > most {
        return Err(format!("{shown} has {bytes} bytes, and a disk has at most {most}"));
    }
    let fitting = bytes.max(least).next_power_of_two();
    if bytes != fitting {
        return Err(format!(
            "{shown} has {bytes} bytes, which is no power of two from 2 MiB on; {} makes it longer \
             and takes no room",
            make(fitting)
        ));
    }
    Ok(bytes)
}

/// Holds the files of a machine for it alone, as long as what is returned lives.
///
/// # Errors
/// Another machine has one, or it may not be written.
pub fn hold(description: &Description) -> anyhow::Result<Vec<File>> {
    let hold = |path: &Path| {
        let shown = path.display();
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.with_context(|| format!("the disk {shown}"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                bail!("the disk {shown} is another machine's that runs: end it first")
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{shown}")),
        }
    };
    files(description).map(hold).collect()
}
