//! Guests that talk, so that others can be seen to live.

use crate::{Options, Verdict, say};
use guest_kernel::Machine;
use kernel_arch::{Boot, registers};

/// Ticks of the timebase in a tenth of a second.
const TENTH: u64 = 51_200_000;

/// Says hello.
pub fn hello(_: Boot, _: Options) -> Verdict {
    say!("hello from a guest");
    Ok(())
}

/// Counts, ten a second, to `n` or for ever.
pub fn count(mut boot: Boot, options: Options) -> Verdict {
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

/// Keeps its processor, interrupts off, for ever.
pub fn spin(_: Boot, _: Options) -> Verdict {
    say!("spinning");
    loop {
        registers::relax();
    }
}
