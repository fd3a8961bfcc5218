//! Operations of `hvm_op`, and the parameters that a domain is told by them (xen/hvm/hvm_op.h,
//! xen/hvm/params.h).

use crate::DomainId;

numbers! {
    /// Set a parameter, by [`Parameter`].
    HVMOP_SET_PARAM: u32 = 0, "HVMOP_set_param";
    /// Read a parameter, by [`Parameter`].
    HVMOP_GET_PARAM: u32 = 1, "HVMOP_get_param";

    /// Parameter: how events are delivered.
    HVM_PARAM_CALLBACK_IRQ: u32 = 0, "HVM_PARAM_CALLBACK_IRQ";
    /// Parameter: the frame shared with the store of settings.
    HVM_PARAM_STORE_PFN: u32 = 1, "HVM_PARAM_STORE_PFN";
    /// Parameter: its event channel.
    HVM_PARAM_STORE_EVTCHN: u32 = 2, "HVM_PARAM_STORE_EVTCHN";
    /// Parameter: the frame shared with the console's server.
    HVM_PARAM_CONSOLE_PFN: u32 = 17, "HVM_PARAM_CONSOLE_PFN";
    /// Parameter: its event channel.
    HVM_PARAM_CONSOLE_EVTCHN: u32 = 18, "HVM_PARAM_CONSOLE_EVTCHN";
}

structures! {
    /// Argument of both operations.
    "struct xen_hvm_param" Parameter {
        /// Whose.
        domid: DomainId,
        /// Unused.
        pad: u16,
        /// One of `HVM_PARAM_*`.
        index: u32,
        /// Its value.
        value: u64,
    }
}
