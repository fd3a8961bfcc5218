//! Guests that reach for what is not theirs. The hypervisor ends them.

use crate::{Options, Verdict, say};
use alloc::string::String;
use kernel_arch::{Boot, entry};

/// An address well outside the domain's memory, or the one that the options say.
fn outside(boot: &Boot, options: Options) -> u64 {
    options.number("at").unwrap_or(boot.memory_size + 0x100_0000)
}

/// In real mode addresses are guest real ones: the guest's own translation stops nothing.
fn enter_real_mode() {
    // SAFETY: the kernel's addresses mean the same in real mode.
    unsafe { entry::set_machine_state(entry::REAL_MSR) };
}

fn survived() -> Verdict {
    Err(String::from("it was allowed"))
}

/// Branches outside.
pub fn jump(boot: Boot, options: Options) -> Verdict {
    let at = outside(&boot, options);
    say!("jumping to {at:#x}");
    enter_real_mode();
    // SAFETY: not sound at all: the hypervisor is to stop it, and otherwise the test has failed.
    let nowhere: extern "C" fn() = unsafe { core::mem::transmute(at as *const ()) };
    nowhere();
    survived()
}

/// Loads from outside.
pub fn read(boot: Boot, options: Options) -> Verdict {
    let at = outside(&boot, options);
    say!("reading {at:#x}");
    enter_real_mode();
    // SAFETY: as `jump`.
    let value = unsafe { (at as *const u64).read_volatile() };
    say!("it holds {value:#x}");
    survived()
}

/// Stores outside, three calls deep.
pub fn chain(boot: Boot, options: Options) -> Verdict {
    let depth = outermost(outside(&boot, options));
    Err(alloc::format!("it was allowed, {depth} calls deep"))
}

// Each has something to do after its call, so that it is still there during it.

#[inline(never)]
fn outermost(at: u64) -> u64 {
    core::hint::black_box(between(at)) + 1
}

#[inline(never)]
fn between(at: u64) -> u64 {
    core::hint::black_box(innermost(at)) + 1
}

#[inline(never)]
fn innermost(at: u64) -> u64 {
    enter_real_mode();
    // SAFETY: as `jump`.
    unsafe { (at as *mut u64).write_volatile(core::hint::black_box(u64::MAX)) };
    1
}

/// Stores outside.
pub fn write(boot: Boot, options: Options) -> Verdict {
    let at = outside(&boot, options);
    say!("writing {at:#x}");
    enter_real_mode();
    // SAFETY: as `jump`.
    unsafe { (at as *mut u64).write_volatile(u64::MAX) };
    survived()
}
