//! Event channels: who may connect to whom, what arrives, what is left when an end goes away.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::XEN_MARK;
use hv_core::{Frame, Next};
use hv_fake::{Board, Guest};
use k42_lib::vector;
use proptest::prelude::*;
use xen_sys::event_channel as op;
use xen_sys::{errno, memory, xen};

/// Where a guest's arguments are, and its shared page once it has mapped it.
const ARGUMENT: u64 = 0x2000;
const SHARED: u64 = 16 << 20;
const PENDING: u64 = SHARED + 48;
const MASK: u64 = PENDING + 512;

/// Three domains of Xen's with their shared pages mapped; domain n's vCPU is n - 1.
struct Events(Board);

impl Events {
    fn new() -> Events {
        let guests = ["one", "two", "three"].map(|name| Guest::new(name, Personality::Xen));
        let mut events = Events(Board::new(64, 1, &guests));
        events.0.dispatch(0);
        for domain in 1..=3 {
            assert_eq!(events.map_shared(domain, SHARED >> 12), 0);
        }
        events
    }

    /// Gives the processor to a domain.
    fn be(&mut self, domain: u16) {
        while self.0.processors[0].vcpu().map(|v| v.index()) != Some(usize::from(domain) - 1) {
            self.0.hv.machine.state().now += 1;
            self.0.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        }
    }

    fn map_shared(&mut self, domain: u16, page: u64) -> i64 {
        self.be(domain);
        let mut bytes = [0; 24];
        bytes[..2].copy_from_slice(&xen::DOMID_SELF.to_le_bytes());
        bytes[16..].copy_from_slice(&page.to_le_bytes());
        self.0.poke(domain, ARGUMENT, &bytes);
        let command = u64::from(memory::XENMEM_ADD_TO_PHYSMAP);
        self.0.hypercall(0, &[XEN_MARK | xen::HYPERVISOR_MEMORY_OP, command, ARGUMENT])
    }

    /// An operation with words as its argument; the result, and the argument's word `out`.
    fn op(&mut self, domain: u16, command: u32, words: &[u32], out: u64) -> (i64, u32) {
        self.be(domain);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.0.poke(domain, ARGUMENT, &bytes);
        let number = XEN_MARK | xen::HYPERVISOR_EVENT_CHANNEL_OP;
        let result = self.0.hypercall(0, &[number, command.into(), ARGUMENT]);
        (result, self.0.peek(domain, ARGUMENT + out * 4) as u32)
    }

    fn allocate(&mut self, domain: u16, remote: u16) -> u32 {
        let words = [u32::from(xen::DOMID_SELF) | u32::from(remote) << 16, 0];
        let (result, port) = self.op(domain, op::EVTCHNOP_ALLOC_UNBOUND, &words, 1);
        assert_eq!(result, 0);
        port
    }

    fn connect(&mut self, domain: u16, remote: u16, port: u32) -> (i64, u32) {
        self.op(domain, op::EVTCHNOP_BIND_INTERDOMAIN, &[remote.into(), port, 0], 2)
    }

    fn simple(&mut self, domain: u16, command: u32, port: u32) -> i64 {
        self.op(domain, command, &[port], 0).0
    }

    /// Status, and the two words that go with it.
    fn status(&mut self, domain: u16, port: u32) -> (u32, u32, u32) {
        let words = [xen::DOMID_SELF.into(), port, 0, 0, 0, 0];
        let (result, status) = self.op(domain, op::EVTCHNOP_STATUS, &words, 2);
        assert_eq!(result, 0);
        let word = |n: u64| self.0.peek(domain, ARGUMENT + n * 4) as u32;
        (status, word(4), word(5))
    }

    fn pending(&self, domain: u16, port: u32) -> bool {
        self.0.peek(domain, PENDING) >> port & 1 == 1
    }

    /// The guest looks at what is pending and clears all of it.
    fn look(&mut self, domain: u16) {
        self.0.poke(domain, SHARED, &[0; 16]);
        self.0.poke(domain, PENDING, &[0; 8]);
    }

