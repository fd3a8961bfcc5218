//! What the device trees of both kinds of guest have in common.

use vm_fdt::{Error, FdtReserveEntry, FdtWriter};

/// A tree with these reservations, `(start, size)`, that says processor 0 boots.
pub(crate) fn begin(reserved: impl Iterator<Item = (u64, u64)>) -> Result<FdtWriter, Error> {
    let mut entries = reserved
        .map(|(start, size)| FdtReserveEntry::new(start, size))
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    let mut tree = FdtWriter::new_with_mem_reserv(&entries)?;
    tree.set_boot_cpuid_phys(0);
    Ok(tree)
}

/// A node with what `fill` puts into it.
pub(crate) fn node(
    tree: &mut FdtWriter,
    name: &str,
    fill: impl FnOnce(&mut FdtWriter) -> Result<(), Error>,
) -> Result<(), Error> {
    let node = tree.begin_node(name)?;
    fill(tree)?;
    tree.end_node(node)
}

/// The `/memory@0` node: one piece from address 0.
pub(crate) fn memory(tree: &mut FdtWriter, size: u64) -> Result<(), Error> {
    node(tree, "memory@0", |tree| {
        tree.property_string("device_type", "memory")?;
        tree.property_array_u64("reg", &[0, size])
    })
}
