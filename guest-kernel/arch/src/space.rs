//! The kernel's own translation, and the table through which the processor finds every address
//! space's (Power ISA v3.0B, Book III, 5.7.6).
//!
//! Quadrant 3 (addresses from 0xc000...) is always address space 0: all of the domain's memory,
//! privileged, in 2 MiB leaves; and a window on the page that the domain shares with the hypervisor.

use crate::{heap, hypercall, registers, wake};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use guest_kernel::machine::SpaceId;
use k42_lib::radix::{Access, LeafSize, MapError, TableMemory, TableSize, Tree, entry};
use k42_lib::{EffAddr, GuestAddr};

/// Entries of the process table: address spaces 0 to 255.
pub(crate) const SPACES: usize = 256;

/// The process table: 4 KiB, two doublewords an entry, big-endian.
#[repr(C, align(4096))]
struct ProcessTable([[AtomicU64; 2]; SPACES]);

/// The domain's process table, once it is registered.
pub struct Spaces {
    table: &'static ProcessTable,
}

impl Spaces {
    /// Maps `memory_size` bytes for the kernel and tells the hypervisor of the table. Translation
    /// can then be switched on.
    ///
    /// # Errors
    /// What went wrong, for the console.
    pub fn start(memory_size: u64) -> Result<Spaces, &'static str> {
        const NO_MEMORY: &str = "no memory for the kernel's translation tables";
        let tree = Tree::new(&mut KernelTables).map_err(|_| NO_MEMORY)?;
        let all = Access::PRIVILEGED | Access::READ | Access::WRITE | Access::EXECUTE;
        for at in (0..memory_size).step_by(LeafSize::Mib2.bytes() as usize) {
            match tree.map(&mut KernelTables, at, at, LeafSize::Mib2, all) {
                Ok(()) => (),
                Err(MapError::NoMemory) => return Err(NO_MEMORY),
                Err(_) => return Err("the domain's memory cannot be mapped"),
            }
        }
        let (shared, data) = (wake::SHARED.value(), all & !Access::EXECUTE);
        tree.map(&mut KernelTables, shared, shared, LeafSize::Mib2, data)
            .map_err(|_| "the shared page has no place in the kernel's translation")?;
        let table = heap::take(size_of::<ProcessTable>() as u64, 4096).ok_or(NO_MEMORY)?;
        // SAFETY: zeroed memory of this size and alignment, that nobody else has.
        let table = unsafe { &*table.cast::<ProcessTable>() };
        let spaces = Spaces { table };
        spaces.set(SpaceId(0), GuestAddr::new(tree.root()));
        let result = hypercall::register_process_table(crate::guest_address(spaces.table));
        // SAFETY: address space 0 is the kernel's own.
        unsafe { registers::set_space(0) };
        registers::synchronize_context();
        if result == 0 { Ok(spaces) } else { Err("the hypervisor refused the process table") }
    }

    /// Makes the tree at `root` the translation of `space`.
    ///
    /// # Panics
    /// When there is no such address space.
    pub fn set(&self, space: SpaceId, root: GuestAddr) {
        // The second doubleword is always zero.
        let [first, _] = &self.table.0[usize::from(space.0)];
        first.store(entry::process_entry(root.value()).to_be(), Ordering::Relaxed);
        registers::synchronize_tables();
        invalidate_space(space);
    }
}

/// Address space in the upper half of tlbie's RS (Book III, 5.9.3.3).
const fn target(space: SpaceId) -> u64 {
    (space.0 as u64) << 32
}

/// Forgets the translation of one 64 KiB page, on all processors.
pub fn invalidate_page(space: SpaceId, page: EffAddr) {
    /// The page's size, RB bits 56:58.
    const KIB_64: u64 = 5 << 5;
    // SAFETY: forgetting a translation is always allowed. The word is tlbie r5, r4, 0, 1, 1.
    unsafe {
        asm!("ptesync", ".long 0x7c832a64", "eieio", "tlbsync", "ptesync",
            in("r4") target(space), in("r5") page.value() | KIB_64, options(nostack));
    }
}

/// Forgets everything about an address space, its process table entry included.
fn invalidate_space(space: SpaceId) {
    /// All translations of the address space in RS, RB bits 52:53.
    const WHOLE_SPACE: u64 = 1 << 10;
    // SAFETY: as above. The word is tlbie r5, r4, 2, 1, 1.
    unsafe {
        asm!("ptesync", ".long 0x7c8b2a64", "eieio", "tlbsync", "ptesync",
            in("r4") target(space), in("r5") WHOLE_SPACE, options(nostack));
    }
}

/// The kernel's own tables, in its heap.
struct KernelTables;

impl TableMemory for KernelTables {
    fn load(&self, address: u64) -> u64 {
        let pointer = crate::linear(GuestAddr::new(address)) as *const u64;
        // SAFETY: an entry of a table that `allocate` made.
        u64::from_be(unsafe { pointer.read_volatile() })
    }

    fn store(&mut self, address: u64, entry: u64) {
        let pointer = crate::linear(GuestAddr::new(address)) as *mut u64;
        // SAFETY: an entry of a table that `allocate` made.
        unsafe { pointer.write_volatile(entry.to_be()) };
    }

    fn allocate(&mut self, size: TableSize) -> Option<u64> {
        let table = heap::take(size.bytes(), size.bytes())?;
        Some(crate::guest_address(table).value())
    }
}
