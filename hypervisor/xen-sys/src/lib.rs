//! Xen's public interface, laid out for ppc64 as Xen lays it out for 64-bit Arm: memory is always
//! translated, handles are 64 bits wide, a guest maps `shared_info` and its grant table by
//! `XENMEM_add_to_physmap` and learns the rest from its device tree.
//!
//! Numbers and structures only, in one module for each of Xen's headers. A number's C name is
//! beside it; a structure's fields have the names they have in C. The tests compare every one of
//! them with the headers that Debian ships (`libxen-dev`), compiled for ppc64le with Arm's choices,
//! and with the aarch64 bindings of the crate `xen-sys` on the registry.
//!
//! What depends on the processor (the registers of a vCPU, the architecture's part of a domain's
//! configuration) is not Arm's to say and not here.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

#[macro_use]
mod declare;
#[macro_use]
pub mod plain;

pub mod domctl;
pub mod errno;
pub mod event_channel;
pub mod grant_table;
pub mod hvm;
pub mod memory;
pub mod sched;
pub mod sysctl;
pub mod trace;
pub mod vcpu;
pub mod version;
pub mod xen;

#[cfg(test)]
mod tests;

/// A domain's number (`domid_t`).
pub type DomainId = u16;

/// The number of a page frame (`xen_pfn_t`); pages are 4 KiB in Xen's interface.
pub type Frame = u64;

/// The guest real address of something (`XEN_GUEST_HANDLE`), as a field of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Handle(pub u64);

plain!(Handle { 0 });
