//! The host tool: everything between a description of a machine and a person at its consoles.
//!
//! [`description`] checks the TOML files under `domains/`, [`compile`] makes a boot archive of one
//! by way of `domains/builder`, [`disks`] are files of the host's that it has, [`machine`] runs it in QEMU and takes the serial line apart into
//! [`consoles`], with [`input`] going the other way; [`symbols`] name the addresses of reports. On top are the commands: [`boot`] with its
//! [`screen`], [`run`] and [`trace`]. The tests on target drive [`machine`] without a screen.
#![forbid(unsafe_code)]

pub mod attest;
pub mod boot;
pub mod compile;
pub mod consoles;
pub mod description;
pub mod disks;
pub mod files;
pub mod input;
pub mod keys;
pub mod line;
pub mod lines;
pub mod machine;
pub mod program;
pub mod qemu;
pub mod run;
pub mod screen;
pub mod symbols;
pub mod trace;
