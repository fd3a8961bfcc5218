//! Locks in an order that the compiler knows.
//!
//! A program declares the levels of its locks in one place, the outermost first ([`levels!`]). To take a
//! lock one shows what is held ([`Held`]), and a lock whose level does not come after that is a program
//! that does not compile. So whoever waits for a lock holds only locks of earlier levels, and of those
//! who wait for each other the one with the latest can go on: nobody waits for ever.
//!
//! ```
//! use k42_lib::lock::{Activation, Held, Lock, Nothing};
//!
//! k42_lib::levels! { Process < Region < Fcm }
//!
//! fn grow(region: &Lock<Region, u64>, fcm: &Lock<Fcm, u64>, held: &mut Held<'_, Process>) {
//!     let mut region = region.lock(held);
//!     let (pages, held) = region.split();
//!     *pages += 1;
//!     *fcm.lock(held) += 1;
//! }
//!
//! struct Program;
//! impl Activation for Program {}
//!
//! let (process, region, fcm) = (Lock::<Process, _>::new("init"), Lock::new(0), Lock::new(0));
//! let mut program = Program;
//! let (_, mut held) = Held::nothing(&mut program);
//! grow(&region, &fcm, process.lock(&mut held).split().1);
//! grow(&region, &fcm, &mut held.as_if()); // a level is not to be missed out, nor to be held
//! assert_eq!(*fcm.lock(&mut held), 2);
//! ```
//!
//! The other way round, and the same level twice, the compiler refuses:
//!
//! ```compile_fail,E0277
//! # use k42_lib::lock::{Held, Lock, Nothing};
//! # k42_lib::levels! { Process < Region < Fcm }
//! fn wrong(region: &Lock<Region, u64>, fcm: &Lock<Fcm, u64>, held: &mut Held<'_, Nothing>) {
//!     let mut fcm = fcm.lock(held);
//!     region.lock(fcm.split().1);
//! }
//! ```
//!
//! ```compile_fail,E0277
//! # use k42_lib::lock::{Held, Lock, Nothing};
//! # k42_lib::levels! { Process < Region < Fcm }
//! fn wrong(one: &Lock<Fcm, u64>, other: &Lock<Fcm, u64>, held: &mut Held<'_, Nothing>) {
//!     let mut one = one.lock(held);
//!     other.lock(one.split().1);
//! }
//! ```
//!
//! Nor is a token good for a second lock while the first is held, for another thread, or to be had twice:
//!
//! ```compile_fail,E0499
//! # use k42_lib::lock::{Held, Lock, Nothing};
//! # k42_lib::levels! { Process < Region < Fcm }
//! fn wrong(region: &Lock<Region, u64>, fcm: &Lock<Fcm, u64>, held: &mut Held<'_, Nothing>) {
//!     let fcm = fcm.lock(held);
//!     let region = region.lock(held);
//!     drop(fcm);
//! }
//! ```
//!
//! ```compile_fail,E0277
//! # use k42_lib::lock::{Held, Lock, Nothing};
//! # k42_lib::levels! { Process < Region < Fcm }
//! fn wrong(fcm: &Lock<Fcm, u64>, held: &mut Held<'_, Nothing>) {
//!     std::thread::scope(|scope| scope.spawn(|| *fcm.lock(held)));
//! }
//! ```
//!
//! ```compile_fail,E0499
//! # use k42_lib::lock::{Activation, Held};
//! fn wrong(activation: &mut impl Activation) {
//!     let (_, mut first) = Held::nothing(activation);
//!     let (_, mut second) = Held::nothing(activation);
//!     drop((&mut first, &mut second));
//! }
//! ```
//!
//! What the types do not show: that a thread has one [`Activation`] and no more; that a guard is not
//! forgotten, after which its lock is held for ever; that what an interrupt runs takes no lock (a K42
//! kernel runs with interrupts off). Who gives up the processor to a thread of the same vCPU should
//! ask for a `&mut Held<Nothing>`, as that thread would wait for ever for what the first one holds.
//!
//! A lock is one flag, whoever finds it free has it, and who comes first is not first served. With an
//! order of service, such as tickets, a lock would be handed to a vCPU that the hypervisor has
//! preempted, and all wait until that one runs; so only a preempted holder is waited for, and
//! [`Waiting::wait`] can give the processor to it. The price: under steady contention somebody may
//! wait long. K42's locks are to be for one processor's own or held for a few hundred instructions,
//! and every wait is counted and told ([`Waiting::contended`]).

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use spin::{Mutex, MutexGuard, Once};

