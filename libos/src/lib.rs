//! The library OS: what an application has of its operating system in its own address space.
//!
//! [`cpio`] reads the root file system image, [`files`] is the tree of its files, [`descriptors`]
//! are the open ones, [`console`] makes a stream of what the console says. [`runtime`] is the part
//! that only runs in a K42 domain: native calls, heap, time. `linux-compat` builds Linux of these.
#![no_std]
#![cfg_attr(not(target_os = "none"), forbid(unsafe_code))]

extern crate alloc;

pub mod console;
pub mod cpio;
pub mod descriptors;
pub mod files;
#[cfg(target_os = "none")]
pub mod runtime;
