//! The File Cache Manager: the frames that hold the bytes of one file, or of one piece of memory that
//! is no file, and where in which address spaces they are seen.
//!
//! Regions *show* pages of an FCM. The FCM maps a page, and unmaps it, with its own lock held: so no
//! frame is mapped that has been given away meanwhile, and no page of a region that is gone.
//!
//! [`computation`] has those of anonymous memory and of private copies, which a fork can copy;
//! [`fixed`] those whose frames were there before.

pub mod computation;
pub mod fixed;
pub mod frames;

use crate::hat::Hat;
use crate::problem::Problem;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use k42_lib::radix::Access;
use k42_lib::{EffAddr, GuestAddr};
use k42_object::{Here, Ref, clustered};
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

/// Pages of an FCM, by their numbers, as a region shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// In whose address space.
    pub hat: Ref<dyn Hat>,
    /// Where the first of them is.
    pub start: EffAddr,
    /// Which.
    pub pages: Range<u64>,
    /// What may be done there.
    pub access: Access,
}

impl View {
    /// Where the page with this number is seen.
    fn address(&self, number: u64) -> EffAddr {
        self.start.offset((number - self.pages.start) * PAGE_SIZE)
    }

    /// What it is known by: no two begin at one place of one address space.
    fn key(&self) -> Key {
        (self.hat.identifier(), self.start)
    }
}

type Key = (u32, EffAddr);

/// The cache of a file's pages.
#[clustered]
pub trait Fcm {
    /// What `old` shows is from now on shown by `new`, which lie within it in their order, or, without an
    /// `old`, shown for the first time. What none of them shows any more is unmapped, and given back if
    /// nobody could see it again. The answer is whether anybody shows anything.
    fn show(&self, here: &Here<'_>, old: Option<View>, new: Vec<View>) -> Result<bool, Problem>;

    /// Maps the page `number` where `view` shows it, for an access of this sort that is allowed there,
    /// with its bytes in a frame from now on.
    ///
    /// [`Problem::Gone`] when that view is not there any more.
    fn map_page(
        &self,
        here: &Here<'_>,
        view: &View,
        number: u64,
        access: Access,
    ) -> Result<(), Problem>;

    /// An FCM with the same bytes, whose changes each sees alone from now on.
    fn fork(&self, here: &Here<'_>) -> Result<Ref<dyn Fcm>, Problem>;
}

/// Who shows an FCM's pages.
#[derive(Default)]
struct Views(BTreeMap<Key, View>);

impl Views {
    /// The view like this one that there is now, if it shows the page.
    fn find(&self, like: &View, number: u64) -> Result<&View, Problem> {
        let found = self.0.get(&like.key()).filter(|view| view.pages.contains(&number));
        found.ok_or(Problem::Gone)
    }

    fn shows(&self, number: u64) -> bool {
        self.0.values().any(|view| view.pages.contains(&number))
    }

    /// Everywhere that a page is seen.
    fn of(&self, number: u64) -> impl Iterator<Item = &View> {
        self.0.values().filter(move |view| view.pages.contains(&number))
    }

    /// Puts these in the place of that one. What was seen of that one and is not, or with less rights,
    /// is unmapped; what there is to see now, the next access says.
    fn replace(&mut self, here: &Here<'_>, old: Option<View>, new: Vec<View>) {
        if let Some(old) = old.and_then(|old| self.0.remove(&old.key())) {
            let unmap = |pages: Range<u64>| {
                let range = old.address(pages.start)..old.address(pages.end);
                // An address space that has ended has forgotten all.
                let _ = old.hat.unmap(here, range);
            };
            let mut from = old.pages.start;
            for view in new.iter().filter(|view| view.access.contains(old.access)) {
                unmap(from..view.pages.start);
                from = view.pages.end;
            }
            unmap(from..old.pages.end);
        }
        self.0.extend(new.into_iter().map(|view| (view.key(), view)));
    }
}
