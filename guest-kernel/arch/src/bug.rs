//! When the kernel itself is wrong: one last message, and the domain ends as crashed.

use crate::hypercall::{self, print};
use crate::vcpu::{STACK_SIZE, current, this};
use crate::{entry, registers};
use core::panic::PanicInfo;
use guest_kernel::context::Context;

unsafe extern "C" {
    /// Where the kernel's own traps go on.
    safe fn kernel_trapped();
    /// Where one that does not matter goes on.
    safe fn kernel_resume();
    /// Where they go on while one is being told.
    safe fn kernel_dead();
}

/// Where the registers of this vCPU go when the kernel is interrupted.
fn emergency() -> *mut Context {
    this().emergency.get().cast()
}

/// From now on a trap of this vCPU's in the kernel arrives here, in machine state `msr`.
pub fn expect(msr: u64) {
    let context = emergency();
    let handler = kernel_trapped as *const () as u64;
    // The stack before the vCPU's own, with room for the callee to save its link register in.
    let stack = context as u64 - STACK_SIZE as u64 - 128;
    // SAFETY: only this function and the vectors use it, and the kernel runs with interrupts off.
    unsafe { (*context).machine = [stack, handler, msr] };
    // SAFETY: a context that is ready to be saved in.
    unsafe { registers::set_context(context as u64) };
}

/// From now on an interrupt in the kernel, in real mode, changes nothing but that interrupts are off
/// again.
pub fn ignore_interrupts() {
    expect(entry::REAL_MSR);
    let context = emergency();
    let handler = kernel_resume as *const () as u64;
    // SAFETY: only this module and the vectors use it, and interrupts are off.
    unsafe { (*context).machine[1] = handler };
}

/// A trap came from the kernel: its registers are in `context`.
#[unsafe(no_mangle)]
extern "C" fn kernel_bug(context: &mut Context) -> ! {
    context.machine[1] = kernel_dead as *const () as u64;
    print(format_args!(
        "kernel panic: interrupt {:#x} at {:#x}, link {:#x}, machine state {:#x}, \
         fault address {:#x}, cause {:#x}, vCPU {}\n",
        context.vector,
        context.next,
        context.link,
        context.msr,
        context.fault_address,
        context.fault_cause,
        current(),
    ));
    for (number, registers) in context.gpr.chunks(4).enumerate() {
        print(format_args!("kernel panic: r{:<2} {registers:016x?}\n", number * 4));
    }
    hypercall::crash()
}

/// A trap while the message was written: it goes no further.
#[unsafe(no_mangle)]
extern "C" fn kernel_dies() -> ! {
    hypercall::crash()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    print(format_args!("kernel panic: {info}\n"));
    hypercall::crash()
}
