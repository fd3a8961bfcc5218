//! Library OS.
#![no_std]
#![forbid(unsafe_code)]
