//! The K42 kernel's objects: what it decides, without a line of unsafe code.
//!
//! A fault takes the road of the K42 paper: [`process`] finds the [`region`], the region its [`fcm`]
//! (File Cache Manager), the FCM a frame of [`pm`] (the Page Manager) with the right bytes, and
//! [`hat`] (the Hardware Address Translation) maps it. [`kernel`] is the loop round it: run the
//! program, answer its trap ([`trap`]), its native call ([`calls`]) or its pointer
//! ([`user_memory`]). [`boot_info`] reads what the domain was started with, [`layout`] says what
//! lies where in a program's address space.
//!
//! Everything is generic over [`machine::Machine`]: `guest-kernel/arch` is the real one, [`fake`]
//! the one that runs in host tests.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod boot_info;
pub mod calls;
pub mod context;
#[cfg(feature = "fake")]
pub mod fake;
pub mod fcm;
pub mod hat;
pub mod kernel;
pub mod layout;
pub mod machine;
pub mod pm;
pub mod problem;
pub mod process;
pub mod region;
mod regions;
pub mod spaces;
pub mod trap;
pub mod user_memory;

pub use kernel::Kernel;
pub use machine::Machine;
