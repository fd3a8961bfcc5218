//! The HAT (Hardware Address Translation): an address space as processors know it.
//!
//! ```text
//!  vCPU 0: root ──┐
//!                 ├──► tables, shared by all vCPUs ──► leaves of 64 KiB
//!  vCPU 1: root ──┘
//! ```
//!
//! Each vCPU on which a process has run has a root table and a number of the space of its own, made
//! when it first runs there, so that a part of the address space can be the vCPU's own; all tables below are
//! shared. A root's entries are found when they are needed, among what the vCPUs share.
//!
//! No lock is taken to map: a table is put in its place in one step, and the tables of which a vCPU
//! makes them are its own. A leaf belongs to the region at its address: whoever has the lock of that
//! region's FCM may change it ([`crate::fcm`]).

use crate::layout::USER_END;
use crate::machine::{Machine, SpaceId};
use crate::pm::{Frame, PageManager};
use crate::problem::Problem;
use crate::process::Memory;
use crate::spaces::{Space, Spaces};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use k42_lib::radix::{Access, Entry, LeafSize, MapError, TableMemory, TableSize, Tree};
use k42_lib::trace::events::mem;
use k42_lib::{EffAddr, GuestAddr};
use k42_object::{Clustered, Here, Ref, clustered};
use kernel_abi::PAGE_SIZE;
use spin::{Mutex, Once};

/// Bytes that one entry of a root table covers, log2.
const PIECE_BITS: u32 = 39;
/// Entries of a root table that users have.
const PIECES: usize = (USER_END.value() >> PIECE_BITS) as usize;

/// The translation of one address space.
#[clustered]
pub trait Hat {
    /// The number by which this vCPU knows the space, made now if it is its first time here.
    fn space(&self, here: &Here<'_>) -> Result<SpaceId, Problem>;

    /// Translates `page` to the frame at `to`. What it translated to before is forgotten.
    ///
    /// [`Problem::NoMemory`] when a table was needed and there was none.
    fn map(
        &self,
        here: &Here<'_>,
        page: EffAddr,
        to: GuestAddr,
        access: Access,
    ) -> Result<(), Problem>;

    /// Whole pages translate to nothing any more, in no processor's TLB.
    fn unmap(&self, here: &Here<'_>, pages: Range<EffAddr>) -> Result<(), Problem>;

    /// Changes what is allowed on `page`, if it is mapped.
    fn protect(&self, here: &Here<'_>, page: EffAddr, access: Access) -> Result<(), Problem>;

    /// Where `address` translates to and what is allowed there.
    fn translate(
        &self,
        here: &Here<'_>,
        address: EffAddr,
    ) -> Result<Option<(GuestAddr, Access)>, Problem>;
}

/// An address space that translates nothing.
///
/// # Errors
/// [`Problem::NoMemory`] when there are too many objects.
pub fn create(here: &Here<'_>, memory: &Memory) -> Result<Ref<dyn Hat>, Problem> {
    let Memory { machine, pm, spaces } = memory.clone();
    let shared = Arc::new(Shared {
        machine,
        pm,
        spaces,
        pieces: (0..PIECES).map(|_| AtomicU64::new(0)).collect(),
        roots: Mutex::default(),
        frames: Mutex::default(),
    });
    let make = move |_: &Here<'_>, _| {
        let shared = shared.clone();
        Arc::new(Rep { shared, root: Once::new(), pool: Mutex::default() }) as Arc<dyn Hat>
    };
    Ok(here.create(Clustered::per_processor(make))?)
}

/// What the reps of one HAT share.
struct Shared {
    machine: Arc<dyn Machine>,
    pm: Arc<PageManager>,
    spaces: Arc<Spaces>,
    /// By piece of the address space: the table of the second level that translates it, or 0.
    pieces: Box<[AtomicU64]>,
    /// The numbers by which vCPUs know the space.
    roots: Mutex<Vec<Space>>,
    /// All frames with tables. They go when the HAT does.
    frames: Mutex<Vec<Frame>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody runs in the space any more. What processors know by its numbers, they forget when
        // these are given to another ([`Machine::set_space`]).
        self.spaces.release(self.roots.get_mut().drain(..));
        self.pm.release_all(self.frames.get_mut().drain(..));
    }
}

impl Shared {
    fn zeroed_frame(&self, here: &Here<'_>) -> Option<GuestAddr> {
        let frame = self.pm.allocate(here).ok()?;
        let at = frame.address();
        self.machine.zero(at, PAGE_SIZE);
        self.frames.lock().push(frame);
        Some(at)
    }

