//! Hypercalls as guests make them: rights, bad arguments, interrupts, consoles, and everything at
//! random.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::common::code;
use hv_abi::{CommonCall, PaprCall, Rights, XEN_MARK, XenCall};
use hv_core::{Frame, Next};
use hv_fake::{Board, Guest, powers_off};
use k42_lib::{GuestAddr, msr, vector};
use proptest::prelude::*;
use xen_sys::errno;
use xen_sys::event_channel::{
    EVTCHNOP_ALLOC_UNBOUND, EVTCHNOP_BIND_INTERDOMAIN, EVTCHNOP_BIND_IPI, EVTCHNOP_SEND,
};

const CONSOLE_IO: u64 = XEN_MARK | 18;
const ENOSYS: i64 = 38;
const EFAULT: i64 = 14;

fn board(personality: Personality) -> Board {
    let mut board =
        Board::new(64, 1, &[Guest::new("one", personality), Guest::new("two", personality)]);
    board.dispatch(0);
    board
}

#[test]
fn an_unknown_number_is_an_error_in_either_personality() {
    let mut board = board(Personality::Xen);
    assert_eq!(board.hypercall(0, &[XEN_MARK | 63]), -ENOSYS);
    assert_eq!(board.hypercall(0, &[0x1c8]), code::FUNCTION);
    assert_eq!(board.hypercall(0, &[1]), code::FUNCTION);
}

#[test]
fn a_call_without_its_right_is_refused_and_reported_once() {
    let mut board = board(Personality::Xen);
    assert_eq!(board.hypercall(0, &[0x74]), code::PRIVILEGE, "h_xirr is Linux's");
    assert_eq!(board.hypercall(0, &[0xf000, 0]), code::PRIVILEGE);
    let said = board.said(0);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("refused")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].starts_with("domain 1 (one): refused: h_xirr"), "{}", lines[0]);
}

#[test]
fn console_output_leaves_by_lines_on_the_domains_channel() {
    let mut board = board(Personality::Xen);
    // Across the border of two pieces of memory.
    let at = (2 << 20) - 3;
    board.poke(1, at, b"hel");
    board.poke(1, at + 3, b"lo\nrest");
    assert_eq!(board.hypercall(0, &[CONSOLE_IO, 0, 10, at]), 10);
    assert_eq!(board.said(1), "hello\n");
    assert_eq!(board.said(2), "");
}

#[test]
fn a_call_writes_a_bounded_number_of_bytes() {
    let mut board = board(Personality::Xen);
    for (asked, written) in [(4095, 4095), (4096, 4096), (4097, 4096), (2 << 20, 4096)] {
        assert_eq!(board.hypercall(0, &[CONSOLE_IO, 0, asked, 0]), written);
    }
}

#[test]
fn a_buffer_outside_the_domain_is_a_bad_address() {
    let mut board = board(Personality::Xen);
    for at in [4 << 20, u64::MAX, 1 << 52, (4 << 20) - 1] {
        assert_eq!(board.hypercall(0, &[CONSOLE_IO, 0, 4, at]), -EFAULT, "{at:#x}");
        assert_eq!(board.hypercall(0, &[CONSOLE_IO, 1, 4, at]), -EFAULT, "{at:#x}");
    }
}

#[test]
fn console_input_reaches_its_domain_and_is_acknowledged() {
    let mut board = board(Personality::Xen);
    board.type_to(1, b"typed");
    board.type_to(2, b"other");
    let mut frame = Frame::default();
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut frame);
    while board.processors[0].vcpu().map(|v| v.index()) != Some(0) {
        board.hv.machine.state().now += hv_core::schedule::SLICE_TICKS;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut frame);
    }
    assert_eq!(board.hypercall(0, &[CONSOLE_IO, 1, 64, 0x5000]), 5);
    let read: Vec<u8> = (0..5)
        .map(|n| board.hv.machine.guest_byte(1, GuestAddr::new(0x5000 + n)).unwrap())
        .collect();
    assert_eq!(read, b"typed");
    assert_eq!(board.hypercall(0, &[CONSOLE_IO, 1, 64, 0x5000]), 0);
    let taken = k42_wire::frame::taken(k42_wire::Channel::new(1).unwrap(), 5);
    let output = board.hv.machine.state().output.clone();
    assert!(output.windows(taken.len()).any(|window| window == taken));
}

#[test]
fn nothing_typed_is_lost_when_the_buffer_is_bad() {
    let mut board = Board::new(64, 1, &[Guest::new("one", Personality::Xen)]);
    board.dispatch(0);
    board.type_to(1, b"keep");
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert_eq!(board.hypercall(0, &[CONSOLE_IO, 1, 4, u64::MAX]), -EFAULT);
    assert_eq!(board.hypercall(0, &[CONSOLE_IO, 1, 4, 0x5000]), 4);
}

