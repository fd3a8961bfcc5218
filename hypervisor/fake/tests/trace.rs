//! Trace buffers: what a controller that has mapped them reads, and what it can spoil.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::{Rights, XEN_MARK};
use hv_core::{Frame, Storage};
use hv_fake::{Board, Guest};
use k42_lib::{GuestAddr, vector};
use std::mem::offset_of;
use xen_sys::sysctl::{self, TbufOp};
use xen_sys::{errno, memory, trace, xen};

const SYSCTL: u64 = XEN_MARK | 35;
const CALL: u64 = 0x2000;
/// Where the controller maps pages: beyond its memory.
const WINDOW: u64 = 1 << 40;
/// Bytes of a buffer's records.
const SPACE: u32 = 65_536 - 8;

/// Domain 1 controls, domain 2 does not.
fn board(processors: u32) -> Board {
    let rights = Rights::CONTROL | Rights::INPUT;
    let controller = Guest { rights, ..Guest::new("controller", Personality::Xen) };
    let other = Guest::new("other", Personality::Xen);
    let mut board = Board::new(64, processors, &[controller, other]);
    board.dispatch(0);
    board
}

/// A `tbuf_op` of the domain on processor 0: the list's page, or an error.
fn control(board: &mut Board, command: u32, mask: u32, size: u32) -> Result<u64, i64> {
    let version = u64::from(sysctl::XEN_SYSCTL_INTERFACE_VERSION) << 32;
    board.poke(1, CALL, &(u64::from(sysctl::XEN_SYSCTL_TBUF_OP) | version).to_le_bytes());
    let field = |at: usize, word: u32| board.poke(1, CALL + 8 + at as u64, &word.to_le_bytes());
    field(offset_of!(TbufOp, cmd), command);
    field(offset_of!(TbufOp, evt_mask), mask);
    field(offset_of!(TbufOp, size), size);
    match board.hypercall(0, &[SYSCTL, CALL]) {
        0 => Ok(board.peek(1, CALL + 8 + offset_of!(TbufOp, buffer_mfn) as u64)),
        error => Err(error),
    }
}

/// Maps a page of the hypervisor's at a page of the window; the error that it has.
fn map(board: &mut Board, page: u64, place: u64) -> i32 {
    let (index, target, error) = (CALL + 0x100, CALL + 0x108, CALL + 0x110);
    board.poke(1, index, &page.to_le_bytes());
    board.poke(1, target, &((WINDOW >> 12) + place).to_le_bytes());
    let words = [
        u64::from(xen::DOMID_SELF)
            | u64::from(memory::XENMAPSPACE_GMFN_FOREIGN) << 16
            | 1 << 32
            | u64::from(xen::DOMID_XEN) << 48,
        index,
        target,
        error,
    ];
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    let command = memory::XENMEM_ADD_TO_PHYSMAP_BATCH;
    assert_eq!(board.operate(1, 12, command, &bytes), 0);
    board.peek(1, error) as u32 as i32
}

/// The real address of a processor's buffer, by the list.
fn buffer(board: &Board, list: u64, processor: u64) -> k42_lib::RealAddr {
    let mut bytes = [0; 4096];
    board.hv.machine.read(k42_lib::RealAddr::new(list << 12), &mut bytes);
    let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    assert_eq!(half(0), 16, "pages of a buffer");
    let first = usize::from(half(2 + 2 * processor as usize)) * 4;
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    for page in 0..16 {
        assert_eq!(word(first + 4 * page), word(first) + page as u32);
    }
    k42_lib::RealAddr::new(u64::from(word(first)) << 12)
}