/// A level of locks: a type without values that [`levels!`] declares.
pub trait Level {
    /// What people call it.
    const NAME: &'static str;
}

/// Says that locks of level `Inner` may be taken while one of this level is held, and perhaps others
/// before it. [`levels!`] says it, nobody else should.
#[diagnostic::on_unimplemented(
    message = "a lock of level `{Inner}` is not taken while one of level `{Self}` is held",
    note = "the order of locks is where `levels!` declares them"
)]
pub trait Before<Inner: Level> {}

/// The level of who holds no lock: before all others.
pub enum Nothing {}

impl<L: Level> Before<L> for Nothing {}

/// Declares the levels of a program's locks, and which may be taken while which are held: the outermost
/// is the first. The types are public where the macro is.
///
/// ```
/// k42_lib::levels! {
///     /// The list of a process's regions.
///     Process <
///     /// What a region is like.
///     Region
/// }
/// ```
#[macro_export]
macro_rules! levels {
    ($($(#[$doc:meta])* $level:ident)<+) => {
        $(
            #[doc = concat!("The level `", stringify!($level), "` of locks.\n\n")]
            $(#[$doc])*
            pub enum $level {}
            impl $crate::lock::Level for $level {
                const NAME: &'static str = stringify!($level);
            }
        )+
        $crate::levels!(@before $($level)+);
    };
    (@before $outer:ident $($inner:ident)*) => {
        $(impl $crate::lock::Before<$inner> for $outer {})*
        $crate::levels!(@before $($inner)*);
    };
    (@before) => {};
}

/// What stands for one thread in system code, from its entry to its leaving. It is implemented where there
/// is one value at a time for each thread: whoever could show two would hold locks without an order,
/// and might wait for ever.
pub trait Activation {}

/// Shows that no lock is held whose level comes after `L`, and is borrowed while another is.
///
/// It is nothing at run time, and stays with its thread.
pub struct Held<'a, L> {
    level: PhantomData<fn() -> L>,
    /// Of whom it is; not to be sent.
    of: PhantomData<(&'a mut (), *const ())>,
}

impl<'a> Held<'a, Nothing> {
    /// The first token of an activation, which shows itself to others meanwhile as what is returned with it.
    #[inline]
    pub fn nothing<A: Activation>(activation: &'a mut A) -> (&'a A, Held<'a, Nothing>) {
        (activation, Held::new())
    }
}

impl<L> Held<'_, L> {
    const fn new() -> Self {
        Held { level: PhantomData, of: PhantomData }
    }

    /// The same as if a lock of a later level were held: for who asks for that.
    #[inline]
    pub fn as_if<Inner: Level>(&mut self) -> Held<'_, Inner>
    where
        L: Before<Inner>,
    {
        Held::new()
    }
}

/// A value that one thread at a time has, by a lock of level `L`.
pub struct Lock<L, T> {
    level: PhantomData<fn() -> L>,
    /// Who found it held. Nobody else touches it.
    contended: AtomicU32,
    value: Mutex<T>,
}

impl<L: Level, T> Lock<L, T> {
    /// A lock that is free.
    pub const fn new(value: T) -> Lock<L, T> {
        Lock { level: PhantomData, contended: AtomicU32::new(0), value: Mutex::new(value) }
    }

    /// Waits for the lock and holds it, until the answer is dropped.
    #[inline]
    pub fn lock<'a, Outer: Before<L>>(&'a self, _: &'a mut Held<'_, Outer>) -> Guard<'a, L, T> {
        Guard { value: self.take(), held: Held::new() }
    }

    /// Waits for two locks of the level and holds both; `None` when they are one. It is the one way to
    /// hold two of a level, and takes the one at the lower address first, whoever asks.
    pub fn both<'a, Outer: Before<L>>(
        locks: [&'a Self; 2],
        _: &'a mut Held<'_, Outer>,
    ) -> Option<Both<'a, L, T>> {
        let [one, other] = locks.map(ptr::from_ref);
        if one == other {
            return None;
        }
        let swapped = other < one;
        let [first, second] = if swapped { [locks[1], locks[0]] } else { locks };
        let (first, second) = (first.take(), second.take());
        let values = if swapped { [second, first] } else { [first, second] };
        Some(Both { values, held: Held::new() })
    }

    /// How often somebody had to wait for it, in 32 bits.
    pub fn contended(&self) -> u32 {
        self.contended.load(Relaxed)
    }

    #[inline]
    fn take(&self) -> MutexGuard<'_, T> {
        match self.value.try_lock() {
            Some(value) => value,
            None => self.wait(),
        }
    }

    #[cold]
    fn wait(&self) -> MutexGuard<'_, T> {
        let count = self.contended.fetch_add(1, Relaxed).wrapping_add(1);
        let waiting = WAITING.get().copied().unwrap_or(&Spinning);
        waiting.contended(Contended { level: L::NAME, address: ptr::from_ref(self).addr(), count });
        let mut turns = 0;
        loop {
            waiting.wait(turns);
            if let Some(value) = self.value.try_lock() {
                return value;
            }
            turns = turns.saturating_add(1);
        }
    }
}

