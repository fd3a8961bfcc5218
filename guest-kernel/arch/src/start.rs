//! How a domain's further vCPUs start. The hypervisor starts the first alone ([`crate::boot`]); that
//! one starts the others, each with something to run.
//!
//! A vCPU begins in real mode, on its own stack, with its block in r3, and becomes what the first one
//! is: translated by the same tables, with interrupts off.

use crate::vcpu::{PerVcpu, STACK_SIZE, current, this};
use crate::{bug, entry, guest_address, heap, hypercall, registers, wake};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::xen::VcpuGuestContext;
use xen_sys::vcpu::{VCPUOP_DOWN, VCPUOP_INITIALISE, VCPUOP_UP};

/// The most vCPUs of a domain.
pub const MAX_VCPUS: u32 = heap::MAX_VCPUS as u32;

/// What a vCPU runs.
pub(crate) type Main = Box<dyn FnOnce() + Send>;

/// The vCPUs that were started, a bit each.
static STARTED: AtomicU64 = AtomicU64::new(1);

unsafe extern "C" {
    /// Where a vCPU begins, in real mode, with its block in r3.
    safe fn vcpu_entry();
}

/// Has the domain's vCPU of this number run `main`, with translation on and interrupts off. When that
/// returns the vCPU goes down, for ever.
///
/// # Errors
/// Why it did not start: there is no such vCPU, it runs or has run, or memory is short.
pub fn start(number: u32, main: impl FnOnce() + Send + 'static) -> Result<(), &'static str> {
    if number >= MAX_VCPUS || STARTED.fetch_or(1 << number, Ordering::Relaxed) >> number & 1 != 0 {
        return Err("the vCPU was started before");
    }
    wake::prepare()?;
    let size = 2 * STACK_SIZE + size_of::<PerVcpu>();
    let area = heap::take(size as u64, align_of::<PerVcpu>() as u64);
    let area = area.ok_or("no memory for the vCPU's stacks")?;
    let place = area.wrapping_add(2 * STACK_SIZE).cast::<PerVcpu>();
    // SAFETY: memory that is nobody else's, aligned, and large enough.
    unsafe { place.write(PerVcpu::new(number)) };
    // SAFETY: it lives for ever; the vCPU whose it is does not run yet.
    let block = unsafe { &*place };
    block.main.set(Some(Box::new(main)));
    wake::announce(number, &block.info)?;
    let place = place as u64;
    let context = VcpuGuestContext {
        entry: guest_address(vcpu_entry as *const ()).value(),
        stack: place,
        argument: place,
        flags: VcpuGuestContext::LITTLE_ENDIAN,
    };
    let steps = hypercall::vcpu_op(VCPUOP_INITIALISE, number, &context) == 0
        && hypercall::vcpu_op(VCPUOP_UP, number, &0u64) == 0;
    if steps { Ok(()) } else { Err("the hypervisor does not start the vCPU") }
}

/// In real mode, on the vCPU's own stack.
#[unsafe(no_mangle)]
extern "C" fn kernel_vcpu() -> ! {
    bug::expect(entry::REAL_MSR);
    // SAFETY: address space 0 is the kernel's own.
    unsafe { registers::set_space(0) };
    registers::synchronize_context();
    translate();
    if let Some(main) = this().main.take() {
        main();
    }
    heap::pinned().tidy();
    loop {
        hypercall::vcpu_op(VCPUOP_DOWN, current(), &0u64);
    }
}

/// Switches translation on, by the tables that the processor knows of, and sets what each vCPU needs
/// then.
pub(crate) fn translate() {
    // SAFETY: all memory, and so the kernel, is mapped where it runs.
    unsafe { entry::set_machine_state(entry::KERNEL_MSR) };
    bug::expect(entry::KERNEL_MSR);
    // SAFETY: facilities for users, none of which the kernel uses.
    unsafe { registers::set_facilities(registers::FACILITIES) };
    registers::rearm_decrementer();
}
