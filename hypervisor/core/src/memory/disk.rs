//! Disks: storage of the machine that keeps what is in it, mapped for a domain when it starts.
//!
//! Its addresses are beyond the frames' table, where nothing can be lent, taken back or freed: all that
//! asks for the frame is refused. So a disk needs no owner's entry. It is one domain's until the
//! machine is off, since only the boot archive gives it away (`start`).

use super::{Change, PIECE};
use crate::machine::Machine;
use k42_lib::radix::{Access, LeafSize, MapError};
use k42_lib::{GuestAddr, RealAddr};

/// A disk's place in real storage, and its bytes.
pub type Disk = (RealAddr, u64);

impl<M: Machine> Change<'_, M> {
    /// Maps a disk, as it is, by leaves of 1 GiB or 2 MiB; the addresses and `size` are multiples of
    /// the leaf's size.
    ///
    /// # Errors
    /// What is mapped before an error stays until the domain goes, which then does not start.
    pub(crate) fn map_disk(
        &mut self,
        at: GuestAddr,
        (storage, size): Disk,
    ) -> Result<(), MapError> {
        const LARGE: u64 = LeafSize::Gib1.bytes();
        let tree = self.memory.tree;
        let large = size >= LARGE;
        let leaf = if large { LeafSize::Gib1 } else { LeafSize::Mib2 };
        let count = if large { size / LARGE } else { size / PIECE };
        (0..count).map(|n| n.saturating_mul(leaf.bytes())).try_for_each(|part| {
            let (at, storage) = (at.offset(part).value(), storage.offset(part).value());
            tree.map(self, at, storage, leaf, Access::READ | Access::WRITE)
        })
    }
}
