//! A K42 domain: the guest kernel, and the application that it manages.
//!
//! The kernel is linked at `0xc000_0000_0000_0000` plus its guest real address. Above it follow,
//! each on pages of its own, the segments of the system library, the root file system and the
//! device tree, which tells the kernel where all this is (docs/interfaces.md §4).

use boot_archive::Personality;
use boot_archive::write::Domain;
use vm_fdt::{Error, FdtWriter};

use crate::disks::{self, Disk};
use crate::layout::Layout;
use crate::tree::{begin, memory, node};
use crate::{BuildError, File, Image, Plan, TIMEBASE_FREQUENCY};

/// What runs in a K42 domain.
#[derive(Clone, Debug)]
pub struct K42 {
    /// The guest kernel: an ELF file.
    pub kernel: File,
    /// The hypercalls that the domain speaks: Xen's, but for a kernel that tests PAPR's.
    pub personality: Personality,
    /// The kernel's own options.
    pub bootargs: String,
    /// What the kernel manages; a kernel that is a test by itself has nothing.
    pub application: Option<Application>,
    /// The boot archive of the domains that it is to start, if it is a controller.
    pub archive: Option<File>,
    /// The disks that it is to serve, if it is a storage domain.
    pub disks: Vec<Disk>,
}

/// An unmodified Linux program and what it needs.
#[derive(Clone, Debug)]
pub struct Application {
    /// The system library that serves it: an ELF file.
    pub system_library: File,
    /// The root file system: a cpio archive of the "newc" format, not compressed.
    pub root: File,
    /// The program's path in the root file system.
    pub program: String,
    /// Its arguments, argv\[0\] first.
    pub arguments: Vec<String>,
    /// Its environment, `NAME=value` each.
    pub environment: Vec<String>,
}

/// The bits of an address that real mode looks at; the kernel's link address is above them.
const REAL: u64 = 0x0fff_ffff_ffff_ffff;

/// Where the parts of an application are that the device tree tells the kernel of.
struct Places<'a> {
    application: &'a Application,
    entry: u64,
    root: (u64, u64),
    segments: Vec<SegmentPlace>,
}

struct SegmentPlace {
    address: u64,
    memory_size: u64,
    data: u64,
    data_size: u64,
    writable: bool,
    executable: bool,
}

/// Builds the domain.
pub(crate) fn build(plan: &Plan, guest: &K42) -> Result<Domain, BuildError> {
    let wrong = |error| BuildError::Image("the guest kernel", error);
    let image = Image::parse(&guest.kernel).map_err(wrong)?;
    let mut layout = Layout::new(plan.memory_size);
    for segment in &image.segments {
        let (at, size) = (segment.virtual_address & REAL, segment.memory_size);
        layout.put_at("the guest kernel", at, size, segment.data.into())?;
    }
    let application = guest.application.as_ref().map(|a| place(&mut layout, a)).transpose()?;
    let archive = match &guest.archive {
        Some(file) => Some((layout.put_above("the archive", 0, file.clone())?, file.len() as u64)),
        None => None,
    };
    // The tree lies above all else; a reservation more does not move it.
    let device_tree = layout.above();
    let tree = |length| tree(plan, guest, &application, archive, &layout, (device_tree, length));
    let bytes = tree(tree(1)?.len() as u64)?;
    layout.put_at("the device tree", device_tree, 0, bytes.into())?;
    Ok(Domain {
        number: plan.number,
        name: plan.name.clone(),
        personality: guest.personality,
        memory_size: plan.memory_size,
        vcpus: plan.vcpus,
        weight: plan.weight,
        scheduling: plan.scheduling,
        rights: plan.rights.bits(),
        lan: plan.lan,
        entry: image.entry_at(|segment| segment.virtual_address & REAL).map_err(wrong)?,
        device_tree,
        little_endian: true,
        loads: layout.into_loads(),
        disks: guest.disks.iter().map(Disk::place).collect(),
    })
}

