//! Operations of `event_channel_op` and their arguments (xen/event_channel.h).

use crate::DomainId;

/// An event channel's number in its domain (`evtchn_port_t`).
pub type Port = u32;

numbers! {
    /// Connect a new channel to another domain's unbound one.
    EVTCHNOP_BIND_INTERDOMAIN: u32 = 0, "EVTCHNOP_bind_interdomain";
    /// Connect a new channel to a virtual interrupt.
    EVTCHNOP_BIND_VIRQ: u32 = 1, "EVTCHNOP_bind_virq";
    /// Give a channel back.
    EVTCHNOP_CLOSE: u32 = 3, "EVTCHNOP_close";
    /// Send an event to the other end.
    EVTCHNOP_SEND: u32 = 4, "EVTCHNOP_send";
    /// What is a channel connected to?
    EVTCHNOP_STATUS: u32 = 5, "EVTCHNOP_status";
    /// Make a channel that another domain may connect to.
    EVTCHNOP_ALLOC_UNBOUND: u32 = 6, "EVTCHNOP_alloc_unbound";
    /// Make a channel between the domain's own vCPUs.
    EVTCHNOP_BIND_IPI: u32 = 7, "EVTCHNOP_bind_ipi";
    /// Choose the vCPU that a channel's events go to.
    EVTCHNOP_BIND_VCPU: u32 = 8, "EVTCHNOP_bind_vcpu";
    /// Clear a channel's mask, and deliver what is pending.
    EVTCHNOP_UNMASK: u32 = 9, "EVTCHNOP_unmask";

    /// Status: free.
    EVTCHNSTAT_CLOSED: u32 = 0, "EVTCHNSTAT_closed";
    /// Status: waits to be connected to.
    EVTCHNSTAT_UNBOUND: u32 = 1, "EVTCHNSTAT_unbound";
    /// Status: connected to another channel.
    EVTCHNSTAT_INTERDOMAIN: u32 = 2, "EVTCHNSTAT_interdomain";
    /// Status: connected to a virtual interrupt.
    EVTCHNSTAT_VIRQ: u32 = 4, "EVTCHNSTAT_virq";
    /// Status: between the domain's own vCPUs.
    EVTCHNSTAT_IPI: u32 = 5, "EVTCHNSTAT_ipi";

}

structures! {
    /// Argument of `EVTCHNOP_alloc_unbound`.
    "struct evtchn_alloc_unbound" AllocUnbound {
        /// In: whose channel; `DOMID_SELF`.
        dom: DomainId,
        /// In: who may connect to it.
        remote_dom: DomainId,
        /// Out: the channel.
        port: Port,
    }

    /// Argument of `EVTCHNOP_bind_interdomain`.
    "struct evtchn_bind_interdomain" BindInterdomain {
        /// In: the other domain.
        remote_dom: DomainId,
        /// A hole.
        _hole: [u8; 2],
        /// In: its channel.
        remote_port: Port,
        /// Out: the caller's.
        local_port: Port,
    }

    /// Argument of `EVTCHNOP_bind_virq`.
    "struct evtchn_bind_virq" BindVirq {
        /// In: one of `VIRQ_*`.
        virq: u32,
        /// In: whose, and who is told.
        vcpu: u32,
        /// Out: the channel.
        port: Port,
    }

    /// Argument of `EVTCHNOP_bind_ipi`.
    "struct evtchn_bind_ipi" BindIpi {
        /// In: who is told.
        vcpu: u32,
        /// Out: the channel.
        port: Port,
    }

    /// Argument of `EVTCHNOP_close`.
    "struct evtchn_close" Close {
        /// The channel.
        port: Port,
    }

    /// Argument of `EVTCHNOP_status`.
    "struct evtchn_status" Status {
        /// In: whose channel.
        dom: DomainId,
        /// A hole.
        _hole: [u8; 2],
        /// In: the channel.
        port: Port,
        /// Out: one of `EVTCHNSTAT_*`.
        status: u32,
        /// Out: the vCPU that is told.
        vcpu: u32,
        /// Out: the other domain in the lower 16 bits of the first word (unbound, interdomain) and
        /// its channel in the second (interdomain), or the virtual interrupt in the first.
        u: [u32; 2],
    }

    /// Argument of `EVTCHNOP_bind_vcpu`.
    "struct evtchn_bind_vcpu" BindVcpu {
        /// The channel.
        port: Port,
        /// Who shall be told.
        vcpu: u32,
    }

    /// Argument of `EVTCHNOP_unmask`.
    "struct evtchn_unmask" Unmask {
        /// The channel.
        port: Port,
    }
}
