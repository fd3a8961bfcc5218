//! Addresses and Power ISA data.
#![no_std]
#![forbid(unsafe_code)]
