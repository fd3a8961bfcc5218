//! Mediators: reps that stand before an object's own and see every call. [`Here::interpose`] puts them
//! before a living object; hot swapping will hold calls up there while one object takes over another's
//! state. [`Calls`] counts.

use crate::here::Here;
use crate::interface::Interface;
use crate::reference::Gone;
use crate::root::Root;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What mediators of an object tell of its calls.
pub trait Watch: Send + Sync + 'static {
    /// The method of this number is called.
    ///
    /// # Errors
    /// [`Gone`] is what the caller gets instead of the call.
    fn before(&self, here: &Here<'_>, method: usize) -> Result<(), Gone>;

    /// A call has come back that `before` let pass.
    fn after(&self, here: &Here<'_>, method: usize);
}

/// A rep that passes calls on to another and lets somebody watch: every vCPU has one of its own.
pub struct Mediator<I: ?Sized> {
    rep: Arc<I>,
    watch: Arc<dyn Watch>,
}

impl<I: Interface + ?Sized> Mediator<I> {
    /// Lets a call of a method pass, by its number; the call has come back when the answer is dropped.
    ///
    /// # Errors
    /// As the watch has.
    pub fn pass<'a>(&'a self, here: &'a Here<'a>, method: usize) -> Result<Passage<'a, I>, Gone> {
        self.watch.before(here, method)?;
        Ok(Passage { mediator: self, here, method })
    }
}

/// A call on its way through a mediator.
pub struct Passage<'a, I: ?Sized> {
    mediator: &'a Mediator<I>,
    here: &'a Here<'a>,
    method: usize,
}

impl<I: ?Sized> Passage<'_, I> {
    /// The rep to call.
    pub fn target(&self) -> &I {
        &self.mediator.rep
    }
}

impl<I: ?Sized> Drop for Passage<'_, I> {
    fn drop(&mut self) {
        self.mediator.watch.after(self.here, self.method);
    }
}

/// The root of an object with mediators: they stand before the reps of the root that was there.
pub(crate) struct Mediated<I: ?Sized> {
    pub(crate) root: Arc<dyn Root<I>>,
    pub(crate) watch: Arc<dyn Watch>,
}

impl<I: Interface + ?Sized> Root<I> for Mediated<I> {
    fn rep(&self, here: &Here<'_>) -> Arc<I> {
        let (rep, watch) = (self.root.rep(here), self.watch.clone());
        I::mediator(Arc::new(Mediator { rep, watch }))
    }
}

/// So many counts lie in a line of the cache, or two.
const LINE: usize = 16;

#[derive(Default)]
#[repr(align(128))]
struct Line([AtomicU64; LINE]);

/// How often an object was called: by method, counted by each vCPU for itself. Until an object is
/// counted ([`Here::count`]) nothing of this is in the way of its calls.
pub struct Calls {
    methods: &'static [&'static str],
    /// By the vCPU's number.
    counts: Box<[Box<[Line]>]>,
}

impl Calls {
    /// Counts of these methods on so many vCPUs.
    pub(crate) fn new(methods: &'static [&'static str], vcpus: u32) -> Calls {
        let lines = methods.len().div_ceil(LINE);
        let row = |_| (0..lines).map(|_| Line::default()).collect();
        Calls { methods, counts: (0..vcpus).map(row).collect() }
    }

    /// Every method's name with the number of its calls on one vCPU so far.
    pub fn on(&self, vcpu: u32) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let lines = self.counts.get(vcpu as usize).map_or(&[][..], |lines| lines);
        let counts = lines.iter().flat_map(|line| &line.0);
        self.methods.iter().zip(counts).map(|(name, count)| (*name, count.load(Relaxed)))
    }

    /// The same on all vCPUs together.
    pub fn total(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let vcpus = 0..self.counts.len() as u32;
        let count = move |method| {
            vcpus.clone().filter_map(|vcpu| self.on(vcpu).nth(method)).map(|(_, count)| count).sum()
        };
        self.methods.iter().enumerate().map(move |(method, name)| (*name, count(method)))
    }
}

impl Watch for Calls {
    fn before(&self, here: &Here<'_>, method: usize) -> Result<(), Gone> {
        let line = self.counts.get(here.vcpu() as usize).and_then(|row| row.get(method / LINE));
        if let Some(Line(counts)) = line {
            // Its vCPU alone counts here.
            let count = &counts[method % LINE];
            count.store(count.load(Relaxed) + 1, Relaxed);
        }
        Ok(())
    }

    fn after(&self, _: &Here<'_>, _: usize) {}
}