    /// A channel between the two, nothing pending: the ports.
    fn pair(&mut self, a: u16, b: u16) -> (u32, u32) {
        let port = self.allocate(a, b);
        let (result, other) = self.connect(b, a, port);
        assert_eq!(result, 0);
        self.look(a);
        self.look(b);
        (port, other)
    }
}

#[test]
fn an_event_arrives_at_the_other_end_and_rings_once() {
    let mut events = Events::new();
    let (a, b) = events.pair(1, 2);
    assert_eq!(events.status(1, a), (op::EVTCHNSTAT_INTERDOMAIN, 2, b));
    assert_eq!(events.status(2, b), (op::EVTCHNSTAT_INTERDOMAIN, 1, a));
    events.be(2);
    events.0.hv.machine.state().rung = false;
    assert_eq!(events.simple(1, op::EVTCHNOP_SEND, a), 0);
    assert!(events.pending(2, b) && !events.pending(1, a) && !events.pending(3, b));
    assert_eq!(events.0.peek(2, SHARED) & 0xff, 1, "the upcall is pending");
    assert_eq!(events.0.peek(2, SHARED + 8), 1, "in the first word");
    events.be(2);
    events.0.exit(0, vector::HYPERVISOR_DOORBELL, &mut Frame::default());
    assert!(std::mem::take(&mut events.0.hv.machine.state().rung), "the doorbell");
    // It has not looked yet: another event needs no other doorbell.
    assert_eq!(events.simple(1, op::EVTCHNOP_SEND, a), 0);
    events.be(2);
    events.0.exit(0, vector::HYPERVISOR_DOORBELL, &mut Frame::default());
    assert!(!events.0.hv.machine.state().rung);
}

#[test]
fn only_the_domain_that_is_meant_can_connect_and_only_once() {
    let mut events = Events::new();
    let port = events.allocate(1, 2);
    let refused = (-i64::from(errno::EINVAL)).cast_unsigned() as u32;
    assert_eq!(events.connect(3, 1, port).0 as u32, refused, "not meant");
    assert_eq!(events.connect(1, 1, port).0 as u32, refused, "itself");
    assert_eq!(events.connect(2, 1, port + 1).0 as u32, refused, "no such port");
    assert_eq!(events.connect(2, 9, port).0, -i64::from(errno::ESRCH), "no such domain");
    assert_eq!(events.connect(2, 1, port).0, 0);
    assert_eq!(events.connect(2, 1, port).0 as u32, refused, "taken");
}

#[test]
fn a_masked_port_is_told_when_it_is_unmasked() {
    let mut events = Events::new();
    let (a, b) = events.pair(1, 2);
    events.0.poke(2, MASK, &(1u64 << b).to_le_bytes());
    assert_eq!(events.simple(1, op::EVTCHNOP_SEND, a), 0);
    assert!(events.pending(2, b));
    assert_eq!(events.0.peek(2, SHARED) & 0xff, 0, "not told");
    assert_eq!(events.simple(2, op::EVTCHNOP_UNMASK, b), 0);
    assert_eq!(events.0.peek(2, SHARED) & 0xff, 1);
    assert_eq!(events.0.peek(2, MASK), 0);
}

#[test]
fn closing_an_end_leaves_the_other_unbound_and_clean() {
    let mut events = Events::new();
    let (a, b) = events.pair(1, 2);
    events.simple(1, op::EVTCHNOP_SEND, a);
    assert_eq!(events.simple(2, op::EVTCHNOP_CLOSE, b), 0);
    assert!(!events.pending(2, b), "a port that is given back has no event");
    assert_eq!(events.status(1, a), (op::EVTCHNSTAT_UNBOUND, 2, 0));
    assert_eq!(events.simple(1, op::EVTCHNOP_SEND, a), 0);
    assert!(!events.pending(2, b), "nobody is there");
    assert_eq!(events.simple(2, op::EVTCHNOP_CLOSE, b), -i64::from(errno::EINVAL));
    assert_eq!(events.connect(2, 1, a).0, 0, "it can be connected to again");
}

#[test]
fn a_domain_that_dies_lets_go_of_its_channels() {
    let mut events = Events::new();
    let (a, _) = events.pair(1, 2);
    events.be(2);
    events.0.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    assert_eq!(events.status(1, a), (op::EVTCHNSTAT_UNBOUND, 2, 0));
    assert_eq!(events.simple(1, op::EVTCHNOP_SEND, a), 0);
}

