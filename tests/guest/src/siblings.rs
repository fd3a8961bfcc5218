//! vCPUs that the kernel itself starts: the first one tells them while they run users, and any may have a
//! bug. (`vcpus` has one that the kernel knows nothing of.)

use crate::user::User;
use crate::{Options, Verdict};
use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicU64, Ordering};
use guest_kernel::context::Context;
use k42_lib::vector;
use kernel_arch::{Boot, sleep, start, wake};

/// How often the second vCPU is woken.
const ROUNDS: u64 = 1000;

/// The second vCPU runs a user that does nothing for ever: each of the first one's wake-ups brings it
/// back.
pub fn interrupted(boot: Boot, _: Options) -> Verdict {
    /// Branches to themselves.
    static FOREVER: [u32; 2] = [0x4800_0000; 2];
    static CAME: AtomicU64 = AtomicU64::new(0);
    let mut user = User::new(boot.domain, &FOREVER)?;
    start(1, move || {
        let told = |context: &Context| context.vector == u64::from(vector::DOORBELL);
        while user.run().is_ok_and(told) {
            CAME.fetch_add(1, Ordering::AcqRel);
            wake(0);
        }
        CAME.store(u64::MAX, Ordering::Release);
        wake(0);
    })?;
    for round in 0..ROUNDS {
        wake(1);
        // The first time it is told may be that it has been started.
        while CAME.load(Ordering::Acquire) <= round {
            sleep(u64::MAX);
        }
    }
    let came = CAME.load(Ordering::Acquire);
    if came <= ROUNDS + 1 { Ok(()) } else { Err(format!("{came} interrupts for {ROUNDS}")) }
}

/// One of the vCPUs loads from an address that is not mapped, while the others sleep.
pub fn bug(boot: Boot, options: Options) -> Verdict {
    /// 64 GiB: there is no memory.
    const NOWHERE: u64 = 64 << 30;
    let wrong = options.number("vcpu");
    for number in 1..boot.vcpus {
        start(number, move || {
            if wrong == Some(number.into()) {
                // SAFETY: a load that never ends well.
                unsafe { core::arch::asm!("ld {0}, 0({0})", inout(reg_nonzero) NOWHERE => _) };
            }
            loop {
                sleep(u64::MAX);
            }
        })?;
    }
    for _ in 0..ROUNDS {
        sleep(u64::MAX);
    }
    Err(String::from("nobody has told it"))
}
