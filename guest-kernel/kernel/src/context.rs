//! A user's registers while the kernel runs. [`crate::machine::Machine::run`] loads them and fills
//! them again at the next trap.

/// Everything a program has in registers, but for floating point and vectors: the kernel never
/// uses those, so they stay where they are.
///
/// The layout is known to the assembly in `guest-kernel/arch`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Context {
    /// General registers r0 to r31.
    pub gpr: [u64; 32],
    /// Address of the next instruction (SRR0).
    pub next: u64,
    /// Machine state, and at a trap what the interrupt says about itself (SRR1).
    pub msr: u64,
    /// Link register.
    pub link: u64,
    /// Count register.
    pub count: u64,
    /// Fixed-point exception register.
    pub exceptions: u64,
    /// Condition register.
    pub condition: u64,
    /// Effective address of a data fault (DAR).
    pub fault_address: u64,
    /// Cause of a data fault (DSISR).
    pub fault_cause: u64,
    /// Which interrupt came: its vector ([`k42_lib::vector`]).
    pub vector: u64,
    /// The machine's own: what it needs to come back to the kernel.
    pub machine: [u64; 3],
}
