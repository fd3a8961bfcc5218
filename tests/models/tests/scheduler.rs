//! The scheduler: a vCPU is on one processor and in one queue, and runs when it can.

use boot_archive::Personality;
use hv_abi::Rights;
use hv_fake::Guest;
use k42_models::{Scene, Step, call, explore};
use xen_sys::{domctl, event_channel as op, sched, vcpu, xen};

/// A controller, a pair of vCPUs that have ports to tell each other by, and another domain.
fn scene() -> Scene {
    let rights = Rights::CONTROL | Rights::EVENTS;
    let guests = [
        Guest { rights, ..Guest::new("control", Personality::Xen) },
        Guest { vcpus: 2, ..Guest::new("pair", Personality::Xen) },
        Guest::new("other", Personality::Xen),
    ];
    let mut scene = Scene::new(3, &guests);
    for number in [1, 0] {
        let bind = scene.event(2, op::EVTCHNOP_BIND_IPI, &[number]);
        scene.now(1, bind);
    }
    scene
}

/// The pair wake each other in turns.
fn wake_each_other(scene: &mut Scene, turns: usize) {
    let (first, second) = (scene.info(1), scene.info(2));
    for _ in 0..turns {
        let there = scene.event(2, op::EVTCHNOP_SEND, &[1]);
        scene.program(1, [there, first.wait(2)]);
        let back = scene.event(2, op::EVTCHNOP_SEND, &[2]);
        scene.program(2, [second.wait(1), back]);
    }
}

fn yields() -> Step {
    call(xen::HYPERVISOR_SCHED_OP, &[sched::SCHEDOP_YIELD.into()])
}

#[test]
fn vcpus_move_wake_and_pause_and_are_in_one_place() {
    explore(|| {
        let mut scene = scene();
        let weight = u64::from(domctl::XEN_SCHEDULER_CREDIT2);
        let steps = [
            scene.control(domctl::XEN_DOMCTL_PAUSEDOMAIN, 2, &[]),
            scene.control(domctl::XEN_DOMCTL_SCHEDULER_OP, 2, &[weight, 512, 0]),
            scene.control(domctl::XEN_DOMCTL_UNPAUSEDOMAIN, 2, &[]),
        ];
        scene.program(0, steps);
        wake_each_other(&mut scene, 2);
        scene.program(3, (0..4).map(|_| yields()));
        scene.run(&[]);
    });
}

#[test]
fn a_vcpu_that_stops_and_starts_loses_no_wake_up() {
    explore(|| {
        let mut scene = scene();
        let steps =
            [scene.vcpu(2, vcpu::VCPUOP_DOWN, 1, &[]), scene.vcpu(2, vcpu::VCPUOP_UP, 1, &[])];
        scene.program(1, steps);
        wake_each_other(&mut scene, 1);
        scene.program(3, (0..2).map(|_| yields()));
        scene.run(&[]);
    });
}

#[test]
fn an_idle_processor_takes_over_what_waits() {
    explore(|| {
        let rights = Rights::CONTROL | Rights::EVENTS;
        let mut guests =
            ["control", "one", "two", "three"].map(|n| Guest::new(n, Personality::Xen));
        guests[0].rights = rights;
        let mut scene = Scene::new(2, &guests);
        let steps = [
            scene.control(domctl::XEN_DOMCTL_PAUSEDOMAIN, 3, &[]),
            scene.control(domctl::XEN_DOMCTL_UNPAUSEDOMAIN, 3, &[]),
        ];
        scene.program(0, steps);
        for vcpu in [2, 3] {
            scene.program(vcpu, (0..4).map(|_| yields()));
        }
        scene.run(&[]);
    });
}

#[test]
fn all_that_compute_have_a_processor() {
    explore(|| {
        let guests = ["a", "b", "c", "d", "e"].map(|name| Guest::new(name, Personality::Xen));
        let mut scene = Scene::new(3, &guests);
        let compute = [0, 1, 3];
        for vcpu in compute {
            scene.program(vcpu, [yields(), Step::Compute]);
        }
        scene.run(&[]);
        let mut at_work: Vec<_> = (0..3).filter_map(|n| scene.board.running(n)).collect();
        at_work.sort_unstable();
        assert_eq!(at_work, compute, "none waits while a processor sleeps");
    });
}
