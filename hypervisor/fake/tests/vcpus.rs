//! A domain's vCPUs: start and stop, timers, polls, events to each, the times they are told.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::XEN_MARK;
use hv_core::{Frame, Next};
use hv_fake::{Board, Guest, powers_off};
use k42_lib::{GuestAddr, vector};
use xen_sys::{errno, event_channel, memory, sched, vcpu as op, xen};

const ARGUMENT: u64 = 0x2000;
const SHARED: u64 = 16 << 20;
const PENDING: u64 = SHARED + 48;
/// Where the second vCPU's `vcpu_info` is registered.
const INFO: u64 = 0x6040;
const SECOND: u64 = 1_000_000_000;
const TICKS: u64 = 512_000_000;

fn error(errno: i32) -> i64 {
    -i64::from(errno)
}

/// Domain 1 with two vCPUs, each alone on its processor; the first one runs.
struct Pair(Board);

impl Pair {
    fn new(processors: u32) -> Pair {
        Pair::of(processors, 2)
    }

    /// The same of a domain with more vCPUs.
    fn of(processors: u32, vcpus: u32) -> Pair {
        let guest = Guest { vcpus, ..Guest::new("pair", Personality::Xen) };
        let mut pair = Pair(Board::new(64, processors, &[guest]));
        pair.0.dispatch(0);
        let map = [u64::from(xen::DOMID_SELF), 0, SHARED >> 12];
        let command = memory::XENMEM_ADD_TO_PHYSMAP.into();
        assert_eq!(pair.call(0, xen::HYPERVISOR_MEMORY_OP, command, None, &map), 0);
        pair
    }

    /// A hypercall on processor `n` with these words as its argument.
    fn call(&mut self, n: usize, call: u64, command: u64, vcpu: Option<u64>, words: &[u64]) -> i64 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.0.poke(1, ARGUMENT, &bytes);
        let mut registers = vec![XEN_MARK | call, command];
        registers.extend(vcpu);
        registers.push(ARGUMENT);
        self.0.hypercall(n, &registers)
    }

    fn op(&mut self, n: usize, command: u32, vcpu: u64, words: &[u64]) -> i64 {
        self.call(n, xen::HYPERVISOR_VCPU_OP, command.into(), Some(vcpu), words)
    }

    fn event(&mut self, n: usize, command: u32, words: &[u32]) -> i64 {
        let mut words = words.to_vec();
        words.resize(words.len().next_multiple_of(2), 0);
        let words: Vec<u64> =
            words.chunks(2).map(|w| u64::from(w[0]) | u64::from(w[1]) << 32).collect();
        self.call(n, xen::HYPERVISOR_EVENT_CHANNEL_OP, command.into(), None, &words)
    }

    /// The word of the argument with that number, after a call.
    fn answer(&self, word: u64) -> u32 {
        self.0.peek(1, ARGUMENT + word * 4) as u32
    }

    fn bind(&mut self, n: usize, virq: u32, vcpu: u32) -> u32 {
        assert_eq!(self.event(n, event_channel::EVTCHNOP_BIND_VIRQ, &[virq, vcpu, 0]), 0);
        self.answer(2)
    }

    /// Starts the second vCPU, on processor 1 if there is one.
    fn start_second(&mut self) {
        self.start(1);
    }

    fn start(&mut self, vcpu: u64) {
        assert_eq!(self.op(0, op::VCPUOP_INITIALISE, vcpu, &[0x4000, 0x8000, 7, 1]), 0);
        assert_eq!(self.op(0, op::VCPUOP_UP, vcpu, &[]), 0);
    }

    fn register(&mut self, at: u64) -> i64 {
        self.op(0, op::VCPUOP_REGISTER_VCPU_INFO, 1, &[at >> 12, at & 0xfff])
    }

    fn pending(&self, port: u32) -> bool {
        self.0.peek(1, PENDING) >> port & 1 == 1
    }

    /// The guest looks at what has come and clears it.
    fn look(&self) {
        self.0.poke(1, SHARED, &[0; 16]);
        self.0.poke(1, PENDING, &[0; 8]);
        self.0.hv.machine.state().rung = false;
    }

    fn rung(&self) -> bool {
        std::mem::take(&mut self.0.hv.machine.state().rung)
    }

    fn block(&mut self, n: usize) -> Next {
        let mut frame = Frame::default();
        frame.gpr[3..5].copy_from_slice(&[XEN_MARK | xen::HYPERVISOR_SCHED_OP, 1]);
        self.0.exit(n, vector::SYSTEM_CALL, &mut frame)
    }

    /// Time passes until the processor's alarm.
    fn alarm(&mut self, n: usize) {
        let mut state = self.0.hv.machine.state();
        state.now = state.now.max(state.alarm);
        drop(state);
        self.0.exit(n, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    }
}

