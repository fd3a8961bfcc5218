//! What a PAPR domain has of its platform: interrupt sources, areas that its vCPUs share with the
//! hypervisor, a clock, system resets, and where interrupts arrive.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::common::code;
use hv_abi::papr::{rtas, source};
use hv_core::schedule::SLICE_TICKS;
use hv_core::{Frame, Machine};
use hv_fake::{Board, CLOCK, Guest};
use k42_lib::calendar::DateTime;
use k42_lib::{msr, vector};
use proptest::prelude::*;
use xen_sys::{errno, memory, xen};

const EOI: u64 = 0x64;
const CPPR: u64 = 0x68;
const IPI: u64 = 0x6c;
const XIRR: u64 = 0x74;
const REGISTER: u64 = 0xdc;
const CONFER: u64 = 0xe4;
const RANDOM: u64 = 0x300;
const SET_MODE: u64 = 0x31c;
const RESET: u64 = 0x380;
const RTAS: u64 = 0xf000;
const ARGUMENT: u64 = 0x2000;

/// A PAPR domain with so many vCPUs, all on processors of their own, which let all interrupts through.
fn platform(vcpus: u32) -> Board {
    let guest = Guest { vcpus, ..Guest::new("linux", Personality::Papr) };
    let guests = [guest, Guest::new("other", Personality::Papr)];
    // Where it has several processors it has them for itself.
    let mut board = Board::new(64, vcpus, &guests[..if vcpus == 1 { 2 } else { 1 }]);
    while board.running(0) != Some(0) {
        board.dispatch(0);
    }
    for n in 1..vcpus {
        assert_eq!(firmware(&mut board, rtas::START_CPU, &[n, 0x4000, 0], 1), [rtas::SUCCESS]);
        while board.running(n as usize) != Some(n as usize) {
            board.dispatch(n as usize);
        }
    }
    for n in 0..vcpus as usize {
        board.hypercall(n, &[CPPR, 0xff]);
    }
    board
}

/// A call of domain 1's firmware by its first vCPU: the token, the arguments; the results.
fn firmware(board: &mut Board, token: u32, arguments: &[u32], results: usize) -> Vec<u32> {
    let head = [token, arguments.len() as u32, results as u32];
    let unset = vec![0xdead; results];
    let bytes = head.iter().chain(arguments).chain(&unset).flat_map(|word| word.to_be_bytes());
    board.poke(1, ARGUMENT, &bytes.collect::<Vec<u8>>());
    assert_eq!(board.hypercall(0, &[RTAS, ARGUMENT]), 0);
    let first = 3 + arguments.len() as u64;
    (first..).take(results).map(|n| (board.peek(1, ARGUMENT + 4 * n) as u32).swap_bytes()).collect()
}

/// Routes a source; the status.
fn route(board: &mut Board, source: u32, server: u32, priority: u32) -> u32 {
    firmware(board, rtas::SET_XIVE, &[source, server, priority], 1)[0]
}

/// What vCPU n accepts.
fn accept(board: &mut Board, n: usize) -> u64 {
    let mut frame = Frame::default();
    frame.gpr[3] = XIRR;
    board.exit(n, vector::SYSTEM_CALL, &mut frame);
    frame.gpr[4]
}

/// Somebody types at domain 1's console, and the hypervisor looks.
fn typed(board: &mut Board) {
    board.type_to(1, b"x");
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    while board.running(0) != Some(0) {
        board.hv.machine.state().now += SLICE_TICKS;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    }
}