impl<L: Level, T: Default> Default for Lock<L, T> {
    fn default() -> Self {
        Lock::new(T::default())
    }
}

/// A lock that is held.
pub struct Guard<'a, L, T> {
    value: MutexGuard<'a, T>,
    held: Held<'a, L>,
}

impl<'a, L, T> Guard<'a, L, T> {
    /// The value, and the token for further locks while this is held.
    #[inline]
    pub fn split(&mut self) -> (&mut T, &mut Held<'a, L>) {
        (&mut self.value, &mut self.held)
    }
}

impl<L, T> Deref for Guard<'_, L, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<L, T> DerefMut for Guard<'_, L, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// Two locks of a level that are held ([`Lock::both`]).
pub struct Both<'a, L, T> {
    values: [MutexGuard<'a, T>; 2],
    held: Held<'a, L>,
}

impl<'a, L, T> Both<'a, L, T> {
    /// The values, in the order in which the locks were named, and the token for further locks.
    pub fn split(&mut self) -> ([&mut T; 2], &mut Held<'a, L>) {
        let [one, other] = &mut self.values;
        ([one, other], &mut self.held)
    }
}

/// A lock that somebody has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contended {
    /// Its level.
    pub level: &'static str,
    /// Where it is.
    pub address: usize,
    /// How often somebody had to wait for it, this time included.
    pub count: u32,
}

/// What a program does where it waits for locks ([`wait_by`]). It takes none itself.
pub trait Waiting: Sync {
    /// Somebody has to wait for a lock: told once, before.
    fn contended(&self, lock: Contended);

    /// The lock is still held, and was so many times before. A kernel in a domain gives the processor
    /// up now and then, as the vCPU that holds the lock may want it.
    fn wait(&self, turns: u32);
}

static WAITING: Once<&'static dyn Waiting> = Once::new();

/// From now on all of this program's locks are waited for so. The first one who says it is heard.
pub fn wait_by(waiting: &'static dyn Waiting) {
    WAITING.call_once(|| waiting);
}

/// What is done before anything is said.
struct Spinning;

impl Waiting for Spinning {
    fn contended(&self, _: Contended) {}

    fn wait(&self, _: u32) {
        core::hint::spin_loop();
    }
}