#[test]
fn who_has_input_to_read_does_not_block() {
    let mut board = Board::new(64, 1, &[Guest::new("one", Personality::Xen)]);
    board.dispatch(0);
    board.type_to(1, b"x");
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    let block = |board: &mut Board| {
        board.hypercall(0, &[XEN_MARK | 29, xen_sys::sched::SCHEDOP_BLOCK.into()]);
        board.running(0)
    };
    // That it came ends one block; that it is there, every other.
    assert_eq!([block(&mut board), block(&mut board)], [Some(0), Some(0)]);
    assert_eq!(board.hypercall(0, &[CONSOLE_IO, 1, 4, 0x5000]), 1);
    assert!((0..2).any(|_| block(&mut board).is_none()));
}

#[test]
fn terminal_calls_carry_sixteen_characters() {
    let mut board = board(Personality::Papr);
    let characters = u64::from_be_bytes(*b"abcdefg\n");
    assert_eq!(board.hypercall(0, &[0x58, 0x3000_0000, 8, characters, 0]), 0);
    assert_eq!(board.said(1), "abcdefg\n");
    assert_eq!(board.hypercall(0, &[0x58, 0x3000_0000, 17, 0, 0]), code::PARAMETER);
    assert_eq!(board.hypercall(0, &[0x58, 0x3000_0001, 1, 0, 0]), code::PARAMETER);
}

#[test]
fn problem_state_gets_a_program_interrupt_for_sc_1() {
    let mut board = board(Personality::Papr);
    let mut frame =
        Frame { nip: 0x1004, msr: msr::SF | msr::PR | msr::EE | msr::LE, ..Frame::default() };
    frame.gpr[3] = XEN_MARK | 29;
    assert_eq!(board.exit(0, vector::SYSTEM_CALL, &mut frame), Next::Resume);
    assert_eq!(frame.nip, 0x700);
    let (nip, msr) = board.hv.machine.state().interrupted.unwrap();
    assert_eq!(nip, 0x1000, "the call itself");
    assert_ne!(msr & 0x4_0000, 0, "privileged instruction");
}

#[test]
fn an_interrupt_between_processors_arrives_when_it_is_let_through() {
    let mut board = board(Personality::Papr);
    assert_eq!(board.hypercall(0, &[0x68, 0xff]), 0); // H_CPPR: everything
    let mut frame = Frame { nip: 0x4000, msr: msr::SF | msr::EE, ..Frame::default() };
    frame.gpr[3..6].copy_from_slice(&[0x6c, 0, 5]); // H_IPI to itself
    assert_eq!(board.exit(0, vector::SYSTEM_CALL, &mut frame), Next::Resume);
    assert_eq!(frame.nip, 0x500);
    assert_eq!(frame.msr & (msr::EE | msr::PR | msr::IR | msr::DR), 0);
    // H_XIRR: the old priority and source 2; then nothing more is pending.
    let mut frame = Frame { msr: msr::SF, ..Frame::default() };
    frame.gpr[3] = 0x74;
    board.exit(0, vector::SYSTEM_CALL, &mut frame);
    assert_eq!(frame.gpr[4], 0xff00_0002);
    board.hv.machine.state().window = false;
    assert_eq!(board.hypercall(0, &[0x6c, 0, 0xff]), 0); // the handler takes the request back
    assert_eq!(board.hypercall(0, &[0x64, 0xff00_0002]), 0); // H_EOI
    assert!(!board.hv.machine.state().window);
    assert_eq!(board.hypercall(0, &[0x6c, 1, 5]), code::PARAMETER, "no such processor");
}

#[test]
fn an_interrupt_waits_for_the_guest_to_enable_it() {
    let mut board = board(Personality::Papr);
    board.hypercall(0, &[0x68, 0xff]);
    let mut frame = Frame { nip: 0x4000, msr: msr::SF, ..Frame::default() };
    frame.gpr[3..6].copy_from_slice(&[0x6c, 0, 5]);
    board.exit(0, vector::SYSTEM_CALL, &mut frame);
    assert_eq!(frame.nip, 0x4000);
    assert!(board.hv.machine.state().window, "an exit was asked for");
    frame.msr |= msr::EE;
    board.exit(0, vector::HYPERVISOR_DOORBELL, &mut frame);
    assert_eq!(frame.nip, 0x500);
}

