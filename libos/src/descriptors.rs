//! File descriptors: small numbers for open files. Two can stand for one open file.

use crate::files::NodeId;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;

/// The most descriptors a program has.
pub const MAX_DESCRIPTORS: usize = 1024;

/// What an open file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// The console.
    Console,
    /// A device without state: what is written is lost, what is read is ...
    Null,
    /// ... nothing (`Null`), or zeros.
    Zero,
    /// As `Zero`, but it takes nothing.
    Full,
    /// As `Zero`, but random.
    Random,
    /// A file of the root file system.
    File(NodeId),
}

impl Object {
    /// The device with these numbers, if it is one of ours.
    pub const fn device(major: u32, minor: u32) -> Option<Object> {
        match (major, minor) {
            (1, 3) => Some(Object::Null),
            (1, 5) => Some(Object::Zero),
            (1, 7) => Some(Object::Full),
            (1, 8 | 9) => Some(Object::Random),
            (5, 0 | 1) => Some(Object::Console),
            _ => None,
        }
    }
}

/// An open file.
#[derive(Debug)]
pub struct OpenFile {
    /// What it is.
    pub object: Object,
    /// Its file, for those who ask about it; the console at the start has none.
    pub node: Option<NodeId>,
    /// Where the next read begins: a byte of a file, an entry of a directory.
    pub position: Cell<u64>,
    /// Access mode and status flags, Linux's `O_*`.
    pub flags: Cell<u32>,
}

#[derive(Clone, Debug)]
struct Slot {
    file: Rc<OpenFile>,
    close_on_exec: bool,
}

/// There is no such descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadDescriptor;

/// There are no more descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// A program's descriptors.
#[derive(Clone, Debug, Default)]
pub struct Descriptors {
    slots: Vec<Option<Slot>>,
}

impl Descriptors {
    /// The lowest free descriptor, not below `least`, is the open file's.
    ///
    /// # Errors
    /// [`TooMany`] when there is none.
    pub fn open(
        &mut self,
        file: Rc<OpenFile>,
        least: u64,
        close_on_exec: bool,
    ) -> Result<u64, TooMany> {
        let least = usize::try_from(least).map_err(|_| TooMany)?;
        let free = (least..self.slots.len()).find(|number| self.slots[*number].is_none());
        let number = free.unwrap_or(self.slots.len().max(least));
        self.put(number, Slot { file, close_on_exec })
    }

    /// Descriptor `number` is the open file's, whatever it was.
    ///
    /// # Errors
    /// [`TooMany`] when the number is too large.
    pub fn set(
        &mut self,
        number: u64,
        file: Rc<OpenFile>,
        close_on_exec: bool,
    ) -> Result<u64, TooMany> {
        let number = usize::try_from(number).map_err(|_| TooMany)?;
        self.put(number, Slot { file, close_on_exec })
    }

    /// The open file of a descriptor.
    ///
    /// # Errors
    /// [`BadDescriptor`].
    pub fn get(&self, number: u64) -> Result<&Rc<OpenFile>, BadDescriptor> {
        self.slot(number).map(|slot| &slot.file)
    }

    /// Whether it goes when another program takes over.
    ///
    /// # Errors
    /// [`BadDescriptor`].
    pub fn closes_on_exec(&self, number: u64) -> Result<bool, BadDescriptor> {
        self.slot(number).map(|slot| slot.close_on_exec)
    }

    /// Says whether it goes when another program takes over.
    ///
    /// # Errors
    /// [`BadDescriptor`].
    pub fn set_close_on_exec(&mut self, number: u64, close: bool) -> Result<(), BadDescriptor> {
        let slot = usize::try_from(number).ok().and_then(|n| self.slots.get_mut(n)?.as_mut());
        slot.ok_or(BadDescriptor)?.close_on_exec = close;
        Ok(())
    }

    /// Closes a descriptor.
    ///
    /// # Errors
    /// [`BadDescriptor`].
    pub fn close(&mut self, number: u64) -> Result<(), BadDescriptor> {
        self.slot(number)?;
        self.slots[number as usize] = None;
        Ok(())
    }

    /// Another program takes over.
    pub fn exec(&mut self) {
        for slot in &mut self.slots {
            slot.take_if(|slot| slot.close_on_exec);
        }
    }

    fn slot(&self, number: u64) -> Result<&Slot, BadDescriptor> {
        let slot = usize::try_from(number).ok().and_then(|number| self.slots.get(number)?.as_ref());
        slot.ok_or(BadDescriptor)
    }

    fn put(&mut self, number: usize, slot: Slot) -> Result<u64, TooMany> {
        if number >= MAX_DESCRIPTORS {
            return Err(TooMany);
        }
        if number >= self.slots.len() {
            self.slots.resize(number + 1, None);
        }
        self.slots[number] = Some(slot);
        Ok(number as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Rc<OpenFile> {
        let (position, flags) = (Cell::new(0), Cell::new(0));
        Rc::new(OpenFile { object: Object::Null, node: None, position, flags })
    }

    #[test]
    fn the_lowest_free_number_is_next() {
        let mut table = Descriptors::default();
        for number in 0..3 {
            assert_eq!(table.open(file(), 0, number == 1), Ok(number));
        }
        table.close(0).unwrap();
        assert_eq!(table.open(file(), 1, false), Ok(3));
        assert_eq!(table.open(file(), 10, false), Ok(10));
        assert_eq!(table.open(file(), 0, false), Ok(0));
        assert_eq!(table.close(5), Err(BadDescriptor));
        assert_eq!(table.get(u64::MAX).err(), Some(BadDescriptor));
        assert_eq!(table.set(1024, file(), false), Err(TooMany));
        assert_eq!(table.open(file(), u64::MAX, false), Err(TooMany));
        table.exec();
        assert!(table.get(1).is_err() && table.get(2).is_ok());
    }

    #[test]
    fn copies_share_their_position() {
        let mut table = Descriptors::default();
        table.open(file(), 0, false).unwrap();
        let same = table.get(0).unwrap().clone();
        table.set(7, same, false).unwrap();
        table.get(7).unwrap().position.set(42);
        assert_eq!(table.get(0).unwrap().position.get(), 42);
    }
}
