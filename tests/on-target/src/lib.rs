//! What tests on the emulated machine are written with: a machine whose consoles are waited for,
//! by text and by event, never by time.
//!
//! Each test boots a machine of its own ([`Machine::boot`]) from a description put together with
//! [`describe`] or read from TOML. Deadlines are there to end a machine that hangs: they are long,
//! and no test's result depends on one. `tests/main.rs` has the list of tests.
#![forbid(unsafe_code)]

mod bare;
pub mod coherence;
pub mod describe;
pub mod figures;
mod machine;
pub mod operations;
pub mod peer;
mod text;

pub use k42::consoles::{Ending, State};
pub use k42::description::{Description, DomainDescription, Model};
pub use machine::{Console, Machine};

/// Both machines in which the hypervisor is nested, a guest of another.
pub const NESTED: [Model; 2] = [Model::Pseries9, Model::Pseries10];
/// Both machines of bare metal.
pub const MODELS: [Model; 2] = [Model::Powernv9, Model::Powernv10];
/// Both kernels that most tests are run with, by their files' names: pages of 64 KiB, and of 4 KiB.
pub const KERNELS: [&str; 2] = ["vmlinux-6.1", "vmlinux-6.12"];
/// The newer kernel with pages of 64 KiB.
pub const KERNEL_64K: &str = "vmlinux-6.12-64k";