#[test]
fn a_source_interrupts_whom_it_is_routed_to() {
    let mut board = platform(2);
    let get = |board: &mut Board, source| firmware(board, rtas::GET_XIVE, &[source], 3);
    assert_eq!(get(&mut board, source::CONSOLE), [rtas::SUCCESS, 0, 0xff], "off at first");
    typed(&mut board);
    assert_eq!(accept(&mut board, 0), 0xff00_0000, "nobody is interrupted");
    // What came while it was off comes when it is switched on.
    assert_eq!(route(&mut board, source::CONSOLE, 1, 5), rtas::SUCCESS);
    assert_eq!(get(&mut board, source::CONSOLE), [rtas::SUCCESS, 1, 5]);
    assert_eq!(accept(&mut board, 0), 0xff00_0000);
    assert_eq!(accept(&mut board, 1), 0xff00_1000);
    assert_eq!(accept(&mut board, 1), 0x0500_0000, "once, and it is as urgent as that now");
    // While it is served the next waits for its end.
    typed(&mut board);
    assert_eq!(accept(&mut board, 1), 0x0500_0000);
    // A more urgent one does not.
    board.hypercall(0, &[IPI, 1, 4]);
    assert_eq!(accept(&mut board, 1), 0x0500_0002);
    board.hypercall(1, &[IPI, 1, 0xff]);
    board.hypercall(1, &[EOI, 0x0500_0002]);
    board.hypercall(1, &[EOI, 0xff00_1000]);
    assert_eq!(accept(&mut board, 1), 0xff00_1000);
    board.hypercall(1, &[EOI, 0xff00_1000]);
    // What was asked and not accepted goes along with the route, and waits while that is off.
    typed(&mut board);
    assert_eq!(firmware(&mut board, rtas::INT_OFF, &[source::CONSOLE], 1), [rtas::SUCCESS]);
    assert_eq!(accept(&mut board, 1), 0xff00_0000);
    assert_eq!(firmware(&mut board, rtas::INT_ON, &[source::CONSOLE], 1), [rtas::SUCCESS]);
    assert_eq!(route(&mut board, source::CONSOLE, 0, 6), rtas::SUCCESS);
    assert_eq!(accept(&mut board, 1), 0xff00_0000);
    assert_eq!(accept(&mut board, 0), 0xff00_1000);
}

#[test]
fn what_is_no_source_or_no_server_is_refused() {
    let mut board = platform(1);
    let none = source::FIRST + source::COUNT as u32;
    for (source, server, priority) in [
        (source::CONSOLE, 1, 5),
        (source::CONSOLE, u32::MAX, 5),
        (source::CONSOLE, 0, 0x100),
        (source::FIRST - 1, 0, 5),
        (none, 0, 5),
        (2, 0, 5),
        (0, 0, 5),
    ] {
        assert_eq!(route(&mut board, source, server, priority), rtas::PARAMETER_ERROR);
    }
    let unchanged = [rtas::SUCCESS, 0, 0xff];
    assert_eq!(firmware(&mut board, rtas::GET_XIVE, &[source::CONSOLE], 3), unchanged);
    for token in [rtas::GET_XIVE, rtas::INT_ON, rtas::INT_OFF] {
        assert_eq!(firmware(&mut board, token, &[none], 1), [rtas::PARAMETER_ERROR]);
        assert_eq!(firmware(&mut board, token, &[], 1), [rtas::PARAMETER_ERROR]);
    }
}

const AREA: u64 = 0x10_0000;
const LOG: u64 = 0x11_0000;

/// Has vCPU 0 register an area, which says that it is so long.
fn register(board: &mut Board, function: u64, at: u64, length: &[u8]) -> i64 {
    board.poke(1, at + 4, length);
    board.hypercall(0, &[REGISTER, function << 45, 0, at])
}

fn doubleword(board: &Board, at: u64) -> u64 {
    board.peek(1, at).swap_bytes()
}

#[test]
fn an_area_says_who_runs_and_how_long_it_waited() {
    let mut board = platform(1);
    assert_eq!(register(&mut board, 1, AREA, &640u16.to_be_bytes()), 0);
    assert_eq!(doubleword(&board, AREA + 8) >> 48 & 2, 2, "processors are shared");
    let count = |board: &Board| doubleword(board, AREA + 0x100) >> 32;
    let waited = |board: &Board| doubleword(board, AREA + 0x158);
    let (before, waited_before) = (count(&board), waited(&board));
    assert_eq!(before % 2, 0, "it runs");
    board.hv.machine.state().now += SLICE_TICKS;
    board.be(2);
    assert_eq!(count(&board), before + 1, "it does not");
    board.hv.machine.state().now += SLICE_TICKS + 777;
    board.be(1);
    assert_eq!(count(&board), before + 2);
    let waited = waited(&board) - waited_before;
    assert!((777..SLICE_TICKS * 2).contains(&(waited - SLICE_TICKS)), "{waited}");
    // What the guest writes there changes nothing but what it reads.
    board.poke(1, AREA + 0x100, &[0xff; 8]);
    board.hv.machine.state().now += SLICE_TICKS;
    board.be(2);
    assert_eq!(count(&board), before + 3);
}

