//! The hypervisor's own end, when it cannot go on or has nothing left to do.

use crate::hcall::{self, POWER_OFF};
use crate::machine::{self, CPUS};
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

/// An interrupt that only a mistake of ours, or the machine's, can bring: `vectors.S`.
#[unsafe(no_mangle)]
extern "C" fn nested_fatal(vector: u64, srr0: u64, srr1: u64, dar: u64) -> ! {
    fail(format_args!(
        "interrupt {vector:#x} in the hypervisor: srr0 {srr0:#x} srr1 {srr1:#x} dar {dar:#x}"
    ))
}

/// Writes to the partition's console.
struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        hcall::console_write(text.as_bytes());
        Ok(())
    }
}

/// Turns the machine off.
pub(crate) fn power_off() -> ! {
    loop {
        POWER_OFF.call([u32::MAX, u32::MAX]);
    }
}

/// The hypervisor cannot go on: says why, unframed, and turns the machine off.
pub(crate) fn fail(why: fmt::Arguments<'_>) -> ! {
    let processor = machine::this_processor();
    let vcpu = CPUS[processor].resident.load(Ordering::Relaxed) as i32;
    let _ = writeln!(Console, "\nhypervisor: stopped: {why}; processor {processor}, vCPU {vcpu}");
    power_off()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    fail(format_args!("{info}"))
}
