//! The bus addresses of a PAPR domain's port of the logical LAN: a table (TCE, LoPAR 14.5.4.2) says
//! which page of the domain's memory each page of the bus is, and what the port may do there.
//!
//! An entry is checked when it is set and translated again when it is used, by the domain's own
//! tree ([`crate::bus`]): one that is stale leads nowhere else. The table lies in frames of the
//! domain's that it cannot reach, from its making to its end.

use crate::Hypervisor;
use crate::domain::DomainId;
use crate::frames::{FRAME_SIZE, Frames, Owner};
use crate::hypercall::{Caller, Coded};
use crate::machine::{Machine, Storage};
use crate::memory::OutOfMemory;
use hv_abi::common::{LAN_UNIT, code};
use hv_abi::papr::{LAN_WINDOW, MOST_TCES};
use hv_abi::{PaprCall, Rights};
use k42_lib::radix::Access;
use k42_lib::{BusAddr, GuestAddr, RealAddr};

/// A page of the bus.
const PAGE: u64 = 1 << 12;
/// Bytes of an entry: the page's guest real address and two bits, big-endian.
const ENTRY: u64 = 8;
/// The port may read there.
const READ: u64 = 1;
/// The port may write there.
const WRITE: u64 = 2;

/// The table of a domain that has one; the bus addresses of others are guest real addresses.
pub(super) struct Window(Option<RealAddr>);

/// The entries that a call sets.
pub(super) enum Entries {
    /// All the same.
    Same(u64),
    /// Those of a list in the guest's memory.
    Listed(GuestAddr),
}

impl Window {
    const SIZE: u64 = (LAN_WINDOW / PAGE * ENTRY).next_multiple_of(FRAME_SIZE);

    /// An empty table for a domain of this personality that may have a port.
    pub(super) fn new(
        machine: &impl Machine,
        frames: &mut Frames,
        owner: Owner,
        rights: Rights,
    ) -> Result<Window, OutOfMemory> {
        if !rights.contains(Rights::PLATFORM | Rights::LAN) {
            return Ok(Window(None));
        }
        let table = frames.allocate(machine, Window::SIZE, owner).ok_or(OutOfMemory)?;
        Ok(Window(Some(table)))
    }

    /// How many frames the table has.
    #[cfg(feature = "walker")]
    pub(super) fn frames(&self) -> u64 {
        self.0.map_or(0, |_| Window::SIZE / FRAME_SIZE)
    }

    /// As [`super::DomainState::translate`].
    pub(super) fn translate(
        &self,
        machine: &impl Machine,
        at: BusAddr,
        wanted: usize,
        access: Access,
    ) -> Option<(GuestAddr, usize)> {
        let Some(table) = self.0 else { return Some((GuestAddr::new(at.value()), wanted)) };
        let page = at.value() / PAGE;
        let within = at.value() < LAN_WINDOW;
        let entry = within.then(|| machine.load_entry(table.offset(page.saturating_mul(ENTRY))))?;
        let needs = [(Access::READ, READ), (Access::WRITE, WRITE)].into_iter();
        let needs =
            needs.filter(|(kind, _)| access.contains(*kind)).fold(0, |all, (_, bit)| all | bit);
        let offset = at.value() % PAGE;
        let left = usize::try_from(PAGE.saturating_sub(offset)).unwrap_or(0);
        (entry & needs == needs)
            .then(|| (GuestAddr::new(entry / PAGE * PAGE | offset), left.min(wanted)))
    }

    /// Where the entries of `count` pages from `at` on are; `None` unless all are in the window of
    /// that bus, and no more than one call sets.
    fn entries(&self, bus: u64, at: u64, count: u64) -> Option<RealAddr> {
        let end = at.checked_add(count.checked_mul(PAGE)?)?;
        let sound = bus == LAN_UNIT && at.is_multiple_of(PAGE) && end <= LAN_WINDOW;
        let place = self.0?.offset((at / PAGE).saturating_mul(ENTRY));
        (sound && count <= MOST_TCES).then_some(place)
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Sets the entries of the pages that the numbers of bus, address and pages name. A wrong one in
    /// a list ends the call there: those before it are set, as LoPAR has it; after any other error
    /// nothing has changed.
    pub(super) fn put_tces(
        &self,
        caller: &Caller<'_>,
        call: PaprCall,
        place: [u64; 3],
        entries: Entries,
    ) -> Coded {
        let outcome = self.set_tces(caller.current.domain, place, entries);
        if outcome.is_err() {
            self.refused(caller, call.name(), "a page is not of its window or its memory");
        }
        outcome
    }

    fn set_tces(&self, id: DomainId, [bus, at, count]: [u64; 3], entries: Entries) -> Coded {
        let machine = &self.machine;
        let slot = self.domain(id);
        let domain = slot.as_ref().ok_or(code::PARAMETER)?;
        let place = domain.papr.window.entries(bus, at, count).ok_or(code::PARAMETER)?;
        // What it may not access has no address to be checked.
        let sound = |entry: u64| {
            let page = GuestAddr::new(entry & !(READ | WRITE));
            let own = || page.is_aligned(PAGE) && domain.memory.own_page(machine, page).is_some();
            entry & (READ | WRITE) == 0 || own()
        };
        let list = match entries {
            Entries::Same(entry) => {
                let entry = Some(entry).filter(|entry| sound(*entry)).ok_or(code::PARAMETER)?;
                (0..count).for_each(|n| machine.store_entry(nth(place, n), entry));
                return Ok(());
            }
            // A page lies in one piece.
            Entries::Listed(list) => {
                let page =
                    Some(list).filter(|list| list.is_aligned(PAGE)).ok_or(code::PARAMETER)?;
                domain.memory.piece(machine, page, 0, Access::READ).map_err(|_| code::PARAMETER)?.0
            }
        };
        (0..count).try_for_each(|n| {
            let entry = machine.load_entry(nth(list, n));
            let entry = Some(entry).filter(|entry| sound(*entry)).ok_or(code::PARAMETER)?;
            machine.store_entry(nth(place, n), entry);
            Ok(())
        })
    }
}

fn nth(table: RealAddr, n: u64) -> RealAddr {
    table.offset(n.saturating_mul(ENTRY))
}
