//! One vCPU's own: its translation table with the reps that it holds, its identifiers, and the objects
//! whose end it waits for ([`crate::cleaner`]). No other vCPU looks at any of it, so there are no locks.

use crate::cleaner::Ending;
use crate::generation::{Generations, Marker};
use crate::here::Here;
use crate::interface::Interface;
use crate::kinds;
use crate::reference::Ref;
use crate::space::Space;
use crate::table::{Slot, Table, slot};
use crate::trace::{Buffer, nowhere};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::{Any, TypeId};
use core::cell::{Cell, RefCell};

/// The most vCPUs that share objects.
pub const MAX_VCPUS: u32 = u64::BITS;

/// Makes the vCPUs of a domain, or threads that stand for them: they share objects. Each is then given
/// to whoever runs on that vCPU.
///
/// Every one must call [`Vcpu::clean`] now and then. While one does not, objects that end anywhere keep
/// their roots and identifiers; whoever has the `Vcpu` of one that does not run calls it for that one.
///
/// # Panics
/// For none, and for more than [`MAX_VCPUS`].
pub fn vcpus(count: u32) -> Vec<Vcpu> {
    assert!((1..=MAX_VCPUS).contains(&count), "1 to {MAX_VCPUS} vCPUs, not {count}");
    let space = Arc::new(Space::new(count));
    (0..count).map(|number| Vcpu::new(number, space.clone())).collect()
}

/// What a vCPU has in its table of one object.
struct Held {
    /// An `Arc<I>`: keeps the rep that the table points to.
    rep: Box<dyn Any + Send>,
    /// What the table has without it.
    miss: Slot,
}

/// A vCPU's part in translating references and ending objects.
///
/// It is its vCPU's alone: it may be sent there, but is not shared. Threads of the vCPU that take turns
/// where they call something each have an activation; an interrupt that comes in between must not enter.
/// Nothing here waits, but for locks that are held for a few instructions.
pub struct Vcpu {
    pub(crate) number: u32,
    /// The space's number: a load less away.
    pub(crate) set: u64,
    pub(crate) space: Arc<Space>,
    pub(crate) generations: Generations,
    held: RefCell<BTreeMap<u32, Held>>,
    /// Reps that the table has no more, with the moment since when. In the order of these.
    pub(crate) limbo: RefCell<VecDeque<(Marker, Box<dyn Any + Send>)>>,
    /// Identifiers for new objects; what has been free longest comes first.
    free: RefCell<BTreeMap<TypeId, VecDeque<u32>>>,
    /// Objects ended here that wait for the token to come.
    pub(crate) ended: RefCell<Vec<Ending>>,
    /// Those it goes round for.
    pub(crate) round: RefCell<Vec<Ending>>,
    /// When the token came, if it is here.
    pub(crate) token_since: Cell<Option<Marker>>,
    /// Where its events go.
    pub(crate) buffer: Cell<&'static Buffer>,
}

impl Vcpu {
    fn new(number: u32, space: Arc<Space>) -> Vcpu {
        Vcpu {
            number,
            set: space.number,
            space,
            generations: Generations::new(),
            held: RefCell::default(),
            limbo: RefCell::default(),
            free: RefCell::default(),
            ended: RefCell::default(),
            round: RefCell::default(),
            token_since: Cell::new(None),
            buffer: Cell::new(nowhere()),
        }
    }

    /// An activation begins: something on this vCPU may call objects until the answer is dropped.
    ///
    /// Of an object that has ended before, by whomever, it gets [`crate::Gone`]. An activation that
    /// never ends holds up the end of all objects; those that are forgotten do so for ever.
    #[inline]
    pub fn enter(&self) -> Here<'_> {
        self.read_mail();
        Here::new(self)
    }

    /// From now on events of activations that begin go here.
    pub fn trace_to(&self, buffer: &'static Buffer) {
        self.buffer.set(buffer);
    }

    pub(crate) fn table(&self) -> &Table {
        &self.space.tables.0[self.number as usize]
    }

    /// Whether the table has a rep of this object.
    pub(crate) fn holds(&self, index: u32) -> bool {
        self.held.borrow().contains_key(&index)
    }

    /// Puts a rep in the table, where there is none yet.
    pub(crate) fn install<I: Interface + ?Sized>(&self, object: Ref<I>, rep: Arc<I>) {
        let slot = slot(self.table(), object.identifier());
        let found = Slot::of(&*rep);
        let held = Held { rep: Box::new(rep), miss: slot.copy() };
        self.held.borrow_mut().insert(object.identifier(), held);
        slot.set(&found);
    }

    /// Takes a rep out of the table: the next call misses. It lives on while somebody may be in it.
    pub(crate) fn forget(&self, index: u32) {
        let held = self.held.borrow_mut().remove(&index);
        if let Some(held) = held {
            slot(self.table(), index).set(&held.miss);
            self.limbo.borrow_mut().push_back((self.generations.now(), held.rep));
        }
    }

    /// An identifier for a new object of an interface. `None` when there is none left.
    pub(crate) fn identifier<I: Interface + ?Sized>(&self) -> Option<Ref<I>> {
        self.read_mail();
        let mut free = self.free.borrow_mut();
        let free = free.entry(TypeId::of::<I>()).or_default();
        if free.is_empty() {
            let claimed = kinds::claim::<I>(|chunk| self.space.own(chunk, self.number))?;
            free.extend(claimed.map(Ref::identifier));
        }
        free.pop_front().map(Ref::new)
    }

    /// Takes back an identifier of this vCPU's.
    pub(crate) fn reuse(&self, interface: TypeId, index: u32) {
        self.free.borrow_mut().entry(interface).or_default().push_back(index);
    }

    /// Does what others have asked for.
    #[inline]
    pub(crate) fn read_mail(&self) {
        if self.space.has_mail(self.number) {
            self.take_mail();
        }
    }

    #[cold]
    fn take_mail(&self) {
        let mail = self.space.mail(self.number);
        mail.forget.into_iter().for_each(|index| self.forget(index));
        mail.free.into_iter().for_each(|(interface, index)| self.reuse(interface, index));
    }
}
