//! The numbers by which processors know address spaces. There are so many as the machine's process
//! table has entries; one is in use for each process on each vCPU where it has run.

use crate::machine::SpaceId;
use alloc::vec::Vec;
use spin::Mutex;

/// A number that is in use, by whoever has this.
#[derive(Debug)]
pub struct Space(SpaceId);

impl Space {
    /// The number.
    pub const fn id(&self) -> SpaceId {
        self.0
    }
}

/// The numbers that are free.
pub struct Spaces(Mutex<Vec<Space>>);

impl Spaces {
    /// All of a machine that has so many. Number 0 is the kernel's own.
    pub fn new(count: u16) -> Spaces {
        Spaces(Mutex::new((1..count).rev().map(|number| Space(SpaceId(number))).collect()))
    }

    /// A number, if one is free.
    pub fn allocate(&self) -> Option<Space> {
        self.0.lock().pop()
    }

    /// Takes numbers back.
    pub fn release(&self, spaces: impl IntoIterator<Item = Space>) {
        self.0.lock().extend(spaces);
    }
}
