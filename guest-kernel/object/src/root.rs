//! Roots: the anchor of an object, which knows its reps. [`Clustered`] is the standard ones: one rep
//! for all vCPUs, one for each cluster of so many, one for each.

use crate::here::Here;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::num::NonZero;
use spin::Mutex;

/// Makes and finds the reps of one object. What they share they have from it, and may call it.
///
/// It is dropped when no activation can be in a call of the object any more.
pub trait Root<I: ?Sized>: Send + Sync + 'static {
    /// The rep of the calling vCPU: asked at a miss, and again after [`Here::interpose`]. It may be
    /// asked by several vCPUs at once.
    ///
    /// It may call other objects, and not its own: it would be asked again, for ever.
    fn rep(&self, here: &Here<'_>) -> Arc<I>;
}

/// A root that has a rep for each cluster of vCPUs with consecutive numbers, and makes it by `F` when
/// the first of them calls: `F` is told who calls, and the cluster's number.
///
/// No lock is held while `F` makes a rep. When vCPUs of one cluster come at once, several may be made:
/// all use the one that was there first, and the others are dropped.
pub struct Clustered<I: ?Sized, F> {
    size: NonZero<u32>,
    make: F,
    reps: Mutex<BTreeMap<u32, Arc<I>>>,
}

impl<I: ?Sized, F: Fn(&Here<'_>, u32) -> Arc<I>> Clustered<I, F> {
    /// One rep for all.
    pub fn shared(make: F) -> Self {
        Self::per_cluster(NonZero::<u32>::MAX, make)
    }

    /// One rep for each `size` vCPUs.
    pub fn per_cluster(size: NonZero<u32>, make: F) -> Self {
        Clustered { size, make, reps: Mutex::new(BTreeMap::new()) }
    }

    /// One rep for each vCPU.
    pub fn per_processor(make: F) -> Self {
        Self::per_cluster(NonZero::<u32>::MIN, make)
    }
}

impl<I, F> Root<I> for Clustered<I, F>
where
    I: Send + Sync + ?Sized + 'static,
    F: Fn(&Here<'_>, u32) -> Arc<I> + Send + Sync + 'static,
{
    fn rep(&self, here: &Here<'_>) -> Arc<I> {
        let cluster = here.vcpu() / self.size;
        let known = self.reps.lock().get(&cluster).cloned();
        known.unwrap_or_else(|| {
            let made = (self.make)(here, cluster);
            self.reps.lock().entry(cluster).or_insert(made.clone()).clone()
        })
    }
}
