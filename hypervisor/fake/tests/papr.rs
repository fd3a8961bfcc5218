//! PAPR's personality, as an unmodified Linux asks it: its interrupt controller.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_core::{Frame, Next};
use hv_fake::{Board, Guest};
use k42_lib::{msr, vector};

const EOI: u64 = 0x64;
const CPPR: u64 = 0x68;
const IPI: u64 = 0x6c;
const XIRR: u64 = 0x74;
const CEDE: u64 = 0xe0;

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
