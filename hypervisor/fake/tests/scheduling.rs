//! Who runs when, and for how long.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_core::schedule::SLICE_TICKS;
use hv_core::{Frame, Next};
use hv_fake::{Board, Guest};
use k42_lib::vector;

const SCHED_OP: u64 = hv_abi::XEN_MARK | 29;
const BLOCK: u64 = 1;

/// Runs `slices` slices on processor 0 and counts them by vCPU.
fn shares(board: &mut Board, slices: usize) -> Vec<usize> {
    let mut counts = vec![0; 4];
    counts[board.dispatch(0)] += 1;
    for _ in 1..slices {
        let alarm = board.hv.machine.state().alarm;
        board.hv.machine.state().now = alarm;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        counts[board.processors[0].vcpu().unwrap().index()] += 1;
    }
    counts
}

fn spinners(weights: &[u32]) -> Vec<Guest> {
    weights
        .iter()
        .map(|weight| Guest { weight: *weight, ..Guest::new("spin", Personality::Xen) })
        .zip(["a", "b", "c", "d"])
        .map(|(guest, name)| Guest { name, ..guest })
        .collect()
}

#[test]
fn equal_weights_share_equally() {
    let counts = shares(&mut Board::new(64, 1, &spinners(&[256, 256, 256])), 300);
    assert_eq!(counts, [100, 100, 100, 0]);
}

#[test]
fn weights_are_shares() {
    let counts = shares(&mut Board::new(64, 1, &spinners(&[512, 256, 256])), 400);
    assert!(counts[0].abs_diff(200) <= 2 && counts[1].abs_diff(100) <= 2, "{counts:?}");
}

#[test]
fn a_slice_ends() {
    let mut board = Board::new(64, 1, &spinners(&[256, 256]));
    board.dispatch(0);
    assert_eq!(board.hv.machine.state().alarm, SLICE_TICKS);
}

#[test]
fn a_sleeper_has_no_credit_when_it_wakes() {
    let mut board = Board::new(64, 1, &spinners(&[256, 256]));
    board.dispatch(0);
    board.hv.machine.state().deadline = 500 * SLICE_TICKS;
    board.hypercall(0, &[SCHED_OP, BLOCK]);
    // The other has the processor for 500 slices, and then they take turns.
    for _ in 0..500 {
        let alarm = board.hv.machine.state().alarm;
        board.hv.machine.state().now = alarm;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    }
    let mut counts = [0; 2];
    for _ in 0..100 {
        let alarm = board.hv.machine.state().alarm;
        board.hv.machine.state().now = alarm;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        counts[board.processors[0].vcpu().unwrap().index()] += 1;
    }
    assert!(counts[0] <= 52, "{counts:?}");
}

#[test]
fn a_processor_with_nothing_to_run_idles_until_input_comes() {
    let mut board = Board::new(64, 1, &spinners(&[256]));
    board.dispatch(0);
    let mut frame = Frame::default();
    frame.gpr[3..5].copy_from_slice(&[SCHED_OP, BLOCK]);
    assert_eq!(board.exit(0, vector::SYSTEM_CALL, &mut frame), Next::Idle);
    board.type_to(1, b"x");
    assert_eq!(board.dispatch(0), 0);
    // Input waits, so blocking returns at once.
    assert_eq!(board.exit(0, vector::SYSTEM_CALL, &mut frame), Next::Resume);
}

#[test]
fn domains_are_spread_over_processors() {
    let mut board = Board::new(64, 2, &spinners(&[256, 256]));
    assert_eq!(board.dispatch(0), 0);
    assert_eq!(board.dispatch(1), 1);
}