#[test]
fn a_log_has_a_record_for_each_dispatch() {
    let mut board = platform(1);
    let three = (3 * 48u32 + 7).to_be_bytes();
    assert_eq!(register(&mut board, 2, LOG, &three), code::RESOURCE, "where to tell of it?");
    assert_eq!(register(&mut board, 1, AREA, &640u16.to_be_bytes()), 0);
    assert_eq!(register(&mut board, 2, LOG, &three), 0);
    assert_eq!(board.hypercall(0, &[REGISTER, 5 << 45, 0, 0]), code::RESOURCE, "the log needs it");
    let turns = |board: &mut Board, count: u64| {
        for _ in 0..count {
            for domain in [2, 1] {
                board.hv.machine.state().now += SLICE_TICKS;
                board.be(domain);
            }
        }
        doubleword(board, AREA + 0x218)
    };
    assert_eq!(turns(&mut board, 2), 0, "the guest has not asked for any");
    board.poke(1, AREA + 0xb8, &[0xff]);
    assert_eq!(turns(&mut board, 5), 5);
    // The last two are where the first were, and nothing is behind the third.
    let time = |board: &Board, n: u64| doubleword(board, LOG + n * 48 + 16);
    assert!(time(&board, 0) > time(&board, 2) && time(&board, 1) > time(&board, 0));
    assert_eq!(doubleword(&board, LOG + 3 * 48), 0);
    let head = doubleword(&board, LOG);
    assert!(head >> 48 == 0x0704 && head & 0xffff_ffff > 0, "preempted, and waited: {head:#x}");
    assert_eq!(board.hypercall(0, &[REGISTER, 6 << 45, 0, 0]), 0);
    assert_eq!(turns(&mut board, 1), 5);
    assert_eq!(board.hypercall(0, &[REGISTER, 5 << 45, 0, 0]), 0);
}

#[test]
fn areas_that_are_none_are_refused() {
    let mut board = platform(1);
    let (short, enough) = (639u16.to_be_bytes(), 640u16.to_be_bytes());
    assert_eq!(register(&mut board, 1, AREA, &short), code::PARAMETER);
    assert_eq!(register(&mut board, 1, AREA + 4096 - 639, &enough), code::PARAMETER);
    assert_eq!(register(&mut board, 1, AREA + 4096 - 632, &enough), code::PARAMETER, "crosses");
    assert_eq!(register(&mut board, 1, AREA + 4, &enough), code::PARAMETER, "not aligned");
    for at in [4 << 20, u64::MAX - 7, 1 << 60] {
        assert_eq!(board.hypercall(0, &[REGISTER, 1 << 45, 0, at]), code::PARAMETER);
    }
    for function in [0, 3, 4, 7] {
        assert_eq!(register(&mut board, function, AREA, &enough), code::PARAMETER);
    }
    assert_eq!(board.hypercall(0, &[REGISTER, 1 << 45, 1, AREA]), code::PARAMETER, "no such vCPU");
    assert_eq!(register(&mut board, 1, AREA, &enough), 0);
    for length in [47u32, 0x1_0001] {
        assert_eq!(register(&mut board, 2, LOG, &length.to_be_bytes()), code::PARAMETER);
    }
}

#[test]
fn what_is_registered_is_held_until_it_is_not_or_its_domain_ends() {
    let mut board = platform(1);
    let both = board.free_at_start - board.hv.free_frames();
    let enough = 640u16.to_be_bytes();
    assert_eq!(register(&mut board, 1, AREA, &enough), 0);
    let take = |board: &mut Board, at: u64| {
        board.poke(1, 0x3000, &(at >> 12).to_le_bytes());
        let mut argument = [0; 32];
        argument[..8].copy_from_slice(&0x3000u64.to_le_bytes());
        argument[8] = 1;
        argument[16] = 4; // 64 KiB
        argument[24..26].copy_from_slice(&xen::DOMID_SELF.to_le_bytes());
        let (call, command) = (xen::HYPERVISOR_MEMORY_OP, memory::XENMEM_DECREASE_RESERVATION);
        board.operate(1, call, command, &argument)
    };
    assert_eq!(take(&mut board, AREA), -i64::from(errno::EBUSY));
    // Another takes its place, twice, and the first is let go.
    for at in [LOG, LOG + 4096] {
        assert_eq!(register(&mut board, 1, at, &enough), 0);
    }
    assert_eq!(take(&mut board, AREA), 1);
    assert_eq!(take(&mut board, LOG), -i64::from(errno::EBUSY));
    let off = firmware(&mut board, rtas::POWER_OFF, &[0, 0], 0);
    assert!(off.is_empty());
    board.be(2);
    // What is left is the other domain's, which is like it.
    assert_eq!(2 * (board.free_at_start - board.hv.free_frames()), both);
}

