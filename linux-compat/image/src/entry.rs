//! The library's ways in and out; the instructions are in `entry.s`.
//!
//! The kernel enters at `library_start` once, and at `system_call` for each of the program's Linux
//! calls, on whatever stack the program has: the first thing is to change to the library's own. A
//! call keeps what the Linux ABI promises: r1, r2, r13 to r31, LR, CR fields 1 to 7. Floating point
//! and vector registers stay the program's, because the library is compiled without them.

use linux_syscalls::Start;

core::arch::global_asm!(include_str!("entry.s"));

unsafe extern "C" {
    safe fn system_call();
    fn enter_program(entry: u64, stack: u64) -> !;
}

/// Where the kernel is to enter for a Linux system call.
pub(crate) fn system_call_address() -> u64 {
    system_call as *const () as u64
}

/// Leaves the library for the program.
///
/// # Safety
/// The program and its stack must be mapped; nothing on the library's stack is needed any more.
pub(crate) unsafe fn enter(start: Start) -> ! {
    // SAFETY: the caller's promise.
    unsafe { enter_program(start.entry, start.stack) }
}
