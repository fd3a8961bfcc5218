//! The end of a domain while others, and its own other vCPU on another processor, go on making calls:
//! nothing dangles, nothing leaks, whatever comes in between. Two processors are driven step by step,
//! every sequence of a few steps, and longer ones at random; the walker looks after each step.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::{Rights, XEN_MARK};
use hv_core::Frame;
use hv_fake::{Board, Guest, powers_off};
use k42_lib::radix::Access;
use k42_lib::{GuestAddr, vector};
use proptest::prelude::*;
use std::mem::{offset_of, size_of};
use xen_sys::domctl::{self, CreateDomain, Domctl};
use xen_sys::{event_channel, memory, xen};

const ARGUMENT: u64 = 0x2000;
const EXTENT: u64 = 0x3000;
const DOMCTL: u64 = 36;
/// Whose vCPU has this place in the table. What is created meanwhile never runs.
const DOMAIN_OF: [u16; 4] = [1, 1, 2, 3];

/// What the vCPU on a processor does next, or what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Allocate,
    Connect,
    Close,
    Send,
    End,
    Create,
    Destroy,
    Withdraw,
    Block,
    Tick,
    Kick,
}

const STEPS: [Step; 11] = [
    Step::Allocate,
    Step::Connect,
    Step::Close,
    Step::Send,
    Step::End,
    Step::Create,
    Step::Destroy,
    Step::Withdraw,
    Step::Block,
    Step::Tick,
    Step::Kick,
];

/// Domain 1 has a vCPU on each of two processors, domain 2 controls, domain 3 is a peer of the first:
/// each has a port that the other may connect to.
struct Scene(Board);

impl Scene {
    fn new() -> Scene {
        let all = Rights::INPUT | Rights::EVENTS;
        let guests = [
            Guest { vcpus: 2, rights: all, ..Guest::new("victim", Personality::Papr) },
            Guest { rights: all | Rights::CONTROL, ..Guest::new("control", Personality::Xen) },
            Guest { rights: all, ..Guest::new("peer", Personality::Xen) },
        ];
        let mut scene = Scene(Board::new(32, 2, &guests));
        scene.0.dispatch(0);
        scene.rtas(0, &[1, 3, 1, 1, 0x100, 0, 0]); // start-cpu
        scene.0.dispatch(1);
        scene.bring(1, 1);
        scene.step(0, Step::Allocate);
        scene.bring(0, 3);
        scene.step(0, Step::Allocate);
        scene.bring(0, 0);
        scene
    }

    /// The domain on a processor.
    fn domain(&self, processor: usize) -> Option<u16> {
        let vcpu = self.0.processors[processor].vcpu()?;
        DOMAIN_OF.get(vcpu.index()).copied()
    }

    /// Gives a processor to a vCPU.
    fn bring(&mut self, processor: usize, vcpu: usize) {
        while self.0.processors[processor].vcpu().map(|v| v.index()) != Some(vcpu) {
            self.step(processor, Step::Tick);
        }
    }

    fn poke(&mut self, domain: u16, at: u64, bytes: &[u8]) {
        let machine = &self.0.hv.machine;
        // A domain that ends on another processor still has its memory; one that gave it back has not.
        if machine.guest_access(domain, GuestAddr::new(at), Access::WRITE).is_some() {
            self.0.poke(domain, at, bytes);
        }
    }

    fn rtas(&mut self, processor: usize, block: &[u32]) {
        let Some(domain) = self.domain(processor) else { return };
        let bytes: Vec<u8> = block.iter().flat_map(|word| word.to_be_bytes()).collect();
        self.poke(domain, ARGUMENT, &bytes);
        self.0.hypercall(processor, &[0xf000, ARGUMENT]);
    }

    fn xen(&mut self, processor: usize, call: u64, command: u32, words: &[u32]) {
        let Some(domain) = self.domain(processor) else { return };
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.poke(domain, ARGUMENT, &bytes);
        self.0.hypercall(processor, &[XEN_MARK | call, command.into(), ARGUMENT]);
    }

