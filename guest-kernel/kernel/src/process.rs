//! The Process: an address space, as regions, and its translation.
//!
//! Nothing here waits. A region is found, its FCM gives the page, the HAT maps it; the answer is
//! that the program resumes, or why it cannot. A fault holds no lock of the process while the page is
//! found: a region that was replaced meanwhile says so, and is looked for again. Each vCPU remembers the
//! region that it found last, so that faults of vCPUs that are each in a region of their own touch nothing in
//! common.
//!
//! Who has the lock of a process may take that of an FCM, and who has that, one of the PM: in this order.

use crate::fcm::{Fcm, View};
use crate::hat::{self, Hat};
use crate::layout;
use crate::machine::{Machine, SpaceId};
use crate::pm::PageManager;
use crate::problem::Problem;
use crate::region::{Kind, Part, Region};
use crate::regions::{Regions, check, hide};
use crate::spaces::Spaces;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::mem;
use core::ops::Range;
use k42_lib::radix::Access;
use k42_lib::trace::events::mem as trace;
use k42_lib::{EffAddr, GuestAddr};
use k42_object::{Clustered, Here, Ref, clustered};
use kernel_abi::PAGE_SIZE;
use spin::{Mutex, MutexGuard};

/// The most regions an address space has. It bounds what a program can make the kernel remember: each has
/// two objects, and the domain has identifiers for some 16,000.
const MAX_REGIONS: usize = 4096;

/// What processes are made of.
#[derive(Clone)]
pub struct Memory {
    /// The domain's memory and its processors.
    pub machine: Arc<dyn Machine>,
    /// Its frames.
    pub pm: Arc<PageManager>,
    /// The numbers of address spaces.
    pub spaces: Arc<Spaces>,
}

impl Memory {
    /// A machine's, with these ranges of guest real addresses to give out, for so many vCPUs.
    pub fn new(
        machine: Arc<dyn Machine>,
        frames: impl IntoIterator<Item = Range<u64>>,
        vcpus: u32,
    ) -> Memory {
        let spaces = Arc::new(Spaces::new(machine.spaces()));
        Memory { machine, pm: Arc::new(PageManager::new(frames, vcpus)), spaces }
    }
}

