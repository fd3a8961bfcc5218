//! The Page Manager: who has which frame. Today one for the domain; the FCMs are its clients.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use k42_lib::GuestAddr;
use kernel_abi::PAGE_SIZE;

/// A frame: one page of guest real memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame(u32);

impl Frame {
    /// Address of its first byte.
    pub const fn address(self) -> GuestAddr {
        GuestAddr::new(self.0 as u64 * PAGE_SIZE)
    }
}

/// The frames of the domain that are not the kernel's own, each with a count of its users.
pub struct PageManager {
    /// Indexed by frame number; 0 is free, or was never ours.
    users: Vec<u16>,
    free: Vec<Frame>,
}

impl PageManager {
    /// A manager of the whole frames within these ranges of guest real addresses.
    pub fn new(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut free = Vec::new();
        let mut end = 0;
        for range in ranges {
            let frames = range.start.div_ceil(PAGE_SIZE)..range.end / PAGE_SIZE;
            end = end.max(frames.end);
            free.extend(frames.map(|number| Frame(number as u32)));
        }
        // The lowest frame is handed out first.
        free.sort_unstable();
        free.reverse();
        PageManager { users: vec![0; end as usize], free }
    }

    /// A frame with one user; its bytes are whatever they were. `None` when memory is short.
    pub fn allocate(&mut self) -> Option<Frame> {
        let frame = self.free.pop()?;
        self.users[frame.0 as usize] = 1;
        Some(frame)
    }

    /// One user less; the last one gives the frame back.
    pub fn release(&mut self, frame: Frame) {
        let users = &mut self.users[frame.0 as usize];
        *users = users.checked_sub(1).expect("a frame was released more often than it was taken");
        if *users == 0 {
            self.free.push(frame);
        }
    }

    /// How many frames are free.
    pub fn free_frames(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_frames_are_handed_out_and_all_come_back() {
        let mut pm = PageManager::new([0x1_8000..0x4_8000, 0x10_0000..0x10_0000]);
        assert_eq!(pm.free_frames(), 2);
        let first = pm.allocate().unwrap();
        let second = pm.allocate().unwrap();
        assert_eq!(first.address(), GuestAddr::new(0x2_0000));
        assert_eq!(second.address(), GuestAddr::new(0x3_0000));
        assert_eq!(pm.allocate(), None);
        pm.release(first);
        assert_eq!(pm.allocate(), Some(first));
    }

    #[test]
    #[should_panic(expected = "released more often")]
    fn releasing_twice_is_a_bug() {
        let mut pm = PageManager::new(Some(0..0x1_0000));
        let frame = pm.allocate().unwrap();
        pm.release(frame);
        pm.release(frame);
    }
}
