//! A domain's memory: guest real addresses, the partition-scoped tree that translates them, and
//! the only ways for the hypervisor to reach what they name.
//!
//! A [`GuestAddr`] is an allegation. It is translated here, piece by piece, through the same tree
//! the processor uses, and what it names is copied: the hypervisor never keeps a pointer into a
//! guest, so a guest that changes its memory meanwhile changes nothing that was checked.
//!
//! A domain's own memory is mapped by leaves of 64 KiB and more; by leaves of 4 KiB all that is not
//! its own: pages it shares with the hypervisor, other domains' pages ([`crate::grants`]).

use crate::frames::{FRAME_SIZE, Frames, Owner};
use crate::machine::Machine;
use core::ops::Range;
use k42_lib::radix::tree::Translation;
use k42_lib::radix::{Access, LeafSize, MapError, TableMemory, TableSize, Tree, entry};
use k42_lib::{GuestAddr, RealAddr};
use xen_sys::errno;

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
    /// Frames of memory that it has, and the most that it may have.
    frames: u64,
    max_frames: u64,
    /// The end of the highest memory that it ever had.
    top: u64,
    spare: Spare,
}

/// The rest of the frame that tables were last cut from, and how many frames were.
#[derive(Default)]
struct Spare {
    next: u64,
    left: u64,
    frames: u64,
}

/// Tables in real storage: what a tree needs to grow.
struct Tables<'a, M> {
    machine: &'a M,
    frames: &'a mut Frames,
    owner: Owner,
    /// Frames that tables may take: a domain cannot spend the machine's storage on them.
    most: u64,
    spare: &'a mut Spare,
}

impl<M: Machine> Tables<'_, M> {
    fn frame(&mut self) -> Option<u64> {
        let frames = self.spare.frames.checked_add(1).filter(|frames| *frames <= self.most)?;
        let at = self.frames.allocate(self.machine, 1, self.owner)?;
        self.spare.frames = frames;
        Some(at.value())
    }
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
            return self.frame();
        }
        // Tables are aligned to their size, and a frame's rest to the smallest.
        let skipped = self.spare.left & size.bytes().saturating_sub(1);
        if self.spare.left.saturating_sub(skipped) == 0 {
            self.spare.next = self.frame()?;
            self.spare.left = FRAME_SIZE;
        } else {
            self.spare.next = self.spare.next.checked_add(skipped)?;
            self.spare.left = self.spare.left.saturating_sub(skipped);
        }
        let at = self.spare.next;
        self.spare.next = at.checked_add(size.bytes())?;
        self.spare.left = self.spare.left.checked_sub(size.bytes())?;
        Some(at)
    }
}

/// Tables as they are: enough to translate, and to take leaves out.
struct Standing<'a, M>(&'a M);

impl<M: Machine> TableMemory for Standing<'_, M> {
    fn load(&self, address: u64) -> u64 {
        self.0.load_entry(RealAddr::new(address))
    }
    fn store(&mut self, address: u64, entry: u64) {
        self.0.store_entry(RealAddr::new(address), entry);
    }
    fn allocate(&mut self, _: TableSize) -> Option<u64> {
        None
    }
}

/// What a domain may do with its own memory.
const ALL: Access = Access::READ.union(Access::WRITE).union(Access::EXECUTE);

impl GuestMemory {
    /// Memory of `size` bytes, a multiple of [`PIECE`], from guest real address 0, zeroed; it is
    /// also the most there may be. What was allocated before an error is `owner`'s, to be reclaimed.
    ///
    /// # Errors
    /// [`OutOfMemory`] when storage is short.
    pub fn new<M: Machine>(
        machine: &M,
        frames: &mut Frames,
        owner: Owner,
        size: u64,
    ) -> Result<GuestMemory, OutOfMemory> {
        let max_frames = size / FRAME_SIZE;
        let mut spare = Spare::default();
        let most = most_tables(max_frames);
        let mut tables = Tables { machine, frames, owner, most, spare: &mut spare };
        let tree = Tree::new(&mut tables).map_err(|_: MapError| OutOfMemory)?;
        let mut at = 0;
        while at < size {
            let left = size.saturating_sub(at);
            // The largest leaf that fits and that there is storage for.
            let (leaf, storage) = [LeafSize::Gib1, LeafSize::Mib2]
                .into_iter()
                .filter(|leaf| leaf.bytes() <= left)
                .find_map(|leaf| {
                    Some((leaf, allocate(tables.frames, machine, leaf.bytes(), owner)?))
                })
                .ok_or(OutOfMemory)?;
            tree.map(&mut tables, at, storage.value(), leaf, ALL).map_err(|_| OutOfMemory)?;
            at = at.checked_add(leaf.bytes()).ok_or(OutOfMemory)?;
        }
        Ok(GuestMemory { tree, owner, frames: max_frames, max_frames, top: size, spare })
    }

