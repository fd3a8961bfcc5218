//! `grant_table_op`: a list of arguments, each of which is answered in its place.

use super::argument::item;
use super::{Caller, Done};
use crate::Hypervisor;
use crate::domain::DomainId;
use crate::grants::{Mapping, NO_ENTRY, PAGE, TABLE_PAGES};
use crate::machine::Machine;
use k42_lib::GuestAddr;
use xen_sys::errno;
use xen_sys::grant_table::*;
use xen_sys::plain::Plain;
use xen_sys::xen::DOMID_SELF;

/// The most elements of one call, so that a call is short.
const MOST: u64 = 64;
const VERSION: u32 = 1;
/// Every domain's table is as large.
const FRAMES: u32 = TABLE_PAGES as u32;

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn grant_table_op(
        &self,
        caller: &Caller<'_>,
        command: u64,
        list: GuestAddr,
        count: u64,
    ) -> Done {
        let (own, list) = (caller.current.domain, (list.value(), count));
        let status = |done: Result<(), i16>| done.err().unwrap_or(GNTST_OKAY);
        match u32::try_from(command) {
            _ if count > MOST => Err(errno::E2BIG),
            Ok(GNTTABOP_MAP_GRANT_REF) => self.each(caller, list, |a: &mut MapGrantRef| {
                let mapped = map_element(a).and_then(|m| self.map_lent(own, m, None));
                (a.status, a.handle) = mapped.map_or_else(|e| (e, 0), |h| (GNTST_OKAY, h));
                a.dev_bus_addr = 0;
                Ok(())
            }),
            Ok(GNTTABOP_UNMAP_GRANT_REF) => self.each(caller, list, |a: &mut UnmapGrantRef| {
                let there = |m: &Mapping| m.at.value() == a.host_addr && m.reference != NO_ENTRY;
                a.status = status(self.unmap_lent(own, a.handle, there));
                Ok(())
            }),
            Ok(GNTTABOP_COPY) => self.each(caller, list, |a: &mut GrantCopy| {
                a.status = status(self.copy_element(own, a));
                Ok(())
            }),
            Ok(GNTTABOP_QUERY_SIZE) => self.each(caller, list, |a: &mut QuerySize| {
                (a.nr_frames, a.max_nr_frames, a.status) = (FRAMES, FRAMES, GNTST_OKAY);
                Ok(())
            }),
            Ok(GNTTABOP_SET_VERSION) => self.each(caller, list, |a: &mut SetVersion| {
                if a.version == VERSION { Ok(()) } else { Err(errno::EINVAL) }
            }),
            Ok(GNTTABOP_GET_VERSION) => self.each(caller, list, |a: &mut GetVersion| {
                a.version = VERSION;
                Ok(())
            }),
            _ => Err(errno::ENOSYS),
        }
    }

    /// Serves each element of a list of so many.
    #[inline]
    fn each<T: Plain>(
        &self,
        caller: &Caller<'_>,
        (list, count): (u64, u64),
        mut serve: impl FnMut(&mut T) -> Done,
    ) -> Done {
        (0..count).try_for_each(|n| self.answer(caller, item::<T>(list, n), &mut serve))
    }

    /// One of the ends is an entry of another domain's table, the other the caller's own page.
    fn copy_element(&self, own: DomainId, a: &GrantCopy) -> Result<(), i16> {
        let (far, near, write) = match a.flags {
            GNTCOPY_SOURCE_GREF => (a.source, a.dest, false),
            GNTCOPY_DEST_GREF => (a.dest, a.source, true),
            _ => return Err(GNTST_BAD_COPY_ARG),
        };
        let length = u64::from(a.len);
        if u64::from(near.offset.max(far.offset)).saturating_add(length) > PAGE {
            return Err(GNTST_BAD_COPY_ARG);
        }
        if ![DOMID_SELF, own.number().into()].contains(&near.domid) {
            return Err(GNTST_PERMISSION_DENIED);
        }
        let page = GuestAddr::new(near.u.checked_mul(PAGE).ok_or(GNTST_BAD_PAGE)?);
        let far = borrowing(far.offset.into(), far.domid, far.u as u32, write)?;
        self.copy_lent(own, page.offset(near.offset.into()), far, length)
    }
}

fn map_element(a: &MapGrantRef) -> Result<Mapping, i16> {
    if a.flags & !GNTMAP_READONLY != GNTMAP_HOST_MAP {
        return Err(GNTST_GENERAL_ERROR);
    }
    borrowing(a.host_addr, a.dom, a.r#ref, a.flags & GNTMAP_READONLY == 0)
}

fn borrowing(at: u64, domid: u16, reference: u32, write: bool) -> Result<Mapping, i16> {
    let lender = DomainId::new(domid).ok_or(GNTST_BAD_DOMAIN)?;
    Ok(Mapping { at: GuestAddr::new(at), lender, reference, write })
}
