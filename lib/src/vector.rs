//! Interrupt vectors (Power ISA v3.0B, Book III, 6.5): offsets from the base of the vector area.

/// System reset.
pub const SYSTEM_RESET: u16 = 0x100;
/// Machine check.
pub const MACHINE_CHECK: u16 = 0x200;
/// Data storage.
pub const DATA_STORAGE: u16 = 0x300;
/// Data segment (radix: an effective address outside the tree).
pub const DATA_SEGMENT: u16 = 0x380;
/// Instruction storage.
pub const INSTRUCTION_STORAGE: u16 = 0x400;
/// Instruction segment.
pub const INSTRUCTION_SEGMENT: u16 = 0x480;
/// External.
pub const EXTERNAL: u16 = 0x500;
/// Alignment.
pub const ALIGNMENT: u16 = 0x600;
/// Program: illegal, privileged, trap.
pub const PROGRAM: u16 = 0x700;
/// Floating point unavailable.
pub const FP_UNAVAILABLE: u16 = 0x800;
/// Decrementer.
pub const DECREMENTER: u16 = 0x900;
/// Hypervisor decrementer.
pub const HYPERVISOR_DECREMENTER: u16 = 0x980;
/// Directed privileged doorbell.
pub const DOORBELL: u16 = 0xa00;
/// System call.
pub const SYSTEM_CALL: u16 = 0xc00;
/// Trace.
pub const TRACE: u16 = 0xd00;
/// Hypervisor data storage: a partition-scoped data fault.
pub const HYPERVISOR_DATA_STORAGE: u16 = 0xe00;
/// Hypervisor instruction storage: a partition-scoped fetch fault.
pub const HYPERVISOR_INSTRUCTION_STORAGE: u16 = 0xe20;
/// Hypervisor emulation assistance: an instruction the processor lacks.
pub const HYPERVISOR_EMULATION: u16 = 0xe40;
/// Hypervisor maintenance.
pub const HYPERVISOR_MAINTENANCE: u16 = 0xe60;
/// Directed hypervisor doorbell.
pub const HYPERVISOR_DOORBELL: u16 = 0xe80;
/// Hypervisor virtualisation (interrupt controller).
pub const HYPERVISOR_VIRTUALIZATION: u16 = 0xea0;
/// Performance monitor.
pub const PERFORMANCE_MONITOR: u16 = 0xf00;
/// Vector unavailable.
pub const VEC_UNAVAILABLE: u16 = 0xf20;
/// VSX unavailable.
pub const VSX_UNAVAILABLE: u16 = 0xf40;
/// Facility unavailable.
pub const FACILITY_UNAVAILABLE: u16 = 0xf60;
/// Hypervisor facility unavailable.
pub const HYPERVISOR_FACILITY_UNAVAILABLE: u16 = 0xf80;