#[test]
fn a_vcpu_starts_by_initialise_and_up() {
    let mut pair = Pair::new(2);
    assert_eq!(pair.op(0, op::VCPUOP_IS_UP, 0, &[]), 1);
    assert_eq!(pair.op(0, op::VCPUOP_IS_UP, 1, &[]), 0);
    assert_eq!(pair.op(0, op::VCPUOP_UP, 1, &[]), error(errno::EINVAL), "not initialised");
    let start = [0x4000, 0x8000, 7, 1];
    assert_eq!(pair.op(0, op::VCPUOP_INITIALISE, 2, &start), error(errno::ENOENT));
    assert_eq!(pair.op(0, op::VCPUOP_INITIALISE, 1, &[0, 0, 0, 2]), error(errno::EINVAL));
    assert_eq!(pair.op(0, op::VCPUOP_INITIALISE, 0, &start), error(errno::EEXIST));
    let far = [XEN_MARK | 24, op::VCPUOP_INITIALISE.into(), 1, 1 << 40];
    assert_eq!(pair.0.hypercall(0, &far), error(errno::EFAULT));
    assert_eq!(pair.op(0, 77, 1, &[]), error(errno::ENOSYS));
    pair.start_second();
    assert_eq!(pair.op(0, op::VCPUOP_INITIALISE, 1, &start), error(errno::EEXIST));
    let started = pair.0.hv.machine.state().started[&1];
    assert_eq!((started.entry, started.stack), (GuestAddr::new(0x4000), 0x8000));
    assert!(started.argument == 7 && started.little_endian && started.interrupts.little_endian);
    assert_eq!(pair.0.dispatch(1), 1);
    assert_eq!(pair.op(0, op::VCPUOP_IS_UP, 1, &[]), 1);
}

#[test]
fn down_stops_a_sibling_or_the_caller_and_up_goes_on_there() {
    let mut pair = Pair::new(2);
    pair.start_second();
    pair.0.dispatch(1);
    pair.0.hv.machine.state().started.clear();
    pair.0.hv.machine.state().kicked.clear();
    assert_eq!(pair.op(0, op::VCPUOP_DOWN, 1, &[]), 0);
    assert_eq!(pair.op(0, op::VCPUOP_IS_UP, 1, &[]), 0);
    assert!(pair.0.hv.machine.state().kicked.contains(&1));
    assert_eq!(pair.0.exit(1, vector::HYPERVISOR_DOORBELL, &mut Frame::default()), Next::Idle);
    assert_eq!(pair.op(0, op::VCPUOP_UP, 1, &[]), 0);
    assert_eq!(pair.0.dispatch(1), 1);
    // Itself: the call returns when a sibling lets it.
    assert_eq!(pair.op(1, op::VCPUOP_DOWN, 1, &[]), 0);
    assert_eq!(pair.0.processors[1].vcpu(), None);
    assert_eq!(pair.op(0, op::VCPUOP_UP, 1, &[]), 0);
    assert_eq!(pair.0.dispatch(1), 1);
    // One that sleeps does not wake any more.
    assert_eq!(pair.block(1), Next::Idle);
    assert_eq!(pair.op(0, op::VCPUOP_DOWN, 1, &[]), 0);
    pair.0.hv.machine.state().now = u64::MAX - 1;
    assert_eq!(pair.0.hv.look_for_work(&mut pair.0.processors[1]), None);
    assert!(pair.0.hv.machine.state().started.is_empty(), "it never began anew");
}

