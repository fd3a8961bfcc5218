//! `grant_table_op`: a list of arguments, each of which is answered in its place.

use super::Caller;
use super::argument::Argument;
use crate::Hypervisor;
use crate::domain::DomainId;
use crate::grants::{Mapping, NO_ENTRY, PAGE, TABLE_PAGES};
use crate::machine::Machine;
use k42_lib::GuestAddr;
use xen_sys::errno;
use xen_sys::grant_table::*;
use xen_sys::xen::DOMID_SELF;

const NAME: &str = "grant_table_op";
/// The most elements of one call, so that a call is short.
const MOST: u64 = 64;
const VERSION: u32 = 1;

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn grant_table_op(
        &self,
        caller: &Caller<'_>,
        command: u64,
        list: GuestAddr,
        count: u64,
    ) -> i64 {
        let result = match u32::try_from(command) {
            _ if count > MOST => Err(errno::E2BIG),
            Ok(command) => {
                (0..count).try_for_each(|n| self.grant_element(caller, command, list, n))
            }
            Err(_) => Err(errno::ENOSYS),
        };
        result.map_or_else(|errno| i64::from(errno).saturating_neg(), |()| 0)
    }

    /// Serves element `n` of the list and answers in it.
    fn grant_element(
        &self,
        caller: &Caller<'_>,
        command: u32,
        list: GuestAddr,
        n: u64,
    ) -> Result<(), i32> {
        // Its size; where the answer is in it and how long.
        let (size, place, length) = match command {
            GNTTABOP_MAP_GRANT_REF => (size_of::<MapGrantRef>(), 18, 14),
            GNTTABOP_UNMAP_GRANT_REF => (size_of::<UnmapGrantRef>(), 20, 2),
            GNTTABOP_COPY => (size_of::<GrantCopy>(), 36, 2),
            GNTTABOP_QUERY_SIZE => (size_of::<QuerySize>(), 4, 10),
            GNTTABOP_SET_VERSION => (size_of::<SetVersion>(), 0, 4),
            GNTTABOP_GET_VERSION => (size_of::<GetVersion>(), 4, 4),
            _ => return Err(errno::ENOSYS),
        };
        let at = list.offset(n.saturating_mul(size as u64));
        let a: Argument<40> = self.argument_of(caller, NAME, at, size)?;
        let own = caller.current.domain;
        let status = |status: i16| u128::from(status.cast_unsigned());
        let answer = match command {
            GNTTABOP_MAP_GRANT_REF => {
                match map_element(&a).and_then(|m| self.map_lent(own, m, None)) {
                    Ok(handle) => u128::from(handle) << 16,
                    Err(error) => status(error),
                }
            }
            GNTTABOP_UNMAP_GRANT_REF => {
                // host_addr u64, dev_bus_addr u64, handle u32
                let there = |m: &Mapping| m.at.value() == a.u64(0) && m.reference != NO_ENTRY;
                status(self.unmap_lent(own, a.u32(16), there).err().unwrap_or(GNTST_OKAY))
            }
            GNTTABOP_COPY => status(self.copy_element(own, &a).err().unwrap_or(GNTST_OKAY)),
            // Every domain's table is as large.
            GNTTABOP_QUERY_SIZE => u128::from(TABLE_PAGES << 32 | TABLE_PAGES),
            GNTTABOP_SET_VERSION if a.u32(0) != VERSION => return Err(errno::EINVAL),
            _ => VERSION.into(),
        };
        let told = answer.to_le_bytes();
        let told =
            told.get(..length).is_some_and(|told| self.copy_out(caller, at.offset(place), told));
        if told { Ok(()) } else { Err(errno::EFAULT) }
    }

    /// Two ends, each with u u64, domid u16, offset u16, a hole; then len u16, flags u16. One of
    /// them is an entry of another domain's table, the other the caller's own page.
    fn copy_element(&self, own: DomainId, a: &Argument<40>) -> Result<(), i16> {
        let (far, near, write) = match a.u16(34) {
            GNTCOPY_SOURCE_GREF => (0, 16, false),
            GNTCOPY_DEST_GREF => (16, 0, true),
            _ => return Err(GNTST_BAD_COPY_ARG),
        };
        let field = |end: usize, at| u64::from(a.u16(end.saturating_add(at)));
        let (length, offset) = (a.u16(32).into(), |end| field(end, 10));
        if offset(near).max(offset(far)).saturating_add(length) > PAGE {
            return Err(GNTST_BAD_COPY_ARG);
        }
        if ![DOMID_SELF.into(), own.number().into()].contains(&field(near, 8)) {
            return Err(GNTST_PERMISSION_DENIED);
        }
        let page = a.u64(near).checked_mul(PAGE).ok_or(GNTST_BAD_PAGE)?;
        let far = borrowing(offset(far), a.u16(far.saturating_add(8)), a.u32(far), write)?;
        self.copy_lent(own, GuestAddr::new(page).offset(offset(near)), far, length)
    }
}

/// host_addr u64, flags u32, ref u32, dom u16.
fn map_element(a: &Argument<40>) -> Result<Mapping, i16> {
    if a.u32(8) & !GNTMAP_READONLY != GNTMAP_HOST_MAP {
        return Err(GNTST_GENERAL_ERROR);
    }
    borrowing(a.u64(0), a.u16(16), a.u32(12), a.u32(8) & GNTMAP_READONLY == 0)
}

fn borrowing(at: u64, domid: u16, reference: u32, write: bool) -> Result<Mapping, i16> {
    let lender = DomainId::new(domid).ok_or(GNTST_BAD_DOMAIN)?;
    Ok(Mapping { at: GuestAddr::new(at), lender, reference, write })
}