#[test]
fn a_blocked_domain_wakes_for_an_event() {
    let mut events = Events::new();
    let (a, b) = events.pair(1, 2);
    events.be(2);
    let block = |events: &mut Events| {
        let mut frame = Frame::default();
        frame.gpr[3..5].copy_from_slice(&[XEN_MARK | xen::HYPERVISOR_SCHED_OP, 1]);
        events.0.exit(0, vector::SYSTEM_CALL, &mut frame)
    };
    // The channel's making has woken it once: the first block may return at once, no more.
    if block(&mut events) == Next::Resume {
        assert!(matches!(block(&mut events), Next::Switch(_)));
    }
    events.simple(1, op::EVTCHNOP_SEND, a);
    events.be(2); // does not end otherwise
    assert!(events.pending(2, b));
    // With the event still pending it does not block again.
    assert_eq!(block(&mut events), Next::Resume);
}

#[test]
fn console_input_is_a_virtual_interrupt() {
    let mut events = Events::new();
    let words = [xen::VIRQ_CONSOLE, 0, 0];
    let (result, port) = events.op(1, op::EVTCHNOP_BIND_VIRQ, &words, 2);
    assert_eq!(result, 0);
    let again = events.op(1, op::EVTCHNOP_BIND_VIRQ, &words, 2).0;
    assert_eq!(again, -i64::from(errno::EEXIST));
    for nothing_behind in [4, 77, 256 + xen::VIRQ_CONSOLE] {
        let none = events.op(1, op::EVTCHNOP_BIND_VIRQ, &[nothing_behind, 0, 0], 2).0;
        assert_eq!(none, -i64::from(errno::EINVAL));
    }
    events.0.type_to(1, b"x");
    events.0.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert!(events.pending(1, port));
}

#[test]
fn the_shared_page_cannot_cover_memory_or_lie_outside() {
    let mut events = Events::new();
    let refused = -i64::from(errno::EINVAL);
    assert_eq!(events.map_shared(1, 0), refused, "its own memory is there");
    assert_eq!(events.map_shared(1, SHARED >> 12), refused, "it is there already");
    assert_eq!(events.map_shared(1, 1 << 40), refused, "outside the tree");
    assert_eq!(events.map_shared(1, u64::MAX), refused);
    assert_eq!(events.map_shared(1, (SHARED >> 12) + 1), 0, "elsewhere as well");
}

#[test]
fn ports_are_bounded() {
    let mut events = Events::new();
    let words = [u32::from(xen::DOMID_SELF) | 2 << 16, 0];
    let results: Vec<i64> =
        (0..300).map(|_| events.op(1, op::EVTCHNOP_ALLOC_UNBOUND, &words, 1).0).collect();
    assert_eq!(results.iter().filter(|result| **result == 0).count(), 255);
    assert_eq!(results[299], -i64::from(errno::ENOSPC));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever three domains do with ports at random: both ends of a channel always agree.
    #[test]
    fn both_ends_agree(steps in prop::collection::vec((1u16..=3, 0u32..7, 0u32..6, 1u16..=3), 1..60)) {
        let mut events = Events::new();
        for (domain, what, port, remote) in steps {
            match what {
                0 => { events.allocate(domain, remote); }
                1 | 2 => { events.connect(domain, remote, port); }
                3 => { events.simple(domain, op::EVTCHNOP_CLOSE, port); }
                4 => { events.simple(domain, op::EVTCHNOP_SEND, port); }
                5 => { events.simple(domain, op::EVTCHNOP_UNMASK, port); }
                _ => { events.op(domain, op::EVTCHNOP_BIND_IPI, &[0, 0], 1); }
            }
        }
        for domain in 1..=3u16 {
            for port in 1..6u32 {
                let (status, remote, number) = events.status(domain, port);
                if status == op::EVTCHNSTAT_INTERDOMAIN {
                    let there = events.status(remote as u16, number);
                    prop_assert_eq!(there, (op::EVTCHNSTAT_INTERDOMAIN, domain.into(), port));
                }
            }
        }
    }
}