    /// Bytes of memory that it has.
    pub fn size(&self) -> u64 {
        self.frames.saturating_mul(FRAME_SIZE)
    }

    /// The end of the highest memory that it ever had.
    pub fn top(&self) -> GuestAddr {
        GuestAddr::new(self.top)
    }

    /// The most frames of memory that it may have.
    pub fn max_frames(&self) -> u64 {
        self.max_frames
    }

    /// Sets how many frames it may have. It keeps those that it has.
    pub fn set_max_frames(&mut self, most: u64) {
        self.max_frames = most;
    }

    /// Gives the domain zeroed memory: `size` bytes, 64 KiB to [`PIECE`], at a multiple of `size`.
    ///
    /// # Errors
    /// Nothing has changed: `ENOMEM` where the domain may have no more or there is none, `EEXIST`
    /// where something is mapped, or was by leaves of 4 KiB; `EINVAL` for an impossible address.
    pub fn populate<M: Machine>(
        &mut self,
        machine: &M,
        frames: &mut Frames,
        at: GuestAddr,
        size: u64,
    ) -> Result<(), i32> {
        let wanted = self.frames.saturating_add(size / FRAME_SIZE);
        if wanted > self.max_frames {
            return Err(errno::ENOMEM);
        }
        let storage = allocate(frames, machine, size, self.owner).ok_or(errno::ENOMEM)?;
        if let Err(error) = self.map_memory(machine, frames, at, storage, size) {
            frames.free(storage, size);
            return Err(match error {
                MapError::BadAddress => errno::EINVAL,
                MapError::Occupied => errno::EEXIST,
                MapError::NoMemory => errno::ENOMEM,
            });
        }
        self.frames = wanted;
        self.top = self.top.max(at.offset(size).value());
        Ok(())
    }

    /// Maps an extent by one leaf of 2 MiB, or where one cannot be by leaves of 64 KiB: all or none,
    /// since they are in one table.
    fn map_memory<M: Machine>(
        &mut self,
        machine: &M,
        frames: &mut Frames,
        at: GuestAddr,
        storage: RealAddr,
        size: u64,
    ) -> Result<(), MapError> {
        if !at.is_aligned(size) {
            return Err(MapError::BadAddress);
        }
        let (tree, tables) = (self.tree, &mut self.tables(machine, frames));
        let map = |tables: &mut _, offset, leaf| {
            tree.map(tables, at.offset(offset).value(), storage.offset(offset).value(), leaf, ALL)
        };
        if size == PIECE && map(tables, 0, LeafSize::Mib2).is_ok() {
            return Ok(());
        }
        for page in parts(at, size) {
            if tree.translate(tables, page.value()).is_some() {
                return Err(MapError::Occupied);
            }
        }
        parts(GuestAddr::new(0), size)
            .try_for_each(|offset| map(tables, offset.value(), LeafSize::Kib64))
    }

    /// Takes memory from the domain: `size` bytes, 64 KiB to [`PIECE`], at a multiple of `size`.
    ///
    /// # Errors
    /// Nothing has changed: `EINVAL` where it is not all the domain's own memory, `EBUSY` where
    /// another domain has some of it mapped, `ENOMEM` where a table was needed.
    pub fn withdraw<M: Machine>(
        &mut self,
        machine: &M,
        frames: &mut Frames,
        at: GuestAddr,
        size: u64,
    ) -> Result<(), i32> {
        if !at.is_aligned(size) {
            return Err(errno::EINVAL);
        }
        for page in parts(at, size) {
            let storage = self.own_page(machine, page).ok_or(errno::EINVAL)?;
            if frames.is_lent(storage) {
                return Err(errno::EBUSY);
            }
        }
        let tree = self.tree;
        // A larger leaf has all of the extent: it is split before anything goes.
        while self.leaf(machine, at).is_some_and(|leaf| leaf.size.bytes() > size) {
            let split = tree.split(&mut self.tables(machine, frames), at.value());
            split.map_err(|_| errno::ENOMEM)?;
        }
        for page in parts(at, size) {
            if let Some(leaf) = tree.unmap(&mut Standing(machine), page.value()) {
                frames.free(RealAddr::new(leaf.address), leaf.size.bytes());
            }
        }
        // Nobody gets the frames before their lock is let go.
        machine.flush_partition(self.owner.partition());
        self.frames = self.frames.saturating_sub(size / FRAME_SIZE);
        Ok(())
    }

