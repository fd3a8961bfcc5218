//! Activations: who may call objects, and what it can do with them.

use crate::interface::Interface;
use crate::mediator::{Calls, Mediated, Watch};
use crate::reference::{Full, Gone, Ref};
use crate::root::Root;
use crate::table::{Table, slot};
use crate::trace::Buffer;
use crate::vcpu::Vcpu;
use alloc::sync::Arc;
use core::fmt;
use k42_lib::lock::Activation;
use k42_lib::trace::Word;
use k42_lib::trace::events::object as events;

/// An activation: a thread in system code, on one vCPU, until this is dropped. Whoever has it may call
/// objects, and every rep that it meets lives as long as it does.
///
/// It neither leaves its vCPU nor outlives it. There may be several on a vCPU, in each other or of
/// threads that take turns.
pub struct Here<'v> {
    /// The vCPU's, without the way to it through the vCPU.
    table: &'v Table,
    vcpu: &'v Vcpu,
    generation: u64,
    /// Where events go, and of which classes.
    pub(crate) buffer: &'static Buffer,
    pub(crate) wanted: u64,
}

impl<'v> Here<'v> {
    #[inline]
    pub(crate) fn new(vcpu: &'v Vcpu) -> Here<'v> {
        let (buffer, generation) = (vcpu.buffer.get(), vcpu.generations.enter());
        let wanted = buffer.control().mask.get();
        Here { table: vcpu.table(), vcpu, generation, buffer, wanted }
    }

    /// The number of this vCPU.
    pub fn vcpu(&self) -> u32 {
        self.vcpu.number
    }

    /// How many vCPUs share objects with this one.
    pub fn vcpus(&self) -> u32 {
        self.vcpu.space.vcpus()
    }

    /// Which vCPUs were made together with this one, by a number.
    #[inline]
    pub(crate) fn set(&self) -> u64 {
        self.vcpu.set
    }

    /// Drops a value when no activation anywhere is from before.
    pub(crate) fn retire<T: Send + Sync + 'static>(&self, value: Arc<T>) {
        self.vcpu.retire(value);
    }

    /// The object's rep on this vCPU, or what finds it at every call: the way that a reference's own
    /// methods go.
    #[inline(always)]
    pub fn get<I: Interface + ?Sized>(&self, object: Ref<I>) -> &I {
        let slot = slot(self.table, object.identifier());
        // SAFETY: the place holds an object of `I` since before the reference was made (`kinds`): a
        // miss object, which lives for ever, or a rep that this vCPU holds, and it is dropped after
        // every activation has ended that was there when it left the table (`Vcpu::forget`,
        // `Generations`); this one is there, or finds the miss object. Only this vCPU stores to it.
        unsafe { slot.object() }
    }

    /// An object begins.
    ///
    /// # Errors
    /// [`Full`] when all identifiers are in use, or wait for the token.
    pub fn create<I: Interface + ?Sized>(&self, root: impl Root<I>) -> Result<Ref<I>, Full> {
        let object = self.vcpu.identifier().ok_or(Full)?;
        self.vcpu.space.put(object, Arc::new(root));
        Ok(object)
    }

    /// An object ends. Whoever is in a call of it goes on; activations that begin from now on, and this
    /// one, get [`Gone`], others that or the rep's answer. Reps and root are dropped when nobody can be
    /// in them, by [`Vcpu::clean`].
    ///
    /// # Errors
    /// [`Gone`] when it has ended before.
    pub fn destroy<I: Interface + ?Sized>(&self, object: Ref<I>) -> Result<(), Gone> {
        events::end(self, object.identifier().into());
        self.vcpu.end(object)
    }

    /// Lets somebody watch the calls of an object from now on: its root becomes the root of mediators,
    /// each before the rep that the vCPU had. A call that an activation from before makes on another
    /// vCPU may not be seen.
    ///
    /// # Errors
    /// [`Gone`] when the object has ended.
    pub fn interpose<I: Interface + ?Sized>(
        &self,
        object: Ref<I>,
        watch: Arc<dyn Watch>,
    ) -> Result<(), Gone> {
        let mediate = |root| Arc::new(Mediated { root, watch }) as Arc<dyn Root<I>>;
        let holders = self.vcpu.space.replace(object, mediate)?;
        self.vcpu.let_forget(holders, object.identifier());
        Ok(())
    }

    /// Counts the calls of an object from now on.
    ///
    /// # Errors
    /// [`Gone`] when the object has ended.
    pub fn count<I: Interface + ?Sized>(&self, object: Ref<I>) -> Result<Arc<Calls>, Gone> {
        let calls = Arc::new(Calls::new(I::METHODS, self.vcpus()));
        self.interpose(object, calls.clone())?;
        Ok(calls)
    }

    /// The rep of this vCPU, which is in the table from now on.
    pub(crate) fn translate<I: Interface + ?Sized>(&self, object: Ref<I>) -> Result<&I, Gone> {
        let (vcpu, index) = (self.vcpu, object.identifier());
        events::miss(self, index.into());
        while !vcpu.holds(index) {
            let root = vcpu.space.root(object)?;
            // The object may end, get another root, or be called meanwhile: no lock is held.
            let rep = root.rep(self);
            if vcpu.space.hold(object, &root, vcpu.number)? && !vcpu.holds(index) {
                vcpu.install(object, rep);
            }
        }
        Ok(self.get(object))
    }
}

/// Who has an activation for itself may have the first token of its locks; objects that it calls are lent
/// it, and are to be lent the token, too.
impl Activation for Here<'_> {}

impl Drop for Here<'_> {
    #[inline]
    fn drop(&mut self) {
        self.vcpu.generations.leave(self.generation);
    }
}

impl fmt::Debug for Here<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Here(vCPU {})", self.vcpu.number)
    }
}
