//! Grants: the counts are exact whoever maps, unmaps, revokes or ends, and a frame is free once.

use boot_archive::Personality;
use hv_core::Storage;
use hv_fake::{Fake, Guest};
use k42_lib::{GuestAddr, RealAddr};
use k42_models::{Scene, Step, call, explore};
use shuttle::rand::{Rng, thread_rng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use xen_sys::{grant_table::*, memory, xen};

const PAGE: u64 = 1 << 12;
/// Where a domain's grant table is, what it grants, and where it maps what others grant.
const TABLE: u64 = 32 << 20;
const GRANTED: u64 = 0x11_0000;
const THERE: u64 = 64 << 20;
/// Marks of an entry: in use, to be read or written.
const IN_USE: u64 = (GTF_READING | GTF_WRITING) as u64;

/// Domain 1 stays; 2 has granted a page to 3, which has two vCPUs, and 3 one to 2. Where the two
/// entries are.
fn scene() -> (Scene, [RealAddr; 2]) {
    let mut guests = ["stays", "two", "three"].map(|name| Guest::new(name, Personality::Xen));
    guests[2].vcpus = 2;
    let mut scene = Scene::new(3, &guests);
    let entries = [(2, 1, 3), (3, 2, 2)].map(|(domain, vcpu, to)| {
        let space = u64::from(memory::XENMAPSPACE_GRANT_TABLE) << 32;
        let map = [u64::from(xen::DOMID_SELF) | space, 0, TABLE / PAGE];
        let map = scene.memory(domain, memory::XENMEM_ADD_TO_PHYSMAP, &map);
        scene.now(vcpu, map);
        let entry = (GRANTED / PAGE) << 32 | to << 16 | u64::from(GTF_PERMIT_ACCESS);
        scene.board.poke(domain, TABLE + 8, &entry.to_le_bytes());
        scene.real(domain, TABLE + 8)
    });
    (scene, entries)
}

/// Maps what another domain grants, and undoes it if that went well.
fn map_and_unmap(scene: &mut Scene, domain: u16, lender: u64, place: u64) -> [Step; 3] {
    let at = THERE + place * PAGE;
    let map = scene.argument(domain, &[at, 1 << 32 | u64::from(GNTMAP_HOST_MAP), lender, 0]);
    let unmap = scene.argument(domain, &[at, 0, u64::from(u32::MAX)]);
    let (answer, handle) = (scene.real(domain, map + 16), scene.real(domain, unmap + 16));
    let copy = move |machine: &Fake, _| {
        let answer = machine.load_shared(answer);
        if answer >> 16 & 0xffff == 0 {
            machine.write(handle, &(answer >> 32).to_le_bytes());
        }
    };
    let op = |command: u32, at| call(xen::HYPERVISOR_GRANT_TABLE_OP, &[command.into(), at, 1]);
    [op(GNTTABOP_MAP_GRANT_REF, map), Step::Do(Box::new(copy)), op(GNTTABOP_UNMAP_GRANT_REF, unmap)]
}

/// The lender takes its grant back, then the frame: it gets it if nobody used the entry.
fn revoke(scene: &mut Scene, entry: RealAddr) -> [Step; 3] {
    let list = scene.argument(2, &[GRANTED / PAGE]);
    let extent = [list, 1, 4, xen::DOMID_SELF.into()];
    let used = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&used);
    let forbid = move |machine: &Fake, _| {
        let before = machine.fetch_and(entry, !u64::from(GTF_PERMIT_ACCESS));
        noted.store(before & IN_USE != 0, Ordering::Relaxed);
    };
    let look = move |_: &Fake, answer| {
        assert!(answer == 1 || used.load(Ordering::Relaxed), "it was not in use, and is lent");
    };
    [
        Step::Do(Box::new(forbid)),
        scene.memory(2, memory::XENMEM_DECREASE_RESERVATION, &extent),
        Step::Do(Box::new(look)),
    ]
}

#[test]
fn the_counts_are_exact_whoever_ends() {
    explore(|| {
        let (mut scene, [entry, _]) = scene();
        let lender_ends = match thread_rng().gen_range(0..3) {
            0 => false,
            1 => {
                let steps = revoke(&mut scene, entry);
                scene.program(1, steps);
                false
            }
            _ => {
                let steps = map_and_unmap(&mut scene, 2, 3, 0);
                scene.program(1, steps);
                let end = scene.shutdown(2);
                scene.program(1, [end]);
                true
            }
        };
        for place in 0..2 {
            let steps = map_and_unmap(&mut scene, 3, 2, place);
            scene.program(2 + place as usize, steps);
        }
        let borrower_ends = thread_rng().gen_range(0..2) == 0;
        if borrower_ends {
            let end = scene.shutdown(3);
            scene.program(2, [end]);
        }
        scene.run(&[]);
        let hv = &scene.board.hv;
        assert_eq!((hv.root(2).is_none(), hv.root(3).is_none()), (lender_ends, borrower_ends));
        // The walker holds the frames' counts; here, that the lender's entry says the same.
        if !lender_ends {
            assert_eq!(hv.machine.load_shared(entry) & IN_USE, 0, "nobody uses it");
        }
    });
}

#[test]
fn two_that_map_each_others_pages_do_not_wait_for_each_other() {
    explore(|| {
        let (mut scene, entries) = scene();
        let steps = map_and_unmap(&mut scene, 2, 3, 0);
        scene.program(1, steps);
        let steps = map_and_unmap(&mut scene, 3, 2, 0);
        scene.program(2, steps);
        scene.run(&[]);
        for entry in entries {
            assert_eq!(scene.board.hv.machine.load_shared(entry) & IN_USE, 0);
        }
    });
}

#[test]
fn a_mapping_is_undone_once() {
    explore(|| {
        let (mut scene, [entry, _]) = scene();
        let [map, handle, unmap] = map_and_unmap(&mut scene, 3, 2, 0);
        scene.now(2, map);
        let (Step::Do(copy), Step::Call(again)) = (handle, &unmap) else { panic!("as made") };
        copy(&scene.board.hv.machine, 0);
        // Its sibling undoes whatever is there by then: this mapping, the next, or none.
        scene.program(3, [Step::Call(again.clone())]);
        let other = entry.offset(8);
        let fields = (GRANTED / PAGE) << 32 | 3 << 16 | u64::from(GTF_PERMIT_ACCESS);
        scene.board.hv.machine.fetch_or(other, fields);
        let next = [THERE, 2 << 32 | u64::from(GNTMAP_HOST_MAP), 2, 0];
        let next = scene.argument(3, &next);
        let next = [GNTTABOP_MAP_GRANT_REF.into(), next, 1];
        scene.program(2, [unmap, call(xen::HYPERVISOR_GRANT_TABLE_OP, &next)]);
        scene.run(&[]);
        let machine = &scene.board.hv.machine;
        let there = machine.guest_translate(3, GuestAddr::new(THERE)).is_some();
        let used = [entry, other].map(|entry| machine.load_shared(entry) & IN_USE != 0);
        assert_eq!(used, [false, there]);
    });
}
