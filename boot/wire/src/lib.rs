//! The serial line between the machine and the host tool.
//!
//! One line carries many console channels in frames ([`frame`]), the thinwire idea of K42 and of
//! the Research Hypervisor. What the hypervisor itself has to say are [`Event`]s on channel 0:
//! text for a person, with one grammar so that a tool reads it back.
//! What only the host does, reading that back, is in [`host`] (feature `host`).
//! Users: `hypervisor/core` (machine side), `domains/k42` (host side). Contract: docs/interfaces.md §2.
#![no_std]
#![forbid(unsafe_code)]

pub mod event;
pub mod frame;
#[cfg(feature = "host")]
pub mod host;

pub use event::{End, Event};
pub use frame::{Channel, Decoder, Item};
