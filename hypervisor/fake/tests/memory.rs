//! Memory that comes and goes at run time: who has what, and what the machine still knows of it.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_fake::{Board, Guest};
use k42_lib::GuestAddr;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use xen_sys::{errno, memory as op, xen};

const FRAME: u64 = 1 << 16;
const PIECE: u64 = 1 << 21;
const MEMORY: u64 = 4 << 20;
/// Where a list of extents is.
const LIST: u64 = 0x3000;
/// log2 of the pages of a frame, and of a leaf of 2 MiB.
const SMALL: u32 = 4;
const LARGE: u32 = 9;

/// Domains of 4 MiB.
struct Memory(Board);

fn failed(errno: i32) -> i64 {
    -i64::from(errno)
}

impl Memory {
    fn new(domains: usize) -> Memory {
        let guests = ["one", "two", "three"].map(|name| Guest::new(name, Personality::Xen));
        let mut board = Board::new(64, 1, &guests[..domains]);
        board.dispatch(0);
        Memory(board)
    }

    /// A change of extents of 2^order pages at these addresses.
    fn change(&mut self, domain: u16, command: u32, order: u32, at: &[u64], whose: u16) -> i64 {
        for (n, at) in (0..).zip(at) {
            self.0.poke(domain, LIST + n * 8, &(at >> 12).to_le_bytes());
        }
        let mut argument = [0; 32];
        argument[..8].copy_from_slice(&LIST.to_le_bytes());
        argument[8..16].copy_from_slice(&(at.len() as u64).to_le_bytes());
        argument[16..20].copy_from_slice(&order.to_le_bytes());
        argument[24..26].copy_from_slice(&whose.to_le_bytes());
        self.0.operate(domain, xen::HYPERVISOR_MEMORY_OP, command, &argument)
    }

    fn populate(&mut self, domain: u16, order: u32, at: &[u64]) -> i64 {
        self.change(domain, op::XENMEM_POPULATE_PHYSMAP, order, at, xen::DOMID_SELF)
    }

    fn decrease(&mut self, domain: u16, order: u32, at: &[u64]) -> i64 {
        self.change(domain, op::XENMEM_DECREASE_RESERVATION, order, at, xen::DOMID_SELF)
    }

    fn ask(&mut self, domain: u16, command: u32) -> i64 {
        let argument = xen::DOMID_SELF.to_le_bytes();
        self.0.operate(domain, xen::HYPERVISOR_MEMORY_OP, command, &argument)
    }

    fn map_shared(&mut self, domain: u16, at: u64) -> i64 {
        self.map(domain, op::XENMAPSPACE_SHARED_INFO, 0, at >> 12)
    }

    /// Maps a page of what a domain shares with the hypervisor, by its index there.
    fn map(&mut self, domain: u16, space: u32, index: u64, page: u64) -> i64 {
        let mut argument = [0; 24];
        argument[..2].copy_from_slice(&xen::DOMID_SELF.to_le_bytes());
        argument[4..8].copy_from_slice(&space.to_le_bytes());
        argument[8..16].copy_from_slice(&index.to_le_bytes());
        argument[16..].copy_from_slice(&page.to_le_bytes());
        self.0.operate(domain, xen::HYPERVISOR_MEMORY_OP, op::XENMEM_ADD_TO_PHYSMAP, &argument)
    }

    fn byte(&self, domain: u16, at: u64) -> Option<u8> {
        self.0.hv.machine.guest_byte(domain, GuestAddr::new(at))
    }
}

#[test]
fn what_is_returned_is_gone_at_once_and_comes_back_zeroed() {
    let mut memory = Memory::new(2);
    let free = memory.0.hv.free_frames();
    let at = MEMORY - FRAME;
    memory.0.poke(1, at, b"secret");
    assert_eq!(memory.byte(1, at), Some(b's'), "the processor knows the page");
    assert_eq!(memory.decrease(1, SMALL, &[at]), 1);
    assert_eq!(memory.byte(1, at), None, "a stale translation");
    // One table takes the place of the leaf of 2 MiB, out of a frame that tables had already.
    assert_eq!(memory.0.hv.free_frames(), free + 1);
    assert_eq!(memory.ask(1, op::XENMEM_CURRENT_RESERVATION), ((MEMORY - FRAME) >> 12) as i64);
    assert!(memory.byte(1, at - 1).is_some(), "its neighbour stays");
    assert_eq!(memory.populate(1, SMALL, &[at]), 1);
    assert_eq!(memory.byte(1, at), Some(0));
    assert_eq!(memory.0.hv.free_frames(), free);
    assert_eq!(memory.ask(1, op::XENMEM_CURRENT_RESERVATION), (MEMORY >> 12) as i64);
}