/// A process's memory.
#[clustered]
pub trait Process {
    /// The number by which this vCPU knows its address space.
    fn space(&self, here: &Here<'_>) -> Result<SpaceId, Problem>;

    /// Makes an access to `address` possible: the program can then resume.
    fn handle_fault(
        &self,
        here: &Here<'_>,
        address: EffAddr,
        access: Access,
    ) -> Result<(), Problem>;

    /// Where `address` is in memory, for an access of the kernel in the program's name; made
    /// resident when it was not.
    fn translate(
        &self,
        here: &Here<'_>,
        address: EffAddr,
        access: Access,
    ) -> Result<GuestAddr, Problem>;

    /// Makes a region at `range`, which must be free, that shows all of an FCM from its first page on.
    /// The FCM is the process's, and ends when no region shows it; also when the answer is a refusal.
    fn create_region(
        &self,
        here: &Here<'_>,
        range: Range<u64>,
        kind: Kind,
        access: Access,
        fcm: Ref<dyn Fcm>,
    ) -> Result<(), Problem>;

    /// A free place for `length` bytes. [`Problem::NoMemory`] when there is none.
    fn find_free(&self, here: &Here<'_>, length: u64) -> Result<EffAddr, Problem>;

    /// Removes the parts of regions that lie in `range`, with their bytes.
    ///
    /// [`Problem::NotPermitted`] when it touches a region of the system's; nothing has changed then.
    fn destroy_regions(&self, here: &Here<'_>, range: Range<u64>) -> Result<(), Problem>;

    /// Changes the protection of the regions in `range`, which must cover all of it.
    ///
    /// As [`Process::destroy_regions`]; [`Problem::NoMemory`] when a part of `range` is in no region,
    /// as Linux says it.
    fn protect_regions(
        &self,
        here: &Here<'_>,
        range: Range<u64>,
        access: Access,
    ) -> Result<(), Problem>;

    /// A process with the same regions, and the same bytes in them, whose changes each sees alone.
    fn fork(&self, here: &Here<'_>) -> Result<Ref<dyn Process>, Problem>;

    /// Everything in it ends. What remains is an empty address space in which nothing can run, and whose
    /// object is to be destroyed.
    fn end(&self, here: &Here<'_>) -> Result<(), Problem>;
}

/// A process with an empty address space.
///
/// # Errors
/// [`Problem::NoMemory`] when there are too many objects.
pub fn create(here: &Here<'_>, memory: &Memory) -> Result<Ref<dyn Process>, Problem> {
    AddressSpace::new(here, memory.clone())?.object(here)
}

struct AddressSpace {
    memory: Memory,
    hat: Ref<dyn Hat>,
    regions: Mutex<Regions>,
    /// By vCPU.
    found: Box<[Found]>,
}

/// The region that a vCPU found last, while it is one of the process's, and its addresses. The lock is for
/// whoever has that of the regions, and changes them.
#[derive(Default)]
#[repr(align(128))]
struct Found(Mutex<Option<Placed>>);

/// A region and its addresses.
type Placed = (Range<u64>, Ref<dyn Region>);

impl AddressSpace {
    fn new(here: &Here<'_>, memory: Memory) -> Result<AddressSpace, Problem> {
        let hat = hat::create(here, &memory)?;
        let found = (0..here.vcpus()).map(|_| Found::default()).collect();
        Ok(AddressSpace { memory, hat, regions: Mutex::default(), found })
    }

    fn object(self, here: &Here<'_>) -> Result<Ref<dyn Process>, Problem> {
        let space: Arc<dyn Process> = Arc::new(self);
        Ok(here.create(Clustered::shared(move |_: &Here<'_>, _| space.clone()))?)
    }

    /// The region at an address, and where it starts.
    fn region(&self, here: &Here<'_>, address: u64) -> Result<(u64, Ref<dyn Region>), Problem> {
        let Found(found) = &self.found[here.vcpu() as usize];
        if let Some((range, region)) = &*found.lock()
            && range.contains(&address)
        {
            return Ok((range.start, *region));
        }
        let regions = self.regions.lock();
        let (part, region) = regions.at(address).ok_or(Problem::NoRegion)?;
        let start = part.view.start.value();
        *found.lock() = Some((start..part.end(), *region));
        Ok((start, *region))
    }

    /// The regions, for some to be replaced or to go. No vCPU remembers one any more, nor finds one before
    /// this is let go of.
    fn changing(&self) -> MutexGuard<'_, Regions> {
        let regions = self.regions.lock();
        self.found.iter().for_each(|Found(found)| *found.lock() = None);
        regions
    }

    /// The regions in a child's address space, and their FCMs, each of which all its regions show.
    fn fork_into(&self, here: &Here<'_>, child: &AddressSpace) -> Result<(), Problem> {
        let regions = self.regions.lock();
        let mut fcms = BTreeMap::new();
        let mut children = child.regions.lock();
        for (part, _) in regions.0.values() {
            let fcm = match fcms.get(&part.fcm.identifier()) {
                Some(fcm) => *fcm,
                None => part.fcm.fork(here)?,
            };
            fcms.insert(part.fcm.identifier(), fcm);
            let view = View { hat: child.hat, ..part.view.clone() };
            children.add(here, Part { fcm, view, kind: part.kind })?;
        }
        Ok(())
    }
}

impl Process for AddressSpace {
    fn space(&self, here: &Here<'_>) -> Result<SpaceId, Problem> {
        self.hat.space(here)
    }

    fn handle_fault(
        &self,
        here: &Here<'_>,
        address: EffAddr,
        access: Access,
    ) -> Result<(), Problem> {
        loop {
            let (start, region) = self.region(here, address.value())?;
            trace::process(here, address.value(), start);
            match region.handle_fault(here, address, access) {
                Err(Problem::Gone) => (),
                outcome => return outcome,
            }
        }
    }

    fn translate(
        &self,
        here: &Here<'_>,
        address: EffAddr,
        access: Access,
    ) -> Result<GuestAddr, Problem> {
        loop {
            match self.hat.translate(here, address)? {
                Some((at, allowed)) if allowed.contains(access) => return Ok(at),
                _ => self.handle_fault(here, address, access)?,
            }
        }
    }

    fn create_region(
        &self,
        here: &Here<'_>,
        range: Range<u64>,
        kind: Kind,
        access: Access,
        fcm: Ref<dyn Fcm>,
    ) -> Result<(), Problem> {
        let create = || {
            check(&range)?;
            let mut regions = self.regions.lock();
            if regions.overlapping(&range).next().is_some() {
                return Err(Problem::Exists);
            }
            if regions.0.len() >= MAX_REGIONS {
                return Err(Problem::NoMemory);
            }
            let pages = 0..(range.end - range.start) / PAGE_SIZE;
            let view = View { hat: self.hat, start: EffAddr::new(range.start), pages, access };
            regions.add(here, Part { kind, fcm, view })
        };
        create().inspect_err(|_| {
            // It may have ended: then there is nothing to end.
            let _ = here.destroy(fcm);
        })
    }

    fn find_free(&self, _: &Here<'_>, length: u64) -> Result<EffAddr, Problem> {
        let mut start = layout::CHOICE_START.value();
        for (region_start, (part, _)) in &self.regions.lock().0 {
            if region_start.saturating_sub(start) >= length && *region_start > start {
                break;
            }
            start = start.max(part.end());
        }
        let end = start.checked_add(length).ok_or(Problem::NoMemory)?;
        let free = end <= layout::CHOICE_END.value();
        free.then_some(EffAddr::new(start)).ok_or(Problem::NoMemory)
    }

    fn destroy_regions(&self, here: &Here<'_>, range: Range<u64>) -> Result<(), Problem> {
        let mut regions = self.changing();
        for part in regions.programs(&range)? {
            regions.replace(here, &part, part.outside(&range))?;
        }
        Ok(())
    }

    fn protect_regions(
        &self,
        here: &Here<'_>,
        range: Range<u64>,
        access: Access,
    ) -> Result<(), Problem> {
        check(&range)?;
        let mut regions = self.changing();
        let mut covered = range.start;
        for part in regions.overlapping(&range) {
            if part.view.start.value() > covered {
                return Err(Problem::NoMemory);
            }
            covered = part.end();
        }
        if covered < range.end {
            return Err(Problem::NoMemory);
        }
        for part in regions.programs(&range)? {
            let mut changed = part.within(&range);
            changed.view.access = access;
            let mut parts = part.outside(&range);
            parts.push(changed);
            parts.sort_by_key(|part| part.view.start);
            regions.replace(here, &part, parts)?;
        }
        Ok(())
    }

    fn fork(&self, here: &Here<'_>) -> Result<Ref<dyn Process>, Problem> {
        let child = AddressSpace::new(here, self.memory.clone())?;
        if let Err(problem) = self.fork_into(here, &child) {
            child.end(here)?;
            return Err(problem);
        }
        child.object(here)
    }

    fn end(&self, here: &Here<'_>) -> Result<(), Problem> {
        let regions = mem::take(&mut *self.changing());
        // Nothing is to be unmapped page by page.
        here.destroy(self.hat)?;
        for (part, region) in regions.0.into_values() {
            here.destroy(region)?;
            hide(here, &part)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
