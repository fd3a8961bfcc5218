//! Disks: storage that keeps what is in it, whoever its domain is and however that ends.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::Rights;
use hv_core::Storage;
use hv_core::frames::FRAME_SIZE;
use hv_fake::{Board, DISKS, Guest, powers_off};
use k42_lib::radix::Access;
use k42_lib::{GuestAddr, RealAddr};
use xen_sys::grant_table::{GNTMAP_HOST_MAP, GNTTABOP_MAP_GRANT_REF, GTF_PERMIT_ACCESS};
use xen_sys::{errno, memory, sched, xen};

const PAGE: u64 = 4096;
/// Where a domain has its first disk, and its second.
const FIRST: u64 = 1 << 40;
const SECOND: u64 = 2 << 40;
/// Where a domain's grant table is.
const TABLE: u64 = 32 << 20;

/// A domain with two disks, one without, and a third that keeps the machine on.
fn board() -> Board {
    let guest = |name| Guest::new(name, Personality::Xen);
    let keeper = Guest { disks: vec![0, 1], ..guest("keeper") };
    let other = guest("other");
    let other = Guest { rights: other.rights | Rights::CONTROL, ..other };
    let mut board = Board::new(64, 1, &[keeper, other, guest("third")]);
    board.dispatch(0);
    board
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn end(board: &mut Board, domain: u16) {
    let reason = sched::SHUTDOWN_POWEROFF.to_le_bytes();
    board.operate(domain, xen::HYPERVISOR_SCHED_OP, sched::SCHEDOP_SHUTDOWN, &reason);
}

/// A domain finds on its disks what was there, to their ends and no further, and nobody else does; it
/// is there still when the domain has ended, and for no other domain then.
#[test]
fn a_disk_is_its_domains_and_keeps_what_is_in_it() {
    let mut board = board();
    for ((storage, size), at) in [(DISKS[0], FIRST), (DISKS[1], SECOND)] {
        board.hv.machine.write(storage.offset(size - 8), &[7; 8]);
        assert_eq!(board.peek(1, at + size - 8), u64::from_le_bytes([7; 8]));
        board.poke(1, at, b"kept");
        let beyond = |domain, at| board.hv.machine.guest_translate(domain, GuestAddr::new(at));
        assert_eq!(beyond(1, at + size), None);
        assert_eq!(beyond(1, at - 1), None);
        assert_eq!(beyond(2, at), None);
        let fetched = board.hv.machine.guest_access(1, GuestAddr::new(at), Access::EXECUTE);
        assert_eq!(fetched, None, "nothing is executed there");
    }
    let free = board.hv.free_frames();
    end(&mut board, 1);
    let mut bytes = [0; 4];
    board.hv.machine.read(DISKS[0].0, &mut bytes);
    assert_eq!(&bytes, b"kept");
    assert!(board.hv.free_frames() > free);
    board.start(4, &[Guest { disks: vec![0], ..Guest::new("next", Personality::Xen) }]);
    let said = board.said(0);
    assert!(said.contains("domain next is not started: disk 0 is not there"), "{said}");
    for domain in 2..=3 {
        let last = domain == 3;
        assert_eq!(powers_off(|| end(&mut board, domain)), last);
    }
    assert_eq!(board.hv.free_frames(), board.free_at_start);
}

/// What there is not, what is another's, and what is of another size starts nobody.
#[test]
fn a_domain_starts_with_its_disks_or_not_at_all() {
    let mut board = board();
    let free = board.hv.free_frames();
    for (first, number) in [(4, 1), (5, 3), (6, u32::MAX)] {
        let guest = Guest { disks: vec![2, number], ..Guest::new("four", Personality::Xen) };
        board.disks[2] = Some(DISKS[2]);
        board.start(first, &[guest]);
        let said = board.said(0);
        assert!(said.contains(&format!("disk {number} is not there")), "{said}");
        assert_eq!(board.hv.free_frames(), free);
    }
    board.disks[2] = Some((DISKS[2].0, 4 << 20));
    board.start(7, &[Guest { disks: vec![2], ..Guest::new("seven", Personality::Xen) }]);
    assert!(board.said(0).contains("domain seven is not started: disk 2"));
    board.check();
}

/// No call lends a disk's page, gives it back, or puts memory in its place.
#[test]
fn a_disk_is_neither_lent_nor_given_back() {
    let mut board = board();
    let mut change = |command, order: u64, at: u64| {
        board.be(1);
        board.poke(1, 0x3000, &(at / PAGE).to_le_bytes());
        let argument = words(&[0x3000, 1, order, xen::DOMID_SELF.into()]);
        board.operate(1, xen::HYPERVISOR_MEMORY_OP, command, &argument)
    };
    for (at, order) in [(FIRST, 4), (FIRST, 9), (SECOND, 9), (SECOND + FRAME_SIZE, 4)] {
        let given = change(memory::XENMEM_DECREASE_RESERVATION, order, at);
        assert_eq!(given, -i64::from(errno::EBUSY), "{at:#x}");
    }
    assert_eq!(change(memory::XENMEM_DECREASE_RESERVATION, 9, 2 << 20), 1);
    let there = change(memory::XENMEM_POPULATE_PHYSMAP, 9, FIRST);
    assert_eq!(there, -i64::from(errno::EINVAL));

    let space = u64::from(memory::XENMAPSPACE_GRANT_TABLE) << 32;
    let table = words(&[u64::from(xen::DOMID_SELF) | space, 0, TABLE / PAGE]);
    for domain in 1..=2 {
        let mapped =
            board.operate(domain, xen::HYPERVISOR_MEMORY_OP, memory::XENMEM_ADD_TO_PHYSMAP, &table);
        assert_eq!(mapped, 0);
    }
    let entry = (FIRST / PAGE) << 32 | 2 << 16 | u64::from(GTF_PERMIT_ACCESS);
    board.poke(1, TABLE + 8 * 8, &entry.to_le_bytes());
    let argument = words(&[64 << 20, 8 << 32 | u64::from(GNTMAP_HOST_MAP), 1, 0]);
    board.operate(2, xen::HYPERVISOR_GRANT_TABLE_OP, GNTTABOP_MAP_GRANT_REF, &argument);
    assert!((board.peek(2, Board::ARGUMENT + 18) as i16) < 0, "it was lent");
    assert_eq!(board.peek(1, TABLE + 8 * 8), entry, "its entry is marked as in use");

    // Nor does a controller reach it.
    let foreign = u64::from(memory::XENMAPSPACE_GMFN_FOREIGN);
    let head = u64::from(xen::DOMID_SELF) | foreign << 16 | 1 << 32 | 1 << 48;
    board.poke(2, 0x3000, &words(&[FIRST / PAGE, (64 << 20) / PAGE, 0]));
    let batch = words(&[head, 0x3000, 0x3008, 0x3010]);
    board.operate(2, xen::HYPERVISOR_MEMORY_OP, memory::XENMEM_ADD_TO_PHYSMAP_BATCH, &batch);
    assert!((board.peek(2, 0x3010) as i32) < 0, "it was mapped");
    assert_eq!(board.hv.machine.guest_translate(2, GuestAddr::new(64 << 20)), None::<RealAddr>);
}
