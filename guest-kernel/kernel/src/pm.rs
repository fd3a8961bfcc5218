//! The Page Manager: who has which frame. Each vCPU has a list of free frames of its own, which it
//! fills from the domain's and empties into it, so many at a time; an allocation touches what is its
//! vCPU's alone.

use crate::problem::Problem;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use k42_lib::GuestAddr;
use k42_lib::trace::events::mem;
use k42_object::Here;
use kernel_abi::PAGE_SIZE;
use spin::Mutex;

/// So many frames go from list to list at a time.
const BATCH: usize = 8;

/// A frame: one page of guest real memory, which whoever has this has alone.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame(u32);

impl Frame {
    /// Address of its first byte.
    pub const fn address(&self) -> GuestAddr {
        GuestAddr::new(self.0 as u64 * PAGE_SIZE)
    }
}

/// Free frames. A list has lines of the cache for itself: a vCPU's own is used by it alone, but for whoever
/// looks for the last frames, and where that is found all read.
#[derive(Default)]
#[repr(align(128))]
struct List(Mutex<Vec<Frame>>);

/// The frames of the domain that are not the kernel's own.
pub struct PageManager {
    free: List,
    /// By vCPU.
    local: Box<[List]>,
}

impl PageManager {
    /// A manager of the whole frames within these ranges of guest real addresses, which do not
    /// overlap, for so many vCPUs.
    pub fn new(ranges: impl IntoIterator<Item = Range<u64>>, vcpus: u32) -> PageManager {
        let numbers = ranges
            .into_iter()
            .flat_map(|range| range.start.div_ceil(PAGE_SIZE)..range.end / PAGE_SIZE);
        let mut free: Vec<Frame> = numbers.map(|number| Frame(number as u32)).collect();
        // The lowest frame is handed out first.
        free.sort_unstable();
        free.reverse();
        let local = (0..vcpus).map(|_| List::default()).collect();
        PageManager { free: List(Mutex::new(free)), local }
    }

    fn local(&self, here: &Here<'_>) -> &Mutex<Vec<Frame>> {
        &self.local[here.vcpu() as usize].0
    }

    /// A frame; its bytes are whatever they were.
    ///
    /// # Errors
    /// [`Problem::NoMemory`] when no vCPU has one.
    pub fn allocate(&self, here: &Here<'_>) -> Result<Frame, Problem> {
        let local = self.local(here).lock().pop();
        let frame = local.or_else(|| self.refill(here)).ok_or(Problem::NoMemory)?;
        mem::frame_allocated(here, frame.address().value());
        Ok(frame)
    }

    #[cold]
    fn refill(&self, here: &Here<'_>) -> Option<Frame> {
        let mut batch = take(&mut self.free.0.lock());
        if batch.is_empty() {
            // What others have kept. One lock at a time: two that look meet nobody's.
            let others = self.local.iter().map(|list| take(&mut list.0.lock()));
            batch = others.into_iter().find(|frames| !frames.is_empty())?;
        }
        let frame = batch.pop();
        self.local(here).lock().append(&mut batch);
        frame
    }

    /// Takes a frame back.
    pub fn release(&self, here: &Here<'_>, frame: Frame) {
        mem::frame_freed(here, frame.address().value());
        let mut local = self.local(here).lock();
        local.push(frame);
        if local.len() > 2 * BATCH {
            let mut batch = take(&mut local);
            drop(local);
            self.free.0.lock().append(&mut batch);
        }
    }

    /// Takes frames back from something that has ended, wherever that is noticed.
    pub fn release_all(&self, frames: impl IntoIterator<Item = Frame>) {
        self.free.0.lock().extend(frames);
    }

    /// How many frames are free.
    pub fn free_frames(&self) -> usize {
        let local: usize = self.local.iter().map(|list| list.0.lock().len()).sum();
        local + self.free.0.lock().len()
    }
}

/// The last frames of a list, in its order.
fn take(list: &mut Vec<Frame>) -> Vec<Frame> {
    let left = list.len().saturating_sub(BATCH);
    list.split_off(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_frames_are_handed_out_and_all_come_back() {
        let vcpus = k42_object::vcpus(1);
        let here = vcpus[0].enter();
        let pm = PageManager::new([0x1_8000..0x4_8000, 0x10_0000..0x10_0000], 1);
        assert_eq!(pm.free_frames(), 2);
        let first = pm.allocate(&here).unwrap();
        let second = pm.allocate(&here).unwrap();
        assert_eq!(first.address(), GuestAddr::new(0x2_0000));
        assert_eq!(second.address(), GuestAddr::new(0x3_0000));
        assert_eq!(pm.allocate(&here), Err(Problem::NoMemory));
        pm.release(&here, first);
        assert_eq!(pm.allocate(&here).unwrap().address(), GuestAddr::new(0x2_0000));
        pm.release_all([second]);
        assert_eq!(pm.free_frames(), 1);
    }

    #[test]
    fn no_frame_is_out_of_reach_and_lists_stay_short() {
        let vcpus = k42_object::vcpus(2);
        let (here, there) = (vcpus[0].enter(), vcpus[1].enter());
        let pm = PageManager::new(Some(0..100 * PAGE_SIZE), 2);
        let all: Vec<Frame> = core::iter::from_fn(|| pm.allocate(&here).ok()).collect();
        assert_eq!(all.len(), 100);
        for frame in all {
            pm.release(&there, frame);
        }
        assert!(pm.local(&there).lock().len() <= 2 * BATCH);
        assert_eq!(pm.free_frames(), 100);
        let again = core::iter::from_fn(|| pm.allocate(&here).ok());
        let again: alloc::collections::BTreeSet<Frame> = again.collect();
        assert_eq!(again.len(), 100, "each of them once, those of the other vCPU's list, too");
    }
}