#[test]
fn a_stop_that_is_taken_back_in_time_does_not_happen() {
    let mut pair = Pair::new(2);
    pair.start_second();
    pair.0.dispatch(1);
    pair.op(0, op::VCPUOP_DOWN, 1, &[]);
    pair.op(0, op::VCPUOP_UP, 1, &[]);
    assert_eq!(pair.0.exit(1, vector::HYPERVISOR_DOORBELL, &mut Frame::default()), Next::Resume);
}

#[test]
fn the_last_vcpu_that_goes_down_ends_the_domain() {
    let mut pair = Pair::new(2);
    pair.start_second();
    pair.0.dispatch(1);
    assert_eq!(pair.op(0, op::VCPUOP_DOWN, 0, &[]), 0);
    assert!(powers_off(|| {
        pair.op(1, op::VCPUOP_DOWN, 1, &[]);
    }));
}

#[test]
fn a_timer_comes_to_a_vcpu_that_runs() {
    let mut pair = Pair::new(1);
    let port = pair.bind(0, xen::VIRQ_TIMER, 0);
    assert_eq!(pair.op(0, op::VCPUOP_SET_SINGLESHOT_TIMER, 0, &[SECOND / 1000, 0]), 0);
    assert_eq!(pair.0.hv.machine.state().alarm, TICKS / 1000);
    pair.look();
    pair.alarm(0);
    assert!(pair.pending(port) && pair.rung(), "told at once");
    pair.look();
    for _ in 0..3 {
        pair.alarm(0);
    }
    assert!(!pair.pending(port), "once");
}

#[test]
fn a_timer_comes_though_its_vcpu_has_slept_and_woken_before() {
    let mut pair = Pair::new(1);
    let port = pair.bind(0, xen::VIRQ_TIMER, 0);
    assert_eq!(pair.op(0, op::VCPUOP_SET_SINGLESHOT_TIMER, 0, &[2 * SECOND, 0]), 0);
    pair.look();
    pair.0.hv.machine.state().deadline = TICKS;
    assert_eq!(pair.block(0), Next::Idle);
    assert_eq!(pair.0.dispatch(0), 0);
    assert!(!pair.pending(port) && pair.0.hv.machine.state().now < 2 * TICKS);
    pair.0.hv.machine.state().now = 2 * TICKS;
    pair.0.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert!(pair.pending(port));
}

#[test]
fn a_timer_comes_to_a_vcpu_that_sleeps_or_waits() {
    let mut pair = Pair::new(1);
    let port = pair.bind(0, xen::VIRQ_TIMER, 0);
    pair.op(0, op::VCPUOP_SET_SINGLESHOT_TIMER, 0, &[SECOND, 0]);
    pair.look();
    assert_eq!(pair.block(0), Next::Idle);
    assert_eq!(pair.0.dispatch(0), 0);
    assert!(pair.pending(port) && pair.0.hv.machine.state().now >= TICKS);
    // Ready: the second vCPU has the only processor when the timer is due.
    pair.start_second();
    pair.look();
    pair.op(0, op::VCPUOP_SET_SINGLESHOT_TIMER, 0, &[2 * SECOND, 0]);
    while pair.0.processors[0].vcpu().map(|v| v.index()) != Some(1) {
        pair.alarm(0);
    }
    pair.0.hv.machine.state().now = 2 * TICKS;
    pair.0.hv.machine.state().rung = false;
    while pair.0.processors[0].vcpu().map(|v| v.index()) != Some(0) {
        pair.alarm(0);
    }
    assert!(pair.pending(port) && pair.rung(), "told when it gets the processor");
}

