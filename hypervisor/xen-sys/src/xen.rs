//! Hypercall numbers, domain numbers, virtual interrupts and the page that a domain shares with
//! the hypervisor (xen/xen.h).

use crate::DomainId;

numbers! {
    /// Memory of a domain ([`crate::memory`]).
    HYPERVISOR_MEMORY_OP: u64 = 12, "__HYPERVISOR_memory_op";
    /// Version and features ([`crate::version`]).
    HYPERVISOR_XEN_VERSION: u64 = 17, "__HYPERVISOR_xen_version";
    /// The domain's console: [`CONSOLEIO_WRITE`], [`CONSOLEIO_READ`].
    HYPERVISOR_CONSOLE_IO: u64 = 18, "__HYPERVISOR_console_io";
    /// Memory granted to other domains ([`crate::grant_table`]).
    HYPERVISOR_GRANT_TABLE_OP: u64 = 20, "__HYPERVISOR_grant_table_op";
    /// Virtual processors ([`crate::vcpu`]).
    HYPERVISOR_VCPU_OP: u64 = 24, "__HYPERVISOR_vcpu_op";
    /// Yield, block, shut down ([`crate::sched`]).
    HYPERVISOR_SCHED_OP: u64 = 29, "__HYPERVISOR_sched_op";
    /// Events between domains ([`crate::event_channel`]).
    HYPERVISOR_EVENT_CHANNEL_OP: u64 = 32, "__HYPERVISOR_event_channel_op";
    /// A domain's parameters ([`crate::hvm`]).
    HYPERVISOR_HVM_OP: u64 = 34, "__HYPERVISOR_hvm_op";
    /// The machine, for the controller ([`crate::sysctl`]).
    HYPERVISOR_SYSCTL: u64 = 35, "__HYPERVISOR_sysctl";
    /// Domains, for the controller ([`crate::domctl`]).
    HYPERVISOR_DOMCTL: u64 = 36, "__HYPERVISOR_domctl";

    /// `console_io`: write the buffer.
    CONSOLEIO_WRITE: u32 = 0, "CONSOLEIO_write";
    /// `console_io`: read up to so many bytes; gives how many there were.
    CONSOLEIO_READ: u32 = 1, "CONSOLEIO_read";

    /// The caller itself.
    DOMID_SELF: DomainId = 0x7ff0, "DOMID_SELF";
    /// The hypervisor itself.
    DOMID_XEN: DomainId = 0x7ff2, "DOMID_XEN";
    /// No domain.
    DOMID_INVALID: DomainId = 0x7ff4, "DOMID_INVALID";

    /// Virtual interrupt: the timer of a vCPU.
    VIRQ_TIMER: u32 = 0, "VIRQ_TIMER";
    /// Virtual interrupt: the domain shall dump its state.
    VIRQ_DEBUG: u32 = 1, "VIRQ_DEBUG";
    /// Virtual interrupt: the console has input.
    VIRQ_CONSOLE: u32 = 2, "VIRQ_CONSOLE";
    /// Virtual interrupt, to the controller: a domain has ended or changed.
    VIRQ_DOM_EXC: u32 = 3, "VIRQ_DOM_EXC";
    /// Virtual interrupt, ours: the domain's port of the logical LAN has received.
    VIRQ_ARCH_0: u32 = 16, "VIRQ_ARCH_0";
}

structures! {
    /// A vCPU's time, on a clock that it reads itself.
    "struct vcpu_time_info" VcpuTimeInfo {
        /// Odd while the hypervisor writes the rest.
        version: u32,
        /// Unused.
        pad0: u32,
        /// The vCPU's own clock when this was written: the timebase.
        tsc_timestamp: u64,
        /// Nanoseconds since boot at that moment.
        system_time: u64,
        /// Nanoseconds for each 2^32 ticks, after the shift.
        tsc_to_system_mul: u32,
        /// How far ticks are shifted left first; right, if negative.
        tsc_shift: i8,
        /// Flags.
        flags: u8,
        /// Unused.
        pad1: [u8; 2],
    }

    /// What a vCPU shares with the hypervisor.
    "struct vcpu_info" VcpuInfo {
        /// Not zero: some event is pending.
        evtchn_upcall_pending: u8,
        /// Unused: interrupts are masked in the processor.
        pad0: u8,
        /// A hole.
        _hole: [u8; 6],
        /// A bit for each word of `evtchn_pending` that has a bit set.
        evtchn_pending_sel: u64,
        /// The vCPU's time.
        time: VcpuTimeInfo,
    }

    /// What a domain shares with the hypervisor.
    "struct shared_info" SharedInfo {
        /// The first vCPU's; the others register theirs by `VCPUOP_register_vcpu_info`.
        vcpu_info: [VcpuInfo; 1],
        /// A bit for each event channel: something has been sent.
        evtchn_pending: [u64; 64],
        /// A bit for each event channel: its vCPU shall not be told.
        evtchn_mask: [u64; 64],
        /// Odd while the hypervisor writes the rest.
        wc_version: u32,
        /// The time of day at boot: the lower 32 bits of its seconds.
        wc_sec: u32,
        /// Its nanoseconds.
        wc_nsec: u32,
        /// The upper 32 bits of its seconds.
        wc_sec_hi: u32,
    }
}