    /// The storage of a page of the domain's own memory.
    pub fn own_page<M: Machine>(&self, machine: &M, page: GuestAddr) -> Option<RealAddr> {
        let leaf = self.leaf(machine, page).filter(|leaf| leaf.size != LeafSize::Kib4)?;
        Some(RealAddr::new(leaf.address))
    }

    /// Maps a page of 4 KiB that is not the domain's memory. Nothing was there, so no translation
    /// has to be forgotten.
    ///
    /// # Errors
    /// Something is there already, the address cannot be mapped, or there is no memory for a table.
    pub fn map_page<M: Machine>(
        &mut self,
        machine: &M,
        frames: &mut Frames,
        at: GuestAddr,
        to: RealAddr,
        access: Access,
    ) -> Result<(), MapError> {
        let tree = self.tree;
        let tables = &mut self.tables(machine, frames);
        tree.map(tables, at.value(), to.value(), LeafSize::Kib4, access)
    }

    /// Takes such a page out, from every processor too; what it was.
    pub fn unmap_page<M: Machine>(&mut self, machine: &M, at: GuestAddr) -> Option<RealAddr> {
        self.leaf(machine, at).filter(|leaf| leaf.size == LeafSize::Kib4)?;
        let leaf = self.tree.unmap(&mut Standing(machine), at.value())?;
        machine.flush_partition(self.owner.partition());
        Some(RealAddr::new(leaf.address))
    }

    fn tables<'a, M: Machine>(
        &'a mut self,
        machine: &'a M,
        frames: &'a mut Frames,
    ) -> Tables<'a, M> {
        let most = most_tables(self.max_frames);
        Tables { machine, frames, owner: self.owner, most, spare: &mut self.spare }
    }

    fn leaf<M: Machine>(&self, machine: &M, at: GuestAddr) -> Option<Translation> {
        self.tree.translate(&Standing(machine), at.value())
    }

    /// How many frames its tables have.
    #[cfg(feature = "walker")]
    pub fn table_frames(&self) -> u64 {
        self.spare.frames
    }

    /// The address of the root table.
    #[cfg(feature = "walker")]
    pub fn root(&self) -> u64 {
        self.tree.root()
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
        self.pieces(machine, from, into.len(), Access::READ, |real, range| {
            if let Some(part) = into.get_mut(range) {
                machine.read(real, part);
            }
        })
    }

    /// Copies to the guest.
    ///
    /// # Errors
    /// As [`GuestMemory::read`]; what the domain may not store to is not its own either.
    pub fn write<M: Machine>(
        &self,
        machine: &M,
        to: GuestAddr,
        from: &[u8],
    ) -> Result<(), NotMapped> {
        self.pieces(machine, to, from.len(), Access::WRITE, |real, range| {
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
        access: Access,
        mut each: impl FnMut(RealAddr, Range<usize>),
    ) -> Result<(), NotMapped> {
        let mut done: usize = 0;
        while done < length {
            let at = start.offset(done as u64);
            let (real, count) = self.piece(machine, at, length.saturating_sub(done), access)?;
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
        access: Access,
    ) -> Result<(RealAddr, usize), NotMapped> {
        let found = self.leaf(machine, at).filter(|leaf| leaf.access.contains(access));
        let found = found.ok_or(NotMapped(at))?;
        let in_leaf = found.size.bytes().saturating_sub(at.offset_in(found.size.bytes()));
        let length = usize::try_from(in_leaf).unwrap_or(usize::MAX).min(wanted);
        Ok((RealAddr::new(found.address), length))
    }
}

/// Frames of storage for `size` bytes, adjoining and aligned to them.
fn allocate(
    frames: &mut Frames,
    machine: &impl Machine,
    size: u64,
    owner: Owner,
) -> Option<RealAddr> {
    frames.allocate(machine, usize::try_from(size / FRAME_SIZE).ok()?, owner)
}

/// The frames of an extent.
fn parts(at: GuestAddr, size: u64) -> impl Iterator<Item = GuestAddr> {
    (0..size / FRAME_SIZE).map(move |n| at.offset(n.saturating_mul(FRAME_SIZE)))
}

/// How many frames tables may take in a domain of so much memory: enough for leaves of 64 KiB
/// throughout, and for mappings of what is not its own in some hundred places.
fn most_tables(max_frames: u64) -> u64 {
    (max_frames / 64).saturating_add(32)
}
