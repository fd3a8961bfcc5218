//! What a domain is started with, read from its device tree (docs/interfaces.md, §4). Whoever may
//! start the domain wrote it; still, a mistake in it is an error and no crash.

use crate::fcm::Image;
use alloc::string::String;
use alloc::vec::Vec;
use fdt::Fdt;
use fdt::node::FdtNode;
use k42_lib::GuestAddr;
use kernel_abi::PAGE_SIZE;

/// A loadable part of the system library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// User address of its first byte, a multiple of the page size.
    pub address: u64,
    /// Its size in memory, in bytes: what `data` lacks is zero.
    pub memory_size: u64,
    /// Its bytes.
    pub data: Image,
    /// May be stored to.
    pub writable: bool,
    /// May be executed.
    pub executable: bool,
}

/// The system library image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// User address of its first instruction.
    pub entry: u64,
    /// Its parts.
    pub segments: Vec<Segment>,
}

/// Everything the kernel wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootInfo {
    /// The device tree itself.
    pub device_tree: Image,
    /// The root file system, a cpio archive. Empty when there is none.
    pub root_file_system: Image,
    /// The system library.
    pub library: Library,
    /// Path of the program, for messages.
    pub program: String,
}

impl BootInfo {
    /// Reads the device tree, whose first byte is at `at`.
    ///
    /// # Errors
    /// What it lacks.
    pub fn read(tree: &Fdt<'_>, at: GuestAddr) -> Result<BootInfo, &'static str> {
        let chosen = tree.find_node("/chosen").ok_or("the device tree has no /chosen")?;
        let start = number(chosen, "linux,initrd-start").unwrap_or(0);
        let end = number(chosen, "linux,initrd-end").unwrap_or(start);
        let size = end.checked_sub(start).ok_or("the root file system ends before it starts")?;
        let library = tree
            .find_node("/chosen/system-library")
            .ok_or("the device tree has no /chosen/system-library")?;
        let entry = number(library, "entry").ok_or("system-library has no entry")?;
        let segments = library.children().map(segment).collect::<Result<_, _>>()?;
        let program = chosen
            .property("k42,program")
            .and_then(|property| property.as_str())
            .ok_or("/chosen has no k42,program")?;
        Ok(BootInfo {
            device_tree: Image { start: at, size: tree.total_size() as u64 },
            root_file_system: Image { start: GuestAddr::new(start), size },
            library: Library { entry, segments },
            program: program.into(),
        })
    }
}

fn segment(node: FdtNode<'_, '_>) -> Result<Segment, &'static str> {
    let need = |name| number(node, name).ok_or("a segment of system-library lacks a property");
    let address = need("address")?;
    if !address.is_multiple_of(PAGE_SIZE) {
        return Err("a segment of system-library does not start on a page");
    }
    Ok(Segment {
        address,
        memory_size: need("memory-size")?,
        data: Image { start: GuestAddr::new(need("data")?), size: need("data-size")? },
        writable: node.property("writable").is_some(),
        executable: node.property("executable").is_some(),
    })
}

/// A property of one or two cells.
fn number(node: FdtNode<'_, '_>, name: &str) -> Option<u64> {
    let value = node.property(name)?.value;
    match value.len() {
        4 => Some(u32::from_be_bytes(value.try_into().ok()?).into()),
        8 => Some(u64::from_be_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use vm_fdt::FdtWriter;

    /// A device tree as the domain builder writes it, with one segment at `data`.
    pub(crate) fn device_tree(data: u64, address: u64, files: (u64, u64)) -> Vec<u8> {
        let mut tree = FdtWriter::new().unwrap();
        let root = tree.begin_node("").unwrap();
        tree.property_u32("#address-cells", 2).unwrap();
        tree.property_u32("#size-cells", 2).unwrap();
        let chosen = tree.begin_node("chosen").unwrap();
        tree.property_u64("linux,initrd-start", files.0).unwrap();
        tree.property_u64("linux,initrd-end", files.1).unwrap();
        tree.property_string("k42,program", "/bin/test").unwrap();
        let library = tree.begin_node("system-library").unwrap();
        tree.property_u64("entry", address + 8).unwrap();
        let segment = tree.begin_node("segment@0").unwrap();
        tree.property_u64("address", address).unwrap();
        tree.property_u64("memory-size", 0x2_0000).unwrap();
        tree.property_u64("data", data).unwrap();
        tree.property_u64("data-size", 16).unwrap();
        tree.property_null("executable").unwrap();
        tree.end_node(segment).unwrap();
        tree.end_node(library).unwrap();
        tree.end_node(chosen).unwrap();
        tree.end_node(root).unwrap();
        tree.finish().unwrap()
    }

    #[test]
    fn what_the_builder_writes_is_read() {
        let bytes = device_tree(0x1234, 0x1000_7000_0000, (0x10_0000, 0x10_0100));
        let tree = Fdt::new(&bytes).unwrap();
        let info = BootInfo::read(&tree, GuestAddr::new(0x8000)).unwrap();
        assert_eq!(info.program, "/bin/test");
        assert_eq!(info.library.entry, 0x1000_7000_0008);
        assert_eq!(info.root_file_system.size, 0x100);
        assert_eq!(
            info.device_tree,
            Image { start: GuestAddr::new(0x8000), size: bytes.len() as u64 }
        );
        let segment = &info.library.segments[0];
        assert!(segment.executable && !segment.writable);
        assert_eq!(segment.data, Image { start: GuestAddr::new(0x1234), size: 16 });
    }

    #[test]
    fn mistakes_are_named() {
        let at = GuestAddr::new(0);
        let bytes = device_tree(0, 0x1000_7000_0100, (0, 0));
        let error = BootInfo::read(&Fdt::new(&bytes).unwrap(), at).unwrap_err();
        assert!(error.contains("does not start on a page"));
        let bytes = device_tree(0, 0, (8, 4));
        assert!(BootInfo::read(&Fdt::new(&bytes).unwrap(), at).is_err());
    }
}
