//! The reader: borrows the archive, copies nothing, needs no allocator.

use fdt::Fdt;
use fdt::node::{FdtNode, NodeProperty};

use crate::error::{ArchiveError, Place};
use crate::{
    COMPATIBLE, Console, Disk, MAX_DOMAIN, MEMORY_GRANULE, Machine, Personality, Scheduling, vet,
};

/// A boot archive whose index is sound. Its domains are checked as they are read.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    index: Fdt<'a>,
    machine: Machine,
    console: Console,
}

/// What a domain starts from.
#[derive(Clone, Copy, Debug)]
pub struct DomainImage<'a> {
    /// The domain's number, 1 to 62; its console channel has the same one.
    pub number: u16,
    /// Its name, `[a-z0-9-]{1,24}`, no other domain's.
    pub name: &'a str,
    /// The hypercalls it speaks.
    pub personality: Personality,
    /// Its memory in bytes, from guest real 0: a multiple of 2 MiB, not 0.
    pub memory_size: u64,
    /// How many vCPUs it has, at least 1.
    pub vcpus: u32,
    /// Its proportional share, at least 1, or 0 with reserved time.
    pub weight: u16,
    /// How else its vCPUs take part in the processors.
    pub scheduling: Scheduling,
    /// What it may ask of the hypervisor beyond its own affairs: bits whose meaning is not ours.
    pub rights: u32,
    /// The number of the LAN that it is on, if it may be on one: 0 to 62.
    pub lan: u16,
    /// The guest real address of its first instruction.
    pub entry: u64,
    /// The guest real address of its device tree: r3 at entry.
    pub device_tree: u64,
    /// Whether it starts little-endian.
    pub little_endian: bool,
    archive: Archive<'a>,
    /// Which of the root's children it is.
    position: usize,
}

/// Bytes to copy into a domain's memory before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load<'a> {
    /// The guest real address of the first byte. All of them are inside the domain's memory.
    pub guest_address: u64,
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> Archive<'a> {
    /// The archive at the start of `bytes`, which may go on beyond its end.
    pub fn parse(bytes: &'a [u8]) -> Result<Archive<'a>, ArchiveError> {
        let length = vet::vet(bytes).map_err(ArchiveError::Index)?;
        let index = bytes.get(..length).unwrap_or_default();
        // The walk has refused already all that this would.
        let index = Fdt::new(index)
            .map_err(|_| ArchiveError::Index(crate::error::IndexFault::BlockOutside))?;
        let mut archive =
            Archive { bytes, index, machine: Machine::Powernv9, console: Console::Framed };
        let root = Fields { node: archive.root()?, place: Place::Root };
        if root.text("compatible")? != COMPATIBLE {
            return Err(ArchiveError::OtherVersion);
        }
        let (machine, console) = (
            Machine::from_name(root.text("machine")?).ok_or(root.bad("machine"))?,
            Console::from_name(root.text("console")?).ok_or(root.bad("console"))?,
        );
        (archive.machine, archive.console) = (machine, console);
        Ok(archive)
    }

    /// The machine that the domains were built for.
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// How to speak on the serial line.
    pub fn console(&self) -> Console {
        self.console
    }

    /// Whether the hypervisor writes events to its trace buffers from the start.
    pub fn trace(&self) -> bool {
        self.root().is_ok_and(|root| root.property("trace").is_some())
    }

    /// The domains, in the order they stand in, each checked by itself and against those before it.
    pub fn domains(&self) -> impl Iterator<Item = Result<DomainImage<'a>, ArchiveError>> + use<'a> {
        let archive = *self;
        (0..).map_while(move |position| archive.domain(position).transpose())
    }

    /// The domain at `position` among the root's children; `None` after the last.
    fn domain(&self, position: usize) -> Result<Option<DomainImage<'a>>, ArchiveError> {
        let root = self.root()?;
        let Some(node) = root.children().nth(position) else { return Ok(None) };
        let number = domain_number(node.name).ok_or(ArchiveError::NotADomain)?;
        let name = Fields { node, place: Place::Domain(number) }.text("name")?;
        for earlier in root.children().take(position) {
            if domain_number(earlier.name) == Some(number) {
                return Err(ArchiveError::SameNumber(number));
            }
            let place = Place::Domain(number);
            if (Fields { node: earlier, place }).text("name") == Ok(name) {
                return Err(ArchiveError::SameName(number));
            }
        }
        DomainImage::read(*self, position, number, node).map(Some)
    }

    fn root(&self) -> Result<FdtNode<'_, 'a>, ArchiveError> {
        self.index.find_node("/").ok_or(ArchiveError::OtherVersion)
    }
}

