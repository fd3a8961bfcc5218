//! Pages that domains lend each other: who reaches what, and what is left when one of them dies.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::{Rights, XEN_MARK};
use hv_core::{Frame, Hypervisor, Processor, Storage};
use hv_fake::{Board, Fake, Guest, powers_off};
use k42_lib::radix::Access;
use k42_lib::{GuestAddr, RealAddr, vector};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use xen_sys::grant_table::*;
use xen_sys::{errno, memory, sched, xen};

const FRAME: u64 = 1 << 16;
const PAGE: u64 = 1 << 12;
/// Where a domain's grant table is, and where it maps others' pages.
const TABLE: u64 = 32 << 20;
const THERE: u64 = 64 << 20;
const IN_USE: u16 = GTF_READING | GTF_WRITING;

/// Three domains with grant tables, and a fourth that keeps the machine on.
struct Grants(Board);

fn guests() -> [Guest; 4] {
    ["one", "two", "three", "four"].map(|name| Guest::new(name, Personality::Xen))
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn map_argument(lender: u16, reference: u32, at: u64, flags: u32) -> Vec<u8> {
    bytes(&[at, u64::from(reference) << 32 | u64::from(flags), lender.into(), 0])
}

fn unmap_argument(at: u64, handle: u32) -> Vec<u8> {
    bytes(&[at, 0, handle.into()])
}

impl Grants {
    fn new() -> Grants {
        Grants::with(&guests())
    }

    fn with(guests: &[Guest]) -> Grants {
        let mut board = Board::new(64, 1, guests);
        board.dispatch(0);
        let mut grants = Grants(board);
        for domain in 1..=3 {
            assert_eq!(grants.map_table(domain), 0);
        }
        grants
    }

    fn map_table(&mut self, domain: u16) -> i64 {
        let space = u64::from(memory::XENMAPSPACE_GRANT_TABLE) << 32;
        let argument = bytes(&[u64::from(xen::DOMID_SELF) | space, 0, TABLE / PAGE]);
        self.memory_op(domain, memory::XENMEM_ADD_TO_PHYSMAP, &argument)
    }

    fn memory_op(&mut self, domain: u16, command: u32, argument: &[u8]) -> i64 {
        self.0.operate(domain, xen::HYPERVISOR_MEMORY_OP, command, argument)
    }

    /// One element; its 16-bit status at `status`.
    fn op(&mut self, domain: u16, command: u32, argument: &[u8], status: u64) -> i16 {
        assert_eq!(self.0.operate(domain, xen::HYPERVISOR_GRANT_TABLE_OP, command, argument), 0);
        self.0.peek(domain, Board::ARGUMENT + status) as i16
    }

    fn map(&mut self, domain: u16, lender: u16, reference: u32, at: u64, read: bool) -> (i16, u32) {
        let flags = GNTMAP_HOST_MAP | if read { GNTMAP_READONLY } else { 0 };
        let argument = map_argument(lender, reference, at, flags);
        let status = self.op(domain, GNTTABOP_MAP_GRANT_REF, &argument, 18);
        (status, self.0.peek(domain, Board::ARGUMENT + 20) as u32)
    }

    fn unmap(&mut self, domain: u16, at: u64, handle: u32) -> i16 {
        self.op(domain, GNTTABOP_UNMAP_GRANT_REF, &unmap_argument(at, handle), 20)
    }

    /// Copies `length` bytes between the domain's page and a granted one, from or to offset 8.
    fn copy(
        &mut self,
        domain: u16,
        lender: u16,
        reference: u32,
        page: u64,
        write: bool,
        length: u16,
    ) -> i16 {
        let far = [reference.into(), u64::from(lender) | 8 << 16];
        let near = [page / PAGE, u64::from(xen::DOMID_SELF) | 16 << 16];
        let (from, to) = if write { (near, far) } else { (far, near) };
        let flags = if write { GNTCOPY_DEST_GREF } else { GNTCOPY_SOURCE_GREF };
        let last = u64::from(length) | u64::from(flags) << 16;
        let argument = bytes(&[from[0], from[1], to[0], to[1], last]);
        self.op(domain, GNTTABOP_COPY, &argument, 36)
    }

    fn decrease(&mut self, domain: u16, at: u64) -> i64 {
        self.change(domain, memory::XENMEM_DECREASE_RESERVATION, at)
    }

    fn change(&mut self, domain: u16, command: u32, at: u64) -> i64 {
        self.0.poke(domain, 0x3000, &(at / PAGE).to_le_bytes());
        let argument = bytes(&[0x3000, 1, 4, xen::DOMID_SELF.into()]);
        self.memory_op(domain, command, &argument)
    }

    fn grant(&self, domain: u16, reference: u32, to: u16, page: u64, flags: u16) {
        let entry = (page / PAGE) << 32 | u64::from(to) << 16 | u64::from(flags);
        self.0.poke(domain, TABLE + u64::from(reference) * 8, &entry.to_le_bytes());
    }

    fn flags(&self, domain: u16, reference: u32) -> u16 {
        self.0.peek(domain, TABLE + u64::from(reference) * 8) as u16
    }

    fn real(&self, domain: u16, at: u64, access: Access) -> Option<RealAddr> {
        self.0.hv.machine.guest_access(domain, GuestAddr::new(at), access)
    }

    fn kill(&mut self, domain: u16) {
        self.0.be(domain);
        self.0.poke(domain, Board::ARGUMENT, &sched::SHUTDOWN_POWEROFF.to_le_bytes());
        let call = XEN_MARK | xen::HYPERVISOR_SCHED_OP;
        self.0.hypercall(0, &[call, sched::SCHEDOP_SHUTDOWN.into(), Board::ARGUMENT]);
    }
}

#[test]
fn an_entry_that_changes_while_it_is_looked_at_is_not_used() {
    let mut grants = Grants::new();
    let own = 0x11_0000;
    let of = |to: u64, flags: u16| (own / PAGE) << 32 | to << 16 | u64::from(flags);
    let entry = grants.real(1, TABLE + 5 * 8, Access::READ).unwrap();
    for changed in [0, of(3, GTF_PERMIT_ACCESS), of(2, GTF_PERMIT_ACCESS | GTF_READONLY)] {
        grants.grant(1, 5, 2, own, GTF_PERMIT_ACCESS);
        grants.0.hv.machine.state().meanwhile = Some((entry, changed));
        assert_eq!(grants.map(2, 1, 5, THERE, false).0, GNTST_EAGAIN);
        assert_eq!(grants.real(2, THERE, Access::READ), None);
        assert_eq!(grants.0.peek(1, TABLE + 5 * 8), changed, "no mark is left");
    }
    assert_eq!(grants.decrease(1, own), 1, "nor is it counted");
}

#[test]
fn a_granted_page_is_shared_until_it_is_unmapped() {
    let mut grants = Grants::new();
    grants.0.poke(1, 0x11_0000, b"one's");
    grants.grant(1, 5, 2, 0x11_0000, GTF_PERMIT_ACCESS);
    let (status, handle) = grants.map(2, 1, 5, THERE, false);
    assert_eq!(status, GNTST_OKAY);
    assert_eq!(grants.0.peek(2, THERE) as u8, b'o');
    grants.0.poke(2, THERE + 0x800, b"two's");
    assert_eq!(grants.0.peek(1, 0x11_0800) as u8, b't');
    assert_eq!(grants.flags(1, 5), GTF_PERMIT_ACCESS | IN_USE);
    assert_eq!(grants.decrease(1, 0x11_0000), -i64::from(errno::EBUSY), "it is lent");
    assert_eq!(grants.unmap(2, THERE, handle), GNTST_OKAY);
    assert_eq!(grants.real(2, THERE, Access::READ), None, "a stale translation");
    assert_eq!(grants.flags(1, 5), GTF_PERMIT_ACCESS);
    assert_eq!(grants.unmap(2, THERE, handle), GNTST_BAD_HANDLE);
    assert_eq!(grants.decrease(1, 0x11_0000), 1);
}

#[test]
fn what_is_granted_to_be_read_is_not_written() {
    let mut grants = Grants::new();
    grants.grant(1, 5, 2, 0x11_0000, GTF_PERMIT_ACCESS | GTF_READONLY);
    assert_eq!(grants.map(2, 1, 5, THERE, false).0, GNTST_PERMISSION_DENIED);
    assert_eq!(grants.copy(2, 1, 5, 0x12_0000, true, 8), GNTST_PERMISSION_DENIED);
    assert_eq!(grants.flags(1, 5), GTF_PERMIT_ACCESS | GTF_READONLY, "not marked");
    assert_eq!(grants.map(2, 1, 5, THERE, true).0, GNTST_OKAY);
    assert_eq!(grants.flags(1, 5), GTF_PERMIT_ACCESS | GTF_READONLY | GTF_READING);
    assert!(grants.real(2, THERE, Access::READ).is_some());
    assert_eq!(grants.real(2, THERE, Access::WRITE), None);
    assert_eq!(grants.real(2, THERE, Access::EXECUTE), None);
    // Nor does the hypervisor write there for it: the answer's place is in such a page.
    let call = XEN_MARK | xen::HYPERVISOR_GRANT_TABLE_OP;
    let version = u64::from(GNTTABOP_GET_VERSION);
    grants.0.poke(1, 0x11_0000, &xen::DOMID_SELF.to_le_bytes());
    assert_eq!(grants.0.hypercall(0, &[call, version, THERE, 1]), -i64::from(errno::EFAULT));
    assert_eq!(grants.0.peek(1, 0x11_0000), xen::DOMID_SELF.into());
}

#[test]
fn a_copy_needs_no_mapping() {
    let mut grants = Grants::new();
    grants.0.poke(1, 0x11_0000, b"        one's page");
    grants.grant(1, 5, 2, 0x11_0000, GTF_PERMIT_ACCESS);
    assert_eq!(grants.copy(2, 1, 5, 0x12_0000, false, 10), GNTST_OKAY);
    assert_eq!(grants.0.peek(2, 0x12_0010).to_le_bytes(), *b"one's pa");
    assert_eq!(grants.0.peek(2, 0x12_0018) as u16, u16::from_le_bytes(*b"ge"));
    grants.0.poke(2, 0x12_0010, b"two's way in");
    assert_eq!(grants.copy(2, 1, 5, 0x12_0000, true, 5), GNTST_OKAY);
    assert_eq!(grants.0.peek(1, 0x11_0008).to_le_bytes(), *b"two's pa");
    assert_eq!(grants.flags(1, 5), GTF_PERMIT_ACCESS, "no longer in use");
    // 16 + 4080 bytes end with the page.
    assert_eq!(grants.copy(2, 1, 5, 0x12_0000, true, 4080), GNTST_OKAY);
    assert_eq!(grants.copy(2, 1, 5, 0x12_0000, true, 4081), GNTST_BAD_COPY_ARG);
    assert_eq!(grants.copy(2, 1, 5, 4 << 20, true, 5), GNTST_BAD_PAGE, "beyond its memory");
    assert_eq!(grants.copy(2, 1, 5, THERE, false, 5), GNTST_BAD_PAGE);
    assert_eq!(grants.copy(2, 1, 6, 0x12_0000, false, 5), GNTST_BAD_GNTREF);
    assert_eq!(grants.copy(3, 1, 5, 0x12_0000, false, 5), GNTST_BAD_GNTREF, "not granted to it");
    let both = bytes(&[5, 1, 5, 1, u64::from(GNTCOPY_SOURCE_GREF | GNTCOPY_DEST_GREF) << 16 | 8]);
    assert_eq!(grants.op(2, GNTTABOP_COPY, &both, 36), GNTST_BAD_COPY_ARG);
}

#[test]
fn only_what_is_granted_is_mapped_and_only_where_nothing_is() {
    let mut grants = Grants::new();
    grants.grant(1, 5, 2, 0x11_0000, GTF_PERMIT_ACCESS);
    grants.grant(1, 6, 2, TABLE, GTF_PERMIT_ACCESS);
    grants.grant(1, 7, 2, 4 << 20, GTF_PERMIT_ACCESS);
    grants.grant(1, 8, 2, 0x11_0000, 0); // none
    grants.grant(1, 9, 2, 0x11_0000, GTF_TYPE_MASK);
    grants.grant(2, 5, 2, 0x11_0000, GTF_PERMIT_ACCESS);
    let free = grants.0.hv.free_frames();
    for (domain, lender, reference, at, status) in [
        (3, 1, 5, THERE, GNTST_BAD_GNTREF),
        (2, 1, 4, THERE, GNTST_BAD_GNTREF),
        (2, 1, 8, THERE, GNTST_BAD_GNTREF),
        (2, 1, 9, THERE, GNTST_BAD_GNTREF),
        (2, 1, 3072, THERE, GNTST_BAD_GNTREF),
        (2, 1, 0x3fff, THERE, GNTST_BAD_GNTREF),
        (2, 1, u32::MAX, THERE, GNTST_BAD_GNTREF),
        (2, 1, 6, THERE, GNTST_BAD_PAGE),
        (2, 1, 7, THERE, GNTST_BAD_PAGE),
        (2, 2, 5, THERE, GNTST_BAD_DOMAIN),
        (2, 5, 5, THERE, GNTST_BAD_DOMAIN),
        (2, 0, 5, THERE, GNTST_BAD_DOMAIN),
        (2, 0x7ff0, 5, THERE, GNTST_BAD_DOMAIN),
        (2, 1, 5, 0x10_0000, GNTST_BAD_VIRT_ADDR),
        (2, 1, 5, TABLE, GNTST_BAD_VIRT_ADDR),
        (2, 1, 5, THERE + 8, GNTST_BAD_VIRT_ADDR),
        (2, 1, 5, 1 << 52, GNTST_BAD_VIRT_ADDR),
        (2, 1, 5, u64::MAX << 12, GNTST_BAD_VIRT_ADDR),
    ] {
        let what = format!("{domain} maps {lender}'s {reference} at {at:#x}");
        assert_eq!(grants.map(domain, lender, reference, at, false).0, status, "{what}");
    }
    assert_eq!(grants.flags(1, 5), GTF_PERMIT_ACCESS);
    assert_eq!(grants.decrease(1, 0x11_0000), 1, "nothing of it is counted");
    assert!(grants.0.hv.free_frames() <= free + 1);
    let flags = [0, GNTMAP_READONLY, GNTMAP_HOST_MAP | 1, u32::MAX];
    for argument in flags.map(|flags| map_argument(1, 5, THERE, flags)) {
        let status = grants.op(2, GNTTABOP_MAP_GRANT_REF, &argument, 18);
        assert_eq!(status, GNTST_GENERAL_ERROR);
    }
}

#[test]
fn what_is_borrowed_cannot_be_lent_on() {
    let mut grants = Grants::new();
    grants.grant(1, 5, 2, 0x11_0000, GTF_PERMIT_ACCESS);
    assert_eq!(grants.map(2, 1, 5, THERE, false).0, GNTST_OKAY);
    grants.grant(2, 5, 3, THERE, GTF_PERMIT_ACCESS);
    assert_eq!(grants.map(3, 2, 5, THERE, false).0, GNTST_BAD_PAGE);
    assert_eq!(grants.decrease(2, THERE), -i64::from(errno::EINVAL), "it is no memory of its own");
}

#[test]
fn a_handle_undoes_its_own_mapping_only() {
    let mut grants = Grants::new();
    grants.grant(1, 5, 2, 0x11_0000, GTF_PERMIT_ACCESS);
    grants.grant(1, 6, 3, 0x11_0000, GTF_PERMIT_ACCESS);
    let (_, handle) = grants.map(2, 1, 5, THERE, false);
    let (_, second) = grants.map(2, 1, 5, THERE + PAGE, true);
    assert_ne!(handle, second);
    assert_eq!(grants.unmap(2, THERE + PAGE, handle), GNTST_BAD_HANDLE, "another address");
    assert_eq!(grants.unmap(3, THERE, handle), GNTST_BAD_HANDLE, "another domain");
    for wrong in [1023, 1024, u32::MAX] {
        assert_eq!(grants.unmap(2, THERE, wrong), GNTST_BAD_HANDLE);
    }
    // Of two mappings the one that is left says how the entry is in use.
    assert_eq!(grants.unmap(2, THERE, handle), GNTST_OKAY);
    assert_eq!(grants.flags(1, 5), GTF_PERMIT_ACCESS | GTF_READING);
    assert_eq!(grants.unmap(2, THERE + PAGE, second), GNTST_OKAY);
    assert_eq!(grants.flags(1, 5), GTF_PERMIT_ACCESS);
}

#[test]
fn mappings_are_bounded() {
    let mut grants = Grants::new();
    grants.grant(1, 5, 2, 0x11_0000, GTF_PERMIT_ACCESS);
    for n in 0..1024 {
        assert_eq!(grants.map(2, 1, 5, THERE + n * PAGE, true).0, GNTST_OKAY);
    }
    let one_more = THERE + 1024 * PAGE;
    assert_eq!(grants.map(2, 1, 5, one_more, true).0, GNTST_NO_DEVICE_SPACE);
    assert_eq!(grants.unmap(2, THERE + 7 * PAGE, 7), GNTST_OKAY);
    assert_eq!(grants.map(2, 1, 5, one_more, true), (GNTST_OKAY, 7));
    grants.kill(2);
    assert_eq!(grants.flags(1, 5), GTF_PERMIT_ACCESS);
    assert_eq!(grants.decrease(1, 0x11_0000), 1);
}

#[test]
fn neither_death_harms_the_other_or_loses_a_frame() {
    for lender_first in [true, false] {
        let mut grants = Grants::new();
        grants.0.poke(1, 0x11_0000, b"left");
        grants.grant(1, 5, 2, 0x11_0000, GTF_PERMIT_ACCESS);
        let (_, handle) = grants.map(2, 1, 5, THERE, false);
        if lender_first {
            let free = grants.0.hv.free_frames();
            grants.kill(1);
            let after = grants.0.hv.free_frames();
            assert_eq!(after - free, 64 + 3 - 1, "all but the frame that is mapped");
            assert_eq!(grants.0.peek(2, THERE) as u8, b'l', "the borrower still has it");
            // Another domain has the number, and a table in which the entry is another's.
            grants.0.start(1, &guests()[..1]);
            assert_eq!(grants.map_table(1), 0);
            grants.grant(1, 5, 3, 0x11_0000, GTF_PERMIT_ACCESS);
            assert_eq!(grants.map(3, 1, 5, THERE, false).0, GNTST_OKAY);
            let free = grants.0.hv.free_frames();
            assert_eq!(grants.unmap(2, THERE, handle), GNTST_OKAY);
            assert_eq!(grants.0.hv.free_frames(), free + 1, "now it is free");
            assert_eq!(grants.flags(1, 5), GTF_PERMIT_ACCESS | IN_USE, "not touched");
        } else {
            grants.kill(2);
            assert_eq!(grants.flags(1, 5), GTF_PERMIT_ACCESS);
            assert_eq!(grants.decrease(1, 0x11_0000), 1);
        }
        for domain in if lender_first { vec![2, 3, 1] } else { vec![1, 3] } {
            grants.kill(domain);
        }
        assert!(powers_off(|| grants.kill(4)));
        assert_eq!(grants.0.hv.free_frames(), grants.0.free_at_start);
    }
}

#[test]
fn lists_are_bounded_and_unknown_operations_refused() {
    let mut grants = Grants::new();
    let call = XEN_MARK | xen::HYPERVISOR_GRANT_TABLE_OP;
    grants.0.be(2);
    let map = u64::from(GNTTABOP_MAP_GRANT_REF);
    let long = grants.0.hypercall(0, &[call, map, Board::ARGUMENT, 65]);
    assert_eq!(long, -i64::from(errno::E2BIG));
    assert_eq!(grants.0.hypercall(0, &[call, map, 1 << 40, 0]), 0, "nothing to do");
    assert_eq!(grants.0.hypercall(0, &[call, map, 1 << 40, 1]), -i64::from(errno::EFAULT));
    assert_eq!(grants.0.hypercall(0, &[call, 7, Board::ARGUMENT, 1]), -i64::from(errno::ENOSYS));
    let version =
        grants.0.operate(2, xen::HYPERVISOR_GRANT_TABLE_OP, GNTTABOP_SET_VERSION, &[1, 0, 0, 0]);
    assert_eq!(version, 0);
    let version =
        grants.0.operate(2, xen::HYPERVISOR_GRANT_TABLE_OP, GNTTABOP_SET_VERSION, &[2, 0, 0, 0]);
    assert_eq!(version, -i64::from(errno::EINVAL));
    let own = bytes(&[xen::DOMID_SELF.into(), 0]);
    assert_eq!(grants.op(2, GNTTABOP_QUERY_SIZE, &own, 12), GNTST_OKAY);
    assert_eq!(grants.0.peek(2, Board::ARGUMENT + 4), 6 << 32 | 6);
    grants.op(2, GNTTABOP_GET_VERSION, &own, 4);
    assert_eq!(grants.0.peek(2, Board::ARGUMENT) >> 32, 1);
}

#[test]
fn a_domain_without_the_right_neither_lends_nor_borrows() {
    let mut guests = guests();
    guests[3].rights = Rights::INPUT;
    let mut grants = Grants::with(&guests);
    assert_eq!(grants.map_table(4), -i64::from(errno::EPERM));
    let argument = map_argument(1, 5, THERE, GNTMAP_HOST_MAP);
    let call = xen::HYPERVISOR_GRANT_TABLE_OP;
    let refused = grants.0.operate(4, call, GNTTABOP_MAP_GRANT_REF, &argument);
    assert_eq!(refused, -i64::from(errno::EPERM));
}

/// Where a batch's lists are.
const LISTS: u64 = 0x5000;

impl Grants {
    /// Maps a page of `whose` memory; what the call returns, and the page's error.
    fn map_foreign(&mut self, domain: u16, whose: u16, page: u64, at: u64) -> (i64, i32) {
        self.0.poke(domain, LISTS, &bytes(&[page / PAGE, at / PAGE, 1]));
        let space = u64::from(memory::XENMAPSPACE_GMFN_FOREIGN) << 16;
        let head = u64::from(xen::DOMID_SELF) | space | 1 << 32 | u64::from(whose) << 48;
        let argument = bytes(&[head, LISTS, LISTS + 8, LISTS + 16]);
        let result = self.memory_op(domain, memory::XENMEM_ADD_TO_PHYSMAP_BATCH, &argument);
        (result, self.0.peek(domain, LISTS + 16) as i32)
    }

    fn remove(&mut self, domain: u16, at: u64) -> i64 {
        let argument = bytes(&[xen::DOMID_SELF.into(), at / PAGE]);
        self.memory_op(domain, memory::XENMEM_REMOVE_FROM_PHYSMAP, &argument)
    }
}

#[test]
fn a_controller_maps_what_nobody_granted() {
    let mut guests = guests();
    guests[2].rights |= Rights::CONTROL;
    let mut grants = Grants::with(&guests);
    grants.0.poke(1, 0x11_3000, b"one's");
    assert_eq!(grants.map_foreign(2, 1, 0x11_3000, THERE), (0, -errno::EPERM));
    assert_eq!(grants.map_foreign(3, 1, 0x11_3000, THERE), (0, 0));
    assert_eq!(grants.0.peek(3, THERE) as u8, b'o');
    assert_eq!(grants.decrease(1, 0x11_0000), -i64::from(errno::EBUSY));
    assert_eq!(grants.unmap(3, THERE, 0), GNTST_BAD_HANDLE, "it is no grant");
    assert_eq!(grants.remove(3, THERE), 0);
    assert_eq!(grants.real(3, THERE, Access::READ), None, "a stale translation");
    assert_eq!(grants.remove(3, THERE), -i64::from(errno::ENOENT));
    assert_eq!(grants.decrease(1, 0x11_0000), 1);
    assert_eq!(grants.map_foreign(3, 1, 0x11_3000, THERE), (0, -errno::EINVAL), "gone");
    // What a grant has mapped goes by its handle only; shared pages go as they came.
    grants.grant(1, 5, 2, 0x12_0000, GTF_PERMIT_ACCESS);
    let (_, handle) = grants.map(2, 1, 5, THERE, false);
    assert_eq!(grants.remove(2, THERE), -i64::from(errno::EBUSY));
    assert_eq!(grants.unmap(2, THERE, handle), GNTST_OKAY);
    assert_eq!(grants.remove(2, TABLE), 0);
    assert_eq!(grants.remove(2, 0x11_0000), -i64::from(errno::ENOENT), "its memory stays");
    // The controller's death gives back what it had mapped.
    assert_eq!(grants.map_foreign(3, 1, 0x12_0000, THERE), (0, 0));
    assert_eq!(grants.decrease(1, 0x12_0000), -i64::from(errno::EBUSY));
    grants.kill(3);
    assert_eq!(grants.decrease(1, 0x12_0000), 1);
}

/// A step of the random test.
#[derive(Clone, Debug)]
enum Step {
    Grant {
        domain: u16,
        reference: u32,
        to: u16,
        frame: u64,
        read: bool,
    },
    Map {
        domain: u16,
        lender: u16,
        reference: u32,
        place: u64,
        read: bool,
    },
    Unmap {
        domain: u16,
        place: u64,
    },
    Copy {
        domain: u16,
        lender: u16,
        reference: u32,
        write: bool,
    },
    Decrease {
        domain: u16,
        frame: u64,
    },
    Populate {
        domain: u16,
        frame: u64,
    },
    /// The domain dies, and another starts with its number.
    Die {
        domain: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let domain = || 1u16..=3;
    let reference = || 0u32..3;
    let frame = || 17u64..20;
    prop_oneof![
        4 => (domain(), reference(), domain(), frame(), any::<bool>())
            .prop_map(|(domain, reference, to, frame, read)| Step::Grant { domain, reference, to, frame, read }),
        6 => (domain(), domain(), reference(), 0u64..4, any::<bool>())
            .prop_map(|(domain, lender, reference, place, read)| Step::Map { domain, lender, reference, place, read }),
        4 => (domain(), 0u64..4).prop_map(|(domain, place)| Step::Unmap { domain, place }),
        2 => (domain(), domain(), reference(), any::<bool>())
            .prop_map(|(domain, lender, reference, write)| Step::Copy { domain, lender, reference, write }),
        2 => (domain(), frame()).prop_map(|(domain, frame)| Step::Decrease { domain, frame }),
        2 => (domain(), frame()).prop_map(|(domain, frame)| Step::Populate { domain, frame }),
        1 => domain().prop_map(|domain| Step::Die { domain }),
    ]
}

/// What the domains have, as it should be.
#[derive(Default)]
struct Model {
    /// Storage of the frames that may come and go, by domain and number.
    frames: BTreeMap<(u16, u64), RealAddr>,
    entries: BTreeMap<(u16, u32), (u16, u64, bool)>,
    /// Mappings by domain and place.
    mappings: BTreeMap<(u16, u64), Mapped>,
    /// How often each number's domain has died.
    lives: BTreeMap<u16, u32>,
}

#[derive(Clone, Copy)]
struct Mapped {
    handle: u32,
    lender: u16,
    life: u32,
    reference: u32,
    read: bool,
    real: RealAddr,
}

impl Model {
    fn life(&self, domain: u16) -> u32 {
        self.lives.get(&domain).copied().unwrap_or(0)
    }

    /// The storage behind an entry for `user`; it is mapped to be read only if it says so.
    fn allowed(&self, lender: u16, reference: u32, user: u16, read: bool) -> Option<RealAddr> {
        let (to, frame, only_read) = *self.entries.get(&(lender, reference))?;
        let allowed = to == user && lender != user && (read || !only_read);
        allowed.then(|| self.frames.get(&(lender, frame)).copied()).flatten()
    }

    fn lent(&self, real: RealAddr) -> bool {
        self.mappings.values().any(|mapped| mapped.real == real)
    }

    /// Frames of the dead that are mapped.
    fn orphans(&self) -> usize {
        let owned: Vec<RealAddr> = self.frames.values().copied().collect();
        let orphans = self.mappings.values().map(|m| m.real).filter(|real| !owned.contains(real));
        orphans.collect::<std::collections::BTreeSet<_>>().len()
    }
}

/// A domain's frames that may come and go, noted.
fn note_frames(grants: &Grants, model: &mut Model, domain: u16) {
    for frame in 17..20 {
        let real = grants.real(domain, frame * FRAME, Access::READ).unwrap();
        model.frames.insert((domain, frame), real);
    }
}

fn take(grants: &mut Grants, model: &mut Model, step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Grant { domain, reference, to, frame, read } => {
            // The marks of what is mapped stay, as a careful guest leaves them.
            let flags = GTF_PERMIT_ACCESS | if read { GTF_READONLY } else { 0 };
            let marks = grants.flags(domain, reference) & IN_USE;
            grants.grant(domain, reference, to, frame * FRAME, flags | marks);
            model.entries.insert((domain, reference), (to, frame, read));
        }
        Step::Map { domain, lender, reference, place, read } => {
            let real = model.allowed(lender, reference, domain, read);
            let real = real.filter(|_| !model.mappings.contains_key(&(domain, place)));
            let (status, handle) =
                grants.map(domain, lender, reference, THERE + place * PAGE, read);
            prop_assert_eq!(status == GNTST_OKAY, real.is_some());
            if let Some(real) = real {
                let life = model.life(lender);
                let mapped = Mapped { handle, lender, life, reference, read, real };
                model.mappings.insert((domain, place), mapped);
            }
        }
        Step::Unmap { domain, place } => {
            let mapped = model.mappings.remove(&(domain, place));
            let status =
                grants.unmap(domain, THERE + place * PAGE, mapped.map_or(99, |m| m.handle));
            prop_assert_eq!(status == GNTST_OKAY, mapped.is_some());
        }
        Step::Copy { domain, lender, reference, write } => {
            let allowed = model.allowed(lender, reference, domain, !write);
            let status = grants.copy(domain, lender, reference, 0x18_0000, write, 64);
            prop_assert_eq!(status == GNTST_OKAY, allowed.is_some());
        }
        Step::Decrease { domain, frame } => {
            let real = model.frames.get(&(domain, frame)).copied();
            let real = real.filter(|real| !model.lent(*real));
            prop_assert_eq!(grants.decrease(domain, frame * FRAME) == 1, real.is_some());
            if real.is_some() {
                model.frames.remove(&(domain, frame));
            }
        }
        Step::Populate { domain, frame } => {
            let wanted = !model.frames.contains_key(&(domain, frame));
            let command = memory::XENMEM_POPULATE_PHYSMAP;
            prop_assert_eq!(grants.change(domain, command, frame * FRAME) == 1, wanted);
            let real = grants.real(domain, frame * FRAME, Access::READ).unwrap();
            model.frames.insert((domain, frame), real);
        }
        Step::Die { domain } => {
            grants.kill(domain);
            model.mappings.retain(|(user, _), _| *user != domain);
            model.entries.retain(|(lender, _), _| *lender != domain);
            *model.lives.entry(domain).or_default() += 1;
            grants.0.start(domain, &guests()[..1]);
            prop_assert_eq!(grants.map_table(domain), 0);
            note_frames(grants, model, domain);
        }
    }
    Ok(())
}

fn check(grants: &Grants, model: &Model, sum: usize) -> Result<(), TestCaseError> {
    for domain in 1..=3 {
        for place in 0..4 {
            let mapped = model.mappings.get(&(domain, place));
            let at = THERE + place * PAGE;
            let wanted = mapped.map(|m| m.real);
            prop_assert_eq!(grants.real(domain, at, Access::READ), wanted);
            let wanted = wanted.filter(|_| mapped.is_some_and(|m| !m.read));
            prop_assert_eq!(grants.real(domain, at, Access::WRITE), wanted);
        }
        for frame in 17..20 {
            let real = grants.real(domain, frame * FRAME, Access::READ);
            prop_assert_eq!(real, model.frames.get(&(domain, frame)).copied());
        }
        for reference in 0..3 {
            let now = model.life(domain);
            let uses = model.mappings.values();
            let mut uses =
                uses.filter(|m| (m.lender, m.life, m.reference) == (domain, now, reference));
            let marks = uses.clone().next().map_or(0, |_| GTF_READING);
            let marks = marks | if uses.any(|m| !m.read) { GTF_WRITING } else { 0 };
            prop_assert_eq!(
                grants.flags(domain, reference) & IN_USE,
                marks,
                "of {}'s {}",
                domain,
                reference
            );
        }
    }
    // Each domain's tables may take a frame more or less.
    let known = grants.0.hv.free_frames() + model.frames.len() + model.orphans();
    prop_assert!(known.abs_diff(sum) <= 6, "{} of {} frames", known, sum);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever three domains do with grants, memory and their lives: a page is reached by whom the
    /// model says, entries are marked while they are in use, no frame is lost or made.
    #[test]
    fn grants_are_as_the_model_says(steps in prop::collection::vec(step(), 1..60)) {
        let mut grants = Grants::new();
        let mut model = Model::default();
        for domain in 1..=3 {
            note_frames(&grants, &mut model, domain);
        }
        let sum = grants.0.hv.free_frames() + model.frames.len();
        for step in steps {
            take(&mut grants, &mut model, step)?;
            check(&grants, &model, sum)?;
        }
        for domain in 1..=3 {
            grants.kill(domain);
        }
        prop_assert!(powers_off(|| grants.kill(4)));
        prop_assert_eq!(grants.0.hv.free_frames(), grants.0.free_at_start);
    }
}

/// A domain that has a processor of its own, driven by a thread.
struct Alone<'a> {
    hv: &'a Hypervisor<Fake>,
    processor: &'a mut Processor,
    domain: u16,
}

