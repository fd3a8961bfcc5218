//! A domain's memory: guest real addresses, the partition-scoped tree that translates them, and
//! the only ways for the hypervisor to reach what they name.
//!
//! A [`GuestAddr`] is an allegation. It is translated here, piece by piece, through the same tree
//! the processor uses, and what it names is copied: the hypervisor never keeps a pointer into a
//! guest, so a guest that changes its memory meanwhile changes nothing that was checked.

use crate::frames::{FRAME_SIZE, Frames, Owner};
use crate::machine::Machine;
use core::ops::Range;
use k42_lib::radix::{Access, LeafSize, MapError, TableMemory, TableSize, Tree, entry};
use k42_lib::{GuestAddr, RealAddr};

/// A domain's memory comes in pieces of 2 MiB.
pub const PIECE: u64 = LeafSize::Mib2.bytes();

/// The guest's address names memory that the domain does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotMapped(pub GuestAddr);

/// There is no free storage left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// A domain's memory.
pub struct GuestMemory {
    tree: Tree,
    owner: Owner,
    size: u64,
    spare: Spare,
}

/// The rest of the frame that tables were last cut from.
#[derive(Default)]
struct Spare {
    next: u64,
    left: u64,
}

/// Tables in real storage: what a tree needs to grow.
struct Tables<'a, M> {
    machine: &'a M,
    frames: &'a mut Frames,
    owner: Owner,
    spare: &'a mut Spare,
}

impl<M: Machine> TableMemory for Tables<'_, M> {
    fn load(&self, address: u64) -> u64 {
        self.machine.load_entry(RealAddr::new(address))
    }
    fn store(&mut self, address: u64, entry: u64) {
        self.machine.store_entry(RealAddr::new(address), entry);
    }
    fn allocate(&mut self, size: TableSize) -> Option<u64> {
        if size == TableSize::Root {
            return self.frames.allocate(self.machine, 1, self.owner).map(RealAddr::value);
        }
        if self.spare.left == 0 {
            self.spare.next = self.frames.allocate(self.machine, 1, self.owner)?.value();
            self.spare.left = FRAME_SIZE;
        }
        // Every table takes 4 KiB; last-level ones, of 256 bytes, are rare here.
        let at = self.spare.next;
        self.spare.next = at.checked_add(TableSize::Middle.bytes())?;
        self.spare.left = self.spare.left.checked_sub(TableSize::Middle.bytes())?;
        Some(at)
    }
}

/// Tables as they are: enough to translate.
struct ReadTables<'a, M>(&'a M);

impl<M: Machine> TableMemory for ReadTables<'_, M> {
    fn load(&self, address: u64) -> u64 {
        self.0.load_entry(RealAddr::new(address))
    }
    fn store(&mut self, _: u64, _: u64) {}
    fn allocate(&mut self, _: TableSize) -> Option<u64> {
        None
    }
}

impl GuestMemory {
    /// Memory of `size` bytes, a multiple of [`PIECE`], from guest real address 0, zeroed. What
    /// was allocated before an error is `owner`'s, to be reclaimed.
    ///
    /// # Errors
    /// [`OutOfMemory`] when storage is short.
    pub fn new<M: Machine>(
        machine: &M,
        frames: &mut Frames,
        owner: Owner,
        size: u64,
    ) -> Result<GuestMemory, OutOfMemory> {
        let mut spare = Spare::default();
        let mut tables = Tables { machine, frames, owner, spare: &mut spare };
        let tree = Tree::new(&mut tables).map_err(|_: MapError| OutOfMemory)?;
        let all = Access::READ | Access::WRITE | Access::EXECUTE;
        let frames_a_piece = usize::try_from(PIECE / FRAME_SIZE).map_err(|_| OutOfMemory)?;
        let mut at = 0;
        while at < size {
            let piece =
                tables.frames.allocate(machine, frames_a_piece, owner).ok_or(OutOfMemory)?;
            tree.map(&mut tables, at, piece.value(), LeafSize::Mib2, all)
                .map_err(|_| OutOfMemory)?;
            at = at.checked_add(PIECE).ok_or(OutOfMemory)?;
        }
        Ok(GuestMemory { tree, owner, size, spare })
    }

    /// Bytes of memory, from guest real address 0.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Maps a page of 4 KiB that is the hypervisor's and not the guest's memory, for loads and
    /// stores. Nothing was there, so no translation has to be forgotten.
    ///
    /// # Errors
    /// Something is there already, the address cannot be mapped, or there is no memory for a table.
    pub fn map_page<M: Machine>(
        &mut self,
        machine: &M,
        frames: &mut Frames,
        at: GuestAddr,
        to: RealAddr,
    ) -> Result<(), MapError> {
        let mut tables = Tables { machine, frames, owner: self.owner, spare: &mut self.spare };
        let access = Access::READ | Access::WRITE;
        self.tree.map(&mut tables, at.value(), to.value(), LeafSize::Kib4, access)
    }

    /// The first doubleword of the partition table entry for this memory.
    pub fn partition_entry(&self) -> u64 {
        entry::partition_entry(self.tree.root())
    }

    /// Copies from the guest.
    ///
    /// # Errors
    /// [`NotMapped`] names the first address that is not the domain's; nothing says what was
    /// copied before it.
    pub fn read<M: Machine>(
        &self,
        machine: &M,
        from: GuestAddr,
        into: &mut [u8],
    ) -> Result<(), NotMapped> {
        self.pieces(machine, from, into.len(), |real, range| {
            if let Some(part) = into.get_mut(range) {
                machine.read(real, part);
            }
        })
    }

    /// Copies to the guest.
    ///
    /// # Errors
    /// As [`GuestMemory::read`].
    pub fn write<M: Machine>(
        &self,
        machine: &M,
        to: GuestAddr,
        from: &[u8],
    ) -> Result<(), NotMapped> {
        self.pieces(machine, to, from.len(), |real, range| {
            if let Some(part) = from.get(range) {
                machine.write(real, part);
            }
        })
    }

    /// Calls `each` with the real storage of every piece of the `length` bytes at `start`, and
    /// which of them it holds.
    fn pieces<M: Machine>(
        &self,
        machine: &M,
        start: GuestAddr,
        length: usize,
        mut each: impl FnMut(RealAddr, Range<usize>),
    ) -> Result<(), NotMapped> {
        let mut done: usize = 0;
        while done < length {
            let at = start.offset(done as u64);
            let (real, count) = self.piece(machine, at, length.saturating_sub(done))?;
            let end = done.saturating_add(count);
            each(real, done..end);
            done = end;
        }
        Ok(())
    }

    /// The real storage at `at`, and how much of `wanted` bytes lies in the same leaf.
    fn piece<M: Machine>(
        &self,
        machine: &M,
        at: GuestAddr,
        wanted: usize,
    ) -> Result<(RealAddr, usize), NotMapped> {
        let found = self.tree.translate(&ReadTables(machine), at.value()).ok_or(NotMapped(at))?;
        let in_leaf = found.size.bytes().saturating_sub(at.offset_in(found.size.bytes()));
        let length = usize::try_from(in_leaf).unwrap_or(usize::MAX).min(wanted);
        Ok((RealAddr::new(found.address), length))
    }
}
