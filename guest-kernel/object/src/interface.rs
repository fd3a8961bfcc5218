//! What [`macro@crate::clustered`] says of an interface, and the object that stands where a vCPU has no
//! translation yet.

use crate::here::Here;
use crate::mediator::Mediator;
use crate::reference::{Gone, Ref};
use alloc::sync::Arc;

/// An interface of clustered objects: `dyn Trait`, for a trait with [`macro@crate::clustered`], which
/// implements it. Nobody else has a reason to; whatever an implementation answers, no memory is unsafe.
pub trait Interface: Send + Sync + 'static {
    /// The methods' names, in the order of their numbers.
    const METHODS: &'static [&'static str];

    /// A miss object, as an object of the interface.
    fn miss(miss: &'static Miss<Self>) -> &'static Self;

    /// A mediator, as an object of the interface.
    fn mediator(mediator: Arc<Mediator<Self>>) -> Arc<Self>;
}

/// Stands in a translation table for a rep that the vCPU does not have yet (K42's default object): its
/// methods find the rep, put it in its own place, and call it as they were called.
pub struct Miss<I: ?Sized>(Ref<I>);

impl<I: Interface + ?Sized> Miss<I> {
    /// The one that stands for this object's reps.
    pub(crate) const fn new(object: Ref<I>) -> Self {
        Miss(object)
    }

    /// The object whose rep is missing.
    pub(crate) fn object(&self) -> Ref<I> {
        self.0
    }

    /// The rep that the calling vCPU has from now on.
    ///
    /// # Errors
    /// [`Gone`] when the object has ended.
    #[cold]
    #[inline(never)]
    pub fn find<'a>(&self, here: &'a Here<'_>) -> Result<&'a I, Gone> {
        here.translate(self.object())
    }
}
