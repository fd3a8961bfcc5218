//! What vCPUs share that were made together: the roots by identifier (K42's global translation table),
//! their mail to each other, and the token that goes round.

use crate::kinds::{self, Tables};
use crate::reference::{Gone, Ref};
use crate::root::Root;
use crate::table::{self, CHUNK, CHUNKS};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::{Any, TypeId};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use spin::Mutex;

/// The owner of a chunk that is nobody's.
const NOBODY: u32 = u32::MAX;

/// Some vCPUs, by their numbers: bit n is vCPU n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Set(u64);

impl Set {
    const EMPTY: Set = Set(0);

    fn insert(&mut self, vcpu: u32) {
        self.0 |= 1 << vcpu;
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u32> {
        (0..u64::BITS).filter(move |vcpu| self.0 >> vcpu & 1 == 1)
    }
}

/// What is kept alive, whatever it is: of a root, an `Arc<dyn Root<I>>`.
pub(crate) type Kept = Box<dyn Any + Send + Sync>;

struct Object {
    root: Kept,
    /// Who has a translation.
    holders: Set,
}

/// Mail of one vCPU's, from all.
#[derive(Default)]
pub(crate) struct Mail {
    /// Identifiers whose translation it is to forget.
    pub(crate) forget: Vec<u32>,
    /// Identifiers of its own that are free again, with their interface.
    pub(crate) free: Vec<(TypeId, u32)>,
}

#[derive(Default)]
#[repr(align(128))]
struct Mailbox {
    waits: AtomicBool,
    mail: Mutex<Mail>,
}

/// The number of the vCPU that has the token, which it alone passes on. In a line of the cache for itself: what
/// lies beside it every activation reads.
#[repr(align(128))]
struct Token(AtomicU32);

/// How many spaces there have been.
static SPACES: AtomicU64 = AtomicU64::new(0);

/// What vCPUs share.
pub(crate) struct Space {
    /// No other space's, ever.
    pub(crate) number: u64,
    pub(crate) tables: Arc<Tables>,
    /// By chunk, a lock for each; empty before the chunk is used.
    objects: Box<[Mutex<Vec<Option<Object>>>]>,
    /// By chunk: the vCPU that gives its identifiers to objects.
    owners: Box<[AtomicU32]>,
    mailboxes: Box<[Mailbox]>,
    token: Token,
    /// What vCPUs had still to drop when they were dropped themselves.
    left: Mutex<Vec<Kept>>,
}

impl Space {
    pub(crate) fn new(vcpus: u32) -> Space {
        Space {
            number: SPACES.fetch_add(1, Ordering::Relaxed),
            tables: kinds::register(Tables((0..vcpus).map(|_| table::empty()).collect())),
            objects: (0..CHUNKS).map(|_| Mutex::default()).collect(),
            owners: (0..CHUNKS).map(|_| AtomicU32::new(NOBODY)).collect(),
            mailboxes: (0..vcpus).map(|_| Mailbox::default()).collect(),
            token: Token(AtomicU32::new(0)),
            left: Mutex::default(),
        }
    }

    /// How many vCPUs there are.
    pub(crate) fn vcpus(&self) -> u32 {
        self.mailboxes.len() as u32
    }

