//! The writer, for the host: payload that several domains share is stored once.

use std::fmt;
use std::format;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use vm_fdt::FdtWriter;

use crate::{
    Archive, ArchiveError, COMPATIBLE, Console, Disk, Machine, PAYLOAD_ALIGNMENT, Personality,
    Scheduling,
};

/// Payloads begin at multiples of this: a page, so that copying runs in whole cache lines.
const BLOB_ALIGNMENT: u64 = 4 << 10;

/// A domain to write; the fields are those of [`crate::DomainImage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The domain's number, 1 to 62.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// The hypercalls it speaks.
    pub personality: Personality,
    /// Its memory in bytes.
    pub memory_size: u64,
    /// How many vCPUs it has.
    pub vcpus: u32,
    /// Its proportional share.
    pub weight: u16,
    /// How else its vCPUs take part in the processors.
    pub scheduling: Scheduling,
    /// What it may ask of the hypervisor beyond its own affairs (`hypervisor/abi`, `Rights`).
    pub rights: u32,
    /// The number of the LAN that it is on, if it may be on one.
    pub lan: u16,
    /// The guest real address of its first instruction.
    pub entry: u64,
    /// The guest real address of its device tree.
    pub device_tree: u64,
    /// Whether it starts little-endian.
    pub little_endian: bool,
    /// What to copy into its memory.
    pub loads: Vec<Blob>,
    /// The disks that are its own.
    pub disks: Vec<Disk>,
}

/// Bytes and where they go. A load without bytes is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What a person calls it; not in the archive.
    pub what: &'static str,
    /// The guest real address of the first byte.
    pub guest_address: u64,
    /// The bytes, shared rather than copied between domains with the same kernel.
    pub data: Arc<[u8]>,
}

/// Why no archive was written.
#[derive(Debug)]
pub enum WriteError {
    /// The index could not be made into a device tree.
    Index(vm_fdt::Error),
    /// The reader would refuse the archive.
    Refused(ArchiveError),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Index(error) => write!(f, "boot archive: index: {error}"),
            WriteError::Refused(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<vm_fdt::Error> for WriteError {
    fn from(error: vm_fdt::Error) -> WriteError {
        WriteError::Index(error)
    }
}

/// The bytes of an archive with these domains, which the reader has accepted; `trace` has the hypervisor
/// write events from the start.
pub fn write(
    machine: Machine,
    console: Console,
    trace: bool,
    domains: &[Domain],
) -> Result<Vec<u8>, WriteError> {
    let payload = Payload::lay_out(domains);
    // Numbers have a fixed size in the index, so its length does not depend on where payload begins.
    let length = index((machine, console, trace), domains, &payload, 0)?.len() as u64;
    let base = length.next_multiple_of(PAYLOAD_ALIGNMENT);
    let mut archive = index((machine, console, trace), domains, &payload, base)?;
    for (blob, offset) in &payload.order {
        archive.resize((base + offset) as usize, 0);
        archive.extend_from_slice(blob);
    }
    check(&archive).map_err(WriteError::Refused)?;
    Ok(archive)
}

/// Reads the archive as the hypervisor will.
fn check(archive: &[u8]) -> Result<(), ArchiveError> {
    Archive::parse(archive)?.domains().try_for_each(|domain| domain.map(|_| ()))
}

/// The distinct payloads and their offsets from where payload begins. They are few, and unequal
/// ones mostly differ in length or early, so that comparing costs nothing.
struct Payload<'d> {
    order: Vec<(&'d [u8], u64)>,
}

impl<'d> Payload<'d> {
    fn lay_out(domains: &'d [Domain]) -> Payload<'d> {
        let mut payload = Payload { order: Vec::new() };
        let mut end = 0u64;
        for blob in domains.iter().flat_map(|domain| &domain.loads) {
            let data = &blob.data[..];
            if data.is_empty() || payload.offset(data).is_some() {
                continue;
            }
            let offset = end.next_multiple_of(BLOB_ALIGNMENT);
            payload.order.push((data, offset));
            end = offset + data.len() as u64;
        }
        payload
    }

    /// Where these bytes are, if they are there.
    fn offset(&self, data: &[u8]) -> Option<u64> {
        self.order.iter().find(|(stored, _)| *stored == data).map(|(_, offset)| *offset)
    }
}

/// The index, for payload that begins at `base`.
fn index(
    (machine, console, trace): (Machine, Console, bool),
    domains: &[Domain],
    payload: &Payload<'_>,
    base: u64,
) -> Result<Vec<u8>, vm_fdt::Error> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_string("compatible", COMPATIBLE)?;
    fdt.property_string("machine", machine.name())?;
    fdt.property_string("console", console.name())?;
    if trace {
        fdt.property_null("trace")?;
    }
    for domain in domains {
        let node = fdt.begin_node(&format!("domain@{:x}", domain.number))?;
        fdt.property_string("name", &domain.name)?;
        fdt.property_string("personality", domain.personality.name())?;
        fdt.property_u64("memory-size", domain.memory_size)?;
        fdt.property_u32("vcpus", domain.vcpus)?;
        fdt.property_u32("weight", domain.weight.into())?;
        let Scheduling { cap, processors, reserved } = domain.scheduling;
        if cap != 0 {
            fdt.property_u32("cap", cap.into())?;
        }
        if processors != u32::MAX {
            fdt.property_u32("processors", processors)?;
        }
        if let Some((budget, period)) = reserved {
            fdt.property_u64("reserved-budget", budget)?;
            fdt.property_u64("reserved-period", period)?;
        }
        fdt.property_u32("rights", domain.rights)?;
        if domain.lan != 0 {
            fdt.property_u32("lan", domain.lan.into())?;
        }
        fdt.property_u64("entry", domain.entry)?;
        fdt.property_u64("device-tree", domain.device_tree)?;
        if domain.little_endian {
            fdt.property_null("little-endian")?;
        }
        let stored = domain.loads.iter().filter_map(|l| Some((l, payload.offset(&l.data)?)));
        for (number, (load, offset)) in stored.enumerate() {
            let node = fdt.begin_node(&format!("load@{number:x}"))?;
            fdt.property_u64("guest-address", load.guest_address)?;
            fdt.property_u64("data-offset", base + offset)?;
            fdt.property_u64("data-size", load.data.len() as u64)?;
            fdt.end_node(node)?;
        }
        for disk in &domain.disks {
            let node = fdt.begin_node(&format!("disk@{:x}", disk.number))?;
            fdt.property_u64("guest-address", disk.guest_address)?;
            fdt.property_u64("size", disk.size)?;
            fdt.end_node(node)?;
        }
        fdt.end_node(node)?;
    }
    fdt.end_node(root)?;
    fdt.finish()
}
