//! The Process: an address space, as regions over FCMs, and its translation.
//!
//! Nothing here waits. A region is found, its FCM gives the page, the HAT maps it; the answer is
//! that the program resumes, or why it cannot.

use crate::fcm::{Backing, Fcm};
use crate::hat::{Hat, NoMemory};
use crate::layout;
use crate::machine::{Machine, SpaceId};
use crate::pm::PageManager;
use crate::region::{FcmId, Kind, Region};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use k42_lib::radix::Access;
use k42_lib::trace::events::mem;
use k42_lib::{EffAddr, GuestAddr};
use kernel_abi::{Error, PAGE_SIZE};

/// The most regions an address space has. It bounds what a program can make the kernel remember.
const MAX_REGIONS: usize = 8192;

/// Why an access cannot be made good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// No region there.
    NoRegion = 1,
    /// The region does not allow it.
    Forbidden,
    /// No memory for the page or for its translation.
    NoMemory,
}

/// An FCM and how many regions show it.
struct Attached {
    fcm: Fcm,
    regions: usize,
}

/// A process.
pub struct Process {
    hat: Hat,
    /// By address of their first byte. They do not overlap.
    regions: BTreeMap<u64, Region>,
    fcms: BTreeMap<FcmId, Attached>,
    next_fcm: u64,
}

impl Process {
    /// A process with an empty address space.
    ///
    /// # Errors
    /// [`NoMemory`] when there is none for its translation tables.
    pub fn new(
        space: SpaceId,
        pm: &mut PageManager,
        machine: &mut impl Machine,
    ) -> Result<Process, NoMemory> {
        let hat = Hat::new(space, pm, machine)?;
        Ok(Process { hat, regions: BTreeMap::new(), fcms: BTreeMap::new(), next_fcm: 0 })
    }

    /// The number of its address space.
    pub const fn space(&self) -> SpaceId {
        self.hat.space()
    }

    /// Makes an access to `address` possible: the program can then resume.
    ///
    /// # Errors
    /// Why it is not possible ([`Fault`]).
    pub fn handle_fault(
        &mut self,
        address: EffAddr,
        access: Access,
        pm: &mut PageManager,
        machine: &mut impl Machine,
    ) -> Result<(), Fault> {
        let page = address.align_down(PAGE_SIZE);
        let (start, region) = self.region_at(address.value()).ok_or(Fault::NoRegion)?;
        mem::process(machine, address.value(), start);
        if !region.allows(access) {
            return Err(Fault::Forbidden);
        }
        let number = region.pages(start, &(page.value()..page.value())).start;
        mem::region(machine, start, number);
        let fcm = &mut self.fcms.get_mut(&region.fcm).expect("a region has an FCM").fcm;
        let at = fcm.page(number, pm, machine).map_err(|_| Fault::NoMemory)?;
        mem::fcm(machine, number, at.value());
        if region.protection.contains(Access::EXECUTE) {
            machine.synchronize_instructions(at, PAGE_SIZE);
        }
        self.hat.map(page, at, region.protection, pm, machine).map_err(|_| Fault::NoMemory)
    }

    /// Where `address` is in memory, for an access of the kernel in the program's name; made
    /// resident when it was not.
    ///
    /// # Errors
    /// As [`Process::handle_fault`].
    pub fn translate(
        &mut self,
        address: EffAddr,
        access: Access,
        pm: &mut PageManager,
        machine: &mut impl Machine,
    ) -> Result<GuestAddr, Fault> {
        match self.hat.translate(address, pm, machine) {
            Some((at, allowed)) if allowed.contains(access) => Ok(at),
            _ => {
                self.handle_fault(address, access, pm, machine)?;
                let mapped = self.hat.translate(address, pm, machine);
                Ok(mapped.expect("a fault that was handled left a translation").0)
            }
        }
    }

    /// Makes a region at `range`, which must be free.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an impossible range, [`Error::Exists`] when something is there,
    /// [`Error::NoMemory`] when there are too many regions.
    pub fn create_region(
        &mut self,
        range: Range<u64>,
        kind: Kind,
        protection: Access,
        backing: Backing,
    ) -> Result<(), Error> {
        check(&range)?;
        if self.overlapping(&range).next().is_some() {
            return Err(Error::Exists);
        }
        if self.regions.len() >= MAX_REGIONS {
            return Err(Error::NoMemory);
        }
        let fcm = FcmId(self.next_fcm);
        self.next_fcm += 1;
        self.fcms.insert(fcm, Attached { fcm: Fcm::new(backing), regions: 1 });
        let region = Region { end: range.end, kind, protection, fcm, first_page: 0 };
        self.regions.insert(range.start, region);
        Ok(())
    }