#[test]
fn a_timer_can_be_stopped_and_is_only_ones_own() {
    let mut pair = Pair::new(1);
    let port = pair.bind(0, xen::VIRQ_TIMER, 0);
    let set = op::VCPUOP_SET_SINGLESHOT_TIMER;
    assert_eq!(pair.op(0, set, 1, &[SECOND, 0]), error(errno::EINVAL));
    pair.0.hv.machine.state().now = TICKS;
    let future = op::VCPU_SSHOTTMR_FUTURE.into();
    assert_eq!(pair.op(0, set, 0, &[SECOND / 2, future]), error(errno::ETIME));
    pair.op(0, set, 0, &[2 * SECOND, future]);
    pair.op(0, set, 0, &[3 * SECOND, future]);
    assert_eq!(pair.op(0, op::VCPUOP_STOP_SINGLESHOT_TIMER, 0, &[]), 0);
    pair.0.hv.machine.state().now = 4 * TICKS;
    pair.alarm(0);
    assert!(!pair.pending(port));
    pair.op(0, set, 0, &[SECOND, 0]);
    pair.alarm(0);
    assert!(pair.pending(port), "a time that has passed is due at once");
}

#[test]
fn events_come_to_the_vcpu_that_they_are_bound_to() {
    let mut pair = Pair::new(2);
    pair.start_second();
    pair.0.dispatch(1);
    for wrong in [INFO + 4, 0x6fd8, 1 << 40] {
        assert_eq!(pair.register(wrong), error(errno::EINVAL), "{wrong:#x}");
    }
    assert_eq!(pair.event(0, event_channel::EVTCHNOP_BIND_IPI, &[2, 0]), error(errno::ENOENT));
    assert_eq!(pair.event(0, event_channel::EVTCHNOP_BIND_IPI, &[1, 0]), 0);
    let port = pair.answer(1);
    // Before it is registered there is no place to be told at; then everything is pending.
    assert_eq!(pair.event(0, event_channel::EVTCHNOP_SEND, &[port]), 0);
    assert!(pair.pending(port));
    assert_eq!(pair.register(INFO), 0);
    assert_eq!(pair.register(INFO + 64), error(errno::EINVAL), "once");
    assert_eq!(pair.0.peek(1, INFO) & 0xff, 1);
    assert_eq!(pair.0.peek(1, INFO + 8), u64::MAX);
    pair.0.poke(1, INFO, &[0; 16]);
    pair.look();
    pair.0.exit(1, vector::HYPERVISOR_DOORBELL, &mut Frame::default());
    pair.0.hv.machine.state().kicked.clear();
    pair.look();
    assert_eq!(pair.event(0, event_channel::EVTCHNOP_SEND, &[port]), 0);
    assert!(pair.pending(port));
    assert_eq!((pair.0.peek(1, INFO) & 0xff, pair.0.peek(1, INFO + 8)), (1, 1));
    assert_eq!(pair.0.peek(1, SHARED) & 0xff, 0, "the first vCPU is not told");
    assert!(pair.0.hv.machine.state().kicked.contains(&1) && !pair.rung());
    pair.0.exit(1, vector::HYPERVISOR_DOORBELL, &mut Frame::default());
    assert!(pair.rung());
    assert_eq!(pair.block(1), Next::Resume, "it does not sleep over an event");
}

#[test]
fn a_port_moves_to_another_vcpu_unless_it_is_one_vcpus_by_its_kind() {
    let mut pair = Pair::new(2);
    pair.start_second();
    assert_eq!(pair.register(INFO), 0);
    let bind = event_channel::EVTCHNOP_BIND_VCPU;
    let console = pair.bind(0, xen::VIRQ_CONSOLE, 0);
    assert_eq!(pair.event(0, bind, &[console, 2]), error(errno::ENOENT));
    assert_eq!(pair.event(0, bind, &[console, 1]), 0);
    let status = [xen::DOMID_SELF.into(), console, 0, 0, 0, 0];
    assert_eq!(pair.event(0, event_channel::EVTCHNOP_STATUS, &status), 0);
    assert_eq!((pair.answer(2), pair.answer(3)), (event_channel::EVTCHNSTAT_VIRQ, 1));
    let timer = pair.bind(0, xen::VIRQ_TIMER, 0);
    assert_eq!(pair.event(0, event_channel::EVTCHNOP_BIND_IPI, &[0, 0]), 0);
    let ipi = pair.answer(1);
    for fixed in [timer, ipi, 0, 200, 4096] {
        assert_eq!(pair.event(0, bind, &[fixed, 1]), error(errno::EINVAL), "{fixed}");
    }
    pair.0.poke(1, INFO, &[0; 16]);
    pair.0.type_to(1, b"x");
    pair.0.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert_eq!(pair.0.peek(1, INFO) & 0xff, 1);
}

