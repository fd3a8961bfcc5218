//! The K42 kernel's machine: a domain of the hypervisor on POWER9 or POWER10, radix translation.
//!
//! All unsafe code of the kernel is here. [`entry`] has the vectors and the way into and out of
//! user mode, [`boot`] brings the kernel from real mode to its `main` on the first vCPU, [`mod@start`]
//! the others to theirs, [`vcpu`] is what each has for itself, [`mod@wake`] how they tell each other,
//! [`domain`] implements [`guest_kernel::Machine`], [`space`] is the kernel's own translation and the
//! process table, [`hypercall`] the way into the hypervisor, [`registers`] the special ones, [`heap`]
//! the kernel's own memory, [`trace`] where its events go, [`bug`] the end of a kernel that has gone wrong.
//!
//! The kernel is linked at [`LINEAR_BASE`] + guest real address. In real mode the processor ignores
//! the top four bits of an address, so the same pointers serve before and after translation is on.
#![no_std]

extern crate alloc;

pub mod boot;
pub mod bug;
pub mod domain;
pub mod entry;
pub mod heap;
pub mod hypercall;
pub mod registers;
pub mod space;
pub mod start;
pub mod trace;
pub mod vcpu;
pub mod wake;

pub use boot::Boot;
pub use domain::Domain;
pub use start::start;
pub use vcpu::current;
pub use wake::{sleep, wake};

/// Where all of the domain's memory is mapped for the kernel.
pub const LINEAR_BASE: u64 = 0xc000_0000_0000_0000;

/// The kernel's pointer to guest real address `at`.
pub const fn linear(at: k42_lib::GuestAddr) -> u64 {
    LINEAR_BASE | at.value()
}

/// The guest real address behind a pointer of the kernel's.
pub fn guest_address<T: ?Sized>(pointer: *const T) -> k42_lib::GuestAddr {
    k42_lib::GuestAddr::new(pointer.cast::<u8>() as u64 & !LINEAR_BASE)
}
