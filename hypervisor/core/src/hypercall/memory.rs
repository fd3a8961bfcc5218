//! `memory_op`: what a domain may do with its guest real addresses.

use super::Caller;
use crate::Hypervisor;
use crate::machine::Machine;
use k42_lib::GuestAddr;
use xen_sys::{errno, memory, xen};

/// log2 of a page, as Xen counts them.
const PAGE_SHIFT: u32 = 12;

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn memory_op(&self, caller: &Caller<'_>, command: u64, at: GuestAddr) -> i64 {
        let outcome = match u32::try_from(command) {
            Ok(memory::XENMEM_ADD_TO_PHYSMAP) => self.add_to_physmap(caller, at).map(|()| 0),
            Ok(memory::XENMEM_CURRENT_RESERVATION | memory::XENMEM_MAXIMUM_RESERVATION) => {
                let slot = self.domain(caller.current.domain);
                let size = slot.as_ref().map_or(0, |domain| domain.memory.size());
                Ok((size >> PAGE_SHIFT).cast_signed())
            }
            _ => Err(errno::ENOSYS),
        };
        outcome.unwrap_or_else(|errno| i64::from(errno).saturating_neg())
    }

    /// Maps the page that the domain shares with the hypervisor where the domain wants it: at
    /// guest real addresses that have no memory.
    fn add_to_physmap(&self, caller: &Caller<'_>, at: GuestAddr) -> Result<(), i32> {
        let mut bytes = [0; 24];
        if !self.copy_in(caller, at, &mut bytes) {
            self.refused(caller, "memory_op", "its argument is not the domain's memory");
            return Err(errno::EFAULT);
        }
        // domid u16, size u16, space u32, idx u64, gpfn u64
        let [d0, d1, _, _, s0, s1, s2, s3, index @ .., g0, g1, g2, g3, g4, g5, g6, g7] = bytes;
        let domid = u16::from_le_bytes([d0, d1]);
        let space = u32::from_le_bytes([s0, s1, s2, s3]);
        let page = u64::from_le_bytes([g0, g1, g2, g3, g4, g5, g6, g7]);
        let own = caller.current.domain;
        if domid != xen::DOMID_SELF && domid != u16::from(own.number()) {
            return Err(errno::EPERM);
        }
        if space != memory::XENMAPSPACE_SHARED_INFO || u64::from_le_bytes(index) != 0 {
            return Err(errno::EINVAL);
        }
        let to = page.checked_shl(PAGE_SHIFT).filter(|to| to >> PAGE_SHIFT == page);
        let to = GuestAddr::new(to.ok_or(errno::EINVAL)?);
        let mut slot = self.domain(own);
        let domain = slot.as_mut().ok_or(errno::ESRCH)?;
        let shared = domain.shared.ok_or(errno::EINVAL)?;
        let mut frames = self.frames.lock();
        domain.memory.map_page(&self.machine, &mut frames, to, shared).map_err(|_| errno::EINVAL)
    }
}
