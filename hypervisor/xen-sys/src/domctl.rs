//! Operations of `domctl`, the controller's hypercall on domains (xen/domctl.h). Only what does not
//! depend on the processor; what does is ours to fill ([`ArchConfig`]).

use crate::{DomainId, Handle};

/// Three words that each architecture defines: see docs/interfaces.md for ours.
pub type ArchConfig = [u32; 3];

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

    /// Flag of [`CreateDomain`]: the processor translates for it.
    XEN_DOMCTL_CDF_HVM: u32 = 1, "XEN_DOMCTL_CDF_hvm";
    /// Flag of [`CreateDomain`]: by tables of the hypervisor's.
    XEN_DOMCTL_CDF_HAP: u32 = 1 << 1, "XEN_DOMCTL_CDF_hap";

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
    /// Argument of `domctl`: what is in `u` depends on the command.
    "struct xen_domctl" Domctl {
        /// One of `XEN_DOMCTL_*`.
        cmd: u32,
        /// [`XEN_DOMCTL_INTERFACE_VERSION`].
        interface_version: u32,
        /// The domain it is about.
        domain: DomainId,
        /// A hole.
        _pad: [u16; 3],
        /// The command's own argument.
        u: [u64; 16],
    }

    /// Argument of `XEN_DOMCTL_createdomain`.
    "struct xen_domctl_createdomain" CreateDomain {
        /// Its rights.
        ssidref: u32,
        /// Its name.
        handle: [u8; 16],
        /// `XEN_DOMCTL_CDF_*`.
        flags: u32,
        /// For devices; 0.
        iommu_opts: u32,
        /// How many vCPUs it has.
        max_vcpus: u32,
        /// The highest event channel it may have.
        max_evtchn_port: u32,
        /// How many pages its grant table may have.
        max_grant_frames: i32,
        /// How many grants it may have mapped.
        max_maptrack_frames: i32,
        /// The version of its grant table.
        grant_opts: u32,
        /// Unused here.
        vmtrace_size: u32,
        /// Unused here.
        cpupool_id: u32,
        /// What depends on the processor.
        arch: ArchConfig,
    }

    /// What `XEN_DOMCTL_getdomaininfo` gives.
    "struct xen_domctl_getdomaininfo" GetDomainInfo {
        /// Its number.
        domain: DomainId,
        /// Unused.
        pad1: u16,
        /// `XEN_DOMINF_*`.
        flags: u32,
        /// Pages that it has.
        tot_pages: u64,
        /// Pages that it may have.
        max_pages: u64,
        /// Unused here.
        outstanding_pages: u64,
        /// Unused here.
        shr_pages: u64,
        /// Unused here.
        paged_pages: u64,
        /// Unused here.
        shared_info_frame: u64,
        /// Nanoseconds that its vCPUs had a processor.
        cpu_time: u64,
        /// vCPUs that are up.
        nr_online_vcpus: u32,
        /// The highest number of one.
        max_vcpu_id: u32,
        /// Its rights.
        ssidref: u32,
        /// Its name.
        handle: [u8; 16],
        /// Unused here.
        cpupool: u32,
        /// Bits of a guest real address.
        gpaddr_bits: u8,
        /// Unused.
        pad2: [u8; 7],
        /// What depends on the processor.
        arch_config: ArchConfig,
        /// A hole.
        _hole: [u8; 4],
    }

    /// Argument of `XEN_DOMCTL_setvcpucontext` and `XEN_DOMCTL_getvcpucontext`.
    "struct xen_domctl_vcpucontext" VcpuContext {
        /// Which vCPU.
        vcpu: u32,
        /// A hole.
        _hole: [u8; 4],
        /// Its registers.
        ctxt: Handle,
    }

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

    /// Argument of `XEN_DOMCTL_scheduler_op`.
    "struct xen_domctl_scheduler_op" SchedulerOp {
        /// One of `XEN_SCHEDULER_*`.
        sched_id: u32,
        /// One of `XEN_DOMCTL_SCHEDOP_*`.
        cmd: u32,
        /// A [`Share`] or [`Reservation`], by the scheduler.
        u: [u64; 2],
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
