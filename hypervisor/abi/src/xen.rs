//! Xen's hypercalls (public/xen.h): `sc 1` with r3 = [`crate::XEN_MARK`] | number, arguments from
//! r4, result in r3: zero or more, or a negative errno. Xen has no call for measurements; it leaves
//! 48 to 55 to each architecture.

use k42_lib::GuestAddr;

/// How a vCPU starts: `vcpu_guest_context` of this architecture, the argument of VCPUOP_initialise.
/// Little-endian like all structures; every register that is not named starts as zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct VcpuGuestContext {
    /// The guest real address of its first instruction, in real mode.
    pub entry: u64,
    /// r1.
    pub stack: u64,
    /// r3.
    pub argument: u64,
    /// [`VcpuGuestContext::LITTLE_ENDIAN`] or nothing.
    pub flags: u64,
}

xen_sys::plain!(VcpuGuestContext { entry stack argument flags });

impl VcpuGuestContext {
    /// It starts, and takes its interrupts, little-endian.
    pub const LITTLE_ENDIAN: u64 = 1;
}

/// What a controller declares of a part of a domain that it has filled itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Declaration {
    /// The guest real address of the part.
    pub at: u64,
    /// Its bytes.
    pub size: u64,
    /// Their digest (`boot/measure`).
    pub digest: [u8; 32],
}

xen_sys::plain!(Declaration { at size digest });

/// First word of `xen_arch_domainconfig` on this architecture: the domain speaks PAPR.
pub const ARCH_PAPR: u32 = 1;
/// In the same word: vCPUs that the domain starts itself take interrupts little-endian.
pub const ARCH_LITTLE_ENDIAN: u32 = 2;
/// Which word has the processors that its vCPUs may run on, a bit for each; none for all.
pub const ARCH_PROCESSORS: usize = 1;
/// Which word has the number of the LAN that its port is on.
pub const ARCH_LAN: usize = 2;

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
    /// Map, unmap and copy pages that other domains have granted (public/grant_table.h).
    20 grant_table_op = GrantTableOp(command: u64, list: GuestAddr, count: u64) needs GRANTS;
    /// Start, stop and time virtual processors (public/vcpu.h).
    24 vcpu_op = VcpuOp(command: u64, vcpu: u64, argument: GuestAddr) needs BASIC;
    /// Yield, block, poll, shut down (public/sched.h).
    29 sched_op = SchedOp(command: u64, argument: GuestAddr) needs BASIC;
    /// Make, connect, send to and close event channels (public/event_channel.h).
    32 event_channel_op = EventChannelOp(command: u64, argument: GuestAddr) needs BASIC
        (xen_sys::event_channel::EVTCHNOP_ALLOC_UNBOUND => EVENTS,
         xen_sys::event_channel::EVTCHNOP_BIND_INTERDOMAIN => EVENTS);
    /// Tell and ask the parameters of a domain (public/hvm/params.h).
    34 hvm_op = HvmOp(command: u64, argument: GuestAddr) needs BASIC;
    /// Ask about the machine and all domains (public/sysctl.h).
    35 sysctl = Sysctl(argument: GuestAddr) needs CONTROL;
    /// Make, look at, change and end other domains (public/domctl.h).
    36 domctl = Domctl(argument: GuestAddr) needs CONTROL;
    /// Read the domain's own register of measurements: 32 bytes.
    48 measurement = Measurement(buffer: GuestAddr) needs BASIC;
    /// Read a record of the measurement log: 56 bytes.
    49 measurement_log = MeasurementLog(number: u64, buffer: GuestAddr) needs CONTROL;
    /// Log what the caller has put into a domain that it has made: address, size, digest, 48 bytes.
    50 declare_measurement = Declare(domain: u64, argument: GuestAddr) needs CONTROL;
}
