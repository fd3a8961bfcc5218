//! Vectors, and the way into and out of user mode; the instructions are in `entry.s`.
//!
//! The kernel runs with interrupts off, so it is only ever entered from user mode: whatever arrives
//! otherwise is a bug of the kernel's. SPRG0 holds the address of a [`Context`]: that of the user
//! while one runs, that of the kernel's own last words otherwise, each vCPU's its own
//! ([`crate::vcpu`]). Every interrupt does the same: it saves all registers there and goes on with the
//! stack, at the place and in the machine state that the context names. Back from a user, that is the
//! end of [`run_user`]; from the kernel, [`crate::bug`].
//!
//! A Linux system call saves nothing at all: the vector hands it to the system library in six
//! instructions (docs/interfaces.md, §5).

use crate::vcpu::{PerVcpu, STACK_SIZE};
use core::sync::atomic::{AtomicU64, Ordering};
use guest_kernel::context::Context;
use k42_lib::msr;

/// The kernel's machine state with translation on.
pub const KERNEL_MSR: u64 = REAL_MSR | msr::IR | msr::DR;
/// The kernel's machine state in real mode.
pub const REAL_MSR: u64 = msr::SF | msr::ME | msr::RI | msr::LE;

core::arch::global_asm!(
    include_str!("entry.s"),
    STACK_SIZE = const STACK_SIZE,
    VCPU_SIZE = const size_of::<PerVcpu>(),
    VCPU_ALIGN = const align_of::<PerVcpu>(),
    NEXT = const core::mem::offset_of!(Context, next),
    MSR = const core::mem::offset_of!(Context, msr),
    LINK = const core::mem::offset_of!(Context, link),
    COUNT = const core::mem::offset_of!(Context, count),
    EXCEPTIONS = const core::mem::offset_of!(Context, exceptions),
    CONDITION = const core::mem::offset_of!(Context, condition),
    FAULT_ADDRESS = const core::mem::offset_of!(Context, fault_address),
    FAULT_CAUSE = const core::mem::offset_of!(Context, fault_cause),
    VECTOR = const core::mem::offset_of!(Context, vector),
    STACK = const core::mem::offset_of!(Context, machine),
    HANDLER = const core::mem::offset_of!(Context, machine) + 8,
    HANDLER_MSR = const core::mem::offset_of!(Context, machine) + 16,
);

unsafe extern "C" {
    /// Loads the user's registers, runs it, and returns when its next trap has saved them again.
    ///
    /// # Safety
    /// The context's `msr` must be a user's, the address space must be set, and translation on.
    pub fn run_user(context: *mut Context);
    /// Where a trap from user mode goes on. No function: it is the end of [`run_user`].
    safe fn user_trapped();
    /// Continues with the caller, in machine state `msr`.
    ///
    /// # Safety
    /// The kernel must be able to run in that state.
    pub fn set_machine_state(msr: u64);
    /// Executes `hrfid`, which needs hypervisor privilege; returns the vector of the interrupt that
    /// came of it.
    safe fn try_hypervisor_instruction() -> u64;
    /// First byte after the image.
    static image_end: u8;
    /// Where the vector of system calls finds the library's entry.
    safe static system_call_entry: AtomicU64;
}

/// Prepares a user's context for [`run_user`]: where its traps go.
pub fn adopt(context: &mut Context) {
    context.machine[1] = user_trapped as *const () as u64;
    context.machine[2] = KERNEL_MSR;
}

/// First guest real address after the image.
pub fn end_of_image() -> u64 {
    crate::guest_address(&raw const image_end).value()
}

/// Sets where Linux system calls enter user mode.
pub fn set_system_call_entry(entry: u64) {
    system_call_entry.store(entry, Ordering::Relaxed);
}

/// Tries an instruction that the kernel has no right to; returns the vector it was interrupted by.
pub fn violate_privilege() -> u64 {
    try_hypervisor_instruction()
}