    fn domctl(&mut self, processor: usize, command: u32, domain: u16) {
        let mut words = [0; (offset_of!(Domctl, u) + size_of::<CreateDomain>()) / 4];
        words[..3].copy_from_slice(&[command, domctl::XEN_DOMCTL_INTERFACE_VERSION, domain.into()]);
        let mut put = |offset, word| words[(offset_of!(Domctl, u) + offset) / 4] = word;
        put(offset_of!(CreateDomain, handle), u32::from_le_bytes(*b"new\0"));
        put(offset_of!(CreateDomain, flags), 3);
        put(offset_of!(CreateDomain, max_vcpus), 2);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let Some(own) = self.domain(processor) else { return };
        self.poke(own, ARGUMENT, &bytes);
        self.0.hypercall(processor, &[XEN_MARK | DOMCTL, ARGUMENT]);
    }

    fn step(&mut self, processor: usize, step: Step) {
        let Some(domain) = self.domain(processor) else {
            self.0.hv.look_for_work(&mut self.0.processors[processor]);
            return self.0.check();
        };
        let peer: u32 = if domain == 1 { 3 } else { 1 };
        let events = xen::HYPERVISOR_EVENT_CHANNEL_OP;
        match step {
            Step::Allocate => {
                let words = [u32::from(xen::DOMID_SELF) | peer << 16, 0];
                self.xen(processor, events, event_channel::EVTCHNOP_ALLOC_UNBOUND, &words);
            }
            Step::Connect => {
                let command = event_channel::EVTCHNOP_BIND_INTERDOMAIN;
                self.xen(processor, events, command, &[peer, 1, 0]);
            }
            Step::Close => self.xen(processor, events, event_channel::EVTCHNOP_CLOSE, &[1]),
            Step::Send => self.xen(processor, events, event_channel::EVTCHNOP_SEND, &[1]),
            Step::End if domain == 1 => self.rtas(processor, &[3, 0, 1, 0]), // power-off
            Step::End => self.xen(processor, xen::HYPERVISOR_SCHED_OP, 2, &[0]),
            Step::Create => self.domctl(processor, domctl::XEN_DOMCTL_CREATEDOMAIN, 9),
            Step::Destroy => self.domctl(processor, domctl::XEN_DOMCTL_DESTROYDOMAIN, 1),
            Step::Withdraw => {
                self.poke(domain, EXTENT, &(0x20_0000u64 >> 12).to_le_bytes());
                // One extent of 2 MiB at 2 MiB.
                let words = [EXTENT as u32, 0, 1, 0, 9, 0, xen::DOMID_SELF.into(), 0];
                let command = memory::XENMEM_DECREASE_RESERVATION;
                self.xen(processor, xen::HYPERVISOR_MEMORY_OP, command, &words);
            }
            Step::Block if domain == 1 => {
                self.0.hypercall(processor, &[0xe0]); // h_cede
            }
            Step::Block => self.xen(processor, xen::HYPERVISOR_SCHED_OP, 1, &[]),
            Step::Tick => {
                self.0.hv.machine.state().now += 1 << 24;
                self.0.exit(processor, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
            }
            Step::Kick => {
                self.0.exit(processor, vector::HYPERVISOR_DOORBELL, &mut Frame::default());
            }
        }
    }

    /// Both processors hear what there is to hear; then a domain whose end had begun is gone.
    fn settle(&mut self) {
        for processor in [0, 1] {
            self.step(processor, Step::Kick);
        }
        let said = self.0.said(0);
        for (number, name) in [(1, "victim"), (2, "control"), (3, "peer")] {
            let ended = said.contains(&format!("domain {number} ({name}): ended"));
            assert_eq!(self.0.hv.root(number).is_none(), ended, "domain {number}");
        }
    }
}

/// Runs steps of both processors from the scene on; what processor and what it does.
fn run(steps: &[(usize, Step)]) {
    let mut scene = Scene::new();
    powers_off(|| {
        for (processor, step) in steps {
            scene.step(*processor, *step);
        }
        scene.settle();
    });
}

#[test]
fn every_short_sequence_ends_well() {
    let all = || [0, 1].into_iter().flat_map(|p| STEPS.into_iter().map(move |step| (p, step)));
    for first in all() {
        // One that leads into the end, or past it: the others are covered by what follows them.
        let leads = matches!(first.1, Step::Allocate | Step::Connect | Step::End | Step::Destroy);
        for second in all().filter(|_| leads) {
            run(&[first, second]);
            if first.1 == Step::End {
                for third in all().filter(|third| third.1 != Step::Tick) {
                    run(&[first, second, third]);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn long_sequences_end_well(steps in prop::collection::vec((0usize..2, prop::sample::select(&STEPS)), 3..25)) {
        run(&steps);
    }
}
