//! The boot archive.
#![no_std]
#![forbid(unsafe_code)]