impl Alone<'_> {
    fn real(&self, at: u64) -> Option<RealAddr> {
        self.hv.machine.guest_access(self.domain, GuestAddr::new(at), Access::WRITE)
    }

    fn call(&mut self, call: u64, command: u32, argument: &[u8]) -> i64 {
        self.hv.machine.write(self.real(Board::ARGUMENT).unwrap(), argument);
        let mut frame = Frame::default();
        frame.gpr[3..7].copy_from_slice(&[XEN_MARK | call, command.into(), Board::ARGUMENT, 1]);
        self.hv.exit(self.processor, vector::SYSTEM_CALL, &mut frame);
        frame.gpr[3].cast_signed()
    }

    /// An operation on grants; the doubleword of its answer at `answer`.
    fn grant(&mut self, command: u32, argument: &[u8], answer: u64) -> u64 {
        assert_eq!(self.call(xen::HYPERVISOR_GRANT_TABLE_OP, command, argument), 0);
        self.hv.machine.fetch_or(self.real(Board::ARGUMENT + answer).unwrap(), 0)
    }
}

/// Two domains map and unmap one entry while its owner changes to whom it is granted, takes the
/// frame away and puts it back: nobody keeps what is not granted, no count is lost.
#[test]
fn races_on_one_entry_lose_nothing() {
    const ROUNDS: u64 = 2000;
    const MOST: u64 = 1000 * ROUNDS;
    const PLACE: u64 = 0x11_0000;
    let mut board = Board::new(64, 3, &guests()[..3]);
    for n in 0..3 {
        assert_eq!(board.dispatch(n), n);
    }
    let Board { hv, mut processors, .. } = board;
    let hv = &*hv;
    let mut alone: Vec<Alone<'_>> = (1..)
        .zip(&mut processors)
        .map(|(domain, processor)| Alone { hv, processor, domain })
        .collect();
    let (done, mapped) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let borrow = |alone: &mut Alone<'_>| {
        for _ in (0..MOST).take_while(|_| !done.load(Ordering::Relaxed)) {
            let argument = map_argument(1, 5, THERE, GNTMAP_HOST_MAP);
            let answer = alone.grant(GNTTABOP_MAP_GRANT_REF, &argument, 16);
            if (answer >> 16) as i16 != GNTST_OKAY {
                continue;
            }
            mapped.fetch_add(1, Ordering::Relaxed);
            assert!(alone.real(THERE).is_some());
            let argument = unmap_argument(THERE, (answer >> 32) as u32);
            let answer = alone.grant(GNTTABOP_UNMAP_GRANT_REF, &argument, 16);
            assert_eq!((answer >> 32) as i16, GNTST_OKAY);
            assert_eq!(alone.real(THERE), None);
        }
    };
    let lend = |alone: &mut Alone<'_>| {
        let space = u64::from(memory::XENMAPSPACE_GRANT_TABLE) << 32;
        let argument = bytes(&[u64::from(xen::DOMID_SELF) | space, 0, TABLE / PAGE]);
        let map_table = memory::XENMEM_ADD_TO_PHYSMAP;
        assert_eq!(alone.call(xen::HYPERVISOR_MEMORY_OP, map_table, &argument), 0);
        let entry = alone.real(TABLE + 5 * 8).unwrap();
        let frame_list = alone.real(0x3000).unwrap();
        hv.machine.write(frame_list, &(PLACE / PAGE).to_le_bytes());
        let extent = bytes(&[0x3000, 1, 4, xen::DOMID_SELF.into()]);
        let mut taken = 0;
        for round in 0..MOST {
            // Until it has met the others, however late they come.
            if round >= ROUNDS && taken > 0 && mapped.load(Ordering::Relaxed) > 0 {
                break;
            }
            // As a guest does without a look at the marks, which the hypervisor's own counts outlast.
            hv.machine.fetch_and(entry, u64::from(IN_USE));
            let to = 2 + round % 2;
            hv.machine.fetch_or(entry, (PLACE / PAGE) << 32 | to << 16 | 1);
            let decrease = memory::XENMEM_DECREASE_RESERVATION;
            if alone.call(xen::HYPERVISOR_MEMORY_OP, decrease, &extent) == 1 {
                taken += 1;
                let populate = memory::XENMEM_POPULATE_PHYSMAP;
                assert_eq!(alone.call(xen::HYPERVISOR_MEMORY_OP, populate, &extent), 1);
            }
        }
        done.store(true, Ordering::Relaxed);
        taken
    };
    let [one, two, three] = &mut alone[..] else { panic!("three domains") };
    let taken = std::thread::scope(|scope| {
        for user in [two, three] {
            scope.spawn(move || borrow(user));
        }
        lend(one)
    });
    assert!(taken > 0 && mapped.load(Ordering::Relaxed) > 0, "{taken} taken, {mapped:?} mapped");
    let [one, ..] = &mut alone[..] else { panic!("three domains") };
    let marks = hv.machine.fetch_or(one.real(TABLE + 5 * 8).unwrap(), 0) as u16 & IN_USE;
    assert_eq!(marks, 0);
    let extent = bytes(&[0x3000, 1, 4, xen::DOMID_SELF.into()]);
    let decrease = memory::XENMEM_DECREASE_RESERVATION;
    assert_eq!(one.call(xen::HYPERVISOR_MEMORY_OP, decrease, &extent), 1, "nothing is counted");
}
