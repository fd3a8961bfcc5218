//! How objects end, in K42's way, which asks nobody to count references:
//!
//! 1. The object has no root any more, so that a miss finds nothing; every vCPU with a translation is
//!    written to, and forgets it at the latest before its next activation begins.
//! 2. On each of them, the rep is kept until all activations have ended that were there (generations).
//! 3. Meanwhile a token goes from vCPU to vCPU. Each reads its mail, and keeps the token until all
//!    activations have ended that were there when it came. When it has gone round, nobody has seen the
//!    object and not left since: the root is dropped, and the identifier is free.
//!
//! What was published and replaced ([`crate::published`]) ends by the third of these alone.
//!
//! What the token's holder does, all the next ones see, as it is passed on by a store that releases
//! and a load that acquires.

use crate::interface::Interface;
use crate::reference::{Gone, Ref};
use crate::space::{Kept, Set};
use crate::vcpu::Vcpu;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::TypeId;
use core::mem;

/// What has ended and may be known still.
pub(crate) struct Ending {
    /// An object's root, or a value that was published.
    kept: Kept,
    /// The object's identifier, with its interface.
    identifier: Option<(TypeId, u32)>,
}

impl Vcpu {
    /// Ends an object ([`crate::Here::destroy`]).
    pub(crate) fn end<I: Interface + ?Sized>(&self, object: Ref<I>) -> Result<(), Gone> {
        let index = object.identifier();
        let (root, holders) = self.space.take(index)?;
        self.let_forget(holders, index);
        let identifier = Some((TypeId::of::<I>(), index));
        self.ended.borrow_mut().push(Ending { kept: root, identifier });
        Ok(())
    }

    /// Drops a value when all activations have ended that are there now, on any vCPU.
    pub(crate) fn retire<T: Send + Sync + 'static>(&self, value: Arc<T>) {
        self.ended.borrow_mut().push(Ending { kept: Box::new(value), identifier: None });
    }

    /// Lets these vCPUs forget their translations; this one does at once.
    pub(crate) fn let_forget(&self, holders: Set, index: u32) {
        for vcpu in holders.iter().filter(|vcpu| *vcpu != self.number) {
            self.space.post(vcpu, |mail| mail.forget.push(index));
        }
        self.forget(index);
    }

    /// Does this vCPU's part in ending objects, as far as that goes now, and waits for nothing: to be
    /// called again and again, best when no activation is there. The answer is whether something of
    /// this vCPU's own has still to end.
    pub fn clean(&self) -> bool {
        let has_token = self.space.has_token(self.number);
        // After that look: whoever passed the token on has written before.
        self.read_mail();
        if has_token && self.token_since.get().is_none() {
            self.token_since.set(Some(self.generations.now()));
            self.token_comes();
        }
        self.generations.advance();
        self.drop_elapsed();
        if self.token_since.get().is_some_and(|since| self.generations.elapsed(since)) {
            self.token_since.set(None);
            self.space.pass_token(self.number);
        }
        !(self.ended.borrow().is_empty()
            && self.round.borrow().is_empty()
            && self.limbo.borrow().is_empty())
    }

    /// It has gone round for some, and now goes round for those that have ended since it was here.
    fn token_comes(&self) {
        let ended = mem::take(&mut *self.ended.borrow_mut());
        for Ending { kept, identifier } in self.round.replace(ended) {
            drop(kept);
            let Some((interface, index)) = identifier else { continue };
            let owner = self.space.owner(index);
            if owner == self.number {
                self.reuse(interface, index);
            } else {
                self.space.post(owner, |mail| mail.free.push((interface, index)));
            }
        }
    }

    /// Drops the reps that nobody can be in any more; no borrow is held, as their ends may be long.
    fn drop_elapsed(&self) {
        let next = || {
            let mut limbo = self.limbo.borrow_mut();
            let (since, _) = limbo.front()?;
            self.generations.elapsed(*since).then(|| limbo.pop_front()).flatten()
        };
        while let Some((_, rep)) = next() {
            drop(rep);
        }
    }
}

/// What others may know still of what has ended here is kept until the last vCPU is dropped, and with it
/// the last activation.
impl Drop for Vcpu {
    fn drop(&mut self) {
        let left = self.ended.take().into_iter().chain(self.round.take());
        self.space.keep(left.map(|ending| ending.kept));
    }
}