/// Puts the application's parts into memory.
fn place<'a>(layout: &mut Layout, application: &'a Application) -> Result<Places<'a>, BuildError> {
    let library = Image::parse(&application.system_library)
        .map_err(|error| BuildError::Image("the system library", error))?;
    let mut segments = Vec::new();
    for segment in &library.segments {
        // The same place in the page as in the program's view, so that the kernel can map it.
        let address = segment.virtual_address;
        let data = layout.put_above("the system library", address, segment.data.into())?;
        segments.push(SegmentPlace {
            address,
            memory_size: segment.memory_size,
            data,
            data_size: segment.data.len() as u64,
            writable: segment.writable,
            executable: segment.executable,
        });
    }
    let root = layout.put_above("the root file system", 0, application.root.clone())?;
    let root = (root, root + application.root.len() as u64);
    Ok(Places { application, entry: library.entry, root, segments })
}

/// The bytes of the device tree, which itself is at `(start, size)`.
fn tree(
    plan: &Plan,
    guest: &K42,
    places: &Option<Places<'_>>,
    archive: Option<(u64, u64)>,
    layout: &Layout,
    own: (u64, u64),
) -> Result<Vec<u8>, Error> {
    let mut tree = begin(layout.pages().into_iter().chain([own]))?;
    node(&mut tree, "", |tree| {
        tree.property_u32("#address-cells", 2)?;
        tree.property_u32("#size-cells", 2)?;
        tree.property_string("compatible", "k42,domain")?;
        tree.property_string("model", "K42 domain")?;
        memory(tree, plan.memory_size)?;
        node(tree, "cpus", |tree| {
            tree.property_u32("#address-cells", 1)?;
            tree.property_u32("#size-cells", 0)?;
            (0..plan.vcpus).try_for_each(|number| processor(tree, number))
        })?;
        node(tree, "hypervisor", |tree| tree.property_string("compatible", "xen,xen"))?;
        node(tree, "chosen", |tree| {
            tree.property_string("k42,name", &plan.name)?;
            tree.property_string("bootargs", &guest.bootargs)?;
            if let Some((start, size)) = archive {
                tree.property_u64("linux,initrd-start", start)?;
                tree.property_u64("linux,initrd-end", start + size)?;
            }
            places.iter().try_for_each(|places| chosen(tree, places))?;
            disks::node(tree, plan.number, &guest.disks)
        })
    })?;
    tree.finish()
}

fn processor(tree: &mut FdtWriter, number: u32) -> Result<(), Error> {
    node(tree, &format!("cpu@{number:x}"), |tree| {
        tree.property_string("device_type", "cpu")?;
        tree.property_u32("reg", number)?;
        tree.property_u32("timebase-frequency", TIMEBASE_FREQUENCY)
    })
}

fn chosen(tree: &mut FdtWriter, places: &Places<'_>) -> Result<(), Error> {
    let application = places.application;
    tree.property_u64("linux,initrd-start", places.root.0)?;
    tree.property_u64("linux,initrd-end", places.root.1)?;
    tree.property_string("k42,program", &application.program)?;
    tree.property_string_list("k42,arguments", application.arguments.clone())?;
    tree.property_string_list("k42,environment", application.environment.clone())?;
    node(tree, "system-library", |tree| {
        tree.property_u64("entry", places.entry)?;
        for (number, segment) in places.segments.iter().enumerate() {
            node(tree, &format!("segment@{number:x}"), |tree| {
                tree.property_u64("address", segment.address)?;
                tree.property_u64("memory-size", segment.memory_size)?;
                tree.property_u64("data", segment.data)?;
                tree.property_u64("data-size", segment.data_size)?;
                if segment.writable {
                    tree.property_null("writable")?;
                }
                if segment.executable {
                    tree.property_null("executable")?;
                }
                Ok(())
            })?;
        }
        Ok(())
    })
}
