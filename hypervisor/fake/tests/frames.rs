//! Frames by themselves: whose is what lies at the edge of a region.
#![allow(missing_docs)]

use hv_core::frames::{Entry, FRAME_SIZE, Frames, Owner};
use hv_fake::Fake;
use k42_lib::RealAddr;

fn frames(count: usize) -> Frames {
    Frames::new(Vec::leak(vec![Entry::PLATFORM; count]))
}

/// Half a frame after the start of frame `n`.
fn half(n: u64) -> RealAddr {
    RealAddr::new(n * FRAME_SIZE + FRAME_SIZE / 2)
}

#[test]
fn a_frame_that_is_partly_outside_is_not_free() {
    let mut frames = frames(8);
    frames.release(half(1), half(5));
    assert_eq!(frames.count(Owner::FREE), 3, "2, 3 and 4");
    frames.reserve(half(2), half(3));
    assert_eq!(frames.count(Owner::FREE), 1, "4");
}

#[test]
fn what_lies_beyond_storage_is_nobodys() {
    let mut frames = frames(4);
    frames.release(RealAddr::new(0), RealAddr::new(u64::MAX));
    assert_eq!(frames.count(Owner::FREE), 4);
    assert_eq!(frames.at(RealAddr::new(4 * FRAME_SIZE)), (Owner::PLATFORM, 0));
    frames.release(RealAddr::new(u64::MAX - 1), RealAddr::new(0));
    assert!(!frames.lend(RealAddr::new(u64::MAX)));
}

#[test]
fn a_run_is_aligned_and_whole() {
    let machine = Fake::new(1);
    let mut frames = machine.frames();
    let one = Owner::domain(1);
    assert_eq!(frames.allocate(&machine, FRAME_SIZE, one), Some(RealAddr::new(0)));
    assert_eq!(frames.allocate(&machine, 4 * FRAME_SIZE, one), Some(RealAddr::new(4 * FRAME_SIZE)));
    assert_eq!(frames.allocate(&machine, 16 * FRAME_SIZE, one), None);
    frames.reclaim(one);
    assert_eq!(frames.allocate(&machine, 16 * FRAME_SIZE, one), Some(RealAddr::new(0)));
}

/// What is in use stays together, and large runs free.
#[test]
fn a_frame_that_is_free_again_is_given_out_before_those_behind_it() {
    let machine = Fake::new(1);
    let mut frames = machine.frames();
    let allocate = |frames: &mut Frames| frames.allocate(&machine, FRAME_SIZE, Owner::domain(1));
    let [first, second] = [(); 2].map(|()| allocate(&mut frames).unwrap());
    frames.free(first, FRAME_SIZE);
    assert_eq!(allocate(&mut frames), Some(first));
    assert_eq!(allocate(&mut frames), Some(second.offset(FRAME_SIZE)));
}

#[test]
fn what_is_lent_outlives_its_owner() {
    let machine = Fake::new(1);
    let mut frames = machine.frames();
    let one = Owner::domain(1);
    let page = frames.allocate(&machine, FRAME_SIZE, one).unwrap();
    assert!(!frames.is_lent(page));
    assert!(frames.lend(page) && frames.lend(page));
    assert!(frames.is_lent(page));
    frames.reclaim(one);
    assert_eq!(frames.at(page), (Owner::ORPHAN, 2));
    assert_eq!(frames.give_back(page), Some(Owner::ORPHAN));
    assert_eq!(frames.at(page), (Owner::ORPHAN, 1));
    frames.give_back(page);
    assert_eq!(frames.at(page), (Owner::FREE, 0));
}
