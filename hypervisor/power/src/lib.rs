//! What the machines with POWER processors share, on bare metal (`hypervisor/powernv`) and in a
//! partition (`hypervisor/nested`): both run untranslated, with one vCPU resident on a processor.
//!
//! [`storage`] turns addresses into accesses, [`spr`] reaches special registers, [`vectors`] the
//! vector ones; [`slot`] is a vCPU's place for registers, [`mode`] how it takes interrupts, [`partition`]
//! the partition table; [`random`] the processor's numbers; [`tree`] reads the firmware's device tree; [`disks`] finds the machine's disks;
//! [`start`] brings up domains and other processors.
#![no_std]

pub mod disks;
pub mod mode;
pub mod partition;
pub mod random;
pub mod slot;
pub mod spr;
pub mod start;
pub mod storage;
pub mod tree;
pub mod vectors;

core::arch::global_asm!(include_str!("vsx.S"));