/// Reads what is new, as Xen's tools do: event, own words.
fn read(board: &Board, buffer: k42_lib::RealAddr) -> Vec<(u32, Vec<u32>)> {
    let mut bytes = vec![0; 1 << 16];
    board.hv.machine.read(buffer, &mut bytes);
    let word = |at: u32| u32::from_le_bytes(bytes[at as usize..][..4].try_into().unwrap());
    let (mut at, end) = (word(0), word(4));
    let mut records = Vec::new();
    let mut time = 0;
    while at != end {
        let place = 8 + at % SPACE;
        let first = word(place);
        let own = first >> trace::TRACE_EXTRA_SHIFT & 7;
        let timed = first >> 31;
        let size = 4 + 8 * timed + 4 * own;
        assert!(place + size <= 65_536, "no record is in two pieces");
        if timed == 1 {
            let now = u64::from(word(place + 4)) | u64::from(word(place + 8)) << 32;
            assert!(now >= time, "time goes on");
            time = now;
        }
        let words = (0..own).map(|n| word(place + 4 + 8 * timed + 4 * n)).collect();
        records.push((first & 0x0fff_ffff, words));
        at = (at + size) % (2 * SPACE);
    }
    board.hv.machine.write(buffer, &at.to_le_bytes());
    records
}

fn events(records: &[(u32, Vec<u32>)]) -> Vec<u32> {
    records.iter().map(|(event, _)| *event).collect()
}

/// A hypercall, without a walk through the hypervisor's state after it.
fn call(board: &mut Board) {
    let mut frame = Frame::default();
    frame.gpr[3] = XEN_MARK | 17;
    board.hv.exit(&mut board.processors[0], vector::SYSTEM_CALL, &mut frame);
}

/// Enables tracing of everything; the list's page.
fn enable(board: &mut Board) -> u64 {
    control(board, sysctl::XEN_SYSCTL_TBUFOP_ENABLE, 0, 0).expect("it is enabled")
}

#[test]
fn what_a_processor_does_is_in_its_buffer() {
    let mut board = board(2);
    assert_eq!(control(&mut board, sysctl::XEN_SYSCTL_TBUFOP_GET_INFO, 0, 0), Ok(0));
    let list = enable(&mut board);
    let buffer0 = buffer(&board, list, 0);
    assert_eq!(board.hypercall(0, &[XEN_MARK | 17, 0, 0]), 0x0004_0011);
    let mut frame = Frame { nip: 0x1_2345_6789, ..Frame::default() };
    board.hv.machine.state().now += 1 << 24;
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut frame);
    let records = read(&board, buffer0);
    let number = (XEN_MARK | 17) as u32;
    assert_eq!(records[0], (trace::TRC_HVM_VMMCALL, vec![number, 0, 0]));
    assert_eq!(records[1], (trace::TRC_HVM_VMEXIT64, vec![0x980, 0x2345_6789, 1]));
    assert_eq!(records[2], (trace::TRC_SCHED_SWITCH_INFPREV, vec![1, 0, 0]));
    assert_eq!(records[3], (trace::TRC_SCHED_SWITCH_INFNEXT, vec![1, 0, 0]));
    assert_eq!(records.len(), 4);
    let buffer1 = buffer(&board, list, 1);
    assert_eq!(read(&board, buffer1), [], "the other processor has done nothing");
    board.dispatch(1);
    let records = read(&board, buffer1);
    assert_eq!(records, [(trace::TRC_SCHED_SWITCH_INFNEXT, vec![2, 0, 0])]);
}

#[test]
fn only_what_is_wanted_is_noted() {
    let mut board = board(1);
    let mask = trace::TRC_HVM_VMMCALL & trace::TRC_ALL;
    assert!(control(&mut board, sysctl::XEN_SYSCTL_TBUFOP_SET_EVT_MASK, mask, 0).is_ok());
    let list = enable(&mut board);
    let buffer = buffer(&board, list, 0);
    board.be(2);
    board.be(1);
    board.hypercall(0, &[XEN_MARK | 17, 0, 0]);
    assert_eq!(events(&read(&board, buffer)), [trace::TRC_HVM_VMMCALL]);
    assert!(control(&mut board, sysctl::XEN_SYSCTL_TBUFOP_DISABLE, 0, 0).is_ok());
    read(&board, buffer);
    board.hypercall(0, &[XEN_MARK | 17, 0, 0]);
    assert_eq!(read(&board, buffer), [], "nothing is noted any more");
}

