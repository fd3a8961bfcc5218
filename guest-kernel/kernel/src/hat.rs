//! The HAT: an address space as the processor knows it, a radix tree and a number.

use crate::machine::{Machine, SpaceId};
use crate::pm::{Frame, PageManager};
use alloc::vec::Vec;
use k42_lib::radix::{Access, LeafSize, MapError, TableMemory, TableSize, Tree};
use k42_lib::trace::events::mem;
use k42_lib::{EffAddr, GuestAddr};
use kernel_abi::PAGE_SIZE;

/// The translation of one address space.
pub struct Hat {
    space: SpaceId,
    tree: Tree,
    tables: TablePool,
}

/// There is no memory for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl Hat {
    /// An address space that translates nothing, known to the machine as `space`.
    ///
    /// # Errors
    /// [`NoMemory`] when there is none for the root table.
    pub fn new(
        space: SpaceId,
        pm: &mut PageManager,
        machine: &mut impl Machine,
    ) -> Result<Hat, NoMemory> {
        let mut tables = TablePool::default();
        let mut memory = Tables { pool: &mut tables, pm, machine };
        let tree = Tree::new(&mut memory).map_err(|_| NoMemory)?;
        machine.tables_changed();
        machine.set_space(space, GuestAddr::new(tree.root()));
        Ok(Hat { space, tree, tables })
    }

    /// The number the machine knows it by.
    pub const fn space(&self) -> SpaceId {
        self.space
    }

    /// How many frames hold its tables.
    #[cfg(test)]
    pub fn tables_in_frames(&self) -> usize {
        self.tables.frames.len()
    }

    /// Translates `page` to the frame at `to`. What the page translated to before is forgotten.
    ///
    /// # Errors
    /// [`NoMemory`] when a table was needed and there was none.
    pub fn map(
        &mut self,
        page: EffAddr,
        to: GuestAddr,
        access: Access,
        pm: &mut PageManager,
        machine: &mut impl Machine,
    ) -> Result<(), NoMemory> {
        let mut memory = Tables { pool: &mut self.tables, pm, machine };
        let (page, size) = (page.value(), LeafSize::Kib64);
        let mut mapped = self.tree.map(&mut memory, page, to.value(), size, access);
        if mapped == Err(MapError::Occupied) {
            self.tree.unmap(&mut memory, page);
            memory.machine.invalidate(self.space, EffAddr::new(page));
            mapped = self.tree.map(&mut memory, page, to.value(), size, access);
        }
        machine.tables_changed();
        match mapped {
            Ok(()) => {
                mem::hat(machine, page, to.value());
                Ok(())
            }
            Err(MapError::NoMemory) => Err(NoMemory),
            Err(error) => panic!("page {page:#x} cannot be mapped: {error:?}"),
        }
    }

    /// Where `address` translates to and what is allowed there.
    pub fn translate(
        &mut self,
        address: EffAddr,
        pm: &mut PageManager,
        machine: &mut impl Machine,
    ) -> Option<(GuestAddr, Access)> {
        let memory = Tables { pool: &mut self.tables, pm, machine };
        let found = self.tree.translate(&memory, address.value())?;
        Some((GuestAddr::new(found.address), found.access))
    }

    /// `page` translates to nothing any more, not even in the processor's TLB.
    pub fn unmap(&mut self, page: EffAddr, pm: &mut PageManager, machine: &mut impl Machine) {
        let mut memory = Tables { pool: &mut self.tables, pm, machine };
        if self.tree.unmap(&mut memory, page.value()).is_some() {
            machine.invalidate(self.space, page);
        }
    }

    /// Changes what is allowed on `page`, if it is mapped.
    pub fn protect(
        &mut self,
        page: EffAddr,
        access: Access,
        pm: &mut PageManager,
        machine: &mut impl Machine,
    ) {
        let mut memory = Tables { pool: &mut self.tables, pm, machine };
        if let Some(leaf) = self.tree.unmap(&mut memory, page.value()) {
            // The table is there: nothing has to be allocated.
            let _ = self.tree.map(&mut memory, page.value(), leaf.address, leaf.size, access);
            machine.invalidate(self.space, page);
        }
    }
}

