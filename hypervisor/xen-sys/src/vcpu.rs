//! Operations of `vcpu_op` (xen/vcpu.h).

use crate::Handle;

numbers! {
    /// Give a vCPU its first registers.
    VCPUOP_INITIALISE: u32 = 0, "VCPUOP_initialise";
    /// Let it run.
    VCPUOP_UP: u32 = 1, "VCPUOP_up";
    /// Stop it.
    VCPUOP_DOWN: u32 = 2, "VCPUOP_down";
    /// Does it run?
    VCPUOP_IS_UP: u32 = 3, "VCPUOP_is_up";
    /// What has it done with its time? Gives [`RunstateInfo`].
    VCPUOP_GET_RUNSTATE_INFO: u32 = 4, "VCPUOP_get_runstate_info";
    /// Keep a [`RunstateInfo`] up to date in the domain's memory, by [`RegisterRunstate`].
    VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA: u32 = 5, "VCPUOP_register_runstate_memory_area";
    /// Send `VIRQ_TIMER` at a time, by [`SetSingleshotTimer`].
    VCPUOP_SET_SINGLESHOT_TIMER: u32 = 8, "VCPUOP_set_singleshot_timer";
    /// Do not.
    VCPUOP_STOP_SINGLESHOT_TIMER: u32 = 9, "VCPUOP_stop_singleshot_timer";
    /// Put a vCPU's `vcpu_info` at a place of the domain's choice, by [`RegisterVcpuInfo`].
    VCPUOP_REGISTER_VCPU_INFO: u32 = 10, "VCPUOP_register_vcpu_info";

    /// State: has a processor.
    RUNSTATE_RUNNING: u32 = 0, "RUNSTATE_running";
    /// State: waits for a processor.
    RUNSTATE_RUNNABLE: u32 = 1, "RUNSTATE_runnable";
    /// State: waits for an event.
    RUNSTATE_BLOCKED: u32 = 2, "RUNSTATE_blocked";
    /// State: stopped.
    RUNSTATE_OFFLINE: u32 = 3, "RUNSTATE_offline";

    /// Flag of [`SetSingleshotTimer`]: a time that has passed is an error.
    VCPU_SSHOTTMR_FUTURE: u32 = 1, "VCPU_SSHOTTMR_future";
}

structures! {
    /// What a vCPU has done with its time.
    "struct vcpu_runstate_info" RunstateInfo {
        /// One of `RUNSTATE_*`.
        state: u32,
        /// A hole.
        _hole: [u8; 4],
        /// Since when, in nanoseconds of system time.
        state_entry_time: u64,
        /// Nanoseconds in each state so far.
        time: [u64; 4],
    }

    /// Argument of `VCPUOP_register_runstate_memory_area`.
    "struct vcpu_register_runstate_memory_area" RegisterRunstate {
        /// Where the [`RunstateInfo`] shall be.
        addr: Handle,
    }

    /// Argument of `VCPUOP_set_singleshot_timer`.
    "struct vcpu_set_singleshot_timer" SetSingleshotTimer {
        /// When, in nanoseconds of system time.
        timeout_abs_ns: u64,
        /// [`VCPU_SSHOTTMR_FUTURE`].
        flags: u32,
        /// A hole.
        _hole: [u8; 4],
    }

    /// Argument of `VCPUOP_register_vcpu_info`.
    "struct vcpu_register_vcpu_info" RegisterVcpuInfo {
        /// The frame that it shall be in.
        mfn: u64,
        /// Where in that frame.
        offset: u32,
        /// Unused.
        rsvd: u32,
    }
}