    /// Forgets the translation of a page, by whichever number a processor knows it.
    fn invalidate(&self, page: EffAddr) {
        for space in &*self.roots.lock() {
            self.machine.invalidate(space.id(), page);
        }
    }
}

/// A vCPU's root, and of what it makes tables.
struct Rep {
    shared: Arc<Shared>,
    root: Once<Root>,
    pool: Mutex<Pool>,
}

#[derive(Clone, Copy)]
struct Root {
    space: SpaceId,
    table: GuestAddr,
}

/// What is left of frames that are being cut up: tables of 4 KiB and of 256 bytes.
#[derive(Default)]
struct Pool {
    rest: Range<u64>,
    /// Tables in whose place another vCPU's was first: they are zeros still.
    spare: Vec<Entry>,
}

impl Rep {
    fn root(&self, here: &Here<'_>) -> Result<Root, Problem> {
        let root = self.root.try_call_once(|| {
            let shared = &self.shared;
            let space = shared.spaces.allocate().ok_or(Problem::NoMemory)?;
            let Some(table) = shared.zeroed_frame(here) else {
                shared.spaces.release([space]);
                return Err(Problem::NoMemory);
            };
            let id = space.id();
            shared.machine.tables_changed();
            shared.machine.set_space(id, table);
            shared.roots.lock().push(space);
            Ok(Root { space: id, table })
        });
        root.copied()
    }
}

impl Hat for Rep {
    fn space(&self, here: &Here<'_>) -> Result<SpaceId, Problem> {
        Ok(self.root(here)?.space)
    }

    fn map(
        &self,
        here: &Here<'_>,
        page: EffAddr,
        to: GuestAddr,
        access: Access,
    ) -> Result<(), Problem> {
        let root = self.root(here)?;
        let tree = Tree::at(root.table.value());
        let mut tables = Tables { rep: self, here, root: root.table };
        let at = page.value();
        let mut mapped = tree.map(&mut tables, at, to.value(), LeafSize::Kib64, access);
        if mapped == Err(MapError::Occupied) {
            let there = tree.translate(&tables, at);
            if there.is_some_and(|leaf| leaf.address == to.value() && access.contains(leaf.access))
            {
                // More is allowed now, by this fault or by another vCPU's. A processor that knows the
                // page by its earlier rights comes here, too: this one alone has to forget them.
                tree.protect(&mut tables, at, access);
                self.shared.machine.invalidate(root.space, page);
                mem::hat(here, at, to.value());
                return Ok(());
            }
            tree.unmap(&mut tables, at);
            self.shared.invalidate(page);
            mapped = tree.map(&mut tables, at, to.value(), LeafSize::Kib64, access);
        }
        self.shared.machine.tables_changed();
        match mapped {
            Ok(()) => {
                mem::hat(here, at, to.value());
                Ok(())
            }
            Err(MapError::NoMemory) => Err(Problem::NoMemory),
            Err(error) => panic!("page {page} cannot be mapped: {error:?}"),
        }
    }

    fn unmap(&self, _: &Here<'_>, pages: Range<EffAddr>) -> Result<(), Problem> {
        let mut tables = SharedTables(&self.shared);
        let mut next = pages.start;
        while next < pages.end {
            next = if SHARED.unmap(&mut tables, next.value()).is_some() {
                self.shared.invalidate(next);
                next.offset(PAGE_SIZE)
            } else {
                let end = SHARED.end_of_hole(&tables, next.value());
                EffAddr::new(end.expect("where nothing is mapped is a hole"))
            };
        }
        Ok(())
    }

