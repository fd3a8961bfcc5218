//! What each vCPU has for itself: a block that r13 points to whenever the kernel runs.
//!
//! The ABI keeps r13 for thread-local storage. The kernel has none, and compilers leave the register
//! alone (`domains/audit/tests/images.rs` looks). So the block survives every call, needs no load to
//! find, and no restoring that [`crate::entry`] does not do anyway: a trap of a user's ends where
//! `run_user` was called, which has r13 on its stack; a trap of the kernel's leaves the address of the
//! context it was saved in there, and that context is the block's first field.
//!
//! ```text
//!   emergency stack │ stack │ block: emergency context, number, ...
//!                           ▲
//!                           r13, SPRG0, and r1 at first
//! ```
//!
//! Only its own vCPU stores to a block, but for [`Info`], which has a line of the cache for itself. The
//! first vCPU's block is in the image, [`crate::start`] makes the others.

use crate::heap;
use crate::start::Main;
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use core::sync::atomic::AtomicU64;
use guest_kernel::context::Context;
use guest_kernel::machine::SpaceId;

/// Bytes of each of a vCPU's two stacks, which lie before its block.
pub(crate) const STACK_SIZE: usize = 0x1_0000;

/// One vCPU's own.
#[repr(C, align(128))]
pub(crate) struct PerVcpu {
    /// Where the kernel's own bugs are saved. First, so that its address is the block's.
    pub(crate) emergency: UnsafeCell<MaybeUninit<Context>>,
    pub(crate) number: u32,
    /// Its part of the kernel's heap.
    pub(crate) pools: *const (),
    /// The address space that the processor has.
    pub(crate) space: Cell<SpaceId>,
    /// What it is to run.
    pub(crate) main: Cell<Option<Main>>,
    pub(crate) info: Info,
}

/// What the hypervisor tells a vCPU: its `vcpu_info`, of which the first doubleword says whether
/// something is pending, and the second, in which word of the bits.
#[repr(C, align(128))]
pub(crate) struct Info(pub(crate) [AtomicU64; 16]);

const _: () = assert!(size_of::<xen_sys::xen::VcpuInfo>() <= size_of::<Info>());

impl PerVcpu {
    /// That of the vCPU of this number.
    pub(crate) fn new(number: u32) -> PerVcpu {
        PerVcpu {
            emergency: UnsafeCell::new(MaybeUninit::zeroed()),
            number,
            pools: heap::part(number),
            space: Cell::new(SpaceId(0)),
            main: Cell::new(None),
            info: Info([const { AtomicU64::new(0) }; 16]),
        }
    }
}

/// Where this vCPU's block is.
#[inline(always)]
fn block() -> *mut PerVcpu {
    let block;
    // SAFETY: r13 does not change while the kernel runs.
    unsafe { asm!("mr {}, 13", out(reg) block, options(pure, nomem, nostack, preserves_flags)) };
    block
}

/// Makes the first vCPU's block.
///
/// # Safety
/// To be called once, by the first vCPU, before all that needs a block.
pub(crate) unsafe fn begin() {
    // SAFETY: the image has the place, and nobody uses it yet.
    unsafe { block().write(PerVcpu::new(0)) };
}

/// This vCPU's block.
#[inline(always)]
pub(crate) fn this() -> &'static PerVcpu {
    // SAFETY: r13 points to a block that lives for ever, and was made before this vCPU ran. It is not
    // `Sync`: the reference does not leave the vCPU.
    unsafe { &*block() }
}

/// The number of the vCPU that asks: below [`crate::Boot::vcpus`]. Two instructions.
#[inline(always)]
pub fn current() -> u32 {
    this().number
}
