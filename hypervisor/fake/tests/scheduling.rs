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
const YIELD: u64 = 0;
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

fn spinners(weights: &[u16]) -> Vec<Guest> {
    weights
        .iter()
        .map(|weight| Guest { weight: *weight, ..Guest::new("spin", Personality::Xen) })
        .zip(["a", "b", "c", "d", "e", "f"])
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

/// Runs processor 0 to its next alarm, and notes in `had` who had the time until then.
fn run_to_alarm(board: &mut Board, had: &mut [u64]) {
    let (alarm, before) = {
        let state = board.hv.machine.state();
        (state.alarm, state.now)
    };
    let ran = board.running(0);
    board.hv.machine.state().now = alarm;
    match ran {
        Some(vcpu) => {
            had[vcpu] += alarm - before;
            board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        }
        None => {
            board.look(0);
        }
    }
}

#[test]
fn shares_are_kept_beside_sleepers() {
    let mut board = Board::new(64, 1, &spinners(&[128, 256, 512, 256]));
    board.dispatch(0);
    let mut had = [0; 4];
    for step in 0..3000_u64 {
        run_to_alarm(&mut board, &mut had);
        // The fourth sleeps most of the time.
        if board.running(0) == Some(3) {
            board.hv.machine.state().now += SLICE_TICKS / 100;
            let now = board.hv.machine.state().now;
            board.hv.machine.state().deadline = now + SLICE_TICKS * (step % 5);
            board.hypercall(0, &[SCHED_OP, BLOCK]);
            board.hv.machine.state().deadline = u64::MAX;
        }
    }
    for (vcpu, of_seven) in [(0, 1), (1, 2), (2, 4)] {
        let right = (had[0] + had[1] + had[2]) * of_seven / 7;
        assert!(had[vcpu].abs_diff(right) * 50 <= right, "{had:?}");
    }
}

#[test]
fn a_cap_holds() {
    let mut guests = spinners(&[1024, 256]);
    guests[0].scheduling.cap = 30;
    let mut board = Board::new(64, 1, &guests);
    board.dispatch(0);
    let mut had = [0; 4];
    (0..600).for_each(|_| run_to_alarm(&mut board, &mut had));
    assert!(had[0] * 1000 / (had[0] + had[1]) >= 290, "{had:?}");
    assert!(had[0] * 1000 / (had[0] + had[1]) <= 303, "{had:?}");
    // Also where there is nobody else: the processor idles.
    let mut board = Board::new(64, 1, &guests[..1]);
    board.dispatch(0);
    let mut had = [0; 4];
    (0..600).for_each(|_| run_to_alarm(&mut board, &mut had));
    let now = board.hv.machine.state().now;
    assert!((290..=303).contains(&(had[0] * 1000 / now)), "{had:?} of {now}");
}

#[test]
fn a_domain_stays_on_its_processors() {
    let mut guests = spinners(&[256, 256, 256]);
    guests.iter_mut().for_each(|guest| guest.scheduling.processors = 1 << 1);
    let mut board = Board::new(64, 3, &guests);
    assert_eq!(board.look(0), None);
    assert_eq!(board.look(2), None);
    assert!(board.look(1).is_some());
    assert_eq!((board.look(0), board.look(2)), (None, None));
}

#[test]
fn an_idle_processor_takes_over_who_waits_and_nobody_else() {
    let mut guests = spinners(&[256, 256]);
    guests.iter_mut().for_each(|guest| guest.scheduling.processors = 0b11);
    let mut board = Board::new(64, 2, &guests[..1]);
    board.dispatch(0);
    assert_eq!(board.look(1), None, "it runs elsewhere");
    // Both at home on processor 0: the second's processor is the first's.
    guests[1].scheduling.processors = 0b01;
    let mut board = Board::new(64, 2, &guests);
    assert_eq!(board.dispatch(0), 0);
    assert_eq!(board.look(1), None, "the second may not run there, the first does not wait");
    board.hv.machine.state().now += SLICE_TICKS;
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert_eq!(board.running(0), Some(1));
    assert_eq!(board.look(1), Some(0), "the first waits, and its registers have left");
}

/// Three on either of two processors, of which those on the second sleep but one; then what the
/// second has after some slices.
fn uneven(lone: u16) -> Vec<usize> {
    let mut board = Board::new(64, 2, &spinners(&[256, lone, 256, 256, 256, 256]));
    assert_eq!((board.dispatch(0), board.dispatch(1)), (0, 1));
    let mut had = Vec::new();
    for _ in 0..20 {
        board.hv.machine.state().now += SLICE_TICKS;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        board.exit(1, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        while let Some(3 | 5) = board.running(1) {
            board.hypercall(1, &[SCHED_OP, BLOCK]);
        }
        had.extend(board.running(1));
    }
    had.sort_unstable();
    had.dedup();
    had
}

#[test]
fn a_busy_processor_takes_over_from_one_with_more_to_do() {
    assert_eq!(uneven(256).len(), 2, "one of the three moves, and none after it");
    assert_eq!(uneven(1024), [1], "who weighs more than the three together is not joined");
}

#[test]
fn who_yields_lets_the_others_run_though_it_has_had_less() {
    let mut board = Board::new(64, 1, &spinners(&[1024, 256]));
    assert_eq!(shares(&mut board, 3), [2, 1, 0, 0], "the first has had less for its weight");
    assert_eq!(board.running(0), Some(0));
    board.hypercall(0, &[SCHED_OP, YIELD]);
    assert_eq!(board.running(0), Some(1));
}

#[test]
fn who_waits_is_in_the_queue_once_whatever_changes() {
    let mut board = Board::new(64, 1, &spinners(&[256, 256]));
    assert_eq!(board.dispatch(0), 0);
    board.hv.set_share(id(2), Share { weight: 512, cap: 0, reserved: None }).unwrap();
    board.check();
    assert_eq!(ticks(&mut board, 30)[..2], [10, 20]);
}

#[test]
fn reserved_time_begins_at_once_though_others_are_due_before_its_end() {
    let mut guests = spinners(&[0, 0, 256]);
    guests[0].scheduling.reserved = Some((SLICE_TICKS / 8, SLICE_TICKS / 2));
    guests[1].scheduling.reserved = Some((SLICE_TICKS / 2, 4 * SLICE_TICKS));
    let mut board = Board::new(64, 1, &guests);
    board.hv.pause(id(2));
    assert_eq!(board.dispatch(0), 0);
    run_to_alarm(&mut board, &mut [0; 3]);
    assert_eq!(board.running(0), Some(2), "the first waits for its next period");
    board.hv.unpause(id(2));
    assert_eq!(kicked(&mut board, 0), Next::Switch(board.processors[0].vcpu().unwrap()));
    assert_eq!(board.running(0), Some(1));
}

#[test]
fn a_late_riser_takes_nobodys_time() {
    let (budget, period) = (SLICE_TICKS / 2, 2 * SLICE_TICKS);
    let mut guests = spinners(&[0, 256]);
    guests[0].scheduling.reserved = Some((budget, period));
    let mut board = Board::new(64, 1, &guests);
    assert_eq!(board.dispatch(0), 0);
    let now = |board: &Board| board.hv.machine.state().now;
    let wakes = now(&board) + period - budget / 2;
    board.hv.machine.state().deadline = wakes;
    board.hypercall(0, &[SCHED_OP, BLOCK]);
    while now(&board) < wakes {
        run_to_alarm(&mut board, &mut [0; 2]);
    }
    assert_eq!(board.running(0), Some(0));
    // What is left of the period is too short for the budget: it does not get both that and the next.
    let mut had = [0; 2];
    while now(&board) < wakes + period {
        run_to_alarm(&mut board, &mut had);
    }
    assert_eq!(had[0], budget);
}

#[test]
fn what_an_archive_reserves_is_admitted_or_refused() {
    let mut guests = spinners(&[0, 0, 0]);
    for guest in &mut guests {
        guest.scheduling.reserved = Some((SLICE_TICKS / 2, SLICE_TICKS));
    }
    // Two processors have room for one each.
    let board = Board::new(64, 2, &guests);
    assert!(board.said(0).contains("domain c is not started: no processor"), "{}", board.said(0));
}

#[test]
fn a_look_at_the_line_makes_nobody_late() {
    let mut board = Board::new(64, 1, &spinners(&[256, 256]));
    let wakes = SLICE_TICKS + 100;
    board.hv.machine.state().deadline = wakes;
    while board.running(0) != Some(1) {
        board.dispatch(0);
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    }
    board.hypercall(0, &[SCHED_OP, BLOCK]);
    board.type_to(1, b"x");
    let mut unread_at = |now| {
        board.hv.machine.state().now = now;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        let unread = !board.hv.machine.state().input.is_empty();
        (board.running(0), unread)
    };
    assert_eq!(unread_at(SLICE_TICKS), (Some(0), true), "it is due, and so is a sleeper soon");
    unread_at(wakes);
    assert!(!unread_at(wakes + SLICE_TICKS).1, "nobody is due any more");
}

#[test]
fn a_look_at_the_line_waits_for_reserved_time() {
    let mut guests = spinners(&[0, 256]);
    guests[0].scheduling.reserved = Some((SLICE_TICKS, 3 * SLICE_TICKS));
    let mut board = Board::new(64, 1, &guests);
    board.hv.machine.state().now = SLICE_TICKS / 2;
    board.dispatch(0);
    board.type_to(2, b"x");
    let unread = |board: &Board| !board.hv.machine.state().input.is_empty();
    // The look was due in the middle of the budget.
    assert_eq!(board.hv.machine.state().alarm, SLICE_TICKS * 3 / 2);
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert!(board.running(0) == Some(1) && unread(&board));
    assert_eq!(board.hv.machine.state().alarm, SLICE_TICKS * 3 / 2, "and now at once");
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert!(!unread(&board));
    // A tick that comes for something else does not look.
    board.hv.machine.state().input.push_back(b'y');
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert!(unread(&board));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(16))]

    /// Beside others that spin, sleep and have reservations too.
    #[test]
    fn a_reserved_vcpu_has_its_budget_in_every_period(
        periods in proptest::collection::vec(1_u64..20, 2),
        sleeps in proptest::collection::vec(0_u64..3_000_000, 40),
    ) {
        let unit = SLICE_TICKS / 4;
        let mut guests = spinners(&[0, 0, 4096, 256]);
        for (guest, period) in guests.iter_mut().zip(&periods) {
            let period = period * unit;
            guest.scheduling.reserved = Some((period * 44 / 100, period));
        }
        let mut board = Board::new(64, 1, &guests);
        board.dispatch(0);
        let (budget, period) = (periods[0] * unit * 44 / 100, periods[0] * unit);
        // The first always wants to run; its periods begin when it was first looked at.
        let (mut had, mut end, mut sleeps) = ([0; 4], period, sleeps.into_iter().cycle());
        for _ in 0..300 {
            let (alarm, now) = { let s = board.hv.machine.state(); (s.alarm, s.now) };
            if now < end && alarm > end {
                // An alarm never lies behind a period's end.
                proptest::prop_assert!(false, "alarm {} after {}", alarm, end);
            }
            run_to_alarm(&mut board, &mut had);
            if board.hv.machine.state().now >= end {
                proptest::prop_assert!(had[0] >= budget, "{} of {} at {}", had[0], budget, end);
                had[0] = 0;
                end += period;
            }
            // The second reserved one and the last sleep at random.
            if matches!(board.running(0), Some(1 | 3)) {
                let now = board.hv.machine.state().now;
                board.hv.machine.state().deadline = now + sleeps.next().unwrap();
                board.hypercall(0, &[SCHED_OP, BLOCK]);
                board.hv.machine.state().deadline = u64::MAX;
            }
        }
    }
}
