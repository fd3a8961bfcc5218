//! Xen's hypercalls (public/xen.h): `sc 1` with r3 = [`crate::XEN_MARK`] | number, arguments from
//! r4, result in r3: zero or more, or a negative errno.

use k42_lib::GuestAddr;

crate::hypercall_table! {
    /// A Xen hypercall, decoded.
    pub enum XenCall, numbered by crate::Number::Xen;

    /// Map pages, ask for sizes (public/memory.h).
    12 memory_op = MemoryOp(command: u64, argument: GuestAddr) needs BASIC;
    /// Ask which version and which features of Xen's interface this is (public/version.h).
    17 xen_version = XenVersion(command: u64, argument: GuestAddr) needs BASIC;
    /// Write to or read from the domain's own console (public/xen.h, CONSOLEIO_*).
    18 console_io = ConsoleIo(command: u64, count: u64, buffer: GuestAddr) needs CONSOLE
        (xen_sys::xen::CONSOLEIO_READ => INPUT);
    /// Yield, block, shut down (public/sched.h).
    29 sched_op = SchedOp(command: u64, argument: GuestAddr) needs BASIC;
    /// Make, connect, send to and close event channels (public/event_channel.h).
    32 event_channel_op = EventChannelOp(command: u64, argument: GuestAddr) needs EVENTS;
}
