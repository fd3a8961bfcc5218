//! Where an activation's events go (`k42_lib::trace`): to the buffer of its vCPU.
//!
//! What is wanted is asked once, when an activation begins: so an event that is not takes no look at
//! the buffer. Who switches a mask finds it in force when the next activation begins.

use crate::here::Here;
use k42_lib::trace::{self, Tracer};

/// A vCPU's buffer.
pub type Buffer = trace::Buffer<Place>;

#[cfg(target_arch = "powerpc64")]
mod power;

/// A word of a buffer.
#[cfg(not(target_arch = "powerpc64"))]
pub type Place = core::sync::atomic::AtomicU64;
#[cfg(target_arch = "powerpc64")]
pub use power::Place;

impl Tracer for Here<'_> {
    type Word = Place;

    #[inline(always)]
    fn now(&self) -> u64 {
        now()
    }

    #[inline(always)]
    fn buffer(&self) -> &Buffer {
        self.buffer
    }

    #[inline(always)]
    fn wants(&self, classes: u64) -> bool {
        self.wanted & classes != 0
    }
}

/// One moment after the other.
#[cfg(not(target_arch = "powerpc64"))]
fn now() -> u64 {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.fetch_add(1, Relaxed)
}

#[cfg(target_arch = "powerpc64")]
use power::now;

/// Where nothing is noted, for vCPUs to which nobody gave a buffer: its mask stays empty.
// SAFETY: a buffer is nothing but atomic words, and all zeros is one.
static NOWHERE: Buffer = unsafe { core::mem::MaybeUninit::zeroed().assume_init() };

pub(crate) fn nowhere() -> &'static Buffer {
    &NOWHERE
}
