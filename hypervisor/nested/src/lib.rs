//! POWER9 and POWER10 in a pSeries partition whose hypervisor lets it have guests of its own: the
//! machine of `hypervisor/core`, nested (QEMU: `-M pseries,cap-nested-hv=on`).
//!
//! The hypervisor below us switches between us and a guest: [`abi`] is what passes between the two
//! (the nested API, version 1), [`hcall`] how it is called and what else it does for a partition.
//! What it does not switch, [`context`] does. `entry.S` has the first instructions, `vectors.S` the
//! few interrupts that reach us; [`boot`] brings the machine up, [`stop`] ends it; [`machine`] implements what the
//! policy asks for. Registers and storage are as on bare metal: `hypervisor/power`.
#![no_std]

mod abi;
mod boot;
mod context;
mod hcall;
mod machine;
mod special;
mod stop;

core::arch::global_asm!(include_str!("entry.S"));
core::arch::global_asm!(include_str!("vectors.S"));
