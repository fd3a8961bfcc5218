//! Values that many read and few replace, as with RCU: a reader takes no lock and stores nothing, and what
//! it has found lives as long as its activation. Who replaces a value leaves the old one to the token
//! ([`crate::cleaner`]): it is dropped when no activation is left, on any vCPU, that was there before.

use crate::here::Here;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A value that activations read, the one that it was or the one that it is, and never a part of each.
///
/// ```
/// use k42_object::{Published, vcpus};
///
/// let vcpus = vcpus(2);
/// let here = vcpus[0].enter();
/// let primes = Published::new(&here, vec![2, 3]);
/// let before = primes.read(&here);
/// primes.replace(&vcpus[1].enter(), vec![2, 3, 5]);
/// assert_eq!((before.len(), primes.read(&here).len()), (2, 3));
/// ```
///
/// What was read is not kept beyond the activation:
///
/// ```compile_fail,E0515
/// # use k42_object::{Published, Vcpu};
/// fn first<'a>(vcpu: &'a Vcpu, numbers: &'a Published<Vec<u64>>) -> &'a [u64] {
///     let here = vcpu.enter();
///     numbers.read(&here)
/// }
/// ```
///
/// Nor can a value be published that not all vCPUs may look at, or that another may not drop:
///
/// ```compile_fail,E0277
/// # let vcpus = k42_object::vcpus(1);
/// k42_object::Published::new(&vcpus[0].enter(), std::cell::Cell::new(1));
/// ```
///
/// A map of a few hundred entries, such as the regions of a process, is published as a whole: who changes
/// it makes a changed copy. Who makes the new value of the old one holds a lock meanwhile, as
/// another's replacement would be lost otherwise.
pub struct Published<T> {
    /// An `Arc<T>`.
    current: AtomicPtr<T>,
    /// The vCPUs whose activations may read it: those that the token goes round.
    set: u64,
}

impl<T: Send + Sync + 'static> Published<T> {
    /// Publishes a value for the vCPUs that were made together with this one.
    pub fn new(here: &Here<'_>, value: T) -> Published<T> {
        Published { current: AtomicPtr::new(pointer(value)), set: here.set() }
    }

    /// The value.
    ///
    /// # Panics
    /// When the activation is on a vCPU of others ([`crate::vcpus`]), for whose end nobody would wait.
    #[inline]
    pub fn read<'a>(&'a self, here: &'a Here<'_>) -> &'a T {
        self.check(here);
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: an `Arc<T>` keeps it: this one while it is current, as it is borrowed, and after
        // that the vCPU that replaces it, until all activations have ended that were there then
        // (`Vcpu::retire`); this one is there.
        unsafe { &*current }
    }

    /// Puts another value in the place of what is there.
    ///
    /// # Panics
    /// As [`Published::read`].
    pub fn replace(&self, here: &Here<'_>, value: T) {
        self.check(here);
        let old = self.current.swap(pointer(value), Ordering::AcqRel);
        // SAFETY: from `Arc::into_raw`, and nobody else finds it here.
        here.retire(unsafe { Arc::from_raw(old) });
    }

    #[inline]
    fn check(&self, here: &Here<'_>) {
        assert!(self.set == here.set(), "this vCPU is not of those the value is published for");
    }
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        // SAFETY: from `Arc::into_raw`; nobody reads what is borrowed from this.
        drop(unsafe { Arc::from_raw(*self.current.get_mut()) });
    }
}

fn pointer<T>(value: T) -> *mut T {
    Arc::into_raw(Arc::new(value)).cast_mut()
}
