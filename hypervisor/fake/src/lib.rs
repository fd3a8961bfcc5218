//! Fake machine.
#![no_std]
#![forbid(unsafe_code)]
