//! The disks of a storage domain: where it has them, and what its device tree says of them
//! (docs/interfaces.md §4).

use vm_fdt::{Error, FdtWriter};

use crate::tree;

/// A disk that the domain serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Which of the machine's, from 0.
    pub number: u32,
    /// Its bytes: a power of two, at least 2 MiB and at most 1 TiB.
    pub size: u64,
    /// The number of the domain that it is served to.
    pub client: u16,
    /// Which of that domain's, from 0.
    pub unit: u8,
}

impl Disk {
    /// In the domain's memory: each at a TiB of its own, beyond what a domain can have else.
    pub(crate) fn place(&self) -> boot_archive::Disk {
        let guest_address = u64::from(self.number + 1) << 40;
        boot_archive::Disk { number: self.number, guest_address, size: self.size }
    }

    fn node(&self, tree: &mut FdtWriter) -> Result<(), Error> {
        tree::node(tree, &format!("disk@{:x}", self.number), |tree| {
            tree.property_u64("address", self.place().guest_address)?;
            tree.property_u64("size", self.size)?;
            tree.property_u32("client", self.client.into())?;
            tree.property_u32("unit", self.unit.into())
        })
    }
}

/// The node of the domain's disks, if it has some: who it is itself, and a node for each.
pub(crate) fn node(tree: &mut FdtWriter, own: u16, disks: &[Disk]) -> Result<(), Error> {
    if disks.is_empty() {
        return Ok(());
    }
    tree::node(tree, "storage", |tree| {
        tree.property_u32("domain", own.into())?;
        disks.iter().try_for_each(|disk| disk.node(tree))
    })
}
