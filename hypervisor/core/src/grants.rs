//! Pages that one domain lends to another: grant tables of version 1 (xen/grant_table.h), and pages
//! that a controller maps.
//!
//! The lender's table is in pages it shares with the hypervisor. An entry of it is read once, and
//! marked in use only if it still says the same: its domain and the borrower's other vCPUs change
//! what they like meanwhile. A frame counts its mappings ([`crate::frames`]), so that the lender's
//! death takes nothing from a borrower. How often an entry is in use and what a domain has mapped
//! stand behind the table, in pages of the same frame that no guest can map.

#[cfg(feature = "walker")]
pub(crate) mod walker;

use crate::Hypervisor;
use crate::domain::{Domain, DomainId};
use crate::frames::Owner;
use crate::machine::{Machine, Storage};
use k42_lib::radix::Access;
use k42_lib::{GuestAddr, RealAddr};
use xen_sys::grant_table::*;

/// A page, as Xen counts memory.
pub const PAGE: u64 = 1 << 12;
/// Pages of a domain's grant table.
pub const TABLE_PAGES: u64 = 6;
const ENTRIES: u32 = 3072;
const NO_ROOM: i16 = GNTST_NO_DEVICE_SPACE;
/// The most mappings of others' pages that a domain has.
pub const MAPPINGS: u32 = 1024;

/// Offsets in the frame that a domain shares with the hypervisor, whose first page is `shared_info`.
pub(crate) mod offset {
    use super::{PAGE, TABLE_PAGES};
    /// The grant table, as guests map it.
    pub(crate) const TABLE: u64 = PAGE;
    /// For each of its entries how often it is in use; in the upper half, how often to be written.
    pub(crate) const USES: u64 = TABLE + TABLE_PAGES * PAGE;
    /// What the domain has mapped, by handle.
    pub(super) const MAPPINGS: u64 = USES + TABLE_PAGES * PAGE;
}

const READING: u64 = GTF_READING as u64;
const IN_USE: u64 = READING | GTF_WRITING as u64;
/// Stands for an entry where a controller has mapped a page without one.
pub(crate) const NO_ENTRY: u32 = 0x3fff;

/// A mapping of another domain's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Where it is.
    pub at: GuestAddr,
    /// Whose page it is.
    pub lender: DomainId,
    /// By which entry of the lender's table, or [`NO_ENTRY`].
    pub reference: u32,
    /// Not only to be read.
    pub write: bool,
}

impl Mapping {
    fn one_use(self) -> u64 {
        1 | u64::from(self.write) << 32
    }

    /// Bits 12..52 of the address in the upper 40, lender in 8, reference in 14, write, 1.
    fn encode(self) -> u64 {
        let lender = u64::from(self.lender.number()) << 16;
        self.at.value() << 12
            | lender
            | u64::from(self.reference) << 2
            | u64::from(self.write) << 1
            | 1
    }

