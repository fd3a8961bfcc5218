//! The vectors that only kernels see: no hypervisor takes or gives these interrupts.

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
/// Alignment.
pub const ALIGNMENT: u16 = 0x600;
/// Floating point unavailable.
pub const FP_UNAVAILABLE: u16 = 0x800;
/// Decrementer.
pub const DECREMENTER: u16 = 0x900;
/// Directed privileged doorbell.
pub const DOORBELL: u16 = 0xa00;
/// Trace.
pub const TRACE: u16 = 0xd00;
/// Performance monitor.
pub const PERFORMANCE_MONITOR: u16 = 0xf00;
/// Vector unavailable.
pub const VEC_UNAVAILABLE: u16 = 0xf20;
/// VSX unavailable.
pub const VSX_UNAVAILABLE: u16 = 0xf40;
/// Facility unavailable.
pub const FACILITY_UNAVAILABLE: u16 = 0xf60;