#[test]
fn virtual_interrupts_are_each_vcpus_or_the_domains() {
    let mut pair = Pair::new(2);
    pair.start_second();
    pair.register(INFO);
    let bind = event_channel::EVTCHNOP_BIND_VIRQ;
    let first = pair.bind(0, xen::VIRQ_DEBUG, 0);
    let second = pair.bind(0, xen::VIRQ_DEBUG, 1);
    assert_eq!(pair.event(0, bind, &[xen::VIRQ_DEBUG, 1, 0]), error(errno::EEXIST));
    assert_eq!(pair.event(0, bind, &[xen::VIRQ_DOM_EXC, 1, 0]), error(errno::EINVAL));
    assert_eq!(pair.event(0, bind, &[xen::VIRQ_DEBUG, 2, 0]), error(errno::ENOENT));
    // A person asks about domain 1; processor 0 looks at the line.
    pair.0.type_to(0, &[1]);
    pair.0.hv.machine.state().now += 1 << 24;
    pair.0.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert!(pair.pending(first) && pair.pending(second));
    assert_eq!(pair.event(0, event_channel::EVTCHNOP_CLOSE, &[second]), 0);
    assert_eq!(pair.bind(0, xen::VIRQ_DEBUG, 1), second, "it can be bound again");
}

#[test]
fn a_poll_sleeps_until_a_port_is_pending_or_its_time_has_come() {
    let mut pair = Pair::new(1);
    assert_eq!(pair.event(0, event_channel::EVTCHNOP_BIND_IPI, &[0, 0]), 0);
    let port = pair.answer(1);
    pair.0.poke(1, 0x3000, &port.to_le_bytes());
    let poll = |pair: &mut Pair, ports: u64, count: u64, timeout: u64| {
        let words = [ports, count, timeout];
        let command = sched::SCHEDOP_POLL.into();
        pair.call(0, xen::HYPERVISOR_SCHED_OP, command, None, &words)
    };
    assert_eq!(poll(&mut pair, 0x3000, 129, 0), error(errno::EINVAL), "too many");
    assert_eq!(poll(&mut pair, 1 << 40, 1, 0), error(errno::EFAULT));
    pair.0.poke(1, 0x3008, &4096u32.to_le_bytes());
    assert_eq!(poll(&mut pair, 0x3008, 1, 0), error(errno::EINVAL), "no port");
    assert_eq!(pair.0.processors[0].vcpu().map(|v| v.index()), Some(0));
    // Until a time.
    poll(&mut pair, 0x3000, 1, SECOND);
    assert_eq!(pair.0.processors[0].vcpu(), None);
    pair.0.dispatch(0);
    assert!((TICKS..2 * TICKS).contains(&pair.0.hv.machine.state().now));
    // Until the port is pending, though it is masked.
    pair.start_second();
    pair.0.poke(1, PENDING + 512, &u64::MAX.to_le_bytes());
    poll(&mut pair, 0x3000, 1, 0);
    assert_eq!(pair.0.processors[0].vcpu().map(|v| v.index()), Some(1));
    assert_eq!(pair.event(0, event_channel::EVTCHNOP_SEND, &[port]), 0);
    assert_eq!(pair.0.peek(1, SHARED) & 0xff, 0, "masked: no upcall");
    while pair.0.processors[0].vcpu().map(|v| v.index()) != Some(0) {
        pair.alarm(0); // does not end otherwise
    }
    poll(&mut pair, 0x3000, 1, 0);
    assert_eq!(pair.0.processors[0].vcpu().map(|v| v.index()), Some(0), "it is pending");
}

