//! PAPR's hypercalls (LoPAR, chapter 14): `sc 1` with r3 = token, arguments from r4, return code
//! in r3 and values from r4. The rows are what unmodified Debian kernels were measured to call.

use k42_lib::GuestAddr;

/// Return codes (LoPAR table 14.1).
pub mod code {
    /// Done.
    pub const SUCCESS: i64 = 0;
    /// The resource is busy: try again.
    pub const BUSY: i64 = 1;
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

/// H_SET_MODE resources (LoPAR 14.5.4.8).
pub mod mode {
    /// Byte order of interrupts.
    pub const ENDIAN: u64 = 4;
    /// Flag of [`ENDIAN`]: little-endian.
    pub const LITTLE: u64 = 1;
}

/// The unit address of a domain's port of the logical LAN.
pub const LAN_UNIT: u64 = 0x3000_0002;

/// H_MULTICAST_CTRL (LoPAR 16.4).
pub mod multicast {
    /// What to do with the table of addresses that the port wants: the low bits.
    pub const OPERATION: u64 = 3;
    /// Add an address.
    pub const ADD: u64 = 1;
}

crate::hypercall_table! {
    /// A PAPR hypercall, decoded.
    pub enum PaprCall, numbered by crate::Number::Papr;

    /// Take up to 16 characters from a virtual terminal: r4 count, r5 and r6 the characters.
    0x54 h_get_term_char = GetTermChar(unit: u64) needs INPUT;
    /// Write up to 16 characters to a virtual terminal.
    0x58 h_put_term_char = PutTermChar(unit: u64, count: u64, high: u64, low: u64) needs CONSOLE;
    /// End an interrupt and restore the priority it interrupted.
    0x64 h_eoi = Eoi(xirr: u64) needs PLATFORM;
    /// Set the processor's priority.
    0x68 h_cppr = Cppr(priority: u64) needs PLATFORM;
    /// Ask a processor for an inter-processor interrupt.
    0x6c h_ipi = Ipi(server: u64, priority: u64) needs PLATFORM;
    /// Look at a processor's pending interrupt without accepting it.
    0x70 h_ipoll = Ipoll(server: u64) needs PLATFORM;
    /// Accept the pending interrupt: r4 is the old priority and the source.
    0x74 h_xirr = Xirr() needs PLATFORM;
    /// Enable interrupts and give up the processor until one is due.
    0xe0 h_cede = Cede() needs BASIC;
    /// Give up the processor to another.
    0xe4 h_confer = Confer(server: u64, dispatch: u64) needs PLATFORM;
    /// End another processor's H_CEDE.
    0xe8 h_prod = Prod(server: u64) needs PLATFORM;
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
    /// Set a mode of the processor: interrupt byte order, interrupt location, breakpoints.
    0x31c h_set_mode = SetMode(flags: u64, resource: u64, value1: u64, value2: u64) needs TRANSLATION;
    /// Register the process table.
    0x37c h_register_process_table = RegisterProcessTable(flags: u64, base: GuestAddr, page_size: u64, table_size: u64) needs TRANSLATION;
    /// Call the platform's firmware (RTAS) with an argument block.
    0xf000 h_rtas = Rtas(arguments: GuestAddr) needs PLATFORM;
}
