//! The File Cache Manager: the frames that hold the bytes of one file, or of one piece of memory
//! that is no file.

use crate::machine::Machine;
use crate::pm::{Frame, PageManager};
use alloc::collections::BTreeMap;
use core::ops::Range;
use k42_lib::GuestAddr;
use k42_lib::trace::events::mem;
use kernel_abi::PAGE_SIZE;

/// Some bytes of guest real memory, that nobody changes: the root file system image or a part of
/// it, the device tree, a segment of the system library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where they start; need not be aligned.
    pub start: GuestAddr,
    /// How many there are.
    pub size: u64,
}

/// Where an FCM's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// From nowhere: zeros (K42's computation FCM).
    Computation,
    /// A private copy, page by page, of an image; zeros after it.
    Copy(Image),
    /// The image itself, from this page-aligned address on (K42's fixed FCM).
    Fixed(GuestAddr),
}

/// There is no memory for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// A cache of pages, numbered from the start of the file.
pub struct Fcm {
    backing: Backing,
    resident: BTreeMap<u64, Frame>,
}

impl Fcm {
    /// An FCM with no page resident.
    pub fn new(backing: Backing) -> Self {
        Fcm { backing, resident: BTreeMap::new() }
    }

    /// The address of the memory that holds page `number`, filled now if it was not resident.
    ///
    /// # Errors
    /// [`NoMemory`] when it needs a frame and there is none.
    pub fn page(
        &mut self,
        number: u64,
        pm: &mut PageManager,
        machine: &mut impl Machine,
    ) -> Result<GuestAddr, NoMemory> {
        if let Backing::Fixed(start) = self.backing {
            return Ok(start.offset(number.wrapping_mul(PAGE_SIZE)));
        }
        if let Some(frame) = self.resident.get(&number) {
            return Ok(frame.address());
        }
        let frame = pm.allocate().ok_or(NoMemory)?;
        let page = frame.address();
        mem::frame_allocated(machine, page.value());
        let filled = match self.backing {
            Backing::Copy(image) => fill(machine, page, image, number.saturating_mul(PAGE_SIZE)),
            _ => 0,
        };
        machine.zero(page.offset(filled), PAGE_SIZE - filled);
        self.resident.insert(number, frame);
        Ok(page)
    }

    /// The resident pages among `pages`, with their addresses.
    pub fn resident(&self, pages: Range<u64>) -> impl Iterator<Item = (u64, GuestAddr)> + '_ {
        self.resident.range(pages).map(|(number, frame)| (*number, frame.address()))
    }

    /// Forgets `pages` and gives their frames back. No translation to them may be left.
    pub fn discard(&mut self, pages: Range<u64>, pm: &mut PageManager) {
        let mut tail = self.resident.split_off(&pages.start);
        let mut after = tail.split_off(&pages.end);
        for frame in tail.into_values() {
            pm.release(frame);
        }
        self.resident.append(&mut after);
    }
}

/// Copies what the image has of the page at `offset`; returns how many bytes that was.
fn fill(machine: &mut impl Machine, page: GuestAddr, image: Image, offset: u64) -> u64 {
    let bytes = image.size.saturating_sub(offset).min(PAGE_SIZE);
    if bytes != 0 {
        machine.copy(page, image.start.offset(offset), bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn bytes(machine: &Fake, at: GuestAddr, count: usize) -> alloc::vec::Vec<u8> {
        let mut bytes = alloc::vec![0; count];
        machine.load_bytes(at, &mut bytes);
        bytes
    }

    #[test]
    fn a_copy_ends_in_zeros_and_is_made_once() {
        let (mut machine, mut pm) = Fake::with_frames(4);
        let start = machine.place_image(b"some bytes of a file");
        let mut fcm = Fcm::new(Backing::Copy(Image { start: start.offset(5), size: 5 }));
        let page = fcm.page(0, &mut pm, &mut machine).unwrap();
        assert_eq!(bytes(&machine, page, 8), b"bytes\0\0\0");
        assert_eq!(fcm.page(0, &mut pm, &mut machine), Ok(page));
        let beyond = fcm.page(7, &mut pm, &mut machine).unwrap();
        assert_eq!(bytes(&machine, beyond, 4), [0; 4]);
        assert_eq!(fcm.resident(0..u64::MAX).count(), 2);
    }

    #[test]
    fn old_bytes_never_show_and_discarded_frames_come_back() {
        let (mut machine, mut pm) = Fake::with_frames(1);
        let mut fcm = Fcm::new(Backing::Computation);
        let page = fcm.page(3, &mut pm, &mut machine).unwrap();
        machine.poke(page, b"secret");
        assert_eq!(fcm.page(4, &mut pm, &mut machine), Err(NoMemory));
        fcm.discard(4..9, &mut pm);
        assert_eq!(pm.free_frames(), 0);
        fcm.discard(0..4, &mut pm);
        assert_eq!(pm.free_frames(), 1);
        let again = fcm.page(0, &mut pm, &mut machine).unwrap();
        assert_eq!(bytes(&machine, again, 6), [0; 6]);
    }
}
