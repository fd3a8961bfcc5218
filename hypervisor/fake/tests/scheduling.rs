//! Who runs when, and for how long.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_core::domain::DomainId;
use hv_core::schedule::account::{Allowance, Share};
use hv_core::schedule::{Refused, SLICE_TICKS};
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

fn id(number: u16) -> DomainId {
    DomainId::new(number).unwrap()
}

/// Lets processor `n` notice what it was kicked for.
fn kicked(board: &mut Board, n: usize) -> Next {
    assert!(board.hv.machine.state().kicked.remove(&(n as u32)), "processor {n} was not told");
    board.exit(n, vector::HYPERVISOR_DOORBELL, &mut Frame::default())
}

#[test]
fn a_paused_domain_leaves_its_processor_and_is_not_chosen_until_it_is_unpaused_as_often() {
    let mut board = Board::new(64, 1, &spinners(&[256, 256]));
    assert_eq!(board.dispatch(0), 0);
    board.hv.pause(id(1));
    board.hv.pause(id(1));
    assert!(!board.hv.at_rest(id(1)));
    assert!(matches!(kicked(&mut board, 0), Next::Switch(vcpu) if vcpu.index() == 1));
    assert!(board.hv.at_rest(id(1)));
    assert_eq!(ticks(&mut board, 20)[0], 0);
    board.hv.unpause(id(1));
    assert_eq!(ticks(&mut board, 20)[0], 0);
    board.hv.unpause(id(1));
    let counts = ticks(&mut board, 20);
    assert!(counts[0].abs_diff(10) <= 1, "{counts:?}");
}

#[test]
fn what_wakes_a_paused_domain_waits_for_it() {
    let mut board = Board::new(64, 1, &spinners(&[256]));
    board.dispatch(0);
    board.hypercall(0, &[SCHED_OP, BLOCK]);
    board.hv.pause(id(1));
    board.type_to(1, b"x");
    assert_eq!(board.hv.look_for_work(&mut board.processors[0]), None);
    board.hv.unpause(id(1));
    assert_eq!(board.dispatch(0), 0);
}

#[test]
fn a_paused_domain_can_end() {
    let mut board = Board::new(64, 1, &spinners(&[256, 256]));
    assert_eq!(board.dispatch(0), 0);
    board.hv.pause(id(1));
    board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    assert_eq!(board.running(0), Some(1));
    board.hv.unpause(id(1));
    assert_eq!(ticks(&mut board, 10)[0], 0);
}

/// Runs so many slices on processor 0, which runs something, and counts them by vCPU.
fn ticks(board: &mut Board, slices: usize) -> Vec<usize> {
    let mut counts = vec![0; 4];
    for _ in 0..slices {
        let alarm = board.hv.machine.state().alarm;
        board.hv.machine.state().now = alarm;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        counts[board.running(0).unwrap()] += 1;
    }
    counts
}

#[test]
fn a_share_is_changed_while_its_domain_runs() {
    let mut board = Board::new(64, 1, &spinners(&[256, 256]));
    board.dispatch(0);
    let share = Share { weight: 768, cap: 0, reserved: None };
    assert_eq!(board.hv.set_share(id(1), share), Ok(()));
    assert_eq!(board.hv.share(id(1)), Some(share));
    kicked(&mut board, 0);
    let counts = ticks(&mut board, 400);
    assert!(counts[0].abs_diff(300) <= 2, "{counts:?}");
    assert_eq!(board.hv.set_share(id(3), share), Err(Refused::Domain));
    for bad in [Share { cap: 101, ..share }, Share { weight: 0, ..share }] {
        assert_eq!(board.hv.set_share(id(1), bad), Err(Refused::Invalid));
    }
}

#[test]
fn no_more_than_there_is_can_be_reserved() {
    let board = Board::new(64, 1, &spinners(&[256, 256, 256]));
    let reserve = |number, tenths| {
        let reserved = Allowance { budget: SLICE_TICKS * tenths / 10, period: SLICE_TICKS };
        let share = Share { weight: 256, cap: 0, reserved: Some(reserved) };
        board.hv.set_share(id(number), share)
    };
    let reserved = |number| board.hv.share(id(number)).unwrap().reserved;
    assert_eq!(reserve(1, 5), Ok(()));
    assert_eq!(reserve(2, 5), Err(Refused::Full));
    assert_eq!(reserved(2), None);
    assert_eq!(reserve(2, 4), Ok(()));
    assert_eq!(reserved(2).unwrap().budget, SLICE_TICKS * 4 / 10);
    assert_eq!(reserve(3, 1), Err(Refused::Full));
    // What one gives back, another may have.
    let none = Share { weight: 256, cap: 0, reserved: None };
    assert_eq!(board.hv.set_share(id(1), none), Ok(()));
    assert_eq!(reserve(3, 5), Ok(()));
    for impossible in [0, 11] {
        assert_eq!(reserve(1, impossible), Err(Refused::Invalid));
    }
}
