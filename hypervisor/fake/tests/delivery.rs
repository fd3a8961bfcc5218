//! The delivery of events bit by bit: what is set when, who is told, and what is told once.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_core::Frame;
use hv_fake::{Board, Guest};
use k42_lib::vector;
use xen_sys::event_channel as op;
use xen_sys::{errno, memory, xen};

const SHARED: u64 = 16 << 20;
const PENDING: u64 = SHARED + 48;

/// Two domains on one processor, with their shared pages mapped.
fn board() -> Board {
    let guests = ["one", "two"].map(|name| Guest::new(name, Personality::Xen));
    let mut board = Board::new(32, 1, &guests);
    board.dispatch(0);
    for domain in 1..=2 {
        let mut argument = [0; 24];
        argument[..2].copy_from_slice(&xen::DOMID_SELF.to_le_bytes());
        argument[16..].copy_from_slice(&(SHARED >> 12).to_le_bytes());
        let call = xen::HYPERVISOR_MEMORY_OP;
        assert_eq!(board.operate(domain, call, memory::XENMEM_ADD_TO_PHYSMAP, &argument), 0);
    }
    board
}

/// An operation of a domain; the result, and the word of its argument at `out`.
fn operate(board: &mut Board, domain: u16, command: u32, words: &[u32], out: u64) -> (i64, u32) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let result = board.operate(domain, xen::HYPERVISOR_EVENT_CHANNEL_OP, command, &bytes);
    (result, board.peek(domain, Board::ARGUMENT + out * 4) as u32)
}

/// A channel from domain 1 to domain 2: its ports.
fn connect(board: &mut Board) -> (u32, u32) {
    let words = [u32::from(xen::DOMID_SELF) | 2 << 16, 0];
    let (_, here) = operate(board, 1, op::EVTCHNOP_ALLOC_UNBOUND, &words, 1);
    let (result, there) = operate(board, 2, op::EVTCHNOP_BIND_INTERDOMAIN, &[1, here, 0], 2);
    assert_eq!(result, 0);
    (here, there)
}

fn send(board: &mut Board, port: u32) {
    assert_eq!(operate(board, 1, op::EVTCHNOP_SEND, &[port], 0).0, 0);
}

fn told(board: &Board) -> bool {
    board.peek(2, SHARED) & 0xff != 0
}

/// Whether the doorbell of domain 2 rings at its next exit.
fn rings(board: &mut Board) -> bool {
    board.be(2);
    board.exit(0, vector::HYPERVISOR_DOORBELL, &mut Frame::default());
    std::mem::take(&mut board.hv.machine.state().rung)
}

#[test]
fn a_new_channel_is_pending_at_the_end_that_connected() {
    let mut board = board();
    let (here, there) = connect(&mut board);
    assert_eq!(board.peek(2, PENDING) >> there & 1, 1);
    assert_eq!(board.peek(1, PENDING) >> here & 1, 0);
}

#[test]
fn a_port_that_is_pending_already_tells_nobody() {
    let mut board = board();
    let (here, _) = connect(&mut board);
    board.poke(2, SHARED, &[0; 16]); // told, and the port still pending
    send(&mut board, here);
    assert!(!told(&board));
    board.poke(2, PENDING, &[0; 8]);
    send(&mut board, here);
    assert!(told(&board));
}

#[test]
fn one_doorbell_does_for_all_ports() {
    let mut board = board();
    let ports = [connect(&mut board).0, connect(&mut board).0];
    board.poke(2, SHARED, &[0; 16]);
    board.poke(2, PENDING, &[0; 8]);
    rings(&mut board);
    send(&mut board, ports[0]);
    assert!(rings(&mut board));
    send(&mut board, ports[1]);
    assert!(told(&board) && !rings(&mut board), "it has not looked yet");
}

#[test]
fn port_0_is_no_port() {
    let mut board = board();
    let invalid = -i64::from(errno::EINVAL);
    for command in [op::EVTCHNOP_SEND, op::EVTCHNOP_CLOSE, op::EVTCHNOP_UNMASK] {
        assert_eq!(operate(&mut board, 1, command, &[0], 0).0, invalid);
    }
}

#[test]
fn ports_are_made_and_asked_about_by_their_own_domain_alone() {
    let mut board = board();
    let (_, there) = connect(&mut board);
    let refused = -i64::from(errno::EPERM);
    assert_eq!(operate(&mut board, 1, op::EVTCHNOP_ALLOC_UNBOUND, &[2, 0], 0).0, refused);
    assert_eq!(operate(&mut board, 1, op::EVTCHNOP_STATUS, &[2, there, 0, 0, 0, 0], 0).0, refused);
    assert_eq!(operate(&mut board, 2, op::EVTCHNOP_STATUS, &[2, there, 0, 0, 0, 0], 0).0, 0);
}

#[test]
fn a_sender_wakes_a_receiver_that_sleeps() {
    let mut board = board();
    let (here, _) = connect(&mut board);
    board.poke(2, SHARED, &[0; 16]);
    board.poke(2, PENDING, &[0; 8]);
    board.be(2);
    while board.running(0) == Some(1) {
        let mut frame = Frame::default(); // what has come meanwhile may end the first block
        frame.gpr[3..5].copy_from_slice(&[hv_abi::XEN_MARK | xen::HYPERVISOR_SCHED_OP, 1]);
        board.exit(0, vector::SYSTEM_CALL, &mut frame);
    }
    send(&mut board, here);
    assert_eq!(board.running(0), Some(0));
    rings(&mut board); // it has become ready: this ends
}
