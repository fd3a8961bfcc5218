//! What the hypervisor's policy asks of a machine, and nothing more.
//!
//! Implementations: `hypervisor/powernv` (bare metal), `hypervisor/nested` (a guest of another
//! hypervisor) and `hypervisor/fake` (host tests). The machine calls [`crate::Hypervisor::exit`] and [`crate::Hypervisor::idle`]; everything else is
//! called from here. Methods take `&self`: a machine is shared by its processors.

use crate::vcpu::VcpuId;
use core::ops::Deref;
use k42_lib::{EffAddr, GuestAddr, RealAddr};

/// A guest's registers that an exit may look at or change. The non-volatile ones, r14 to r31, are
/// the caller's in the C calling convention: they stay in the processor until another vCPU takes
/// it, and hypercalls have no use for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Frame {
    /// r0 to r31.
    pub gpr: [u64; 32],
    /// Address of the next instruction.
    pub nip: u64,
    /// Machine state, without HV and as the guest sees it.
    pub msr: u64,
    /// Link register.
    pub link: u64,
    /// Count register.
    pub counter: u64,
    /// Fixed-point exception register.
    pub xer: u64,
    /// Condition register.
    pub cr: u64,
}

/// What the processor says about a fault of the guest that reached the hypervisor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The effective address (HDAR; for a fetch the instruction's address).
    pub effective: EffAddr,
    /// The guest real address (ASDR).
    pub guest: GuestAddr,
    /// The cause (HDSISR, or HSRR1 for a fetch).
    pub status: u64,
}

/// Bits of [`Fault::status`] (Power ISA v3.0B, Book III, 6.5.16; HDSISR).
pub mod status {
    /// The access was a store.
    pub const STORE: u64 = 0x0200_0000;
    /// The fault came up while the guest's own tables were walked.
    pub const TABLE_WALK: u64 = 0x0002_0000;
}

/// How a vCPU starts. Every register not named is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The partition whose tables translate for it.
    pub partition: Partition,
    /// First instruction.
    pub entry: GuestAddr,
    /// r3.
    pub argument: u64,
    /// r1.
    pub stack: u64,
    /// Starts little-endian.
    pub little_endian: bool,
    /// How it takes its interrupts.
    pub interrupts: InterruptMode,
}

/// How a vCPU takes its interrupts (Power ISA v3.0B, Book III, 2.2, LPCR).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterruptMode {
    /// Little-endian (ILE).
    pub little_endian: bool,
    /// Those that come from a translated state stay in it, at the kernel's addresses (AIL = 3);
    /// otherwise they arrive in real mode.
    pub translated: bool,
}

/// A partition number (LPID): a domain's number, never 0, which is the hypervisor itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition(pub u16);

/// A processor of the machine, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessorId(pub u32);

/// A machine's real storage.
pub trait Storage {
    /// Copies from real storage. The caller owns the range or has its owner locked.
    fn read(&self, from: RealAddr, into: &mut [u8]);
    /// Copies to real storage. The caller owns the range or has its owner locked.
    fn write(&self, to: RealAddr, from: &[u8]);
    /// Copies from real storage to real storage, which may overlap; both as above.
    fn copy(&self, from: RealAddr, to: RealAddr, length: u64);
    /// Zeroes real storage; address and length are multiples of 1 KiB.
    fn zero(&self, at: RealAddr, length: u64);
    /// Loads a table entry: big-endian in storage.
    fn load_entry(&self, at: RealAddr) -> u64;
    /// Stores a table entry, in order with the stores before it.
    fn store_entry(&self, at: RealAddr, entry: u64);

    /// Loads an aligned little-endian doubleword that guests change too, after everything before.
    fn load_shared(&self, at: RealAddr) -> u64;
    /// Sets bits of such a doubleword; what it was.
    fn fetch_or(&self, at: RealAddr, bits: u64) -> u64;
    /// Clears the bits of it that `bits` has not; what it was.
    fn fetch_and(&self, at: RealAddr, bits: u64) -> u64;
}

/// A machine that can run guests. It leads to its storage.
pub trait Machine: Sync + Deref<Target: Storage> {
    /// The timebase, in ticks of [`Machine::TICKS_PER_SECOND`].
    fn timebase(&self) -> u64;
    /// Frequency of the timebase; 512 MHz on every POWER9 and POWER10.
    const TICKS_PER_SECOND: u64 = 512_000_000;
    /// A number from the processor's random number generator, unless that fails.
    fn random(&self) -> Option<u64>;

    /// Sets a partition's two doublewords of the partition table.
    fn set_partition(&self, partition: Partition, entry: [u64; 2]);
    /// Drops every translation of the partition from every processor.
    fn flush_partition(&self, partition: Partition);

    /// The processor that has a vCPU's registers, if one has: only that one can run it. A machine
    /// keeps them in the processor until another vCPU is to run there, and says that they have
    /// left it ([`crate::Hypervisor::released`]).
    fn holder(&self, vcpu: VcpuId) -> Option<ProcessorId>;
    /// Prepares a vCPU that does not run to start.
    fn install(&self, vcpu: VcpuId, start: &Start);
    /// Sets how the vCPU now on this processor takes interrupts; false where the machine cannot do
    /// that, and nothing has changed.
    fn set_interrupt_mode(&self, mode: InterruptMode) -> bool;
    /// How that vCPU takes interrupts.
    fn interrupt_mode(&self) -> InterruptMode;
    /// Sets the registers that hold an interrupted state (SRR0, SRR1) for the vCPU now on this
    /// processor.
    fn set_interrupted_state(&self, nip: u64, msr: u64);
    /// What an interrupt left for the vCPU that was last on this processor: SRR0, SRR1, DAR, DSISR.
    fn interrupted_state(&self) -> [u64; 4];
    /// All registers of a vCPU that is on no processor and gets none meanwhile; `None` before they
    /// are in place.
    fn registers(&self, vcpu: VcpuId) -> Option<Frame>;
    /// When the decrementer of the vCPU now on this processor expires, in timebase ticks.
    fn guest_deadline(&self) -> u64;
    /// What the processor says about the storage fault being handled, which came by `vector`.
    fn fault(&self, vector: u16) -> Fault;
    /// Makes the guest exit as soon as it enables interrupts.
    fn request_window(&self);

    /// Rings the doorbell of the vCPU now on this processor: it interrupts when enabled.
    fn ring(&self);

    /// This processor's guest exits at this timebase.
    fn set_alarm(&self, at: u64);
    /// Waits until the alarm or a [`Machine::kick`]; may return early.
    fn wait(&self);
    /// Makes another processor exit or stop waiting.
    fn kick(&self, processor: ProcessorId);

    /// Writes bytes to the serial line, all of them.
    fn console_write(&self, bytes: &[u8]);
    /// Takes what has arrived on the serial line; returns how many bytes.
    fn console_read(&self, into: &mut [u8]) -> usize;
    /// Turns the machine off.
    fn power_off(&self) -> !;
}