impl<'a> DomainImage<'a> {
    fn read(
        archive: Archive<'a>,
        position: usize,
        number: u16,
        node: FdtNode<'_, 'a>,
    ) -> Result<DomainImage<'a>, ArchiveError> {
        let place = Place::Domain(number);
        let fields = Fields { node, place };
        let valid = |valid: bool, what| valid.then_some(()).ok_or(fields.bad(what));
        let domain = DomainImage {
            number,
            name: fields.text("name")?,
            personality: Personality::from_name(fields.text("personality")?)
                .ok_or(fields.bad("personality"))?,
            memory_size: fields.u64("memory-size")?,
            vcpus: fields.u32("vcpus")?,
            weight: fields.u16("weight")?,
            scheduling: Scheduling {
                cap: fields.optional("cap", Fields::u16)?.unwrap_or(0),
                processors: fields.optional("processors", Fields::u32)?.unwrap_or(u32::MAX),
                reserved: fields
                    .optional("reserved-budget", Fields::u64)?
                    .zip(fields.optional("reserved-period", Fields::u64)?),
            },
            rights: fields.u32("rights")?,
            lan: fields.optional("lan", Fields::u16)?.unwrap_or(0),
            entry: fields.u64("entry")?,
            device_tree: fields.u64("device-tree")?,
            little_endian: node.property("little-endian").is_some(),
            archive,
            position,
        };
        valid(crate::is_domain_name(domain.name), "name")?;
        valid(domain.memory_size.is_multiple_of(MEMORY_GRANULE), "memory-size")?;
        valid(domain.memory_size > 0, "memory-size")?;
        valid(domain.vcpus > 0, "vcpus")?;
        valid(domain.weight > 0 || domain.scheduling.reserved.is_some(), "weight")?;
        valid(domain.scheduling.cap <= 100, "cap")?;
        valid(domain.scheduling.processors != 0, "processors")?;
        valid(domain.lan <= MAX_DOMAIN, "lan")?;
        for (address, what) in [(domain.entry, "entry"), (domain.device_tree, "device-tree")] {
            if address >= domain.memory_size {
                return Err(ArchiveError::OutsideMemory(place, what));
            }
        }
        for (index, node) in node.children().enumerate() {
            if let Some(disk) = disk_number(node.name) {
                Disk::read(number, disk, domain.memory_size, node)?;
            } else {
                Load::read(archive.bytes, Place::Load(number, index), domain.memory_size, node)?;
            }
        }
        Ok(domain)
    }

    /// What to copy into the domain's memory; the rest of it is zero.
    pub fn loads(&self) -> impl Iterator<Item = Load<'a>> + use<'a> {
        let domain = *self;
        (0..).map_while(move |index| domain.load(index))
    }

    /// The disks that are the domain's.
    pub fn disks(&self) -> impl Iterator<Item = Disk> + use<'a> {
        let domain = *self;
        (0..).map_while(move |index| domain.disk(index))
    }

    /// The load at `index`, which has been checked with the domain.
    fn load(&self, index: usize) -> Option<Load<'a>> {
        let root = self.archive.root().ok()?;
        let domain = root.children().nth(self.position)?;
        let node = domain.children().filter(|node| disk_number(node.name).is_none()).nth(index)?;
        let place = Place::Load(self.number, index);
        Load::read(self.archive.bytes, place, self.memory_size, node).ok()
    }

    /// The disk at `index`, likewise.
    fn disk(&self, index: usize) -> Option<Disk> {
        let root = self.archive.root().ok()?;
        let domain = root.children().nth(self.position)?;
        let node = domain.children().filter(|node| disk_number(node.name).is_some()).nth(index)?;
        Disk::read(self.number, disk_number(node.name)?, self.memory_size, node).ok()
    }
}

