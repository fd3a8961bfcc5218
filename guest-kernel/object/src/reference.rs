//! References to objects, and what there is to say of an object that is not there.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;

/// A reference to a clustered object with interface `I`: its identifier (K42's COID).
///
/// It is good on every vCPU, may be copied and kept, and owns nothing: the object ends by
/// [`crate::Here::destroy`]. It implements the interface; a call is a load from the calling vCPU's
/// translation table and an indirect call.
///
/// The identifier of an object that has ended is another object's later, of the same interface: when
/// every activation has ended that was there at the end of the first. Whoever keeps a reference longer
/// than that must let go of it before, as in K42. A reference means nothing to vCPUs that were made by
/// another [`crate::vcpus`]: there it is [`Gone`], or some other object of the interface.
pub struct Ref<I: ?Sized> {
    /// An index below [`crate::table::IDENTIFIERS`], of a chunk that is `I`'s ([`crate::kinds`]).
    index: u32,
    /// Sent and shared whatever `I` is: it has none.
    interface: PhantomData<fn() -> I>,
}

impl<I: ?Sized> Ref<I> {
    /// The reference with this identifier, which is of a chunk that is `I`'s: [`crate::kinds`] alone
    /// makes them, and each is made before any use.
    pub(crate) const fn new(index: u32) -> Self {
        Ref { index, interface: PhantomData }
    }

    /// The object's identifier.
    pub const fn identifier(self) -> u32 {
        self.index
    }
}

impl<I: ?Sized> Clone for Ref<I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I: ?Sized> Copy for Ref<I> {}

impl<I: ?Sized> PartialEq for Ref<I> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}

impl<I: ?Sized> Eq for Ref<I> {}

impl<I: ?Sized> Hash for Ref<I> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.index.hash(state);
    }
}

impl<I: ?Sized> fmt::Debug for Ref<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({})", self.index)
    }
}

/// The object has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object has ended")
    }
}

impl core::error::Error for Gone {}

/// There is no identifier left for another object of this interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no identifier is left for another object")
    }
}

impl core::error::Error for Full {}