    /// A free place for `length` bytes.
    pub fn find_free(&self, length: u64) -> Option<EffAddr> {
        let mut start = layout::CHOICE_START.value();
        for (region_start, region) in &self.regions {
            if region_start.saturating_sub(start) >= length && *region_start > start {
                break;
            }
            start = start.max(region.end);
        }
        let end = start.checked_add(length)?;
        (end <= layout::CHOICE_END.value()).then_some(EffAddr::new(start))
    }

    /// Removes the parts of regions that lie in `range`, with their bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an impossible range, [`Error::NotPermitted`] when it touches a region
    /// of the system's; nothing has changed then.
    pub fn destroy_regions(
        &mut self,
        range: Range<u64>,
        pm: &mut PageManager,
        machine: &mut impl Machine,
    ) -> Result<(), Error> {
        for (start, region) in self.cut_out(&range)? {
            self.regions.remove(&start);
            let pages = region.pages(start, &(start..region.end));
            let attached = self.fcms.get_mut(&region.fcm).expect("a region has an FCM");
            for (number, _) in attached.fcm.resident(pages.clone()) {
                let page = EffAddr::new(start + (number - pages.start) * PAGE_SIZE);
                self.hat.unmap(page, pm, machine);
            }
            attached.fcm.discard(pages, pm);
            attached.regions -= 1;
            if attached.regions == 0 {
                self.fcms.remove(&region.fcm);
            }
        }
        Ok(())
    }

    /// Changes the protection of the regions in `range`, which must cover all of it.
    ///
    /// # Errors
    /// As [`Process::destroy_regions`]; [`Error::NoMemory`] when a part of `range` is in no region,
    /// as Linux says it.
    pub fn protect_regions(
        &mut self,
        range: Range<u64>,
        protection: Access,
        pm: &mut PageManager,
        machine: &mut impl Machine,
    ) -> Result<(), Error> {
        check(&range)?;
        let mut covered = range.start;
        for (start, region) in self.overlapping(&range) {
            if start > covered {
                return Err(Error::NoMemory);
            }
            covered = region.end;
        }
        if covered < range.end {
            return Err(Error::NoMemory);
        }
        for (start, region) in self.cut_out(&range)? {
            let pages = region.pages(start, &(start..region.end));
            let fcm = &self.fcms.get(&region.fcm).expect("a region has an FCM").fcm;
            for (number, at) in fcm.resident(pages.clone()) {
                if protection.contains(Access::EXECUTE) {
                    machine.synchronize_instructions(at, PAGE_SIZE);
                }
                let page = EffAddr::new(start + (number - pages.start) * PAGE_SIZE);
                self.hat.protect(page, protection, pm, machine);
            }
            self.regions.insert(start, Region { protection, ..region });
        }
        Ok(())
    }

    fn region_at(&self, address: u64) -> Option<(u64, Region)> {
        let (start, region) = self.regions.range(..=address).next_back()?;
        (address < region.end).then_some((*start, *region))
    }

    fn overlapping(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, Region)> + '_ {
        let first = self.region_at(range.start).map_or(range.start, |(start, _)| start);
        self.regions.range(first..range.end).map(|(start, region)| (*start, *region))
    }

    /// The regions in `range`, after those that reach over its ends have been split there.
    fn cut_out(&mut self, range: &Range<u64>) -> Result<Vec<(u64, Region)>, Error> {
        check(range)?;
        if self.overlapping(range).any(|(_, region)| region.kind == Kind::Fixed) {
            return Err(Error::NotPermitted);
        }
        self.split(range.start);
        self.split(range.end);
        Ok(self.overlapping(range).collect())
    }

    /// Makes `address` a border between two regions, if it lies within one.
    fn split(&mut self, address: u64) {
        let Some((start, region)) = self.region_at(address) else { return };
        if start == address {
            return;
        }
        let first_page = region.pages(start, &(address..address)).start;
        self.regions.insert(start, Region { end: address, ..region });
        self.regions.insert(address, Region { first_page, ..region });
        self.fcms.get_mut(&region.fcm).expect("a region has an FCM").regions += 1;
    }
}

/// A range of whole pages in the user's part of the address space, and not empty.
fn check(range: &Range<u64>) -> Result<(), Error> {
    let aligned = (range.start | range.end).is_multiple_of(PAGE_SIZE);
    if aligned && range.start < range.end && range.end <= layout::USER_END.value() {
        Ok(())
    } else {
        Err(Error::Invalid)
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
