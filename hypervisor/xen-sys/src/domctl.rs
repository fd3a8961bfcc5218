//! Operations of `domctl`, the controller's hypercall on domains (xen/domctl.h). Only what does not
//! depend on the processor.

numbers! {
    /// The version of these structures, which every call names.
    XEN_DOMCTL_INTERFACE_VERSION: u32 = 0x15, "XEN_DOMCTL_INTERFACE_VERSION";

    /// Create a domain.
    XEN_DOMCTL_CREATEDOMAIN: u32 = 1, "XEN_DOMCTL_createdomain";
    /// Destroy it.
    XEN_DOMCTL_DESTROYDOMAIN: u32 = 2, "XEN_DOMCTL_destroydomain";
    /// Stop all its vCPUs.
    XEN_DOMCTL_PAUSEDOMAIN: u32 = 3, "XEN_DOMCTL_pausedomain";
    /// Let them go on.
    XEN_DOMCTL_UNPAUSEDOMAIN: u32 = 4, "XEN_DOMCTL_unpausedomain";
    /// What state is it in?
    XEN_DOMCTL_GETDOMAININFO: u32 = 5, "XEN_DOMCTL_getdomaininfo";
    /// Limit its memory, by [`MaxMem`].
    XEN_DOMCTL_MAX_MEM: u32 = 11, "XEN_DOMCTL_max_mem";
    /// Set a vCPU's registers.
    XEN_DOMCTL_SETVCPUCONTEXT: u32 = 12, "XEN_DOMCTL_setvcpucontext";
    /// Read a vCPU's registers.
    XEN_DOMCTL_GETVCPUCONTEXT: u32 = 13, "XEN_DOMCTL_getvcpucontext";
    /// Limit its vCPUs, by [`MaxVcpus`].
    XEN_DOMCTL_MAX_VCPUS: u32 = 15, "XEN_DOMCTL_max_vcpus";
    /// Set or read its share of the processors, by [`Share`] or [`Reservation`].
    XEN_DOMCTL_SCHEDULER_OP: u32 = 16, "XEN_DOMCTL_scheduler_op";

    /// Set a domain's share.
    XEN_DOMCTL_SCHEDOP_PUTINFO: u32 = 0, "XEN_DOMCTL_SCHEDOP_putinfo";
    /// Read a domain's share.
    XEN_DOMCTL_SCHEDOP_GETINFO: u32 = 1, "XEN_DOMCTL_SCHEDOP_getinfo";
    /// The scheduler that shares by weight.
    XEN_SCHEDULER_CREDIT2: u32 = 6, "XEN_SCHEDULER_CREDIT2";
    /// The scheduler that reserves time.
    XEN_SCHEDULER_RTDS: u32 = 8, "XEN_SCHEDULER_RTDS";

    /// State: being destroyed.
    XEN_DOMINF_DYING: u32 = 1, "XEN_DOMINF_dying";
    /// State: has ended, for the reason in the bits above 16.
    XEN_DOMINF_SHUTDOWN: u32 = 1 << 2, "XEN_DOMINF_shutdown";
    /// State: stopped by the controller.
    XEN_DOMINF_PAUSED: u32 = 1 << 3, "XEN_DOMINF_paused";
    /// State: every vCPU waits for an event.
    XEN_DOMINF_BLOCKED: u32 = 1 << 4, "XEN_DOMINF_blocked";
    /// State: some vCPU has a processor.
    XEN_DOMINF_RUNNING: u32 = 1 << 5, "XEN_DOMINF_running";
}

structures! {
    /// Argument of `XEN_DOMCTL_max_mem`.
    "struct xen_domctl_max_mem" MaxMem {
        /// The limit in KiB.
        max_memkb: u64,
    }

    /// Argument of `XEN_DOMCTL_max_vcpus`.
    "struct xen_domctl_max_vcpus" MaxVcpus {
        /// The limit.
        max: u32,
    }

    /// A proportional share.
    "struct xen_domctl_sched_credit2" Share {
        /// In proportion to the others'; 256 is usual.
        weight: u16,
        /// At most so many hundredths of a processor; 0: no limit.
        cap: u16,
    }

    /// Reserved time.
    "struct xen_domctl_sched_rtds" Reservation {
        /// Each period, in microseconds.
        period: u32,
        /// The vCPU gets so many microseconds.
        budget: u32,
        /// May it have more when nobody else wants it?
        flags: u32,
    }
}
