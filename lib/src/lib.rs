//! What every layer shares and what knows nothing of hypervisor or kernel: kinds of addresses
//! ([`addr`]), bits of the Power ISA ([`msr`], [`lpcr`], [`vector`]), radix trees ([`radix`]), locks in
//! an order ([`lock`]), traces ([`trace`]) and dates ([`calendar`]).
//!
//! Bit numbers in comments are the ISA's (bit 0 is the most significant). Sources: Power ISA
//! v3.0B and v3.1, Book III, with the section at each item.
#![no_std]
#![forbid(unsafe_code)]

pub mod addr;
pub mod calendar;
pub mod lock;
pub mod lpcr;
pub mod msr;
pub mod radix;
pub mod trace;
pub mod vector;

pub use addr::{BusAddr, EffAddr, GuestAddr, RealAddr};