#[test]
fn an_interrupt_that_waits_comes_when_the_priority_lets_it() {
    let mut board = board(Personality::Papr);
    assert_eq!(board.hypercall(0, &[0x68, 5]), 0);
    let enabled = Frame { nip: 0x4000, msr: msr::SF | msr::EE, ..Frame::default() };
    let mut frame = enabled;
    frame.gpr[3..6].copy_from_slice(&[0x6c, 0, 5]);
    board.exit(0, vector::SYSTEM_CALL, &mut frame);
    assert_eq!(frame.nip, 0x4000, "it is not more urgent");
    let mut frame = enabled;
    frame.gpr[3..5].copy_from_slice(&[0x68, 6]);
    board.exit(0, vector::SYSTEM_CALL, &mut frame);
    assert_eq!(frame.nip, 0x500);
    // Accepted, it lets through only what is more urgent: not itself once more.
    for xirr in [0x0600_0002, 0x0500_0000] {
        let mut frame = Frame { msr: msr::SF, ..Frame::default() };
        frame.gpr[3] = 0x74;
        board.exit(0, vector::SYSTEM_CALL, &mut frame);
        assert_eq!(frame.gpr[4], xirr);
    }
}

#[test]
fn who_has_an_interrupt_to_accept_does_not_sleep() {
    let mut board = board(Personality::Papr);
    assert_eq!(board.hypercall(0, &[0x68, 0xff]), 0);
    assert_eq!(board.hypercall(0, &[0x6c, 0, 5]), 0);
    // That it came ends one sleep; that it is there, every other.
    for _ in 0..3 {
        let mut frame = Frame { nip: 0x4000, msr: msr::SF, ..Frame::default() };
        frame.gpr[3] = 0xe0;
        assert_eq!(board.exit(0, vector::SYSTEM_CALL, &mut frame), Next::Resume);
        assert_eq!(frame.nip, 0x500);
    }
}

#[test]
fn a_ceded_processor_wakes_at_its_decrementer() {
    let mut board = board(Personality::Papr);
    board.hv.machine.state().deadline = 1000;
    let mut frame = Frame::default();
    frame.gpr[3] = 0xe0;
    let next = board.exit(0, vector::SYSTEM_CALL, &mut frame);
    assert!(matches!(next, Next::Switch(vcpu) if vcpu.index() == 1));
    assert_ne!(frame.msr & msr::EE, 0);
    assert!(board.hv.machine.state().alarm <= 1000, "the processor will look in time");
    board.hv.machine.state().now = 2000;
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    let running = board.processors[0].vcpu().unwrap().index();
    assert_eq!(running, 0, "it has used less than the other");
}

#[test]
fn each_sleeper_wakes_when_it_is_due_though_another_has_before() {
    let mut board = board(Personality::Papr);
    for due in [1000, 2000] {
        board.hv.machine.state().deadline = due;
        board.hypercall(0, &[0xe0]);
    }
    assert_eq!(board.running(0), None);
    assert_eq!(board.dispatch(0), 0);
    assert_eq!(board.hv.machine.state().now, 1000);
    assert!((0..20).any(|_| {
        board.hv.machine.state().now += hv_core::schedule::SLICE_TICKS;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        board.running(0) == Some(1)
    }));
}

#[test]
fn process_tables_must_lie_in_the_domain() {
    let mut board = board(Personality::Papr);
    let register = |board: &mut Board, flags, base, page, size| {
        board.hypercall(0, &[0x37c, flags, base, page, size])
    };
    assert_eq!(register(&mut board, 0x1d, 0x10000, 0, 4), 0);
    assert_eq!(register(&mut board, 0x1c, 0x10000, 0, 4), code::PARAMETER);
    assert_eq!(register(&mut board, 0x1d, 0x11000, 0, 4), code::PARAMETER, "not aligned");
    assert_eq!(register(&mut board, 0x1d, 4 << 20, 0, 4), code::PARAMETER, "outside");
    assert_eq!(register(&mut board, 0x1d, 0, 0, 63), code::PARAMETER, "too large");
}

#[test]
fn a_new_process_table_is_looked_at_and_not_what_is_known_by_the_old_one() {
    let mut board = board(Personality::Papr);
    // In this machine's TLB a translation by a process table is as any other of the partition.
    let at = GuestAddr::new(64 << 20);
    let old = board.hv.machine.guest_translate(1, GuestAddr::new(0)).unwrap();
    board.hv.machine.leave_translation(1, at, old);
    assert_eq!(board.hv.machine.guest_translate(1, at), Some(old));
    assert_eq!(board.hypercall(0, &[0x37c, 0x1d, 0x10000, 0, 4]), 0);
    assert_eq!(board.hv.machine.guest_translate(1, at), None);
}

