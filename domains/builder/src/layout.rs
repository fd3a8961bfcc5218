//! Where things lie in a domain's memory: each part is said once, and none covers another.

use boot_archive::write::Blob;

use crate::File;

/// Everything but kernels is put at a multiple of this, the largest page a guest's kernel has, so
/// that each part has its pages for itself.
pub const PAGE: u64 = 64 << 10;

/// A domain's memory while it is being laid out.
#[derive(Debug)]
pub struct Layout {
    memory_size: u64,
    parts: Vec<Part>,
    loads: Vec<Blob>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    what: &'static str,
    start: u64,
    end: u64,
}

/// Why something has no place in a domain's memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The memory is too small.
    #[error(
        "the domain's memory is {have} bytes, {what} ends at {end:#x}: give the domain at least {} MiB",
        end.div_ceil(2 << 20) * 2
    )]
    DoesNotFit {
        /// What has no place.
        what: &'static str,
        /// Where it would end.
        end: u64,
        /// The memory there is.
        have: u64,
    },
    /// Two parts that say themselves where they lie cover each other.
    #[error("{0} and {1} lie on each other at {2:#x}")]
    Overlap(&'static str, &'static str, u64),
}

impl Layout {
    /// Empty memory of this size.
    pub fn new(memory_size: u64) -> Layout {
        Layout { memory_size, parts: Vec::new(), loads: Vec::new() }
    }

    /// Puts `data` at `start`, the first of `size` bytes; the rest of them are zero.
    pub fn put_at(
        &mut self,
        what: &'static str,
        start: u64,
        size: u64,
        data: File,
    ) -> Result<(), LayoutError> {
        let size = size.max(data.len() as u64);
        let end = start.saturating_add(size);
        if end > self.memory_size {
            return Err(LayoutError::DoesNotFit { what, end, have: self.memory_size });
        }
        for part in &self.parts {
            if start < part.end && part.start < end {
                return Err(LayoutError::Overlap(part.what, what, start.max(part.start)));
            }
        }
        self.parts.push(Part { what, start, end });
        if !data.is_empty() {
            self.loads.push(Blob { what, guest_address: start, data });
        }
        Ok(())
    }

    /// Puts `data` on pages of its own above all there is and returns where it begins: at an
    /// address that has the same place in its page as `like`.
    pub fn put_above(
        &mut self,
        what: &'static str,
        like: u64,
        data: File,
    ) -> Result<u64, LayoutError> {
        let start = self.above() + like % PAGE;
        self.put_at(what, start, 0, data)?;
        Ok(start)
    }

    /// The first page above all there is.
    pub fn above(&self) -> u64 {
        self.parts.iter().map(|part| part.end).max().unwrap_or(0).next_multiple_of(PAGE)
    }

    /// The pages that the parts so far lie on, `(start, size)` in rising order, for the device
    /// tree's reservations.
    pub fn pages(&self) -> Vec<(u64, u64)> {
        let mut parts = self.parts.clone();
        parts.sort_by_key(|part| part.start);
        let mut pages: Vec<(u64, u64)> = Vec::new();
        for part in parts {
            let (start, end) = (part.start / PAGE * PAGE, part.end.next_multiple_of(PAGE));
            match pages.last_mut() {
                // Two segments of a kernel may share a page.
                Some((first, size)) if start <= *first + *size => *size = end - *first,
                _ => pages.push((start, end - start)),
            }
        }
        pages
    }

    /// What is to be copied, in the order it was put.
    pub fn into_loads(self) -> Vec<Blob> {
        self.loads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Parts put one above the other fit, never collide, and keep their place in the page.
        #[test]
        fn parts_above_do_not_collide(parts in prop::collection::vec((0u64..1 << 40, 1usize..200_000), 1..8)) {
            let mut layout = Layout::new(64 << 20);
            layout.put_at("kernel", 0, 5, vec![1; 3].into()).unwrap();
            for (like, size) in &parts {
                let start = layout.put_above("part", *like, vec![1; *size].into()).unwrap();
                prop_assert_eq!(start % PAGE, like % PAGE);
            }
            let pages = layout.pages();
            prop_assert!(pages.is_sorted_by(|a, b| a.0 + a.1 < b.0));
            let end = pages.last().map(|(start, size)| start + size);
            prop_assert_eq!(end, Some(layout.above()));
            prop_assert_eq!(layout.into_loads().len(), parts.len() + 1);
        }
    }

    #[test]
    fn collisions_and_lack_of_room_have_names() {
        let mut layout = Layout::new(2 << 20);
        layout.put_at("kernel", 0x1000, 0x2000, vec![1].into()).unwrap();
        let error = layout.put_at("table", 0x2fff, 1, vec![1].into()).unwrap_err();
        assert_eq!(error, LayoutError::Overlap("kernel", "table", 0x2fff));
        let error = layout.put_above("initrd", 0, vec![0; 3 << 20].into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the domain's memory is 2097152 bytes, initrd ends at 0x310000: give the domain at least 4 MiB"
        );
        assert!(layout.put_at("far", u64::MAX, 9, vec![].into()).is_err());
    }
}
