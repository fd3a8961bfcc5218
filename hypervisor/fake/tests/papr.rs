//! PAPR's personality, as an unmodified Linux asks it: its interrupt controller, its firmware.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::papr::rtas;
use hv_core::schedule::SLICE_TICKS;
use hv_core::{Frame, Next};
use hv_fake::{Board, Guest};
use k42_lib::{GuestAddr, msr, vector};

const EOI: u64 = 0x64;
const CPPR: u64 = 0x68;
const IPI: u64 = 0x6c;
const XIRR: u64 = 0x74;
const CEDE: u64 = 0xe0;
const CONFER: u64 = 0xe4;
const RTAS: u64 = 0xf000;
/// Where a guest has its firmware's arguments.
const ARGUMENT: u64 = 0x2000;

/// A guest that lets every interrupt through, and has asked itself for one.
fn interrupted() -> Board {
    let guests = ["one", "two"].map(|name| Guest::new(name, Personality::Papr));
    let mut board = Board::new(64, 1, &guests);
    board.dispatch(0);
    board.hypercall(0, &[CPPR, 0xff]);
    board.hypercall(0, &[IPI, 0, 5]);
    board
}

/// Whether the guest, with interrupts enabled, gets one.
fn gets_one(board: &mut Board) -> bool {
    let mut frame = Frame { nip: 0x4000, msr: msr::SF | msr::EE, ..Frame::default() };
    board.exit(0, vector::HYPERVISOR_DOORBELL, &mut frame);
    frame.nip == 0x500
}

#[test]
fn what_was_accepted_comes_no_more_until_its_end() {
    let mut board = interrupted();
    assert!(gets_one(&mut board));
    board.hypercall(0, &[XIRR]);
    assert!(!gets_one(&mut board), "it is as urgent as what the guest is at");
    board.hypercall(0, &[IPI, 0, 4]);
    assert!(gets_one(&mut board), "it is more urgent");
    board.hypercall(0, &[IPI, 0, 5]);
    assert!(!gets_one(&mut board));
    board.hypercall(0, &[EOI, 0xff00_0002]);
    assert!(gets_one(&mut board), "nobody has taken the request back");
}

#[test]
fn a_processor_is_not_given_up_while_an_interrupt_waits() {
    let mut board = interrupted();
    for _ in 0..3 {
        let mut frame = Frame { nip: 0x4000, msr: msr::SF, ..Frame::default() };
        frame.gpr[3] = CEDE;
        assert_eq!(board.exit(0, vector::SYSTEM_CALL, &mut frame), Next::Resume);
        assert_eq!(frame.nip, 0x500);
    }
}

/// A call of domain 1's to its firmware: the token and the arguments; two words of results.
fn firmware(board: &mut Board, n: usize, token: u32, arguments: &[u32]) -> [u32; 2] {
    let head = [token, arguments.len() as u32, 2];
    let words = head.iter().chain(arguments).chain(&[9, 9]);
    let bytes: Vec<u8> = words.flat_map(|word| word.to_be_bytes()).collect();
    board.poke(1, ARGUMENT, &bytes);
    assert_eq!(board.hypercall(n, &[RTAS, ARGUMENT]), 0);
    let result = |n| (board.peek(1, ARGUMENT + 4 * n) as u32).swap_bytes();
    let first = 3 + arguments.len() as u64;
    [result(first), result(first + 1)]
}

#[test]
fn firmware_starts_what_is_stopped_and_nothing_else() {
    let guest = Guest { vcpus: 2, ..Guest::new("pair", Personality::Papr) };
    let mut board = Board::new(64, 2, &[guest]);
    board.dispatch(0);
    let stopped = |board: &mut Board| firmware(board, 0, rtas::QUERY_CPU_STOPPED_STATE, &[1]);
    let start = |board: &mut Board, server: u32, entry: u32| {
        firmware(board, 0, rtas::START_CPU, &[server, entry, 7])[0]
    };
    for _ in 0..2 {
        assert_eq!(stopped(&mut board), [rtas::SUCCESS, 0]);
        assert_eq!(start(&mut board, 2, 0x4000), rtas::PARAMETER_ERROR);
        assert_eq!(start(&mut board, 1, 0x4000), rtas::SUCCESS);
        assert_eq!(stopped(&mut board), [rtas::SUCCESS, 2]);
        for server in [0, 1] {
            assert_eq!(start(&mut board, server, 0x5000), rtas::HARDWARE_ERROR, "not stopped");
        }
        let started = board.hv.machine.state().started[&1];
        assert_eq!((started.entry, started.argument), (GuestAddr::new(0x4000), 7));
        assert_eq!(board.dispatch(1), 1);
        firmware(&mut board, 1, rtas::STOP_SELF, &[]);
        assert_eq!(board.running(1), None);
    }
}

#[test]
fn who_is_favoured_gets_no_more_than_its_share() {
    let pair = Guest { vcpus: 2, ..Guest::new("pair", Personality::Papr) };
    let mut board = Board::new(64, 1, &[pair, Guest::new("other", Personality::Xen)]);
    while board.running(0) != Some(0) {
        board.dispatch(0);
    }
    assert_eq!(firmware(&mut board, 0, rtas::START_CPU, &[1, 0x4000, 7])[0], rtas::SUCCESS);
    let mut slices = [0u32; 3];
    for _ in 0..300 {
        let running = board.running(0).unwrap();
        slices[running] += 1;
        if running == 0 {
            board.hypercall(0, &[CONFER, 1, 0]);
        } else {
            board.hv.machine.state().now += SLICE_TICKS;
            board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        }
    }
    assert!(slices[0] > 20 && slices[1].abs_diff(slices[2]) <= 3, "{slices:?}");
}