    /// Makes a vCPU the owner of a chunk, if nobody is.
    pub(crate) fn own(&self, chunk: usize, vcpu: u32) -> bool {
        let owner = &self.owners[chunk];
        owner.compare_exchange(NOBODY, vcpu, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whose an identifier is.
    pub(crate) fn owner(&self, index: u32) -> u32 {
        self.owners[index as usize / CHUNK].load(Ordering::Relaxed)
    }

    /// Looks at an object's place, or what is to be there.
    fn at<A>(&self, index: u32, look: impl FnOnce(&mut Option<Object>) -> A) -> A {
        let mut objects = self.objects[index as usize / CHUNK].lock();
        if objects.is_empty() {
            objects.resize_with(CHUNK, || None);
        }
        look(&mut objects[index as usize % CHUNK])
    }

    /// An object begins, at an identifier that is free.
    pub(crate) fn put<I: ?Sized + 'static>(&self, object: Ref<I>, root: Arc<dyn Root<I>>) {
        let begun = Object { root: Box::new(root), holders: Set::EMPTY };
        self.at(object.identifier(), |place| *place = Some(begun));
    }

    /// The object's root.
    pub(crate) fn root<I: ?Sized + 'static>(
        &self,
        object: Ref<I>,
    ) -> Result<Arc<dyn Root<I>>, Gone> {
        self.at(object.identifier(), |place| root_of(place).cloned())
    }

    /// From now on the vCPU has a translation; `false` when the object's root is not this one any more.
    pub(crate) fn hold<I: ?Sized + 'static>(
        &self,
        object: Ref<I>,
        root: &Arc<dyn Root<I>>,
        vcpu: u32,
    ) -> Result<bool, Gone> {
        self.at(object.identifier(), |place| {
            let same = Arc::ptr_eq(root_of(place)?, root);
            if let Some(object) = place.as_mut().filter(|_| same) {
                object.holders.insert(vcpu);
            }
            Ok(same)
        })
    }

    /// Puts another root in place of the object's; who may have translations that are not its. They
    /// stay its holders: should the object end before they are told, it tells them as well.
    pub(crate) fn replace<I: ?Sized + 'static>(
        &self,
        object: Ref<I>,
        replace: impl FnOnce(Arc<dyn Root<I>>) -> Arc<dyn Root<I>>,
    ) -> Result<Set, Gone> {
        self.at(object.identifier(), |place| {
            let root = replace(root_of(place)?.clone());
            let object = place.as_mut().ok_or(Gone)?;
            object.root = Box::new(root);
            Ok(object.holders)
        })
    }

    /// An object ends: its root, and who has translations.
    pub(crate) fn take(&self, index: u32) -> Result<(Kept, Set), Gone> {
        let taken = self.at(index, Option::take).ok_or(Gone)?;
        Ok((taken.root, taken.holders))
    }

    /// Keeps this as long as there is a vCPU.
    pub(crate) fn keep(&self, left: impl Iterator<Item = Kept>) {
        self.left.lock().extend(left);
    }

    /// Writes to a vCPU.
    pub(crate) fn post(&self, vcpu: u32, write: impl FnOnce(&mut Mail)) {
        let mailbox = &self.mailboxes[vcpu as usize];
        let mut mail = mailbox.mail.lock();
        write(&mut mail);
        mailbox.waits.store(true, Ordering::Release);
    }

    /// Whether a vCPU has mail.
    #[inline]
    pub(crate) fn has_mail(&self, vcpu: u32) -> bool {
        self.mailboxes[vcpu as usize].waits.load(Ordering::Acquire)
    }

    /// What was written to a vCPU.
    pub(crate) fn mail(&self, vcpu: u32) -> Mail {
        let mailbox = &self.mailboxes[vcpu as usize];
        let mut mail = mailbox.mail.lock();
        mailbox.waits.store(false, Ordering::Relaxed);
        core::mem::take(&mut *mail)
    }

    /// Whether a vCPU has the token; then it sees all that the others did before they passed it on.
    pub(crate) fn has_token(&self, vcpu: u32) -> bool {
        self.token.0.load(Ordering::Acquire) == vcpu
    }

    /// The token's holder passes it on.
    pub(crate) fn pass_token(&self, vcpu: u32) {
        self.token.0.store((vcpu + 1) % self.vcpus(), Ordering::Release);
    }
}

fn root_of<I: ?Sized + 'static>(place: &Option<Object>) -> Result<&Arc<dyn Root<I>>, Gone> {
    place.as_ref().and_then(|object| object.root.downcast_ref()).ok_or(Gone)
}