impl<'a> Load<'a> {
    fn read(
        archive: &'a [u8],
        place: Place,
        memory_size: u64,
        node: FdtNode<'_, 'a>,
    ) -> Result<Load<'a>, ArchiveError> {
        let fields = Fields { node, place };
        let guest_address = fields.u64("guest-address")?;
        let offset = fields.u64("data-offset")?;
        let size = fields.u64("data-size")?;
        if guest_address.checked_add(size).is_none_or(|end| end > memory_size) {
            return Err(ArchiveError::OutsideMemory(place, "guest-address"));
        }
        let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
        let data = range
            .and_then(|(offset, size)| archive.get(offset..offset.checked_add(size)?))
            .ok_or(ArchiveError::OutsideArchive(place))?;
        Ok(Load { guest_address, data })
    }
}

impl Disk {
    fn read(
        domain: u16,
        number: u32,
        memory_size: u64,
        node: FdtNode<'_, '_>,
    ) -> Result<Disk, ArchiveError> {
        let fields = Fields { node, place: Place::Disk(domain, number) };
        let (guest_address, size) = (fields.u64("guest-address")?, fields.u64("size")?);
        if !size.is_power_of_two() || !size.is_multiple_of(MEMORY_GRANULE) {
            return Err(fields.bad("size"));
        }
        if !guest_address.is_multiple_of(size) || guest_address < memory_size {
            return Err(fields.bad("guest-address"));
        }
        Ok(Disk { number, guest_address, size })
    }
}

/// The number in `disk@NUMBER`; `None` for a load.
fn disk_number(name: &str) -> Option<u32> {
    u32::from_str_radix(name.strip_prefix("disk@")?, 16).ok()
}

/// The number in `domain@NUMBER`.
fn domain_number(name: &str) -> Option<u16> {
    let number = u16::from_str_radix(name.strip_prefix("domain@")?, 16).ok()?;
    (1..=MAX_DOMAIN).contains(&number).then_some(number)
}

/// A node and the words for where it stands.
#[derive(Clone, Copy)]
struct Fields<'b, 'a> {
    node: FdtNode<'b, 'a>,
    place: Place,
}

impl<'a> Fields<'_, 'a> {
    fn bad(&self, name: &'static str) -> ArchiveError {
        ArchiveError::BadValue(self.place, name)
    }

    fn property(&self, name: &'static str) -> Result<NodeProperty<'a>, ArchiveError> {
        self.node.property(name).ok_or(ArchiveError::Missing(self.place, name))
    }

    fn text(&self, name: &'static str) -> Result<&'a str, ArchiveError> {
        let value = self.property(name)?.value;
        let text = core::ffi::CStr::from_bytes_with_nul(value).map_err(|_| self.bad(name))?;
        text.to_str().map_err(|_| self.bad(name))
    }

    /// A property that may be left out.
    fn optional<T>(
        &self,
        name: &'static str,
        read: fn(&Self, &'static str) -> Result<T, ArchiveError>,
    ) -> Result<Option<T>, ArchiveError> {
        self.node.property(name).map(|_| read(self, name)).transpose()
    }

    fn u16(&self, name: &'static str) -> Result<u16, ArchiveError> {
        self.u32(name)?.try_into().map_err(|_| self.bad(name))
    }

    fn u32(&self, name: &'static str) -> Result<u32, ArchiveError> {
        let value = self.property(name)?.value.try_into().map_err(|_| self.bad(name))?;
        Ok(u32::from_be_bytes(value))
    }

    fn u64(&self, name: &'static str) -> Result<u64, ArchiveError> {
        let value = self.property(name)?.value.try_into().map_err(|_| self.bad(name))?;
        Ok(u64::from_be_bytes(value))
    }
}
