//! The hypervisor's own end, when it cannot go on: a panic, or what [`crate::boot`] and
//! [`crate::context`] find broken.

use crate::{context, opal};
use core::fmt::{self, Write};
use hv_power::spr;

/// Writes to the firmware's console.
struct Firmware;

impl Write for Firmware {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        opal::console_write(text.as_bytes());
        Ok(())
    }
}

/// The hypervisor cannot go on: says why, unframed, and turns the machine off.
pub(crate) fn fail(why: fmt::Arguments<'_>) -> ! {
    let (processor, domain) = (spr::read::<{ spr::PIR }>(), spr::read::<{ spr::LPIDR }>());
    let vcpu = context::last_vcpu();
    let _ = writeln!(
        Firmware,
        "\nhypervisor: stopped: {why}; processor {processor:#x}, vCPU {vcpu:?} of domain {domain}"
    );
    opal::power_off()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    fail(format_args!("{info}"))
}