#[test]
fn who_has_run_since_needs_no_help() {
    let guest = Guest { vcpus: 2, ..Guest::new("pair", Personality::Papr) };
    let mut board = Board::new(64, 1, &[guest, Guest::new("other", Personality::Papr)]);
    while board.running(0) != Some(0) {
        board.dispatch(0);
    }
    assert_eq!(firmware(&mut board, rtas::START_CPU, &[1, 0x4000, 0], 1), [rtas::SUCCESS]);
    // The second vCPU has never had the processor: its count is 1.
    assert_eq!(board.hypercall(0, &[CONFER, 1, 3]), 0);
    assert_eq!(board.running(0), Some(0), "a stale count");
    assert_eq!(board.hypercall(0, &[CONFER, 1, 1]), 0);
    assert_eq!(board.running(0), Some(1));
}

#[test]
fn a_domain_has_a_clock_of_its_own() {
    let mut board = platform(1);
    let get = |board: &mut Board| firmware(board, rtas::GET_TIME_OF_DAY, &[], 8);
    assert_eq!(get(&mut board), [0, 2026, 11, 27, 12, 34, 56, 0]);
    board.hv.machine.state().now += 4 * 512_000_000 + 1;
    assert_eq!(get(&mut board), [0, 2026, 11, 27, 12, 35, 0, 0]);
    let set = |board: &mut Board, to: &[u32]| firmware(board, rtas::SET_TIME_OF_DAY, to, 1)[0];
    assert_eq!(set(&mut board, &[2000, 2, 29, 23, 59, 59, 0]), rtas::SUCCESS);
    board.hv.machine.state().now += 512_000_000;
    assert_eq!(get(&mut board), [0, 2000, 3, 1, 0, 0, 0, 0]);
    assert_eq!(set(&mut board, &[2001, 2, 29, 0, 0, 0, 0]), rtas::PARAMETER_ERROR);
    assert_eq!(get(&mut board), [0, 2000, 3, 1, 0, 0, 0, 0]);
    let machine = DateTime::from_unix(CLOCK);
    assert_eq!((machine.year, machine.second), (2026, 56));
    // The other's is as it was.
    board.be(2);
    board.poke(2, ARGUMENT, &[7, 0, 8].map(|word: u32| word.to_be_bytes()).concat());
    assert_eq!(board.hypercall(0, &[RTAS, ARGUMENT]), 0);
    assert_eq!((board.peek(2, ARGUMENT + 16) as u32).swap_bytes(), 2026);
}

/// How vCPU n goes on from where it is, with this MSR.
fn goes_on(board: &mut Board, n: usize, msr: u64) -> Frame {
    let mut frame = Frame { nip: 0x4000, msr: msr::SF | msr, ..Frame::default() };
    board.exit(n, vector::HYPERVISOR_DOORBELL, &mut frame);
    frame
}

#[test]
fn a_reset_comes_with_interrupts_off_and_not_where_it_would_spoil_one() {
    let mut board = platform(2);
    for (target, hit) in [(0, [true, false]), (1, [false, true]), (u64::MAX, [true, true])] {
        let mut frame = Frame { nip: 0x4000, msr: msr::SF | msr::RI, ..Frame::default() };
        (frame.gpr[3], frame.gpr[4]) = (RESET, target);
        board.exit(0, vector::SYSTEM_CALL, &mut frame);
        assert_eq!(frame.gpr[3], 0);
        assert_eq!(frame.nip == 0x100, hit[0], "the caller, of {target:#x}");
        assert_eq!(goes_on(&mut board, 1, msr::RI).nip == 0x100, hit[1], "{target:#x}");
    }
    assert_eq!(board.hypercall(0, &[RESET, u64::MAX - 1]), 0);
    assert_eq!(goes_on(&mut board, 0, msr::RI).nip, 0x4000, "all but the caller");
    board.hv.machine.state().window = false;
    assert_eq!(goes_on(&mut board, 1, 0).nip, 0x4000, "it holds what an interrupt has left");
    assert!(board.hv.machine.state().window);
    assert_eq!(goes_on(&mut board, 1, msr::RI).nip, 0x100);
    assert_eq!(board.hypercall(0, &[RESET, 2]), code::PARAMETER);
    assert_eq!(board.hypercall(0, &[RESET, u64::MAX - 2]), code::PARAMETER);
}

