//! A vCPU's translation table (K42's local translation table): for every identifier the two words of a
//! pointer to an object of the identifier's interface. All that is unsafe of translation is here and in
//! [`crate::here::Here::get`].

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// So many identifiers become an interface's, and a vCPU's, at a time.
pub(crate) const CHUNK: usize = 64;
/// So many chunks there are.
pub(crate) const CHUNKS: usize = 256;
/// So many identifiers there are; a power of two, so that no index needs a test.
pub(crate) const IDENTIFIERS: usize = CHUNK * CHUNKS;

/// The words of a pointer to a trait object.
union Pointer<I: ?Sized> {
    object: *const I,
    words: [*mut (); 2],
}

/// A place in a table. Its vCPU alone stores to it, once references to its identifier exist, so that
/// the two words need not be stored at once; the atomics cost what plain words do.
#[repr(align(16))]
pub(crate) struct Slot([AtomicPtr<()>; 2]);

impl Slot {
    const fn empty() -> Slot {
        Slot([AtomicPtr::new(null_mut()), AtomicPtr::new(null_mut())])
    }

    /// A place that holds this object.
    pub(crate) fn of<I: ?Sized>(object: &I) -> Slot {
        const { assert!(size_of::<*const I>() == size_of::<[*mut (); 2]>()) };
        let pointer = Pointer { object };
        // SAFETY: an object's pointer is of two words, and any two words are two pointers.
        Slot(unsafe { pointer.words }.map(AtomicPtr::new))
    }

    /// From now on this place holds what the other does.
    pub(crate) fn set(&self, other: &Slot) {
        for (word, other) in self.0.iter().zip(&other.0) {
            word.store(other.load(Relaxed), Relaxed);
        }
    }

    /// Another place that holds the same.
    pub(crate) fn copy(&self) -> Slot {
        let copy = Slot::empty();
        copy.set(self);
        copy
    }

    /// The object that the place holds.
    ///
    /// # Safety
    /// What was last put here is an object of interface `I`, which lives for `'a`; nobody stores to the
    /// place meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn object<'a, I: ?Sized>(&self) -> &'a I {
        let pointer = Pointer { words: [self.0[0].load(Relaxed), self.0[1].load(Relaxed)] };
        // SAFETY: the words are those of a pointer to an `I`, says the caller.
        let object = unsafe { pointer.object };
        // SAFETY: it lives, says the caller.
        unsafe { &*object }
    }
}

/// One vCPU's places, by identifier. Not a pointer to them, as a call has one load less so.
pub(crate) type Table = [Slot; IDENTIFIERS];

/// A table that holds nothing: [`crate::kinds`] fills it.
pub(crate) fn empty() -> Box<Table> {
    let slots: Vec<Slot> = (0..IDENTIFIERS).map(|_| Slot::empty()).collect();
    slots.into_boxed_slice().try_into().unwrap_or_else(|_| unreachable!("so many were made"))
}

/// The place of an identifier.
#[inline(always)]
pub(crate) fn slot(table: &Table, index: u32) -> &Slot {
    &table[index as usize % IDENTIFIERS]
}

/// Puts the miss objects of a chunk in their places.
pub(crate) fn fill(table: &Table, chunk: usize, misses: &[Slot; CHUNK]) {
    for (slot, miss) in table.iter().skip(chunk * CHUNK).zip(misses) {
        slot.set(miss);
    }
}
