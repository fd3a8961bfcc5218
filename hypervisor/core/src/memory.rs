//! A domain's memory: guest real addresses, the partition-scoped tree that translates them, and
//! the only ways for the hypervisor to reach what they name.
//!
//! A [`GuestAddr`] is an allegation. It is translated here, piece by piece, through the same tree
//! the processor uses, and what it names is copied: the hypervisor never keeps a pointer into a
//! guest, so a guest that changes its memory meanwhile changes nothing that was checked.
//!
//! A domain's own memory is mapped by leaves of 64 KiB and more, as its disks are ([`disk`]); by
//! leaves of 4 KiB all that is not its own: pages it shares with the hypervisor, other domains' pages
//! ([`crate::grants`]).

pub mod disk;

use crate::frames::{FRAME_SIZE, Frames, Owner};
use crate::machine::{Machine, Storage};
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

/// A domain's memory and what is needed to change it.
pub struct Change<'a, M> {
    memory: &'a mut GuestMemory,
    machine: &'a M,
    frames: &'a mut Frames,
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

impl<M: Machine> TableMemory for Change<'_, M> {
    fn load(&self, address: u64) -> u64 {
        Standing(self.machine).load(address)
    }
    fn store(&mut self, address: u64, entry: u64) {
        Standing(self.machine).store(address, entry);
    }
    /// A root takes a frame, every other table 4 KiB.
    fn allocate(&mut self, size: TableSize) -> Option<u64> {
        let GuestMemory { spare, max_frames, owner, .. } = self.memory;
        let bytes = size.bytes().max(TableSize::Middle.bytes());
        if spare.left < bytes {
            // A domain cannot spend the machine's storage on tables: this is enough for leaves of
            // 64 KiB throughout, and for mappings of what is not its own in some hundred places.
            let most = (*max_frames / 64).saturating_add(32);
            spare.frames = spare.frames.checked_add(1).filter(|frames| *frames <= most)?;
            spare.next = self.frames.allocate(self.machine, FRAME_SIZE, *owner)?.value();
            spare.left = FRAME_SIZE;
        }
        spare.left = spare.left.checked_sub(bytes)?;
        spare.next = spare.next.checked_add(bytes)?;
        spare.next.checked_sub(bytes)
    }
}

impl<M: Machine> Change<'_, M> {
    /// Gives the domain zeroed memory: `size` bytes, at a multiple of `size`, which is 1 GiB or at
    /// most [`PIECE`] and at least a frame.
    ///
    /// # Errors
    /// Nothing has changed: `ENOMEM` where the domain may have no more or there is none, `EINVAL`
    /// for an address that has something or cannot have memory.
    pub fn populate(&mut self, at: GuestAddr, size: u64) -> Result<(), i32> {
        let wanted = self.memory.frames.saturating_add(size / FRAME_SIZE);
        let allowed = wanted <= self.memory.max_frames;
        let storage = if allowed {
            self.frames.allocate(self.machine, size, self.memory.owner)
        } else {
            None
        };
        let storage = storage.ok_or(errno::ENOMEM)?;
        if self.map_memory(at, storage, size).is_err() {
            self.frames.free(storage, size);
            return Err(errno::EINVAL);
        }
        self.memory.frames = wanted;
        self.memory.top = self.memory.top.max(at.offset(size).value());
        Ok(())
    }

    /// Maps an extent by one leaf, or where one cannot be by leaves of 64 KiB: all or none, since
    /// they are in one table.
    fn map_memory(&mut self, at: GuestAddr, storage: RealAddr, size: u64) -> Result<(), MapError> {
        let tree = self.memory.tree;
        for leaf in [LeafSize::Gib1, LeafSize::Mib2] {
            if size == leaf.bytes()
                && tree.map(self, at.value(), storage.value(), leaf, ALL).is_ok()
            {
                return Ok(());
            }
        }
        if !at.is_aligned(size) || parts(size).any(|n| self.has(at.offset(n))) {
            return Err(MapError::Occupied);
        }
        parts(size).try_for_each(|n| {
            let (at, storage) = (at.offset(n).value(), storage.offset(n).value());
            tree.map(self, at, storage, LeafSize::Kib64, ALL)
        })
    }

    /// Takes memory from the domain: `size` bytes, a frame to [`PIECE`], at a multiple of `size`.
    ///
    /// # Errors
    /// Nothing has changed: `EINVAL` where it is not all the domain's own memory, `EBUSY` where
    /// another domain has some of it mapped, `ENOMEM` where a table was needed.
    pub fn withdraw(&mut self, at: GuestAddr, size: u64) -> Result<(), i32> {
        let tree = self.memory.tree;
        for n in parts(size) {
            let storage = self.memory.own_page(self.machine, at.offset(n));
            let storage = storage.filter(|_| at.is_aligned(size)).ok_or(errno::EINVAL)?;
            if self.frames.is_lent(storage) {
                return Err(errno::EBUSY);
            }
        }
        // A larger leaf has all of the extent: it is split before anything goes.
        while tree.translate(self, at.value()).is_some_and(|leaf| leaf.size.bytes() > size) {
            tree.split(self, at.value()).map_err(|_| errno::ENOMEM)?;
        }
        for n in parts(size) {
            if let Some(leaf) = tree.unmap(self, at.offset(n).value()) {
                self.frames.free(RealAddr::new(leaf.address), leaf.size.bytes());
            }
        }
        // Nobody gets the frames before their lock is let go.
        self.machine.flush_partition(self.memory.owner.partition());
        self.memory.frames = self.memory.frames.saturating_sub(size / FRAME_SIZE);
        Ok(())
    }

    /// Maps a page of 4 KiB that is not the domain's memory. Nothing was there, so no translation
    /// has to be forgotten.
    ///
    /// # Errors
    /// Something is there already, the address cannot be mapped, or there is no memory for a table.
    pub fn map_page(
        &mut self,
        at: GuestAddr,
        to: RealAddr,
        access: Access,
    ) -> Result<(), MapError> {
        let tree = self.memory.tree;
        tree.map(self, at.value(), to.value(), LeafSize::Kib4, access)
    }

    fn has(&self, at: GuestAddr) -> bool {
        self.memory.leaf(self.machine, at).is_some()
    }
}

