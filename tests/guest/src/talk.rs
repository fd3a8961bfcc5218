//! Guests that talk, so that others can be seen to live.

use crate::{Options, Verdict, say};
use alloc::format;
use guest_kernel::Machine;
use hv_abi::xen::stub;
use kernel_arch::hypercall::Hypervisor;
use kernel_arch::{Boot, guest_address, registers};

/// Ticks of the timebase in a tenth of a second.
const TENTH: u64 = 51_200_000;

/// Says hello.
pub fn hello(_: Boot, _: Options) -> Verdict {
    say!("hello from a guest");
    Ok(())
}

/// Says what time it is, as the first thing.
pub fn time(_: Boot, _: Options) -> Verdict {
    say!("timebase {}", registers::timebase());
    Ok(())
}

/// Counts, ten a second, to `n` or for ever.
pub fn count(boot: Boot, options: Options) -> Verdict {
    let last = options.number("n").unwrap_or(u64::MAX);
    let start = boot.domain.timebase();
    for number in 1..=last {
        say!("count {number}");
        let next = start + number * TENTH;
        while boot.domain.timebase() < next {
            boot.domain.wait(next);
        }
    }
    Ok(())
}

/// Sets up a watchdog of a second, calls it `calls` times in time, and then hangs.
pub fn watchdog(boot: Boot, options: Options) -> Verdict {
    let call = |id: u32| {
        let words = [id, 1];
        let command = xen_sys::sched::SCHEDOP_WATCHDOG.into();
        stub::sched_op(&Hypervisor, command, guest_address(&raw const words))[0].cast_signed()
    };
    let id = u32::try_from(call(0)).map_err(|error| format!("no watchdog: {error}"))?;
    let start = boot.domain.timebase();
    for number in 1..=options.number("calls").unwrap_or(20) {
        let next = start + number * TENTH;
        while boot.domain.timebase() < next {
            boot.domain.wait(next);
        }
        match call(id) {
            0 => {}
            error => return Err(format!("call {number}: {error}")),
        }
    }
    say!("called");
    spin(boot, options)
}

/// Keeps its processor, interrupts off, for ever.
pub fn spin(_: Boot, _: Options) -> Verdict {
    say!("spinning");
    loop {
        registers::relax();
    }
}
