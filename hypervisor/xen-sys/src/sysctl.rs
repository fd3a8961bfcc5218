//! Operations of `sysctl`, the controller's hypercall on the machine (xen/sysctl.h). Only what does
//! not depend on the processor.

use crate::{DomainId, Handle};

numbers! {
    /// The version of these structures, which every call names.
    XEN_SYSCTL_INTERFACE_VERSION: u32 = 0x15, "XEN_SYSCTL_INTERFACE_VERSION";

    /// Read what the hypervisor has written, by [`ReadConsole`].
    XEN_SYSCTL_READCONSOLE: u32 = 1, "XEN_SYSCTL_readconsole";
    /// Trace buffers, by [`TbufOp`].
    XEN_SYSCTL_TBUF_OP: u32 = 2, "XEN_SYSCTL_tbuf_op";
    /// Processors and memory of the machine, by [`PhysicalInfo`].
    XEN_SYSCTL_PHYSINFO: u32 = 3, "XEN_SYSCTL_physinfo";
    /// All domains' states.
    XEN_SYSCTL_GETDOMAININFOLIST: u32 = 6, "XEN_SYSCTL_getdomaininfolist";

    /// Where are they?
    XEN_SYSCTL_TBUFOP_GET_INFO: u32 = 0, "XEN_SYSCTL_TBUFOP_get_info";
    /// Which events are noted, from the next enabling on.
    XEN_SYSCTL_TBUFOP_SET_EVT_MASK: u32 = 2, "XEN_SYSCTL_TBUFOP_set_evt_mask";
    /// How many pages each has.
    XEN_SYSCTL_TBUFOP_SET_SIZE: u32 = 3, "XEN_SYSCTL_TBUFOP_set_size";
    /// Note events.
    XEN_SYSCTL_TBUFOP_ENABLE: u32 = 4, "XEN_SYSCTL_TBUFOP_enable";
    /// Note none.
    XEN_SYSCTL_TBUFOP_DISABLE: u32 = 5, "XEN_SYSCTL_TBUFOP_disable";
}

structures! {
    /// Argument of `sysctl`: what is in `u` depends on the command.
    "struct xen_sysctl" Sysctl {
        /// One of `XEN_SYSCTL_*`.
        cmd: u32,
        /// [`XEN_SYSCTL_INTERFACE_VERSION`].
        interface_version: u32,
        /// The command's own argument.
        u: [u64; 16],
    }

    /// Argument of `XEN_SYSCTL_getdomaininfolist`.
    "struct xen_sysctl_getdomaininfolist" GetDomainInfoList {
        /// In: from this domain on.
        first_domain: DomainId,
        /// A hole.
        _hole: [u8; 2],
        /// In: room in the buffer.
        max_domains: u32,
        /// In: where to put a `GetDomainInfo` each.
        buffer: Handle,
        /// Out: how many there are.
        num_domains: u32,
        /// A hole.
        _hole_after: [u8; 4],
    }

    /// Argument of `XEN_SYSCTL_readconsole`.
    "struct xen_sysctl_readconsole" ReadConsole {
        /// In: forget what has been read?
        clear: u8,
        /// In: from `index` on?
        incremental: u8,
        /// Unused.
        pad0: u8,
        /// Unused.
        pad1: u8,
        /// In: from where; out: where to go on.
        index: u32,
        /// In: where to put it.
        buffer: Handle,
        /// In: room there; out: bytes.
        count: u32,
        /// A hole.
        _hole: [u8; 4],
    }

    /// Argument of `XEN_SYSCTL_tbuf_op`.
    "struct xen_sysctl_tbuf_op" TbufOp {
        /// In: one of `XEN_SYSCTL_TBUFOP_*`.
        cmd: u32,
        /// A hole.
        _hole: [u8; 4],
        /// Processors; always all.
        cpu_mask: [u64; 2],
        /// In: bits of the events that are wanted.
        evt_mask: u32,
        /// A hole.
        _hole_after: [u8; 4],
        /// Out: the page with the list of buffers.
        buffer_mfn: u64,
        /// In: pages of a buffer; out: bytes of the list.
        size: u32,
        /// A hole.
        _hole_at_end: [u8; 4],
    }

    /// Argument of `XEN_SYSCTL_physinfo`.
    "struct xen_sysctl_physinfo" PhysicalInfo {
        /// Threads of a core.
        threads_per_core: u32,
        /// Cores of a socket.
        cores_per_socket: u32,
        /// Processors that run.
        nr_cpus: u32,
        /// The highest number of one.
        max_cpu_id: u32,
        /// Nodes of memory.
        nr_nodes: u32,
        /// The highest number of one.
        max_node_id: u32,
        /// The processors' clock.
        cpu_khz: u32,
        /// What the machine can do, `XEN_SYSCTL_PHYSCAP_*`.
        capabilities: u32,
        /// And what depends on the processor.
        arch_capabilities: u32,
        /// Unused.
        pad: u32,
        /// Pages of memory.
        total_pages: u64,
        /// Those that are free.
        free_pages: u64,
        /// Those that are to be cleared before they are.
        scrub_pages: u64,
        /// Those that are promised to domains.
        outstanding_pages: u64,
        /// The highest frame.
        max_mfn: u64,
        /// Features of the processor.
        hw_cap: [u32; 8],
    }
}