fn any_register() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..64,
        (0u64..4 << 20),
        Just(u64::MAX),
        any::<u64>(),
        (0u64..16).prop_map(|n| (4 << 20) - 8 + n),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a guest puts in its registers, in either personality: the hypervisor goes on, the
    /// other domain keeps its memory and nothing leaks.
    #[test]
    fn any_registers_are_survived(
        papr: bool,
        memory in prop::collection::vec(any::<u8>(), 64),
        calls in prop::collection::vec((any_register(), prop::collection::vec(any_register(), 9), any::<u64>()), 1..40),
    ) {
        let personality = if papr { Personality::Papr } else { Personality::Xen };
        let mut board = Board::new(64, 1, &[Guest::new("one", personality), Guest::new("two", personality)]);
        board.dispatch(0);
        board.poke(1, 0x100, &memory);
        board.poke(2, 0x100, b"mine");
        let off = powers_off(|| for (number, arguments, msr) in calls {
            let xen = XenCall::ROWS.get((number % 8) as usize).map(|row| XEN_MARK | row.number);
            let papr = CommonCall::ROWS.iter().chain(PaprCall::ROWS).nth((number % 32) as usize).map(|row| row.number);
            let r3 = if number % 3 == 0 { xen } else { papr }.unwrap_or(number);
            let mut frame = Frame { msr: msr & !(1 << 60), ..Frame::default() };
            frame.gpr[3] = r3;
            frame.gpr[4..13].copy_from_slice(&arguments);
            board.exit(0, vector::SYSTEM_CALL, &mut frame);
            if board.processors[0].vcpu().is_none() {
                board.dispatch(0);
            }
            if board.processors[0].vcpu().map(|v| v.index()) == Some(1) {
                return; // the first has ended or blocked; the second makes no calls
            }
        });
        prop_assert!(!off, "the second domain has not ended");
        for (offset, want) in b"mine".iter().enumerate() {
            let at = GuestAddr::new(0x100 + offset as u64);
            prop_assert_eq!(board.hv.machine.guest_byte(2, at), Some(*want));
        }
        let ended = board.said(0).contains("domain 1 (one): ended") || board.said(0).contains("crashed");
        let taken = board.free_at_start - board.hv.free_frames();
        // A domain of Xen's has a page shared with the hypervisor too, a PAPR domain the table of its bus.
        let each = if papr { 70 } else { 67 };
        prop_assert_eq!(taken, if ended { each } else { 2 * each });
    }
}

#[test]
fn what_is_not_given_is_refused_in_either_personality() {
    let closed =
        |name, personality| Guest { rights: Rights::empty(), ..Guest::new(name, personality) };
    let guests = [closed("xen", Personality::Xen), closed("papr", Personality::Papr)];
    let mut board = Board::new(64, 2, &guests);
    board.dispatch(0);
    board.dispatch(1);
    let calls = [
        (0, XEN_MARK | 18, u64::from(xen_sys::xen::CONSOLEIO_READ), -i64::from(errno::EPERM)),
        (0, XEN_MARK | 32, u64::from(EVTCHNOP_ALLOC_UNBOUND), -i64::from(errno::EPERM)),
        (0, XEN_MARK | 32, u64::from(EVTCHNOP_BIND_INTERDOMAIN), -i64::from(errno::EPERM)),
        (1, 0x54, 0, hv_abi::common::code::PRIVILEGE),
        (1, 0x64, 0, hv_abi::common::code::SUCCESS),
    ];
    for (processor, r3, r4, answer) in calls {
        assert_eq!(board.hypercall(processor, &[r3, r4, 1, 0x1000]), answer, "{r3:#x}");
    }
    // What concerns nobody else is not a right to ask for.
    let write = u64::from(xen_sys::xen::CONSOLEIO_WRITE);
    assert_eq!(board.hypercall(0, &[XEN_MARK | 18, write, 1, 0x1000]), 1);
    board.poke(1, 0x1000, &[0; 8]);
    assert_eq!(board.hypercall(0, &[XEN_MARK | 32, EVTCHNOP_BIND_IPI.into(), 0x1000]), 0);
    assert_eq!(board.hypercall(0, &[XEN_MARK | 32, EVTCHNOP_SEND.into(), 0x1004]), 0);
}

#[test]
fn rights_that_are_not_to_be_given_keep_a_domain_from_its_start() {
    let guest = Guest { rights: Rights::PLATFORM, ..Guest::new("papr", Personality::Xen) };
    let mut board = Board::new(64, 1, &[guest, Guest::new("other", Personality::Xen)]);
    board.dispatch(0);
    assert!(board.said(0).contains("domain papr is not started: no such rights: 0x8"));
}