    fn decode(word: u64) -> Option<Mapping> {
        let lender = DomainId::new((word >> 16 & 0xff) as u16)?;
        let (reference, write) = ((word >> 2) as u32 & NO_ENTRY, word & 2 != 0);
        Some(Mapping { at: GuestAddr::new(word >> 12 & !(PAGE - 1)), lender, reference, write })
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Maps the page behind an entry of another domain's table, or for a controller `foreign`, a
    /// page of that domain's memory; gives the handle to unmap it by.
    pub(crate) fn map_lent(
        &self,
        own: DomainId,
        mapping: Mapping,
        foreign: Option<GuestAddr>,
    ) -> Result<u32, i16> {
        let (mut mine, theirs) = self.pair(own, mapping.lender).ok_or(GNTST_BAD_DOMAIN)?;
        let (mine, theirs) = mine.as_mut().zip(theirs.as_ref()).ok_or(GNTST_BAD_DOMAIN)?;
        let page = match foreign {
            Some(page) => theirs.memory.own_page(&self.machine, page).ok_or(GNTST_BAD_PAGE)?,
            None => self.take(theirs, own, mapping)?,
        };
        let mapped = self.map_and_note(mine, page, mapping);
        if mapped.is_err() {
            self.let_go(theirs, mapping);
        }
        mapped
    }

    /// Maps another domain's page and notes it; the handle.
    fn map_and_note(
        &self,
        mine: &mut Domain,
        page: RealAddr,
        mapping: Mapping,
    ) -> Result<u32, i16> {
        let mut handles = (mine.handle..MAPPINGS).chain(0..mine.handle);
        let free = handles.find(|h| self.mapping(mine, *h).is_none());
        let (handle, place) = free.and_then(|h| Some((h, place(mine, h)?))).ok_or(NO_ROOM)?;
        let mut frames = self.frames.lock();
        if !frames.lend(page) {
            return Err(NO_ROOM);
        }
        let access = if mapping.write { Access::READ | Access::WRITE } else { Access::READ };
        let mut change = mine.memory.change(&self.machine, &mut frames);
        if change.map_page(mapping.at, page, access).is_err() {
            frames.give_back(page);
            return Err(GNTST_BAD_VIRT_ADDR);
        }
        self.machine.store_entry(place, mapping.encode());
        mine.handle = handle;
        Ok(handle)
    }

    /// Undoes a mapping that is as `wanted` wants it.
    pub(crate) fn unmap_lent(
        &self,
        own: DomainId,
        handle: u32,
        wanted: impl Fn(&Mapping) -> bool,
    ) -> Result<(), i16> {
        let mapping = self.domain(own).as_ref().and_then(|d| self.mapping(d, handle));
        let mapping = mapping.filter(wanted).ok_or(GNTST_BAD_HANDLE)?;
        let (mut mine, theirs) = self.pair(own, mapping.lender).ok_or(GNTST_BAD_HANDLE)?;
        // Another vCPU of the domain may have been first.
        let mine = mine.as_mut().filter(|d| self.mapping(d, handle) == Some(mapping));
        let (mine, place) =
            mine.and_then(|d| place(d, handle).map(|p| (d, p))).ok_or(GNTST_BAD_HANDLE)?;
        let page = mine.memory.unmap_page(&self.machine, mapping.at).ok_or(GNTST_BAD_HANDLE)?;
        self.machine.store_entry(place, 0);
        mine.handle = handle;
        // A frame that its lender does not own any more was lent by a domain that is gone, with its
        // table, whoever has its number now.
        let owner = self.frames.lock().give_back(page);
        let lives = owner == Some(Owner::domain(mapping.lender.number()));
        if let Some(theirs) = theirs.as_ref().filter(|_| lives) {
            self.let_go(theirs, mapping);
        }
        Ok(())
    }

    /// Undoes all mappings of a domain, which makes no more.
    pub(crate) fn unmap_all_lent(&self, own: DomainId) {
        for handle in 0..MAPPINGS {
            let _ = self.unmap_lent(own, handle, |_| true); // an error says there was none
        }
    }

    /// Copies between a page of the domain's own and the one behind an entry, which is to be written
    /// or to be read: `far.at` is the offset in it.
    pub(crate) fn copy_lent(
        &self,
        own: DomainId,
        near: GuestAddr,
        far: Mapping,
        length: u64,
    ) -> Result<(), i16> {
        let (mine, theirs) = self.pair(own, far.lender).ok_or(GNTST_BAD_DOMAIN)?;
        let (mine, theirs) = mine.as_ref().zip(theirs.as_ref()).ok_or(GNTST_BAD_DOMAIN)?;
        let here = mine.memory.own_page(&self.machine, near).ok_or(GNTST_BAD_PAGE)?;
        let there = self.take(theirs, own, far)?.offset(far.at.value());
        let (from, to) = if far.write { (here, there) } else { (there, here) };
        self.machine.copy(from, to, length);
        self.let_go(theirs, far);
        Ok(())
    }

    /// The mapping with this handle.
    pub(crate) fn mapping(&self, domain: &Domain, handle: u32) -> Option<Mapping> {
        Mapping::decode(self.machine.load_entry(place(domain, handle)?))
    }

    /// Marks an entry as in use by `user`; the page behind it.
    fn take(&self, lender: &Domain, user: DomainId, wanted: Mapping) -> Result<RealAddr, i16> {
        let (entry_at, uses_at) = entry(lender, wanted).ok_or(GNTST_BAD_GNTREF)?;
        let entry = self.machine.fetch_or(entry_at, 0);
        let (flags, domid) = (entry as u16, (entry >> 16) as u16);
        if flags & GTF_TYPE_MASK != GTF_PERMIT_ACCESS || domid != user.number().into() {
            return Err(GNTST_BAD_GNTREF);
        }
        if wanted.write && flags & GTF_READONLY != 0 {
            return Err(GNTST_PERMISSION_DENIED);
        }
        let page = GuestAddr::new((entry >> 32).saturating_mul(PAGE));
        let page = lender.memory.own_page(&self.machine, page).ok_or(GNTST_BAD_PAGE)?;
        let uses = self.machine.load_entry(uses_at).saturating_add(wanted.one_use());
        self.machine.store_entry(uses_at, uses);
        let marks = if wanted.write { IN_USE } else { READING };
        if (self.machine.fetch_or(entry_at, marks) ^ entry) & !IN_USE != 0 {
            self.let_go(lender, wanted);
            return Err(GNTST_EAGAIN);
        }
        Ok(page)
    }

    /// One use of an entry is over.
    fn let_go(&self, lender: &Domain, mapping: Mapping) {
        let Some((entry_at, uses_at)) = entry(lender, mapping) else { return };
        let left = self.machine.load_entry(uses_at).saturating_sub(mapping.one_use());
        self.machine.store_entry(uses_at, left);
        let still = match left {
            0 => 0,
            left if left >> 32 == 0 => READING,
            _ => IN_USE,
        };
        self.machine.fetch_and(entry_at, still | !IN_USE);
    }
}

/// Where a domain's mapping with this handle is noted.
fn place(domain: &Domain, handle: u32) -> Option<RealAddr> {
    let shared = domain.shared.filter(|_| handle < MAPPINGS)?;
    Some(shared.offset(offset::MAPPINGS).offset(u64::from(handle).saturating_mul(8)))
}

/// Where the entry is that a mapping names, and where how often it is in use.
fn entry(lender: &Domain, mapping: Mapping) -> Option<(RealAddr, RealAddr)> {
    let shared = lender.shared.filter(|_| mapping.reference < ENTRIES)?;
    let at = shared.offset(u64::from(mapping.reference).saturating_mul(8));
    Some((at.offset(offset::TABLE), at.offset(offset::USES)))
}
