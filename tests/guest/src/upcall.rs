//! Upcalls: a vector at 0xA00 of these tests' own, which keeps the time at which it was entered,
//! and a sleep that ends by it.

use crate::Verdict;
use crate::events::{PENDING, SHARED, map_shared_page, operation, take};
use alloc::format;
use core::arch::asm;
use k42_lib::{GuestAddr, msr};
use kernel_arch::{entry, hypercall, linear, registers};
use xen_sys::{event_channel as op, xen};

core::arch::global_asm!(
    // The time goes to SPRG3, and interrupts are off where this returns to.
    ".globl upcall_vector",
    "upcall_vector:",
    "mtsprg 1, 31",
    "mfspr 31, 268",
    "mtsprg 3, 31",
    "mfspr 31, 27",
    "rldicl 31, 31, 48, 1",
    "rotldi 31, 31, 16",
    "mtspr 27, 31",
    "mfsprg 31, 1",
    "rfid",
);

unsafe extern "C" {
    safe static upcall_vector: [u32; 9];
}

/// Puts the vector in place, maps the shared page and leaves the kernel's translation.
pub fn start() -> Verdict {
    let to = linear(GuestAddr::new(k42_lib::vector::DOORBELL.into())) as *mut [u32; 9];
    // SAFETY: the vector's own code, which is for any address, replaces the kernel's: 36 bytes of
    // the 256 there.
    unsafe { to.write_volatile(upcall_vector) };
    // SAFETY: makes stores to an instruction's place be fetched; the 36 bytes are in one block.
    unsafe { asm!("dcbst 0, {0}", "sync", "icbi 0, {0}", "sync", "isync", in(reg) to) };
    // SAFETY: the kernel's addresses mean the same in real mode.
    unsafe { entry::set_machine_state(entry::REAL_MSR) };
    map_shared_page()
}

/// Sleeps with interrupts on until one has come, or the hypervisor has a reason to return; when
/// the upcall's vector was entered, or 0.
fn sleep() -> u64 {
    // SAFETY: the decrementer's interrupt is put off: the upcall's alone may come.
    unsafe { registers::set_decrementer(0x7fff_ffff) };
    // SAFETY: the upcall's vector is there, and changes nothing that is in use.
    unsafe {
        asm!("mtsprg 3, {0}", "mfmsr {1}", "or {1}, {1}, {2}", "mtmsrd {1}, 1",
            in(reg) 0u64, out(reg) _, in(reg) msr::EE);
    }
    hypercall::block();
    let entered;
    // SAFETY: interrupts are off again, as the vector leaves them.
    unsafe {
        asm!("mfmsr {1}", "andc {1}, {1}, {2}", "mtmsrd {1}, 1", "mfsprg {0}, 3",
            out(reg) entered, out(reg) _, in(reg) msr::EE);
    }
    entered
}

/// Sleeps until the port has an event, and takes it; when the upcall's vector was entered.
pub fn wait(port: u32) -> u64 {
    loop {
        let entered = sleep();
        // First what says that something is pending, then what is: an event in between shows.
        take(SHARED);
        take(SHARED + 8);
        if take(PENDING) & 1 << port != 0 {
            return entered;
        }
    }
}

/// Binds the first vCPU's timer; its port.
pub fn bind_timer() -> Result<u32, alloc::string::String> {
    match operation(op::EVTCHNOP_BIND_VIRQ, [xen::VIRQ_TIMER, 0, 0]) {
        (0, words) => Ok(words[2]),
        (error, _) => Err(format!("the timer is not bound: {error}")),
    }
}
