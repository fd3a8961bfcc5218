//! POWER9 and POWER10 in hypervisor mode under OPAL firmware: the machine of `hypervisor/core`.
//!
//! The processor runs in real mode for ever: there is no host page table and no host TLB entry.
//! `entry.S` has the first instructions, `switch.S` the vectors and the world switch; [`boot`]
//! brings the machine up; [`context`] is a vCPU's registers and what a switch moves; [`machine`]
//! implements what the policy asks for; [`stop`] is its own end; [`opal`] speaks with the firmware. Registers, storage and
//! what else is the same in a partition are in `hypervisor/power`.
#![no_std]

mod boot;
mod context;
mod machine;
mod opal;
mod special;
mod stop;
mod tlb;

core::arch::global_asm!(include_str!("entry.S"));
