//! The resident pages of an FCM, by page number: in chunks of as many as a table of the last level
//! translates, so that neighbours are found where the first one was.

use crate::pm::Frame;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// Pages of a chunk.
const CHUNK: u64 = 32;

type Chunk = Box<[Option<Frame>; CHUNK as usize]>;

/// Frames by page number.
#[derive(Default)]
pub struct Frames {
    chunks: BTreeMap<u64, Chunk>,
    count: usize,
}

impl Frames {
    /// The page's frame.
    pub fn get(&self, number: u64) -> Option<&Frame> {
        self.chunks.get(&(number / CHUNK))?[(number % CHUNK) as usize].as_ref()
    }

    /// From now on this is the page's frame; the answer is what was before.
    pub fn insert(&mut self, number: u64, frame: Frame) -> Option<Frame> {
        let chunk = self.chunks.entry(number / CHUNK);
        let chunk = chunk.or_insert_with(|| Box::new([const { None }; CHUNK as usize]));
        let before = chunk[(number % CHUNK) as usize].replace(frame);
        self.count += usize::from(before.is_none());
        before
    }

    /// The page has no frame any more; the answer is the one that it had.
    pub fn remove(&mut self, number: u64) -> Option<Frame> {
        let frame = self.chunks.get_mut(&(number / CHUNK))?[(number % CHUNK) as usize].take();
        self.count -= usize::from(frame.is_some());
        frame
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The numbers of those there are among `pages`.
    pub fn numbers(&self, pages: Range<u64>) -> Vec<u64> {
        let chunks = self.chunks.range(pages.start / CHUNK..pages.end.div_ceil(CHUNK));
        let there = chunks.flat_map(|(chunk, frames)| {
            let numbers = (chunk * CHUNK..).zip(frames.iter());
            numbers.filter_map(|(number, frame)| frame.is_some().then_some(number))
        });
        there.filter(|number| pages.contains(number)).collect()
    }

    /// All, with their numbers.
    pub fn into_frames(self) -> impl Iterator<Item = (u64, Frame)> {
        self.chunks.into_iter().flat_map(|(chunk, frames)| {
            let frames = (chunk * CHUNK..).zip(*frames);
            frames.filter_map(|(number, frame)| Some((number, frame?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pm::PageManager;
    use kernel_abi::PAGE_SIZE;
    use proptest::prelude::*;

    proptest! {
        /// It is a map.
        #[test]
        fn frames_are_a_map(steps in prop::collection::vec((0u64..200, any::<bool>()), 1..100), part in 0u64..200) {
            let vcpus = k42_object::vcpus(1);
            let here = vcpus[0].enter();
            let pm = PageManager::new(Some(0..1000 * PAGE_SIZE), 1);
            let (mut frames, mut model) = (Frames::default(), BTreeMap::new());
            for (number, put) in steps {
                let before = model.get(&number).copied();
                let had = if put {
                    let frame = pm.allocate(&here).unwrap();
                    model.insert(number, frame.address());
                    frames.insert(number, frame)
                } else {
                    model.remove(&number);
                    frames.remove(number)
                };
                prop_assert_eq!(had.map(|frame| frame.address()), before);
                prop_assert_eq!(frames.get(number).map(Frame::address), model.get(&number).copied());
                prop_assert_eq!(frames.count(), model.len());
            }
            let among: Vec<u64> = model.range(part..part + 50).map(|(number, _)| *number).collect();
            prop_assert_eq!(frames.numbers(part..part + 50), among);
            let all = frames.into_frames().map(|(number, frame)| (number, frame.address()));
            prop_assert!(all.eq(model));
        }
    }
}
