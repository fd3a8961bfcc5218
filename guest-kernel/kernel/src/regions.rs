//! The regions of an address space, by address, each with its FCM's part that it shows.

use crate::fcm::{Fcm, View};
use crate::layout;
use crate::problem::Problem;
use crate::region::{Kind, Part, Region};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use k42_object::{Here, Ref};
use kernel_abi::PAGE_SIZE;

/// By address of their first byte. They do not overlap. With their lock they have lines of the cache for
/// themselves: beside it lies what every fault reads.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Regions(pub(crate) BTreeMap<u64, (Part, Ref<dyn Region>)>);

impl Regions {
    pub(crate) fn at(&self, address: u64) -> Option<&(Part, Ref<dyn Region>)> {
        let (_, found) = self.0.range(..=address).next_back()?;
        (address < found.0.end()).then_some(found)
    }

    pub(crate) fn overlapping(&self, range: &Range<u64>) -> impl Iterator<Item = &Part> {
        let first = self.at(range.start).map_or(range.start, |(part, _)| part.view.start.value());
        self.0.range(first..range.end).map(|(_, (part, _))| part)
    }

    /// The regions that `range` touches, if a program may change them all.
    pub(crate) fn programs(&self, range: &Range<u64>) -> Result<Vec<Part>, Problem> {
        check(range)?;
        let parts: Vec<Part> = self.overlapping(range).cloned().collect();
        let fixed = parts.iter().any(|part| part.kind == Kind::Fixed);
        if fixed { Err(Problem::NotPermitted) } else { Ok(parts) }
    }

    /// A region where none is. Without one, its FCM shows the part no more.
    pub(crate) fn add(&mut self, here: &Here<'_>, part: Part) -> Result<(), Problem> {
        part.fcm.show(here, None, alloc::vec![part.view.clone()])?;
        let region = part.create(here).inspect_err(|_| {
            // It shows it: it has not ended.
            let _ = hide(here, &part);
        })?;
        self.0.insert(part.view.start.value(), (part, region));
        Ok(())
    }

    /// Puts parts of a region in its place.
    pub(crate) fn replace(
        &mut self,
        here: &Here<'_>,
        old: &Part,
        new: Vec<Part>,
    ) -> Result<(), Problem> {
        let mut made = Vec::new();
        for part in &new {
            match part.create(here) {
                Ok(region) => made.push(region),
                Err(problem) => {
                    for region in made {
                        here.destroy(region)?;
                    }
                    return Err(problem);
                }
            }
        }
        if let Some((_, region)) = self.0.remove(&old.view.start.value()) {
            here.destroy(region)?;
        }
        show_instead(here, old, new.iter().map(|part| part.view.clone()).collect())?;
        let regions = new.into_iter().zip(made);
        self.0.extend(regions.map(|(part, made)| (part.view.start.value(), (part, made))));
        Ok(())
    }
}

/// An FCM shows a part no more.
pub(crate) fn hide(here: &Here<'_>, part: &Part) -> Result<(), Problem> {
    show_instead(here, part, Vec::new())
}

/// An FCM shows these in the place of a part, and ends if nobody shows anything of it.
fn show_instead(here: &Here<'_>, part: &Part, new: Vec<View>) -> Result<(), Problem> {
    if !part.fcm.show(here, Some(part.view.clone()), new)? {
        here.destroy(part.fcm)?;
    }
    Ok(())
}

/// A range of whole pages in the user's part of the address space, and not empty.
pub(crate) fn check(range: &Range<u64>) -> Result<(), Problem> {
    let aligned = (range.start | range.end).is_multiple_of(PAGE_SIZE);
    if aligned && range.start < range.end && range.end <= layout::USER_END.value() {
        Ok(())
    } else {
        Err(Problem::Invalid)
    }
}
