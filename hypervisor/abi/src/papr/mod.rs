//! PAPR's hypercalls (LoPAR, chapter 14), beside those of [`crate::common`]. The rows are what
//! unmodified Debian kernels were measured to call.

pub mod rtas;
pub mod source;

use k42_lib::GuestAddr;

/// Bytes of the window of bus addresses, from 0, that the port of the logical LAN has; the bus's
/// number (LIOBN) is its unit address. Linux spreads its 1,024 buffers, 24 MiB, widely: in half as
/// much it finds no room for the long ones.
pub const LAN_WINDOW: u64 = 128 << 20;
/// The most entries that one call changes.
pub const MOST_TCES: u64 = 512;

crate::hypercall_table! {
    /// A PAPR hypercall, decoded.
    pub enum PaprCall, numbered by crate::Number::Token;

    /// Set the translation of a page of bus addresses (TCE, LoPAR 14.5.4.2): a guest real address of 4 KiB, 1 to read, 2 to write.
    0x20 h_put_tce = PutTce(bus: u64, at: u64, tce: u64) needs LAN;
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
    /// Register what a vCPU shares with the hypervisor, or forget it: its area, its dispatch trace log.
    0xdc h_register_vpa = RegisterVpa(flags: u64, server: u64, at: GuestAddr) needs PLATFORM;
    /// Enable interrupts and give up the processor until one is due.
    0xe0 h_cede = Cede() needs BASIC;
    /// Give up the processor to another.
    0xe4 h_confer = Confer(server: u64, dispatch: u64) needs PLATFORM;
    /// End another processor's H_CEDE.
    0xe8 h_prod = Prod(server: u64) needs PLATFORM;
    /// Set the translations of up to 512 pages to the same.
    0x138 h_stuff_tce = StuffTce(bus: u64, at: u64, tce: u64, count: u64) needs LAN;
    /// Set the translations of up to 512 pages to those in a list, a page of the guest's.
    0x13c h_put_tce_indirect = PutTceIndirect(bus: u64, at: u64, list: GuestAddr, count: u64) needs LAN;
    /// A random number of 64 bits: r4.
    0x300 h_random = Random() needs PLATFORM;
    /// Set a mode of the processor: interrupt byte order, interrupt location, breakpoints.
    0x31c h_set_mode = SetMode(flags: u64, resource: u64, value1: u64, value2: u64) needs TRANSLATION;
    /// Have a processor, all, or all others take a system reset interrupt.
    0x380 h_signal_sys_reset = SignalSysReset(target: u64) needs PLATFORM;
    /// Call the platform's firmware (RTAS) with an argument block.
    0xf000 h_rtas = Rtas(arguments: GuestAddr) needs PLATFORM;
}
