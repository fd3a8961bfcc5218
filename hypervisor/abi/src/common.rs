//! The hypercalls that both personalities have: a guest's own translation, and the logical LAN. They are
//! PAPR's (LoPAR, chapter 14), since Linux knows them: `sc 1` with r3 = token, arguments from r4,
//! return code in r3 and values from r4.

use k42_lib::GuestAddr;

/// Return codes (LoPAR table 14.1).
pub mod code {
    /// Done.
    pub const SUCCESS: i64 = 0;
    /// The resource is busy: try again.
    pub const BUSY: i64 = 1;
    /// The machine fails.
    pub const HARDWARE: i64 = -1;
    /// No such call.
    pub const FUNCTION: i64 = -2;
    /// The caller has not the right.
    pub const PRIVILEGE: i64 = -3;
    /// An argument is wrong.
    pub const PARAMETER: i64 = -4;
    /// A frame was dropped.
    pub const DROPPED: i64 = -12;
    /// There is no room, or the resource is in use or not in use.
    pub const RESOURCE: i64 = -16;
    /// The second argument is wrong or not supported.
    pub const P2: i64 = -55;
}

/// The unit address of a domain's port of the logical LAN.
pub const LAN_UNIT: u64 = 0x3000_0002;
/// The Ethernet address that domain N's port is given, without its last byte, which is N.
pub const LAN_ADDRESS: u64 = 0x524b_3432_0000;

/// H_MULTICAST_CTRL (LoPAR 16.4).
pub mod multicast {
    /// What to do with the table of addresses that the port wants: the low bits.
    pub const OPERATION: u64 = 3;
    /// Add an address.
    pub const ADD: u64 = 1;
}

crate::hypercall_table! {
    /// A hypercall of both personalities, decoded.
    pub enum CommonCall, numbered by crate::Number::Token;

    /// Switch a virtual device's interrupt on (1) or off (0).
    0x104 h_vio_signal = VioSignal(unit: u64, mode: u64) needs LAN;
    /// Open the port of the logical LAN: a page for posted buffers, the receive queue, a page for filters, the address.
    0x114 h_register_logical_lan = RegisterLogicalLan(unit: u64, list: u64, queue: u64, filters: u64, mac: u64) needs LAN;
    /// Close the port.
    0x118 h_free_logical_lan = FreeLogicalLan(unit: u64) needs LAN;
    /// Post a buffer for a frame.
    0x11c h_add_logical_lan_buffer = AddLogicalLanBuffer(unit: u64, buffer: u64) needs LAN;
    /// Send a frame of up to six parts; H_BUSY: again, with the token that r4 gives.
    0x120 h_send_logical_lan = SendLogicalLan(unit: u64, part0: u64, part1: u64, part2: u64, part3: u64, part4: u64, part5: u64, token: u64) needs LAN;
    /// Say which multicast frames the port receives: it is given all.
    0x130 h_multicast_ctrl = MulticastCtrl(unit: u64, flags: u64, mac: u64) needs LAN;
    /// Give the port another address.
    0x14c h_change_logical_lan_mac = ChangeLogicalLanMac(unit: u64, mac: u64) needs LAN;
    /// Register the process table.
    0x37c h_register_process_table = RegisterProcessTable(flags: u64, base: GuestAddr, page_size: u64, table_size: u64) needs TRANSLATION;
}
