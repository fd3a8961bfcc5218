//! Operations of `sched_op` (xen/sched.h).

use crate::Handle;

numbers! {
    /// Let others run.
    SCHEDOP_YIELD: u32 = 0, "SCHEDOP_yield";
    /// Sleep until something is pending for this vCPU.
    SCHEDOP_BLOCK: u32 = 1, "SCHEDOP_block";
    /// End the domain, for the reason given by [`Shutdown`].
    SCHEDOP_SHUTDOWN: u32 = 2, "SCHEDOP_shutdown";
    /// Sleep until one of some event channels is pending, by [`Poll`].
    SCHEDOP_POLL: u32 = 3, "SCHEDOP_poll";
    /// Set up, call or stop the domain's watchdog, by [`Watchdog`].
    SCHEDOP_WATCHDOG: u32 = 6, "SCHEDOP_watchdog";

    /// The domain has ended in good order.
    SHUTDOWN_POWEROFF: u32 = 0, "SHUTDOWN_poweroff";
    /// It wants to start again.
    SHUTDOWN_REBOOT: u32 = 1, "SHUTDOWN_reboot";
    /// Its kernel has given up.
    SHUTDOWN_CRASH: u32 = 3, "SHUTDOWN_crash";
    /// It stopped calling its watchdog.
    SHUTDOWN_WATCHDOG: u32 = 4, "SHUTDOWN_watchdog";
}

structures! {
    /// Argument of `SCHEDOP_shutdown`.
    "struct sched_shutdown" Shutdown {
        /// One of `SHUTDOWN_*`.
        reason: u32,
    }

    /// Argument of `SCHEDOP_watchdog`.
    "struct sched_watchdog" Watchdog {
        /// Which; 0 sets one up, and the call returns its number.
        id: u32,
        /// Seconds in which it is to be called again; 0 stops it.
        timeout: u32,
    }

    /// Argument of `SCHEDOP_poll`.
    "struct sched_poll" Poll {
        /// The event channels, `u32` each.
        ports: Handle,
        /// How many.
        nr_ports: u32,
        /// A hole.
        _hole: [u8; 4],
        /// System time in nanoseconds at which to return anyhow; 0: never.
        timeout: u64,
    }
}
