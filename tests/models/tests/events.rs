//! Event channels: no wake-up is lost, both ends agree, an event is its sender's.

use boot_archive::Personality;
use hv_fake::Guest;
use k42_models::{Info, Scene, Step, explore};
use xen_sys::{event_channel as op, vcpu, xen};

const SELF: u64 = xen::DOMID_SELF as u64;

/// Lets domain `remote` connect to a new port of `domain`.
fn allocate(scene: &mut Scene, domain: u16, remote: u64) -> Step {
    scene.event(domain, op::EVTCHNOP_ALLOC_UNBOUND, &[SELF | remote << 16])
}

fn connect(scene: &mut Scene, domain: u16, remote: u64, port: u64) -> Step {
    scene.event(domain, op::EVTCHNOP_BIND_INTERDOMAIN, &[remote | port << 32, 0])
}

fn send(scene: &mut Scene, domain: u16, port: u64) -> Step {
    scene.event(domain, op::EVTCHNOP_SEND, &[port])
}

fn close(scene: &mut Scene, domain: u16, port: u64) -> Step {
    scene.event(domain, op::EVTCHNOP_CLOSE, &[port])
}

/// Domain 1, with so many vCPUs, and two others; port 1 of 1 and of 2 are connected.
fn connected(processors: u32, vcpus: u32) -> Scene {
    let mut guests = ["one", "two", "three"].map(|name| Guest::new(name, Personality::Xen));
    guests[0].vcpus = vcpus;
    let mut scene = Scene::new(processors, &guests);
    let allocate = allocate(&mut scene, 2, 1);
    scene.now(vcpus as usize, allocate);
    let connect = connect(&mut scene, 1, 2, 1);
    scene.now(0, connect);
    scene.info(0).take(&scene.board.hv.machine, 1);
    scene
}

#[test]
fn an_event_wakes_who_masks_unmasks_and_blocks() {
    explore(|| {
        let mut scene = connected(2, 1);
        let (one, two) = (scene.info(0), scene.info(1));
        for _ in 0..2 {
            let send_there = send(&mut scene, 1, 1);
            scene.program(0, [send_there, one.wait(1)]);
            let unmask = scene.event(2, op::EVTCHNOP_UNMASK, &[1]);
            let send_back = send(&mut scene, 2, 1);
            scene.program(1, [two.mask(1), unmask, two.wait(1), send_back]);
        }
        scene.run(&[]);
    });
}

#[test]
fn an_event_comes_from_who_is_connected() {
    explore(|| {
        let mut scene = connected(3, 1);
        let two = scene.info(1);
        let steps = [send(&mut scene, 1, 1), close(&mut scene, 1, 1)];
        scene.program(0, steps);
        let steps = [close(&mut scene, 2, 1), allocate(&mut scene, 2, 3)];
        scene.program(1, steps);
        let steps = [connect(&mut scene, 3, 2, 1), connect(&mut scene, 3, 2, 1)];
        scene.program(2, steps);
        scene.run(&[]);
        assert!(!two.pending(&scene.board.hv.machine, 1), "an event of another domain");
    });
}

#[test]
fn a_close_ends_its_own_connection_alone() {
    explore(|| {
        let mut scene = connected(3, 2);
        let steps = [close(&mut scene, 1, 1)];
        scene.program(0, steps);
        let steps = [connect(&mut scene, 1, 2, 1), connect(&mut scene, 1, 2, 1)];
        scene.program(1, steps);
        let steps = [close(&mut scene, 2, 1), allocate(&mut scene, 2, 1)];
        scene.program(2, steps);
        scene.run(&[]);
    });
}

#[test]
fn two_that_connect_to_each_other_do_not_wait_for_each_other() {
    explore(|| {
        let mut scene = connected(2, 1);
        let (there, back) = (allocate(&mut scene, 1, 2), allocate(&mut scene, 2, 1));
        scene.now(0, there);
        scene.now(1, back);
        let steps = [connect(&mut scene, 1, 2, 2), send(&mut scene, 1, 3)];
        scene.program(0, steps);
        let steps = [connect(&mut scene, 2, 1, 2), send(&mut scene, 2, 3)];
        scene.program(1, steps);
        scene.run(&[]);
    });
}

#[test]
fn a_vcpu_is_woken_by_its_sibling_a_poll_and_its_timer() {
    explore(|| {
        let pair = Guest { vcpus: 2, ..Guest::new("pair", Personality::Xen) };
        let mut scene = Scene::new(2, &[pair]);
        let ports = [
            scene.event(1, op::EVTCHNOP_BIND_IPI, &[1]),
            scene.event(1, op::EVTCHNOP_BIND_IPI, &[0]),
            scene.event(1, op::EVTCHNOP_BIND_VIRQ, &[u64::from(xen::VIRQ_TIMER) | 1 << 32, 0]),
        ];
        ports.into_iter().for_each(|port| scene.now(0, port));
        let (first, second) = (scene.info(0), scene.info(1));
        let due = (scene.board.hv.machine.state().now + 1000) * 125 / 64;
        for _ in 0..2 {
            let wake = send(&mut scene, 1, 1);
            scene.program(0, [wake, first.wait(2)]);
            let poll = Info::poll(&mut scene, 1, 1, 0);
            let answer = send(&mut scene, 1, 2);
            scene.program(1, [second.mask(1), second.wait_by(1, poll), answer]);
        }
        let timer = scene.vcpu(1, vcpu::VCPUOP_SET_SINGLESHOT_TIMER, 1, &[due, 0]);
        scene.program(1, [timer, second.wait(3)]);
        scene.run(&[999, 1000]);
    });
}