#[test]
fn a_large_extent_goes_and_comes_whole() {
    let mut memory = Memory::new(1);
    let free = memory.0.hv.free_frames();
    assert_eq!(memory.decrease(1, LARGE, &[PIECE]), 1);
    assert_eq!(memory.0.hv.free_frames(), free + 32);
    assert_eq!((memory.byte(1, PIECE), memory.byte(1, MEMORY - 1)), (None, None));
    // By small extents, in the reverse order; then it goes by a large one that has small leaves.
    let places: Vec<u64> = (0..32).rev().map(|n| PIECE + n * FRAME).collect();
    assert_eq!(memory.populate(1, SMALL, &places[..16]), 16);
    assert_eq!(memory.populate(1, SMALL, &places[16..]), 16);
    assert_eq!(memory.decrease(1, LARGE, &[PIECE]), 1);
    // The table of small leaves stays: a large extent comes by small leaves from now on.
    assert_eq!(memory.populate(1, LARGE, &[PIECE]), 1);
    assert_eq!(memory.byte(1, MEMORY - 1), Some(0));
    assert_eq!(memory.0.hv.free_frames(), free);
    assert_eq!(memory.ask(1, op::XENMEM_MAXIMUM_GPFN), (MEMORY >> 12) as i64 - 1);
}

#[test]
fn a_domain_gets_no_more_than_it_may_have() {
    let mut memory = Memory::new(1);
    let free = memory.0.hv.free_frames();
    assert_eq!(memory.ask(1, op::XENMEM_MAXIMUM_RESERVATION), (MEMORY >> 12) as i64);
    assert_eq!(memory.populate(1, SMALL, &[MEMORY]), failed(errno::ENOMEM));
    assert_eq!(memory.decrease(1, SMALL, &[0x10_0000, 0x20_0000]), 2);
    assert_eq!(memory.populate(1, SMALL, &[MEMORY, MEMORY + FRAME, MEMORY + 2 * FRAME]), 2);
    assert_eq!(memory.populate(1, LARGE, &[MEMORY]), failed(errno::ENOMEM));
    assert_eq!(memory.0.hv.free_frames(), free);
}

#[test]
fn extents_that_make_no_sense_are_refused_and_change_nothing() {
    let mut memory = Memory::new(2);
    let free = memory.0.hv.free_frames();
    assert_eq!(memory.decrease(1, SMALL, &[PIECE]), 1);
    for order in [0, 3, 10, 18, 63, u32::MAX] {
        assert_eq!(memory.populate(1, order, &[PIECE]), failed(errno::EINVAL), "order {order}");
        assert_eq!(memory.decrease(1, order, &[0]), failed(errno::EINVAL), "order {order}");
    }
    assert_eq!(memory.populate(1, SMALL, &[0]), failed(errno::EINVAL));
    assert_eq!(memory.populate(1, SMALL, &[PIECE + 0x1000]), failed(errno::EINVAL));
    assert_eq!(memory.populate(1, SMALL, &[1 << 52]), failed(errno::EINVAL));
    assert_eq!(memory.populate(1, SMALL, &[0u64.wrapping_sub(FRAME)]), failed(errno::EINVAL));
    assert_eq!(memory.decrease(1, SMALL, &[PIECE]), failed(errno::EINVAL), "not there");
    assert_eq!(memory.decrease(1, LARGE, &[PIECE]), failed(errno::EINVAL), "not all there");
    assert_eq!(memory.decrease(1, LARGE, &[FRAME]), failed(errno::EINVAL), "not aligned");
    let foreign = memory.change(1, op::XENMEM_DECREASE_RESERVATION, SMALL, &[0], 2);
    assert_eq!(foreign, failed(errno::EPERM));
    assert!(memory.0.said(0).contains("refused: memory_op: needs a right"));
    assert_eq!(memory.0.hv.free_frames(), free + 1);
}

#[test]
fn an_extent_comes_to_a_multiple_of_its_size() {
    let mut memory = Memory::new(1);
    let two = [PIECE + FRAME, PIECE + 2 * FRAME];
    assert_eq!(memory.decrease(1, SMALL, &two), 2);
    assert_eq!(memory.populate(1, SMALL + 1, &two[..1]), failed(errno::EINVAL));
    assert_eq!(two.map(|at| memory.byte(1, at)), [None, None]);
    assert_eq!(memory.populate(1, SMALL, &two), 2);
}

#[test]
fn the_shared_page_is_no_memory_to_return() {
    let mut memory = Memory::new(1);
    let at = 64 << 20;
    assert_eq!(memory.map_shared(1, at), 0);
    assert_eq!(memory.decrease(1, SMALL, &[at]), failed(errno::EINVAL));
    assert_eq!(memory.byte(1, at), Some(0));
}

