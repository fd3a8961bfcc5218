//! What a vCPU has for itself: of each class a slab that it takes blocks from and others that have free
//! ones; for each other vCPU the blocks that are to go there; its counts; and its inbox.

use crate::block::Block;
use crate::class::{ByClass, BySteps, Class, PLACES, SIZES};
use crate::counts::{Count, Counts};
use crate::remote::{Inbox, Outgoing};
use crate::slab::{Slab, Slabs};
use core::alloc::Layout;
use core::cell::Cell;

/// One vCPU's pools. All but the inbox and the counts is looked at by that vCPU alone.
#[repr(align(128))]
pub(crate) struct Vcpu<const VCPUS: usize> {
    current: BySteps<Slab>,
    partial: ByClass<Slabs>,
    pub(crate) outgoing: [Outgoing; VCPUS],
    pub(crate) counts: Counts<Count>,
    pub(crate) inbox: Inbox,
}

impl<const VCPUS: usize> Vcpu<VCPUS> {
    pub(crate) const fn new() -> Vcpu<VCPUS> {
        Vcpu {
            current: BySteps([const { Cell::new(None) }; PLACES]),
            partial: ByClass([const { Slabs::empty() }; SIZES.len()]),
            outgoing: [const { Outgoing::empty() }; VCPUS],
            counts: Counts::new(),
            inbox: Inbox::empty(),
        }
    }

    /// The slab that blocks for a layout are taken from.
    #[inline(always)]
    pub(crate) fn current(&self, layout: Layout) -> Option<Slab> {
        self.current.get(layout)
    }

    /// A block of a class, if any of this vCPU's slabs has one.
    pub(crate) fn take(&self, class: Class) -> Option<Block> {
        self.current.of(class).and_then(|slab| slab.take()).or_else(|| {
            let slab = self.partial.of(class).pop()?;
            self.begin(class, slab);
            slab.take()
        })
    }

    /// From now on blocks are taken from this slab; that one has none left.
    pub(crate) fn begin(&self, class: Class, slab: Slab) {
        if let Some(before) = self.current.of(class) {
            before.exhausted();
        }
        self.current.set(class, Some(slab));
    }

    /// Sees to a slab when [`crate::slab::Header::put`] says so: the slab, if it is to be given back. One
    /// without blocks in use is kept if it is the only one that the class has beside the current one, so
    /// that slabs do not come and go with every few blocks.
    pub(crate) fn see_to(&self, slab: Slab) -> Option<Slab> {
        let slabs = self.partial.of(slab.class());
        if !slab.is_listed() {
            slabs.insert(slab);
            return None;
        }
        slabs.has_others(slab).then(|| {
            slabs.remove(slab);
            slab
        })
    }

    /// Takes out a slab of a class of which no block is in use.
    pub(crate) fn unused(&self, class: Class) -> Option<Slab> {
        let current = self.current.of(class).filter(|slab| slab.is_unused());
        if current.is_some() {
            self.current.set(class, None);
            return current;
        }
        self.partial.of(class).remove_unused()
    }
}