#[test]
fn the_last_of_many_vcpus_is_woken_from_its_poll() {
    let mut pair = Pair::of(2, 32);
    assert_eq!(pair.event(0, event_channel::EVTCHNOP_BIND_IPI, &[0, 0]), 0);
    let port = pair.answer(1);
    pair.0.poke(1, 0x3000, &port.to_le_bytes());
    pair.start(31);
    pair.0.dispatch(1);
    assert_eq!(pair.0.processors[1].vcpu().map(|v| v.index()), Some(31));
    let poll = sched::SCHEDOP_POLL.into();
    pair.call(1, xen::HYPERVISOR_SCHED_OP, poll, None, &[0x3000, 1, 0]);
    assert_eq!(pair.0.processors[1].vcpu(), None);
    assert_eq!(pair.event(0, event_channel::EVTCHNOP_SEND, &[port]), 0);
    pair.0.dispatch(1);
    assert_eq!(pair.0.processors[1].vcpu().map(|v| v.index()), Some(31));
}

#[test]
fn a_vcpus_times_are_told() {
    let mut pair = Pair::new(2);
    pair.start_second();
    pair.0.hv.machine.state().now = TICKS;
    let area = 0x5000;
    let words =
        |pair: &Pair| -> Vec<u64> { (0..6).map(|n| pair.0.peek(1, area + n * 8)).collect() };
    let times = |pair: &mut Pair, vcpu: u64| {
        let call = [XEN_MARK | 24, op::VCPUOP_GET_RUNSTATE_INFO.into(), vcpu, area];
        assert_eq!(pair.0.hypercall(0, &call), 0);
        words(pair)
    };
    let ready = u64::from(op::RUNSTATE_RUNNABLE);
    assert_eq!(times(&mut pair, 1), [ready, 0, 0, SECOND, 0, 0]);
    pair.0.dispatch(1);
    pair.0.hv.machine.state().now = 3 * TICKS;
    let running = u64::from(op::RUNSTATE_RUNNING);
    assert_eq!(times(&mut pair, 1), [running, SECOND, 2 * SECOND, SECOND, 0, 0]);
    let keep = op::VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA;
    assert_eq!(pair.op(0, keep, 1, &[1 << 40]), error(errno::EFAULT));
    assert_eq!(pair.op(0, keep, 1, &[area]), 0);
    pair.0.poke(1, area, &[0; 48]);
    pair.block(1);
    pair.0.hv.machine.state().now = 5 * TICKS;
    pair.0.hv.machine.state().deadline = 4 * TICKS;
    pair.op(0, op::VCPUOP_DOWN, 1, &[]);
    pair.op(0, op::VCPUOP_UP, 1, &[]);
    pair.0.dispatch(1);
    pair.0.exit(1, vector::HYPERVISOR_DOORBELL, &mut Frame::default());
    assert_eq!(words(&pair), [running, 5 * SECOND, 2 * SECOND, SECOND, 2 * SECOND, 0]);
}

#[test]
fn a_domain_whose_end_has_begun_gets_no_ports() {
    let guest = |name| Guest { vcpus: 2, ..Guest::new(name, Personality::Xen) };
    // Domain 1 on processors 0 and 1, domain 2 on 1 and 0.
    let mut pair = Pair(Board::new(64, 2, &[guest("dies"), guest("lives")]));
    pair.0.dispatch(0);
    pair.start_second();
    pair.0.dispatch(1);
    while pair.0.processors[1].vcpu().map(|v| v.index()) != Some(1) {
        pair.alarm(1);
    }
    // The end begins on processor 0; the domain's other vCPU has not left processor 1 yet.
    pair.0.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    let alloc = event_channel::EVTCHNOP_ALLOC_UNBOUND;
    let mut frame = Frame::default();
    frame.gpr[3..6].copy_from_slice(&[
        XEN_MARK | xen::HYPERVISOR_EVENT_CHANNEL_OP,
        alloc.into(),
        ARGUMENT,
    ]);
    let words = u64::from(xen::DOMID_SELF) | 2 << 16;
    pair.0.poke(1, ARGUMENT, &words.to_le_bytes());
    pair.0.hv.exit(&mut pair.0.processors[1], vector::SYSTEM_CALL, &mut frame);
    assert_eq!(frame.gpr[3].cast_signed(), error(errno::ESRCH));
}
