//! `memory_op`: memory that comes and goes, and what else is mapped at guest real addresses.

use super::argument::item;
use super::{Caller, Done};
use crate::Hypervisor;
use crate::domain::{Domain, DomainId};
use crate::frames::FRAME_SIZE;
use crate::grants::{MAPPINGS, Mapping, NO_ENTRY, PAGE, TABLE_PAGES};
use crate::machine::Machine;
use hv_abi::Rights;
use k42_lib::radix::Access;
use k42_lib::{GuestAddr, RealAddr};
use xen_sys::memory::{self as op, AddToPhysmap, AddToPhysmapBatch};
use xen_sys::memory::{MemoryMap, RemoveFromPhysmap, Reservation};
use xen_sys::{errno, xen};

/// Extents have 2^order pages: a frame at least, a leaf of 2 MiB at most.
const ORDERS: core::ops::RangeInclusive<u32> = 4..=9;
/// The most extents of one call, so that a call is short: most of it is zeroing.
const MOST: u64 = 16;
/// The most pages that one call maps.
const MOST_PAGES: u64 = 64;
/// The type of a range of memory in a memory map.
const RAM: u32 = 1;

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn memory_op(&self, caller: &Caller<'_>, command: u64, at: GuestAddr) -> Done<i64> {
        let command = u32::try_from(command).unwrap_or(u32::MAX);
        match command {
            op::XENMEM_POPULATE_PHYSMAP
            | op::XENMEM_INCREASE_RESERVATION
            | op::XENMEM_DECREASE_RESERVATION => self.reservation(caller, command, at),
            op::XENMEM_ADD_TO_PHYSMAP => self.add_to_physmap(caller, at).map(|()| 0),
            op::XENMEM_ADD_TO_PHYSMAP_BATCH => self.add_to_physmap_batch(caller, at).map(|()| 0),
            op::XENMEM_REMOVE_FROM_PHYSMAP => self.remove_from_physmap(caller, at).map(|()| 0),
            op::XENMEM_MEMORY_MAP => self.memory_map(caller, at).map(|()| 0),
            op::XENMEM_MAXIMUM_RAM_PAGE => {
                let storage = (self.frames.lock().total() as u64).saturating_mul(FRAME_SIZE);
                Ok(pages(storage).saturating_sub(1))
            }
            op::XENMEM_CURRENT_RESERVATION
            | op::XENMEM_MAXIMUM_RESERVATION
            | op::XENMEM_MAXIMUM_GPFN => self.memory_size(caller, command, at),
            _ => Err(errno::ENOSYS),
        }
    }

    /// What a domain has, may have, or has had at its highest.
    fn memory_size(&self, caller: &Caller<'_>, command: u32, at: GuestAddr) -> Done<i64> {
        let domid = self.argument(caller, at)?;
        self.with(self.subject(caller, domid)?, |Domain { memory, .. }| match command {
            op::XENMEM_CURRENT_RESERVATION => pages(memory.size()),
            op::XENMEM_MAXIMUM_RESERVATION => pages(memory.max_frames().saturating_mul(FRAME_SIZE)),
            _ => pages(memory.top().value()).saturating_sub(1),
        })
    }

    /// Gives or takes extents, until one fails; how many there were, or why there was none.
    fn reservation(&self, caller: &Caller<'_>, command: u32, at: GuestAddr) -> Done<i64> {
        let call: Reservation = self.argument(caller, at)?;
        let domain = self.subject(caller, call.domid)?;
        let order = Some(call.extent_order).filter(|order| ORDERS.contains(order));
        let size = order.and_then(|order| PAGE.checked_shl(order)).ok_or(errno::EINVAL)?;
        let count = call.nr_extents.min(MOST);
        for done in 0..count {
            let place = item::<u64>(call.extent_start.0, done);
            let changed = self.argument(caller, place).and_then(|page| {
                let at = self.extent(domain, command, page, size)?;
                // It was read from there: it is the caller's, unless the caller takes it away
                // meanwhile.
                if at == page { Ok(()) } else { self.tell(caller, place, at) }
            });
            if let Err(error) = changed {
                return if done == 0 { Err(error) } else { Ok(done.cast_signed()) };
            }
        }
        Ok(count.cast_signed())
    }

    /// Gives or takes an extent; the page where it was, or is now.
    fn extent(&self, domain: DomainId, command: u32, page: u64, size: u64) -> Done<u64> {
        let mut slot = self.domain(domain);
        let memory = &mut slot.as_mut().ok_or(errno::ESRCH)?.memory;
        let behind = GuestAddr::new(memory.top().value().next_multiple_of(size));
        let increase = command == op::XENMEM_INCREASE_RESERVATION;
        let at = if increase { behind } else { address(page)? };
        let mut frames = self.frames.lock();
        let mut change = memory.change(&self.machine, &mut frames);
        match command {
            op::XENMEM_DECREASE_RESERVATION => change.withdraw(at, size),
            _ => change.populate(at, size),
        }?;
        Ok(at.value() / PAGE)
    }

    /// Maps a page that is not the domain's memory where there is none.
    fn add_to_physmap(&self, caller: &Caller<'_>, at: GuestAddr) -> Done {
        let call: AddToPhysmap = self.argument(caller, at)?;
        let domain = self.subject(caller, call.domid)?;
        self.map_space(domain, call.space, call.idx, address(call.gpfn)?)
    }

    /// The same for many pages, and for other domains' pages; each has its own error.
    fn add_to_physmap_batch(&self, caller: &Caller<'_>, at: GuestAddr) -> Done {
        let call: AddToPhysmapBatch = self.argument(caller, at)?;
        let domain = self.subject(caller, call.domid)?;
        let (space, count) = (u32::from(call.space), u64::from(call.size));
        if count > MOST_PAGES {
            return Err(errno::E2BIG);
        }
        for n in 0..count {
            let index = self.argument(caller, item::<u64>(call.idxs.0, n))?;
            let page = self.argument(caller, item::<u64>(call.gpfns.0, n))?;
            let mapped = address(page).and_then(|to| {
                if space != op::XENMAPSPACE_GMFN_FOREIGN {
                    return self.map_space(domain, space, index, to);
                }
                if domain != caller.current.domain {
                    return Err(errno::EINVAL); // who has mapped it sees to its end
                }
                if call.u == xen::DOMID_XEN {
                    return self.map_trace(caller, index, to);
                }
                let lender = self.subject(caller, call.u)?;
                let page = address(index)?;
                let mapping = Mapping { at: to, lender, reference: NO_ENTRY, write: true };
                let mapped = self.map_lent(domain, mapping, Some(page));
                mapped.map(|_| ()).map_err(|_| errno::EINVAL)
            });
            let error = mapped.err().unwrap_or(0).saturating_neg();
            self.tell(caller, item::<i32>(call.errs.0, n), error)?;
        }
        Ok(())
    }

    /// Maps a page of the frame that the domain shares with the hypervisor.
    fn map_space(&self, id: DomainId, space: u32, index: u64, to: GuestAddr) -> Done {
        let mut slot = self.domain(id);
        let domain = slot.as_mut().ok_or(errno::ESRCH)?;
        let page = match space {
            op::XENMAPSPACE_SHARED_INFO if index == 0 => 0,
            op::XENMAPSPACE_GRANT_TABLE if !domain.rights.contains(Rights::GRANTS) => {
                return Err(errno::EPERM);
            }
            op::XENMAPSPACE_GRANT_TABLE if index < TABLE_PAGES => index.saturating_add(1),
            _ => return Err(errno::EINVAL),
        };
        let shared = domain.shared.ok_or(errno::EINVAL)?.offset(page.saturating_mul(PAGE));
        self.map_shared(domain, shared, to)
    }

    /// Maps a page of the trace buffers for a controller.
    fn map_trace(&self, caller: &Caller<'_>, page: u64, to: GuestAddr) -> Done {
        if !caller.current.rights.contains(Rights::CONTROL) {
            return Err(errno::EPERM);
        }
        let page = self.trace_page(page).ok_or(errno::EINVAL)?;
        self.with(caller.current.domain, |domain| self.map_shared(domain, page, to))?
    }

    fn map_shared(&self, domain: &mut Domain, page: RealAddr, to: GuestAddr) -> Done {
        let mut frames = self.frames.lock();
        let mut change = domain.memory.change(&self.machine, &mut frames);
        let mapped = change.map_page(to, page, Access::READ | Access::WRITE);
        mapped.map_err(|_| errno::EINVAL)
    }

    /// Takes out what `add_to_physmap` has mapped. What a grant has mapped goes by its handle.
    fn remove_from_physmap(&self, caller: &Caller<'_>, at: GuestAddr) -> Done {
        let call: RemoveFromPhysmap = self.argument(caller, at)?;
        let (id, at) = (self.subject(caller, call.domid)?, address(call.gpfn)?);
        let mut slot = self.domain(id);
        let domain = slot.as_mut().ok_or(errno::ESRCH)?;
        let there = |mapping: &Mapping| mapping.at == at;
        let lent = |handle: &u32| self.mapping(domain, *handle).is_some_and(|m| there(&m));
        if let Some(handle) = (0..MAPPINGS).find(lent) {
            drop(slot);
            let foreign = |mapping: &Mapping| there(mapping) && mapping.reference == NO_ENTRY;
            return self.unmap_lent(id, handle, foreign).map_err(|_| errno::EBUSY);
        }
        domain.memory.unmap_page(&self.machine, at).map(|_| ()).ok_or(errno::ENOENT)
    }

    /// The memory map of the caller has one entry: memory, from 0 on.
    fn memory_map(&self, caller: &Caller<'_>, at: GuestAddr) -> Done {
        self.answer(caller, at, |call: &mut MemoryMap| {
            if core::mem::replace(&mut call.nr_entries, 1) == 0 {
                return Err(errno::EINVAL);
            }
            let top = self.with(caller.current.domain, |domain| domain.memory.top().value())?;
            let buffer = GuestAddr::new(call.buffer.0);
            self.tell(caller, buffer, 0u64)?;
            self.tell(caller, buffer.offset(8), top)?;
            self.tell(caller, buffer.offset(16), RAM)
        })
    }
}

/// The guest real address of a page by its number.
pub(super) fn address(page: u64) -> Done<GuestAddr> {
    page.checked_mul(PAGE).map(GuestAddr::new).ok_or(errno::EINVAL)
}

/// How many pages so many bytes are.
fn pages(bytes: u64) -> i64 {
    (bytes / PAGE).cast_signed()
}
