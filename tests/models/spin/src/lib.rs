//! Stands in for the crate `spin` where the models are built: the same names, on shuttle's mutex.
//! To take and to let go of a lock is then where shuttle may let another thread run, and it knows
//! who waits for whom. [`mutex::SpinMutex`] is not shuttle's: it is for what outlives a schedule.
#![forbid(unsafe_code)]

pub use shuttle::sync::MutexGuard;
use std::sync::{OnceLock, PoisonError, TryLockError};

/// As `spin::Mutex`: a thread that dies leaves no poison.
#[derive(Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex that nobody holds.
    #[track_caller]
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    /// Waits for the mutex and holds it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the mutex if nobody does.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// As `spin::Once`, for statics: it outlives a schedule.
pub struct Once<T>(OnceLock<T>);

impl<T> Once<T> {
    /// Nothing yet.
    #[allow(clippy::new_without_default)] // as there
    pub const fn new() -> Once<T> {
        Once(OnceLock::new())
    }

    /// What is there, or what this makes.
    pub fn call_once(&self, make: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(make)
    }

    /// What is there, if something is.
    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }
}

/// The mutexes by their own names.
pub mod mutex {
    use std::sync::{MutexGuard, PoisonError};

    /// As `spin::mutex::SpinMutex`, for statics: what shuttle has of one schedule it must not meet in
    /// the next. Nobody lets another thread run who holds it.
    pub struct SpinMutex<T>(std::sync::Mutex<T>);

    impl<T> SpinMutex<T> {
        /// A mutex that nobody holds.
        pub const fn new(value: T) -> SpinMutex<T> {
            SpinMutex(std::sync::Mutex::new(value))
        }

        /// Waits for the mutex and holds it.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