#[test]
fn a_full_buffer_loses_the_new_and_says_how_much() {
    let mut board = board(1);
    let list = enable(&mut board);
    let buffer = buffer(&board, list, 0);
    // Round and round, read in steps that do not divide it.
    for _ in 0..40 {
        for _ in 0..1000 {
            call(&mut board);
        }
        let seen = read(&board, buffer);
        let calls = seen.iter().filter(|(event, _)| *event == trace::TRC_HVM_VMMCALL).count();
        assert_eq!(calls, 1000);
        assert!(seen.len() <= 1001, "the end of the buffer, at most");
    }
    for _ in 0..4000 {
        call(&mut board);
    }
    let kept = events(&read(&board, buffer));
    let kept = kept.iter().filter(|event| **event == trace::TRC_HVM_VMMCALL).count();
    assert!((2700..2730).contains(&kept), "{kept}");
    call(&mut board);
    let after = read(&board, buffer);
    let lost = after.iter().find(|(event, _)| *event == trace::TRC_LOST_RECORDS);
    assert_eq!(lost.expect("it says so").1[0] as usize, 4000 - kept);
    assert_eq!(after.last().expect("and goes on").0, trace::TRC_HVM_VMMCALL);
}

#[test]
fn a_reader_spoils_what_it_reads_and_nothing_else() {
    let mut board = board(1);
    let list = enable(&mut board);
    let buffer = buffer(&board, list, 0);
    for place in [1, 7, SPACE - 1, SPACE, 2 * SPACE - 1, 2 * SPACE, u32::MAX, u32::MAX - 3] {
        board.hv.machine.write(buffer, &place.to_le_bytes());
        board.hv.machine.write(buffer.offset(4), &u32::MAX.to_le_bytes());
        for _ in 0..6000 {
            call(&mut board);
        }
        board.hypercall(0, &[XEN_MARK | 17, 0, 0]); // the board's walker looks at everything
        let mut after = [0; 8];
        board.hv.machine.read(buffer.offset(1 << 16), &mut after);
        assert_eq!(after, [0; 8], "what lies behind the buffer is untouched");
    }
}

#[test]
fn a_controller_maps_the_buffers_and_nothing_else_of_the_hypervisors() {
    let mut board = board(2);
    let invalid = -errno::EINVAL;
    assert_eq!(map(&mut board, 1, 0), invalid, "there are none yet");
    let list = enable(&mut board);
    for place in 0..3 * 16 {
        assert_eq!(map(&mut board, list + place, place), 0);
    }
    assert_eq!(map(&mut board, list - 1, 100), invalid);
    assert_eq!(map(&mut board, list + 3 * 16, 100), invalid);
    assert_eq!(map(&mut board, u64::MAX, 100), invalid);
    let real = board.hv.machine.guest_translate(1, GuestAddr::new(WINDOW)).expect("mapped");
    assert_eq!(real.value(), list << 12);
    // The mapping goes with the domain, the buffers stay.
    let ordinary = Board::new(64, 1, &[Guest::new("ordinary", Personality::Xen)]);
    let mut ordinary = ordinary;
    ordinary.dispatch(0);
    assert_eq!(
        map(&mut ordinary, 1, 0),
        -errno::EPERM,
        "who does not control maps nothing of the hypervisor's"
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut board = board(1);
    let set_size = sysctl::XEN_SYSCTL_TBUFOP_SET_SIZE;
    assert_eq!(control(&mut board, set_size, 0, 16), Ok(0));
    assert_eq!(control(&mut board, set_size, 0, 17), Err(-i64::from(errno::EINVAL)));
    assert_eq!(control(&mut board, 1, 0, 0), Err(-i64::from(errno::ENOSYS)), "processors");
    let list = enable(&mut board);
    assert_eq!(enable(&mut board), list, "the buffers are made once");
}