/// What a domain may do with its own memory.
const ALL: Access = Access::READ.union(Access::WRITE).union(Access::EXECUTE);

/// The offsets of an extent's frames.
fn parts(size: u64) -> impl Iterator<Item = u64> {
    (0..size / FRAME_SIZE).map(|n| n.saturating_mul(FRAME_SIZE))
}

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
        let (tree, max_frames) = (Tree::at(0), size / FRAME_SIZE);
        let spare = Spare::default();
        let mut memory = GuestMemory { tree, owner, frames: 0, max_frames, top: 0, spare };
        let mut change = memory.change(machine, frames);
        change.memory.tree = Tree::new(&mut change).map_err(|_| OutOfMemory)?;
        while change.memory.top < size {
            let at = GuestAddr::new(change.memory.top);
            let leaves = [LeafSize::Gib1.bytes(), PIECE];
            let mut fitting =
                leaves.iter().filter(|leaf| **leaf <= size.saturating_sub(at.value()));
            fitting.find(|leaf| change.populate(at, **leaf).is_ok()).ok_or(OutOfMemory)?;
        }
        Ok(memory)
    }

    /// This memory, to be changed.
    pub fn change<'a, M: Machine>(
        &'a mut self,
        machine: &'a M,
        frames: &'a mut Frames,
    ) -> Change<'a, M> {
        Change { memory: self, machine, frames }
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

    /// The storage of a page of the domain's own memory.
    pub fn own_page<M: Machine>(&self, machine: &M, page: GuestAddr) -> Option<RealAddr> {
        let leaf = self.leaf(machine, page).filter(|leaf| leaf.size != LeafSize::Kib4)?;
        Some(RealAddr::new(leaf.address))
    }

    /// Takes out, from every processor too, a page that [`Change::map_page`] has mapped; what it was.
    pub fn unmap_page<M: Machine>(&mut self, machine: &M, at: GuestAddr) -> Option<RealAddr> {
        self.leaf(machine, at).filter(|leaf| leaf.size == LeafSize::Kib4)?;
        let leaf = self.tree.unmap(&mut Standing(machine), at.value())?;
        machine.flush_partition(self.owner.partition());
        Some(RealAddr::new(leaf.address))
    }

    fn leaf<M: Machine>(&self, machine: &M, at: GuestAddr) -> Option<Translation> {
        self.tree.translate(&Standing(machine), at.value())
    }

    /// The storage of a page that [`Change::map_page`] has mapped.
    #[cfg(feature = "walker")]
    pub fn page<M: Machine>(&self, machine: &M, at: GuestAddr) -> Option<RealAddr> {
        let leaf = self.leaf(machine, at).filter(|leaf| leaf.size == LeafSize::Kib4)?;
        Some(RealAddr::new(leaf.address))
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
    ///
    /// # Errors
    /// As [`GuestMemory::piece`], at the first piece that there is not.
    pub fn pieces<M: Machine>(
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
    ///
    /// # Errors
    /// It is not the domain's, or not for this access.
    pub fn piece<M: Machine>(
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
