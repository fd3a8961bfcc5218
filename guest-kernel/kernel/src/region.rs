//! The Region: a range of an address space, the pages that it shows and what may be done there.

use crate::fcm::{Fcm, View};
use crate::problem::Problem;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use k42_lib::EffAddr;
use k42_lib::radix::Access;
use k42_lib::trace::events::mem;
use k42_object::{Clustered, Here, Ref, clustered};
use kernel_abi::{Error, PAGE_SIZE, protection};

/// What sort of region it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The program's: it may destroy it and change its protection.
    Default,
    /// The system's, there from the start: it stays as it is.
    Fixed,
    /// Refuses every access: what lies behind a stack.
    RedZone,
}

/// A range of an address space. It does not change: another takes its place.
#[clustered]
pub trait Region {
    /// Makes an access to `address`, which lies in it, possible.
    fn handle_fault(
        &self,
        here: &Here<'_>,
        address: EffAddr,
        access: Access,
    ) -> Result<(), Problem>;
}

/// What a process knows of its region.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its sort.
    pub kind: Kind,
    /// Whose pages it shows.
    pub fcm: Ref<dyn Fcm>,
    /// Which, where, and what may be done there.
    pub view: View,
}

impl Part {
    /// Address of the first byte after it.
    pub fn end(&self) -> u64 {
        let pages = self.view.pages.end - self.view.pages.start;
        self.view.start.value() + pages * PAGE_SIZE
    }

    /// The same of these addresses within it alone.
    pub fn within(&self, range: &Range<u64>) -> Part {
        let start = range.start.max(self.view.start.value());
        let end = range.end.min(self.end());
        let first = self.view.pages.start + (start - self.view.start.value()) / PAGE_SIZE;
        let pages = first..first + (end - start) / PAGE_SIZE;
        Part {
            view: View { start: EffAddr::new(start), pages, ..self.view.clone() },
            ..self.clone()
        }
    }

    /// What is left of it without these addresses: the part before them, that after them.
    pub fn outside(&self, range: &Range<u64>) -> Vec<Part> {
        let (start, end) = (self.view.start.value(), self.end());
        let parts = [start..range.start, range.end..end];
        parts
            .iter()
            .filter(|part| start <= part.start && part.start < part.end && part.end <= end)
            .map(|part| self.within(part))
            .collect()
    }

    /// A region like this.
    ///
    /// # Errors
    /// [`Problem::NoMemory`] when there are too many objects.
    pub fn create(&self, here: &Here<'_>) -> Result<Ref<dyn Region>, Problem> {
        let region: Arc<dyn Region> = match self.kind {
            Kind::Default | Kind::Fixed => Arc::new(self.clone()),
            Kind::RedZone => Arc::new(RedZone),
        };
        Ok(here.create(Clustered::shared(move |_: &Here<'_>, _| region.clone()))?)
    }
}

impl Region for Part {
    fn handle_fault(
        &self,
        here: &Here<'_>,
        address: EffAddr,
        access: Access,
    ) -> Result<(), Problem> {
        if !self.view.access.contains(access) {
            return Err(Problem::Forbidden);
        }
        let number =
            self.view.pages.start + (address.value() - self.view.start.value()) / PAGE_SIZE;
        mem::region(here, self.view.start.value(), number);
        self.fcm.map_page(here, &self.view, number, access)
    }
}

/// Refuses everything.
struct RedZone;

impl Region for RedZone {
    fn handle_fault(&self, _: &Here<'_>, _: EffAddr, _: Access) -> Result<(), Problem> {
        Err(Problem::Forbidden)
    }
}

/// What the bits of a native call's `protection` mean for the processor, which has no stores
/// without loads.
///
/// # Errors
/// [`Error::Invalid`] for bits without meaning.
pub fn access(bits: u64) -> Result<Access, Error> {
    if bits & !(protection::READ | protection::WRITE | protection::EXECUTE) != 0 {
        return Err(Error::Invalid);
    }
    let mut access = Access::empty();
    access.set(Access::READ, bits & (protection::READ | protection::WRITE) != 0);
    access.set(Access::WRITE, bits & protection::WRITE != 0);
    access.set(Access::EXECUTE, bits & protection::EXECUTE != 0);
    Ok(access)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protections_are_the_processors() {
        assert_eq!(access(protection::NONE), Ok(Access::empty()));
        assert_eq!(access(protection::WRITE), Ok(Access::READ | Access::WRITE));
        assert_eq!(access(protection::EXECUTE), Ok(Access::EXECUTE));
        assert_eq!(access(8), Err(Error::Invalid));
    }
}
