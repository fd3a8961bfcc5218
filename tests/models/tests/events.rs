//! Event channels.

use boot_archive::Personality;
use hv_fake::Guest;
use k42_models::{Scene, Step, call, explore};
use xen_sys::{event_channel as op, xen};

fn event(scene: &mut Scene, domain: u16, command: u32, words: &[u64]) -> Step {
    let at = scene.argument(domain, words);
    call(xen::HYPERVISOR_EVENT_CHANNEL_OP, &[command.into(), at])
}

fn now(scene: &mut Scene, vcpu: usize, step: Step) {
    let Step::Call(registers) = step else { panic!("a hypercall") };
    let n = scene.bring(vcpu);
    assert_eq!(scene.board.hypercall(n, &registers), 0);
}

/// Domains 1 and 2, each with port 1 connected to the other's.
fn connected() -> Scene {
    let guests = ["one", "two"].map(|name| Guest::new(name, Personality::Xen));
    let mut scene = Scene::new(2, &guests);
    let allocate = event(&mut scene, 2, op::EVTCHNOP_ALLOC_UNBOUND, &[u64::from(xen::DOMID_SELF) | 1 << 16]);
    now(&mut scene, 1, allocate);
    let connect = event(&mut scene, 1, op::EVTCHNOP_BIND_INTERDOMAIN, &[2 | 1 << 32]);
    now(&mut scene, 0, connect);
    scene
}

#[test]
fn events_wake_whoever_waits_for_them() {
    explore(|| {
        let mut scene = connected();
        let (one, two) = (scene.info(0), scene.info(1));
        one.take(&scene.board.hv.machine, 1);
        for _ in 0..2 {
            let send = event(&mut scene, 1, op::EVTCHNOP_SEND, &[1]);
            scene.program(0, [send, one.wait(1)]);
            let unmask = event(&mut scene, 2, op::EVTCHNOP_UNMASK, &[1]);
            let answer = event(&mut scene, 2, op::EVTCHNOP_SEND, &[1]);
            scene.program(1, [two.mask(1), unmask, two.wait(1), answer]);
        }
        scene.run(&[]);
    });
}
