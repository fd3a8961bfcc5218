//! Which sizes blocks have. Up to 128 bytes they grow by 16, from there by a quarter of a power of two:
//! a block is less than 16 bytes larger than what it is for, or less than a fifth of it is wasted.

use core::alloc::Layout;
use core::cell::Cell;

/// The sizes of blocks, in bytes.
pub const SIZES: [usize; 24] = [
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024,
    1280, 1536, 1792, 2048,
];
/// All sizes are multiples of this, and so many bytes every block is aligned at least.
const STEP: usize = 16;
/// The largest block.
const LARGEST: usize = SIZES[SIZES.len() - 1];

/// A size of blocks, as an index of [`SIZES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(u8);

/// The class of what needs so many steps.
const BY_STEPS: [Class; LARGEST / STEP + 1] = {
    let mut classes = [Class(0); LARGEST / STEP + 1];
    let mut class = 0;
    let mut steps = 1;
    while steps < classes.len() {
        if steps * STEP > SIZES[class as usize] {
            class += 1;
        }
        classes[steps] = Class(class);
        steps += 1;
    }
    classes
};

impl Class {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Class> {
        (0..SIZES.len() as u8).map(Class)
    }

    /// The class whose blocks serve; none if none is large enough.
    ///
    /// A block that is aligned to its own size's largest power of two is aligned well enough if the size
    /// is a multiple of the alignment. So it is for all classes of a size that is one: where classes are
    /// farther apart than the alignment's multiples, each multiple has a class of its own size.
    #[inline(always)]
    pub(crate) fn of(layout: Layout) -> Option<Class> {
        BY_STEPS.get(steps(layout)).copied()
    }

    /// Whether there is one.
    #[inline(always)]
    pub(crate) fn serves(layout: Layout) -> bool {
        layout.size() <= LARGEST && layout.align() <= LARGEST
    }

    /// Bytes of a block.
    pub(crate) fn size(self) -> usize {
        SIZES[usize::from(self.0)]
    }
}

/// How many steps of size a block needs.
#[inline(always)]
fn steps(layout: Layout) -> usize {
    let mut size = layout.size();
    if layout.align() > STEP {
        // As large as its alignment at least, even if it is nothing.
        size = layout.pad_to_align().size().max(layout.align());
    }
    // No layout has so many bytes that this is too many.
    size.wrapping_add(STEP - 1) / STEP
}

/// Perhaps something for each class, found by a layout without a look at which class it is: in a place for
/// each number of steps.
pub(crate) struct BySteps<T>(pub(crate) [Cell<Option<T>>; PLACES]);

/// So many places are that.
pub(crate) const PLACES: usize = BY_STEPS.len();

impl<T: Copy> BySteps<T> {
    /// What serves a layout; none as well if no class does.
    #[inline(always)]
    pub(crate) fn get(&self, layout: Layout) -> Option<T> {
        self.0.get(steps(layout))?.get()
    }

    /// That of a class.
    pub(crate) fn of(&self, class: Class) -> Option<T> {
        self.0[class.size() / STEP].get()
    }

    /// Sets that of a class.
    pub(crate) fn set(&self, class: Class, value: Option<T>) {
        let smaller = usize::from(class.0).checked_sub(1).map(|class| SIZES[class] / STEP);
        let first = smaller.map_or(0, |steps| steps + 1);
        self.0[first..=class.size() / STEP].iter().for_each(|place| place.set(value));
    }
}

/// Something for each class.
pub(crate) struct ByClass<T>(pub(crate) [T; SIZES.len()]);

impl<T> ByClass<T> {
    /// That of a class.
    pub(crate) fn of(&self, class: Class) -> &T {
        &self.0[usize::from(class.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_block_is_large_enough_and_aligned_and_little_is_wasted(
            size in 1usize..3000, power in 0u32..13,
        ) {
            let layout = Layout::from_size_align(size, 1 << power).unwrap();
            let Some(class) = Class::of(layout) else {
                prop_assert!(layout.pad_to_align().size() > LARGEST);
                return Ok(());
            };
            let (block, wanted) = (class.size(), layout.pad_to_align().size());
            prop_assert!(block >= wanted && block % layout.align() == 0);
            prop_assert!(block - wanted < STEP || (block - wanted) * 5 < block);
            // No smaller one would do.
            prop_assert!(SIZES.iter().all(|size| *size >= block || *size < wanted));
        }
    }

    #[test]
    fn each_size_has_what_its_class_has() {
        let places = BySteps([const { Cell::new(None) }; PLACES]);
        for class in Class::all() {
            places.set(class, Some(class.size()));
        }
        for size in 1..3000 {
            let layout = Layout::from_size_align(size, 8).unwrap();
            let class = Class::of(layout);
            assert_eq!(places.get(layout), class.map(Class::size));
            assert_eq!(class.and_then(|class| places.of(class)), class.map(Class::size));
            assert_eq!(class.is_some(), Class::serves(layout));
        }
    }

    #[test]
    fn the_ends() {
        let of = |size| Class::of(Layout::from_size_align(size, 1).unwrap()).map(Class::size);
        assert_eq!(of(1), Some(16));
        assert_eq!(of(16), Some(16));
        assert_eq!(of(17), Some(32));
        assert_eq!(of(2048), Some(2048));
        assert_eq!(of(2049), None);
    }
}
