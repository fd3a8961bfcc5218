//! `memory_op`: memory that comes and goes, and what else is mapped at guest real addresses.

use super::Caller;
use super::argument::Argument;
use crate::Hypervisor;
use crate::domain::DomainId;
use crate::frames::FRAME_SIZE;
use crate::machine::Machine;
use k42_lib::GuestAddr;
use k42_lib::radix::Access;
use xen_sys::errno;
use xen_sys::memory as op;

const NAME: &str = "memory_op";
/// log2 of a page, as Xen counts them.
const PAGE_SHIFT: u32 = 12;
/// Extents have 2^order pages: a frame at least, a leaf of 2 MiB at most.
const ORDERS: core::ops::RangeInclusive<u32> = 4..=9;
/// The most extents of one call, so that a call is short: most of it is zeroing.
const MOST: u64 = 16;
/// The type of a range of memory in a memory map.
const RAM: u32 = 1;

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn memory_op(&self, caller: &Caller<'_>, command: u64, at: GuestAddr) -> i64 {
        let command = u32::try_from(command).unwrap_or(u32::MAX);
        let outcome = match command {
            op::XENMEM_POPULATE_PHYSMAP
            | op::XENMEM_INCREASE_RESERVATION
            | op::XENMEM_DECREASE_RESERVATION => self.reservation(caller, command, at),
            op::XENMEM_ADD_TO_PHYSMAP => self.add_to_physmap(caller, at),
            op::XENMEM_MEMORY_MAP => self.memory_map(caller, at),
            op::XENMEM_MAXIMUM_RAM_PAGE => {
                let storage = (self.frames.lock().total() as u64).saturating_mul(FRAME_SIZE);
                Ok(pages(storage).saturating_sub(1))
            }
            op::XENMEM_CURRENT_RESERVATION
            | op::XENMEM_MAXIMUM_RESERVATION
            | op::XENMEM_MAXIMUM_GPFN => self.memory_size(caller, command, at),
            _ => Err(errno::ENOSYS),
        };
        outcome.unwrap_or_else(|errno| i64::from(errno).saturating_neg())
    }

    /// What a domain has, may have, or has had at its highest.
    fn memory_size(&self, caller: &Caller<'_>, command: u32, at: GuestAddr) -> Result<i64, i32> {
        let domid = self.argument::<2>(caller, NAME, at)?.u16(0);
        let slot = self.domain(self.subject(caller, NAME, domid)?);
        let memory = &slot.as_ref().ok_or(errno::ESRCH)?.memory;
        Ok(match command {
            op::XENMEM_CURRENT_RESERVATION => pages(memory.size()),
            op::XENMEM_MAXIMUM_RESERVATION => pages(memory.max_frames().saturating_mul(FRAME_SIZE)),
            _ => pages(memory.top().value()).saturating_sub(1),
        })
    }

    /// Gives or takes extents, until one fails; how many there were, or why there was none.
    fn reservation(&self, caller: &Caller<'_>, command: u32, at: GuestAddr) -> Result<i64, i32> {
        // extent_start u64, nr_extents u64, extent_order u32, mem_flags u32, domid u16
        let argument: Argument<32> = self.argument(caller, NAME, at)?;
        let (list, count) = (GuestAddr::new(argument.u64(0)), argument.u64(8).min(MOST));
        let domain = self.subject(caller, NAME, argument.u16(24))?;
        let order = Some(argument.u32(16)).filter(|order| ORDERS.contains(order));
        let shift = order.ok_or(errno::EINVAL)?.saturating_add(PAGE_SHIFT);
        let size = 1u64.checked_shl(shift).ok_or(errno::EINVAL)?;
        for done in 0..count {
            let place = list.offset(done.saturating_mul(8));
            match self.extent(caller, command, domain, place, size) {
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done.cast_signed()),
                Ok(()) => {}
            }
        }
        Ok(count.cast_signed())
    }

    fn extent(
        &self,
        caller: &Caller<'_>,
        command: u32,
        domain: DomainId,
        place: GuestAddr,
        size: u64,
    ) -> Result<(), i32> {
        let named: Argument<8> = self.argument(caller, NAME, place)?;
        let at = {
            let mut slot = self.domain(domain);
            let memory = &mut slot.as_mut().ok_or(errno::ESRCH)?.memory;
            let mut frames = self.frames.lock();
            if command == op::XENMEM_INCREASE_RESERVATION {
                let at = GuestAddr::new(memory.top().value().next_multiple_of(size));
                memory.populate(&self.machine, &mut frames, at, size)?;
                at
            } else {
                let at = address(named.u64(0))?;
                return if command == op::XENMEM_POPULATE_PHYSMAP {
                    memory.populate(&self.machine, &mut frames, at, size)
                } else {
                    memory.withdraw(&self.machine, &mut frames, at, size)
                };
            }
        };
        // It was read from there: it is the caller's, unless the caller takes it away meanwhile.
        let page = at.value() >> PAGE_SHIFT;
        let told = self.copy_out(caller, place, &page.to_le_bytes());
        if told { Ok(()) } else { Err(errno::EFAULT) }
    }

    /// Maps the page that the domain shares with the hypervisor where the domain wants it: at
    /// guest real addresses that have no memory.
    fn add_to_physmap(&self, caller: &Caller<'_>, at: GuestAddr) -> Result<i64, i32> {
        // domid u16, size u16, space u32, idx u64, gpfn u64
        let argument: Argument<24> = self.argument(caller, NAME, at)?;
        let domain = self.subject(caller, NAME, argument.u16(0))?;
        if argument.u32(4) != op::XENMAPSPACE_SHARED_INFO || argument.u64(8) != 0 {
            return Err(errno::EINVAL);
        }
        let to = address(argument.u64(16))?;
        let mut slot = self.domain(domain);
        let domain = slot.as_mut().ok_or(errno::ESRCH)?;
        let shared = domain.shared.ok_or(errno::EINVAL)?;
        let mut frames = self.frames.lock();
        let access = Access::READ | Access::WRITE;
        let mapped = domain.memory.map_page(&self.machine, &mut frames, to, shared, access);
        mapped.map(|()| 0).map_err(|_| errno::EINVAL)
    }

    /// The memory map of the caller has one entry: memory, from 0 on.
    fn memory_map(&self, caller: &Caller<'_>, at: GuestAddr) -> Result<i64, i32> {
        // nr_entries u32, a hole, buffer u64
        let argument: Argument<16> = self.argument(caller, NAME, at)?;
        if argument.u32(0) == 0 {
            return Err(errno::EINVAL);
        }
        let top = self.domain(caller.current.domain).as_ref().map_or(0, |d| d.memory.top().value());
        let buffer = GuestAddr::new(argument.u64(8));
        let told = self.copy_out(caller, buffer.offset(8), &top.to_le_bytes())
            && self.copy_out(caller, buffer, &0u64.to_le_bytes())
            && self.copy_out(caller, buffer.offset(16), &RAM.to_le_bytes())
            && self.copy_out(caller, at, &1u32.to_le_bytes());
        if told { Ok(0) } else { Err(errno::EFAULT) }
    }
}

/// The guest real address of a page by its number.
fn address(page: u64) -> Result<GuestAddr, i32> {
    let at = page.checked_shl(PAGE_SHIFT).filter(|at| at >> PAGE_SHIFT == page);
    at.map(GuestAddr::new).ok_or(errno::EINVAL)
}

/// How many pages so many bytes are.
fn pages(bytes: u64) -> i64 {
    (bytes >> PAGE_SHIFT).cast_signed()
}
