//! Clustered objects, as the K42 paper has them (section 6): one object to those who call it, several
//! representatives (reps) inside, each near the processors that it serves.
//!
//! An interface is a trait with [`macro@clustered`]. A [`Ref`] to an object of it is a number, the
//! object's identifier (COID): the place in every vCPU's translation table where that vCPU's rep
//! stands. A [`Root`] makes the reps, each when its first vCPU calls; [`Clustered`] is the standard
//! ones. [`vcpus`] makes the vCPUs, [`Vcpu::enter`] begins an activation ([`Here`]), and whoever has
//! one may call:
//!
//! ```
//! use k42_object::{Clustered, Gone, Here, Ref, clustered, vcpus};
//! use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
//! use std::sync::Arc;
//!
//! #[clustered]
//! trait Counter {
//!     fn add(&self, here: &Here<'_>, by: u64) -> Result<u64, Gone>;
//! }
//!
//! struct Local(AtomicU64);
//!
//! impl Counter for Local {
//!     fn add(&self, _: &Here<'_>, by: u64) -> Result<u64, Gone> {
//!         Ok(self.0.fetch_add(by, Relaxed) + by)
//!     }
//! }
//!
//! let vcpus = vcpus(2);
//! let here = vcpus[0].enter();
//! let make = |_: &Here<'_>, _| Arc::new(Local(AtomicU64::new(0))) as Arc<dyn Counter>;
//! let counter: Ref<dyn Counter> = here.create(Clustered::per_processor(make)).unwrap();
//! assert_eq!(counter.add(&here, 3), Ok(3));
//! assert_eq!(counter.add(&vcpus[1].enter(), 1), Ok(1));
//! here.destroy(counter).unwrap();
//! assert_eq!(counter.add(&here, 1), Err(Gone));
//! ```
//!
//! An activation stays on its vCPU, and what it calls lives no longer than it is known to:
//!
//! ```compile_fail,E0277
//! let vcpus = k42_object::vcpus(1);
//! let here = vcpus[0].enter();
//! std::thread::scope(|scope| scope.spawn(|| here.vcpu()));
//! ```
//!
//! ```compile_fail,E0515
//! # use k42_object::{Gone, Here, Ref, clustered};
//! # #[clustered]
//! # trait Counter { fn add(&self, here: &Here<'_>) -> Result<(), Gone>; }
//! fn rep<'a>(vcpu: &'a k42_object::Vcpu, counter: Ref<dyn Counter>) -> &'a dyn Counter {
//!     let here = vcpu.enter();
//!     here.get(counter)
//! }
//! ```
//!
//! By file: [`table`] is the translation tables with the unsafe code, [`kinds`] which identifiers
//! belong to which interface, [`space`] what the vCPUs share, [`vcpu`] and [`here`] one of them,
//! [`trace`] where its events go,
//! [`generation`] how a vCPU knows that old activations have ended, [`cleaner`] how objects end,
//! [`published`] values that are read without a lock, and end as objects do.
#![no_std]

extern crate alloc;

mod cleaner;
mod generation;
mod here;
mod interface;
mod kinds;
mod mediator;
mod published;
mod reference;
mod root;
mod space;
mod table;
pub mod trace;
mod vcpu;

#[doc(hidden)]
pub use alloc::sync::Arc;
pub use here::Here;
pub use interface::{Interface, Miss};
pub use k42_object_macros::clustered;
pub use mediator::{Calls, Mediator, Passage, Watch};
pub use published::Published;
pub use reference::{Full, Gone, Ref};
pub use root::{Clustered, Root};
pub use vcpu::{MAX_VCPUS, Vcpu, vcpus};
