//! Interrupt vectors (Power ISA v3.0B, Book III, 6.5), offsets from the base of the vector area:
//! those that the hypervisor takes or gives. Those that only kernels see are in
//! [`kernel`].

pub mod kernel;

pub use kernel::*;

/// Where the vectors begin for interrupts that leave translation on (AIL = 3).
pub const TRANSLATED: u64 = 0xc000_0000_0000_4000;

/// System reset.
pub const SYSTEM_RESET: u16 = 0x100;
/// External.
pub const EXTERNAL: u16 = 0x500;
/// Program: illegal, privileged, trap.
pub const PROGRAM: u16 = 0x700;
/// Hypervisor decrementer.
pub const HYPERVISOR_DECREMENTER: u16 = 0x980;
/// System call.
pub const SYSTEM_CALL: u16 = 0xc00;
/// Hypervisor data storage: a partition-scoped data fault.
pub const HYPERVISOR_DATA_STORAGE: u16 = 0xe00;
/// Hypervisor instruction storage: a partition-scoped fetch fault.
pub const HYPERVISOR_INSTRUCTION_STORAGE: u16 = 0xe20;
/// Hypervisor emulation assistance: an instruction the processor lacks.
pub const HYPERVISOR_EMULATION: u16 = 0xe40;
/// Directed hypervisor doorbell.
pub const HYPERVISOR_DOORBELL: u16 = 0xe80;
/// Hypervisor virtualisation (interrupt controller).
pub const HYPERVISOR_VIRTUALIZATION: u16 = 0xea0;
/// Hypervisor facility unavailable.
pub const HYPERVISOR_FACILITY_UNAVAILABLE: u16 = 0xf80;
