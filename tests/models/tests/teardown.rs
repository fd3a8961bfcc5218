//! The end of a domain while it works on other processors: nothing of it is left.

use boot_archive::Personality;
use hv_abi::Rights;
use hv_abi::xen::ARCH_LITTLE_ENDIAN;
use hv_fake::{Fake, Guest};
use k42_models::{Scene, Step, call, explore};
use shuttle::rand::{Rng, thread_rng};
use std::mem::{offset_of, size_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use xen_sys::domctl::{self, CreateDomain};
use xen_sys::{event_channel as op, grant_table::*, memory, xen};

const SELF: u64 = xen::DOMID_SELF as u64;
const PAGE: u64 = 1 << 12;
const TABLE: u64 = 32 << 20;

/// A controller; its victim, of two vCPUs; and a peer, which grants the victim a page.
fn scene() -> Scene {
    let all = Rights::EVENTS | Rights::GRANTS;
    let guests = [
        Guest { rights: all | Rights::CONTROL, ..Guest::new("control", Personality::Xen) },
        Guest { rights: all, vcpus: 2, ..Guest::new("victim", Personality::Xen) },
        Guest { rights: all, ..Guest::new("peer", Personality::Xen) },
    ];
    let mut scene = Scene::new(3, &guests);
    let space = u64::from(memory::XENMAPSPACE_GRANT_TABLE) << 32;
    let map = [SELF | space, 0, TABLE / PAGE];
    let map = scene.memory(3, memory::XENMEM_ADD_TO_PHYSMAP, &map);
    scene.now(3, map);
    let entry = (0x11_0000 / PAGE) << 32 | 2 << 16 | u64::from(GTF_PERMIT_ACCESS);
    scene.board.poke(3, TABLE + 8, &entry.to_le_bytes());
    scene
}

/// The making of a domain with the victim's number.
fn create(scene: &mut Scene) -> Step {
    let mut words = [0; size_of::<CreateDomain>() / 8];
    let mut put =
        |offset: usize, word: u32| words[offset / 8] |= u64::from(word) << (offset % 8 * 8);
    put(offset_of!(CreateDomain, handle), u32::from_le_bytes(*b"new\0"));
    put(offset_of!(CreateDomain, flags), 3);
    put(offset_of!(CreateDomain, max_vcpus), 1);
    put(offset_of!(CreateDomain, arch), ARCH_LITTLE_ENDIAN);
    scene.control(domctl::XEN_DOMCTL_CREATEDOMAIN, 2, &words)
}

/// What the victim does: it makes a port, maps the peer's page and asks for memory.
fn work(scene: &mut Scene) -> [Step; 3] {
    let map = scene.argument(2, &[64 << 20, 1 << 32 | u64::from(GNTMAP_HOST_MAP), 3, 0]);
    let list = scene.argument(2, &[(1 << 20) / PAGE]);
    [
        scene.event(2, op::EVTCHNOP_ALLOC_UNBOUND, &[SELF | 3 << 16]),
        call(xen::HYPERVISOR_GRANT_TABLE_OP, &[GNTTABOP_MAP_GRANT_REF.into(), map, 1]),
        scene.memory(2, memory::XENMEM_DECREASE_RESERVATION, &[list, 1, 4, SELF]),
    ]
}

#[test]
fn a_domain_that_is_destroyed_leaves_nothing() {
    explore(|| {
        let mut scene = scene();
        let ends = thread_rng().gen_range(0..3);
        if ends > 0 {
            let destroy = scene.control(domctl::XEN_DOMCTL_DESTROYDOMAIN, 2, &[]);
            scene.program(0, [destroy]);
        }
        if ends < 2 {
            let end = scene.shutdown(2);
            scene.program(1, [end]);
        } else {
            scene.program(1, [Step::Compute]);
        }
        let steps = work(&mut scene);
        scene.program(2, steps);
        scene.program(2, [Step::Compute]);
        let steps = [
            scene.event(3, op::EVTCHNOP_BIND_INTERDOMAIN, &[2 | 1 << 32, 0]),
            scene.event(3, op::EVTCHNOP_SEND, &[1]),
        ];
        scene.program(3, steps);
        scene.run(&[]);
        assert_eq!(scene.board.hv.root(2), None);
        assert_eq!(scene.board.said(0).matches("domain 2 (victim): ended").count(), 1);
    });
}

#[test]
fn a_number_is_anothers_when_its_domain_is_gone() {
    explore(|| {
        let mut scene = scene();
        let destroy = scene.control(domctl::XEN_DOMCTL_DESTROYDOMAIN, 2, &[]);
        scene.program(0, [destroy]);
        let made = Arc::new(AtomicBool::new(false));
        for _ in 0..3 {
            let made = Arc::clone(&made);
            let note = move |_: &Fake, answer| _ = made.fetch_or(answer == 0, Ordering::Relaxed);
            let create = create(&mut scene);
            scene.program(0, [create, Step::Do(Box::new(note))]);
        }
        let steps = work(&mut scene);
        scene.program(1, [Step::Compute]);
        scene.program(2, steps);
        scene.program(2, [Step::Compute]);
        scene.run(&[]);
        assert!(scene.board.said(0).contains("domain 2 (victim): ended"));
        let there = scene.board.hv.root(2).is_some();
        assert_eq!(there, made.load(Ordering::Relaxed), "the next of that number");
    });
}
