//! The host tool as it is used, without a machine: QEMU and the hypervisor have a stand-in, which
//! is the example `stand-in`.

mod attest;
mod audit;
mod boot;
mod description;
mod run;
mod tool;