/// The frames that hold an address space's tables. Tables go when the address space goes.
#[derive(Default)]
struct TablePool {
    frames: Vec<Frame>,
    /// What is left of the last frame that is being cut up, as addresses.
    free: core::ops::Range<u64>,
}

/// A pool with what it needs to grow, for the walks of [`Tree`].
struct Tables<'a, M> {
    pool: &'a mut TablePool,
    pm: &'a mut PageManager,
    machine: &'a mut M,
}

impl<M: Machine> Tables<'_, M> {
    fn zeroed_frame(&mut self) -> Option<u64> {
        let frame = self.pm.allocate()?;
        mem::frame_allocated(self.machine, frame.address().value());
        self.pool.frames.push(frame);
        self.machine.zero(frame.address(), PAGE_SIZE);
        Some(frame.address().value())
    }
}

impl<M: Machine> TableMemory for Tables<'_, M> {
    fn load(&self, address: u64) -> u64 {
        self.machine.load_entry(GuestAddr::new(address))
    }

    fn store(&mut self, address: u64, entry: u64) {
        self.machine.store_entry(GuestAddr::new(address), entry);
    }

    fn allocate(&mut self, size: TableSize) -> Option<u64> {
        let bytes = size.bytes();
        if bytes == PAGE_SIZE {
            return self.zeroed_frame();
        }
        let mut at = self.pool.free.start.next_multiple_of(bytes);
        if at + bytes > self.pool.free.end {
            at = self.zeroed_frame()?;
            self.pool.free.end = at + PAGE_SIZE;
        }
        self.pool.free.start = at + bytes;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    const PAGE: EffAddr = EffAddr::new(0x1234_0000);
    const SPACE: SpaceId = SpaceId(1);

    #[test]
    fn what_is_mapped_is_what_the_processor_sees() {
        let (mut machine, mut pm) = Fake::with_frames(4);
        let mut hat = Hat::new(SPACE, &mut pm, &mut machine).unwrap();
        let frame = pm.allocate().unwrap().address();
        let read = Access::READ;
        hat.map(PAGE, frame, read, &mut pm, &mut machine).unwrap();
        assert_eq!(machine.user_access(SPACE, PAGE.offset(5), read), Some(frame.offset(5)));
        assert_eq!(machine.user_access(SPACE, PAGE, Access::WRITE), None);
        hat.protect(PAGE, read | Access::WRITE, &mut pm, &mut machine);
        assert_eq!(machine.user_access(SPACE, PAGE, Access::WRITE), Some(frame));
        hat.unmap(PAGE, &mut pm, &mut machine);
        assert_eq!(machine.user_access(SPACE, PAGE, read), None);
    }

    #[test]
    fn a_page_can_be_mapped_over() {
        let (mut machine, mut pm) = Fake::with_frames(4);
        let mut hat = Hat::new(SPACE, &mut pm, &mut machine).unwrap();
        let first = pm.allocate().unwrap().address();
        let second = pm.allocate().unwrap().address();
        hat.map(PAGE, first, Access::READ, &mut pm, &mut machine).unwrap();
        machine.user_access(SPACE, PAGE, Access::READ);
        hat.map(PAGE, second, Access::READ, &mut pm, &mut machine).unwrap();
        assert_eq!(machine.user_access(SPACE, PAGE, Access::READ), Some(second));
    }

    #[test]
    fn without_memory_for_tables_nothing_is_mapped() {
        let (mut machine, mut pm) = Fake::with_frames(1);
        let mut hat = Hat::new(SPACE, &mut pm, &mut machine).unwrap();
        let to = GuestAddr::new(0);
        let mapped = hat.map(PAGE, to, Access::READ, &mut pm, &mut machine);
        assert_eq!(mapped, Err(NoMemory));
        assert!(Hat::new(SpaceId(2), &mut pm, &mut machine).is_err());
    }
}