#[test]
fn a_random_number_is_the_machines() {
    let mut board = platform(1);
    assert_eq!(board.hypercall(0, &[RANDOM]), code::HARDWARE, "the machine has none");
    board.hv.machine.state().random = Some(0x1234_5678_9abc_def0);
    let mut frame = Frame::default();
    frame.gpr[3] = RANDOM;
    board.exit(0, vector::SYSTEM_CALL, &mut frame);
    assert_eq!((frame.gpr[3], frame.gpr[4]), (0, 0x1234_5678_9abc_def0));
}

#[test]
fn interrupts_arrive_where_the_guest_wants_them() {
    const TRANSLATED: u64 = msr::IR | msr::DR | msr::EE;
    let mut board = platform(1);
    board.hypercall(0, &[IPI, 0, 5]);
    assert_eq!(goes_on(&mut board, 0, TRANSLATED).nip, 0x500);
    assert_eq!(board.hypercall(0, &[SET_MODE, 3, 3, 0, 0]), 0);
    let there = goes_on(&mut board, 0, TRANSLATED);
    assert_eq!(there.nip, 0xc000_0000_0000_4500);
    assert_eq!(there.msr & (TRANSLATED | msr::RI), msr::IR | msr::DR);
    assert_eq!(goes_on(&mut board, 0, msr::EE | msr::IR).nip, 0x500, "not all was translated");
    board.hypercall(0, &[RESET, 0]);
    assert_eq!(goes_on(&mut board, 0, TRANSLATED | msr::RI).nip, 0x100, "a reset never is");
    assert_eq!(board.hypercall(0, &[SET_MODE, 0, 3, 0, 0]), 0);
    assert_eq!(goes_on(&mut board, 0, TRANSLATED).nip, 0x500);
    for (flags, value) in [(1, 0), (2, 0), (4, 0), (3, 1)] {
        assert_eq!(board.hypercall(0, &[SET_MODE, flags, 3, value, 0]), code::PARAMETER);
    }
    board.hv.machine.state().only_real_mode = true;
    assert_eq!(board.hypercall(0, &[SET_MODE, 3, 3, 0, 0]), code::P2);
    assert!(!board.hv.machine.interrupt_mode().translated);
    // A vCPU that is started later takes them as the first does.
    assert_eq!(board.hypercall(0, &[SET_MODE, 1, 4, 0, 0]), 0);
    assert!(board.hv.machine.interrupt_mode().little_endian);
}

proptest! {
    /// Whatever a guest asks of its platform, nothing is lost and nobody else notices: the board
    /// walks the whole state after every step.
    #[test]
    fn any_calls_are_survived(calls in prop::collection::vec(
        (
            prop::sample::select(vec![REGISTER, EOI, CPPR, IPI, XIRR, CONFER, SET_MODE, RESET, RANDOM, 0xe0, 0xe8, 0x70]),
            prop::sample::select(vec![0, 1, 2, 3, 5, 1 << 45, 2 << 45, 5 << 45, 6 << 45, u64::MAX, u64::MAX - 1]),
            0u64..4,
            prop::sample::select(vec![AREA, LOG, AREA + 4096, 0x3f_ff80, 0x40_0000, 3, 8, u64::MAX]),
        ),
        1..60,
    )) {
        let mut board = platform(2);
        board.poke(1, AREA + 4, &640u16.to_be_bytes());
        board.poke(1, LOG + 4, &96u32.to_be_bytes());
        for (n, (call, a, b, c)) in calls.into_iter().enumerate() {
            let n = n % 2;
            if board.running(n).is_some() {
                board.hypercall(n, &[call, a, b, c]);
            }
            board.hv.machine.state().now += SLICE_TICKS / 3;
            board.exit(n, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        }
    }
}
