//! Starting: the vectors, the domains of the boot archive, and the other processors, one after the other.

use crate::partition::TABLE;
use crate::storage::RealStorage;
use crate::tree::Range;
use boot_archive::{Archive, ArchiveError};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_core::frames::FRAME_SIZE;
use hv_core::memory::disk::Disk;
use hv_core::{Hypervisor, MAX_PROCESSORS, Machine, ProcessorId, Storage};
use k42_lib::{RealAddr, vector};

/// A processor's stack. `cargo k42 audit` says how deep it gets.
const STACK: usize = 32 << 10;

#[repr(C, align(128))]
struct Stack(UnsafeCell<[u8; STACK]>);

// SAFETY: a stack is used by its processor alone.
unsafe impl Sync for Stack {}

static STACKS: [Stack; MAX_PROCESSORS] =
    [const { Stack(UnsafeCell::new([0; STACK])) }; MAX_PROCESSORS];

/// The stack of the processor that is being started; `entry.S` reads it.
#[unsafe(no_mangle)]
static secondary_stack: AtomicU64 = AtomicU64::new(0);
/// Which processor is being started: its number, until it has arrived.
static ARRIVING: AtomicU64 = AtomicU64::new(NOBODY);
const NOBODY: u64 = u64::MAX;

/// Where the stack of a processor begins.
pub fn stack_top(number: ProcessorId) -> u64 {
    STACKS[number.0 as usize].0.get() as u64 + STACK as u64 - 128
}

/// Starts a processor with what asks the firmware to, which returns false when it refuses; waits
/// until the processor has [`arrived`].
pub fn start_processor(number: ProcessorId, firmware: impl FnOnce() -> bool) -> bool {
    secondary_stack.store(stack_top(number), Ordering::Release);
    ARRIVING.store(number.0.into(), Ordering::Release);
    let started = firmware();
    while started && ARRIVING.load(Ordering::Acquire) != NOBODY {
        core::hint::spin_loop();
    }
    started
}

/// The number of the processor that is being started, for itself.
pub fn arriving() -> ProcessorId {
    ProcessorId(ARRIVING.load(Ordering::Acquire) as u32)
}

/// It is ready; the next can be started.
pub fn arrived() {
    ARRIVING.store(NOBODY, Ordering::Release);
}

/// What the register PTCR holds: where the partition table is, and log2 of its size, less 12.
pub fn partition_table_control() -> u64 {
    const SIZE: u64 = 4;
    TABLE.0.get() as u64 | SIZE
}

/// Measures the hypervisor's code and constants, in `image`, and starts the domains of the archive
/// that the firmware has loaded to `archive`, with the machine's disks.
///
/// # Safety
/// The ranges are storage that nobody writes to from now on.
pub unsafe fn start_domains<M: Machine>(
    hypervisor: &Hypervisor<M>,
    image: Range,
    archive: Range,
    disks: &mut [Option<Disk>],
    processors: usize,
) -> Result<(), ArchiveError> {
    let [image, archive] = [image, archive].map(|(start, end)| {
        let length = (end.value() - start.value()) as usize;
        // SAFETY: the caller says so.
        unsafe { core::slice::from_raw_parts(start.value() as *const u8, length) }
    });
    let archive = Archive::parse(archive)?;
    let free = hypervisor.free_frames() as u64 * FRAME_SIZE;
    let says = format_args!("{processors} processors, {} MiB free", free >> 20);
    hypervisor.start_all(&archive, image, disks, says);
    Ok(())
}

/// Copies interrupt vectors, which start at the symbol `start`, to real address 0. The first is at
/// 0x100: what lies before it is not copied, since no Rust code may write to address 0.
///
/// # Safety
/// The linker has put vectors between the two addresses.
pub unsafe fn install_vectors(start: *const u8, end: *const u8) {
    let first = RealAddr::new(vector::SYSTEM_RESET.into());
    let from = start as u64 + first.value();
    let length = end as u64 - from;
    // SAFETY: the caller says so.
    let vectors = unsafe { core::slice::from_raw_parts(from as *const u8, length as usize) };
    RealStorage.write(first, vectors);
    synchronize_code(first, length);
}

/// Makes stored instructions visible to fetches (Power ISA v3.0B, Book II, 4.3.1).
fn synchronize_code(at: RealAddr, length: u64) {
    for line in (at.value()..at.value() + length).step_by(128) {
        // SAFETY: writes back and invalidates cache lines; storage stays as it is.
        unsafe {
            asm!("dcbst 0, {0}", "sync", "icbi 0, {0}", in(reg) line, options(nostack, preserves_flags))
        };
    }
    // SAFETY: barriers.
    unsafe { asm!("sync", "isync", options(nostack, preserves_flags)) };
}
