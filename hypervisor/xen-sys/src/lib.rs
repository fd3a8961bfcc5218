//! Xen's interface.
#![no_std]
#![forbid(unsafe_code)]