#[test]
fn only_pages_that_are_shared_are_mapped_and_only_where_an_address_is() {
    let mut memory = Memory::new(1);
    let page = 64 << 20 >> 12;
    let table = hv_core::grants::TABLE_PAGES;
    for index in [table, table + 1, 14, 15, 16, u64::MAX] {
        let mapped = memory.map(1, op::XENMAPSPACE_GRANT_TABLE, index, page);
        assert_eq!(mapped, failed(errno::EINVAL), "page {index} of the table");
    }
    assert_eq!(memory.map(1, op::XENMAPSPACE_SHARED_INFO, 1, page), failed(errno::EINVAL));
    assert_eq!(
        memory.map(1, op::XENMAPSPACE_SHARED_INFO, 0, 1 << 52 | page),
        failed(errno::EINVAL)
    );
    assert_eq!(memory.map(1, op::XENMAPSPACE_GRANT_TABLE, table - 1, page), 0);
}

#[test]
fn increase_says_where() {
    let mut memory = Memory::new(1);
    assert_eq!(memory.decrease(1, SMALL, &[PIECE]), 1);
    let increase = op::XENMEM_INCREASE_RESERVATION;
    assert_eq!(memory.change(1, increase, SMALL, &[7 << 12, 9 << 12], xen::DOMID_SELF), 1);
    assert_eq!(memory.0.peek(1, LIST), MEMORY >> 12);
    assert_eq!(memory.byte(1, MEMORY + FRAME - 1), Some(0));
}

#[test]
fn one_call_does_a_bounded_number() {
    let mut memory = Memory::new(1);
    let places: Vec<u64> = (20..60).map(|n| n * FRAME).collect();
    assert_eq!(memory.decrease(1, SMALL, &places), 16);
    assert_eq!(memory.decrease(1, SMALL, &[]), 0);
}

#[test]
fn tables_cannot_eat_the_machine() {
    let mut memory = Memory::new(1);
    let free = memory.0.hv.free_frames();
    // Each at a place of its own, with two tables.
    let results: Vec<i64> = (1..1000).map(|n| memory.map_shared(1, n << 30)).collect();
    assert!(results[..200].iter().all(|result| *result == 0));
    assert_eq!(results[998], failed(errno::EINVAL));
    assert!(free - memory.0.hv.free_frames() < 40);
}

#[test]
fn the_memory_map_has_one_entry() {
    let mut memory = Memory::new(1);
    let mut argument = [0; 16];
    argument[0] = 4;
    argument[8..].copy_from_slice(&LIST.to_le_bytes());
    let call = xen::HYPERVISOR_MEMORY_OP;
    assert_eq!(memory.0.operate(1, call, op::XENMEM_MEMORY_MAP, &argument), 0);
    assert_eq!(memory.0.peek(1, Board::ARGUMENT) as u32, 1);
    let entry = [0, 8, 16].map(|offset| memory.0.peek(1, LIST + offset));
    assert_eq!((entry[0], entry[1], entry[2] as u32), (0, MEMORY, 1));
    let storage = memory.ask(1, op::XENMEM_MAXIMUM_RAM_PAGE);
    assert_eq!(storage, (64 << 20 >> 12) - 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Two domains take and give memory at random: each has what the model says, nobody has what
    /// another has, and frames are neither lost nor made.
    #[test]
    fn memory_is_as_the_model_says(
        steps in prop::collection::vec((1u16..=2, any::<bool>(), 4u32..=9, 2u64..100), 1..60)
    ) {
        let mut memory = Memory::new(2);
        let all = |_: u16| (0..MEMORY / FRAME).map(|n| n * FRAME).collect::<BTreeSet<u64>>();
        let mut model: BTreeMap<u16, BTreeSet<u64>> = (1..=2).map(|d| (d, all(d))).collect();
        // Tables may take a frame each domain more, and nothing else.
        let sum = memory.0.hv.free_frames() + 2 * 64;
        for (domain, give, order, place) in steps {
            let size = 0x1000 << order;
            let at = place * FRAME / size * size;
            if at == 0 { continue } // arguments are there
            let frames: BTreeSet<u64> = (0..size / FRAME).map(|n| at + n * FRAME).collect();
            let has = model.get_mut(&domain).unwrap();
            if give {
                let room = has.len() + frames.len() <= 64;
                let want = room && frames.is_disjoint(has);
                prop_assert_eq!(memory.populate(domain, order, &[at]) == 1, want);
                if want { has.extend(frames); }
            } else {
                let want = frames.is_subset(has);
                prop_assert_eq!(memory.decrease(domain, order, &[at]) == 1, want);
                if want { has.retain(|frame| !frames.contains(frame)); }
            }
        }
        let mut seen = BTreeSet::new();
        for (domain, has) in &model {
            for at in (0..130).map(|n| n * FRAME) {
                let real = memory.0.hv.machine.guest_translate(*domain, GuestAddr::new(at));
                prop_assert_eq!(real.is_some(), has.contains(&at), "domain {} at {:#x}", domain, at);
                prop_assert!(real.is_none_or(|real| seen.insert(real)), "two have {:#x}", at);
            }
        }
        let now = memory.0.hv.free_frames() + seen.len();
        prop_assert!(now <= sum && now + 2 >= sum, "{} frames of {}", now, sum);
    }
}