    fn protect(&self, _: &Here<'_>, page: EffAddr, access: Access) -> Result<(), Problem> {
        let mut tables = SharedTables(&self.shared);
        if SHARED.protect(&mut tables, page.value(), access).is_some() {
            self.shared.invalidate(page);
        }
        Ok(())
    }

    fn translate(
        &self,
        _: &Here<'_>,
        address: EffAddr,
    ) -> Result<Option<(GuestAddr, Access)>, Problem> {
        let found = SHARED.translate(&SharedTables(&self.shared), address.value());
        Ok(found.map(|found| (GuestAddr::new(found.address), found.access)))
    }
}

/// The tree of all that vCPUs share, whichever of them have a root: its own is [`Shared::pieces`]. So who
/// looks, or takes away, needs no memory.
const SHARED: Tree = Tree::at(PIECES_AT);

/// Where that is said to be: beyond all addresses that a table can have, of which an entry keeps 60 bits.
const PIECES_AT: u64 = 0u64.wrapping_sub(TableSize::Root.bytes());

/// What a walk of [`SHARED`] meets.
struct SharedTables<'a>(&'a Shared);

impl TableMemory for SharedTables<'_> {
    fn load(&self, address: u64) -> u64 {
        let Shared { pieces, machine, .. } = self.0;
        match address.checked_sub(PIECES_AT) {
            Some(offset) => {
                let piece = pieces.get(offset as usize / 8);
                piece.map_or(0, |piece| piece.load(Ordering::Acquire))
            }
            None => machine.load_entry(GuestAddr::new(address)),
        }
    }

    /// Only leaves are stored: in tables of the last level.
    fn store(&mut self, address: u64, entry: u64) {
        self.0.machine.store_entry(GuestAddr::new(address), entry);
    }

    fn allocate(&mut self, _: TableSize) -> Option<u64> {
        None
    }
}

/// A rep with what it needs to grow, for the walks of [`Tree`].
struct Tables<'a> {
    rep: &'a Rep,
    here: &'a Here<'a>,
    root: GuestAddr,
}

impl TableMemory for Tables<'_> {
    fn load(&self, address: u64) -> u64 {
        self.rep.shared.machine.load_entry(GuestAddr::new(address))
    }

    fn store(&mut self, address: u64, entry: u64) {
        self.rep.shared.machine.store_entry(GuestAddr::new(address), entry);
    }

    fn link(&mut self, address: u64, entry: u64) -> u64 {
        let Rep { shared, pool, .. } = self.rep;
        let number = address.wrapping_sub(self.root.value()) / 8;
        let there = match shared.pieces.get(number as usize) {
            Some(piece) => {
                let put = piece.compare_exchange(0, entry, Ordering::AcqRel, Ordering::Acquire);
                let there = put.map_or_else(|there| there, |_| entry);
                self.store(address, there);
                there
            }
            None => shared.machine.link_entry(GuestAddr::new(address), entry),
        };
        if there != entry {
            pool.lock().spare.push(Entry::decode(entry));
        }
        there
    }

    fn allocate(&mut self, size: TableSize) -> Option<u64> {
        let bytes = size.bytes();
        let mut pool = self.rep.pool.lock();
        let fits = |spare: &Entry| match *spare {
            Entry::Table { base, index_bits } if index_bits == size.index_bits() => Some(base),
            _ => None,
        };
        if let Some((n, base)) =
            pool.spare.iter().map(fits).enumerate().find_map(|(n, b)| Some((n, b?)))
        {
            pool.spare.swap_remove(n);
            return Some(base);
        }
        let mut at = pool.rest.start.next_multiple_of(bytes);
        if at + bytes > pool.rest.end {
            at = self.rep.shared.zeroed_frame(self.here)?.value();
            pool.rest.end = at + PAGE_SIZE;
        }
        pool.rest.start = at + bytes;
        Some(at)
    }
}
