//! Linux system calls.
#![no_std]
#![forbid(unsafe_code)]
