//! The bus addresses of a PAPR domain: which entries its table takes, and that its port of the
//! logical LAN touches what they name and nothing else.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::Rights;
use hv_abi::common::{LAN_UNIT, code};
use hv_abi::papr::{LAN_WINDOW, MOST_TCES, rtas, source};
use hv_core::{Frame, Storage};
use hv_fake::{Board, Guest};
use k42_lib::{GuestAddr, vector};
use proptest::prelude::*;

const PUT: u64 = 0x20;
const STUFF: u64 = 0x138;
const INDIRECT: u64 = 0x13c;
const REGISTER: u64 = 0x114;
const FREE: u64 = 0x118;
const POST: u64 = 0x11c;
const SEND: u64 = 0x120;
const SIGNAL: u64 = 0x104;
const EOI: u64 = 0x64;
const CPPR: u64 = 0x68;
const XIRR: u64 = 0x74;
const RTAS: u64 = 0xf000;

const PAGE: u64 = 0x1000;
const READ: u64 = 1;
const WRITE: u64 = 2;
const BOTH: u64 = READ | WRITE;
/// The end of a guest's memory, and of its window.
const END: u64 = 4 << 20;
/// Where a guest has what, in its memory; on its bus each is so much higher.
const SHIFT: u64 = 64 << 20;
const LIST: u64 = 0x1_0000;
const QUEUE: u64 = 0x1_1000;
const BUFFERS: u64 = 0x2_0000;
const OUTGOING: u64 = 0x3_0000;
const TCES: u64 = 0x4_0000;
const ENTRIES: u64 = 8;

fn board() -> Board {
    let guests = ["one", "two"].map(|name| Guest::new(name, Personality::Papr));
    let mut board = Board::new(64, 1, &guests);
    board.dispatch(0);
    board
}

fn call(board: &mut Board, n: u16, registers: &[u64]) -> i64 {
    board.be(n);
    board.hypercall(0, registers)
}

fn put(board: &mut Board, n: u16, at: u64, tce: u64) -> i64 {
    call(board, n, &[PUT, LAN_UNIT, at, tce])
}

fn indirect(board: &mut Board, at: u64, tces: &[u64]) -> i64 {
    let bytes: Vec<u8> = tces.iter().flat_map(|tce| tce.to_be_bytes()).collect();
    board.poke(1, TCES, &bytes);
    call(board, 1, &[INDIRECT, LAN_UNIT, at, TCES, tces.len() as u64])
}

fn descriptor(at: u64, length: u64) -> u64 {
    1 << 63 | length << 32 | at
}

/// Opens a domain's port; its list and queue are where [`SHIFT`] has them.
fn open(board: &mut Board, n: u16) {
    for at in [LIST, QUEUE] {
        assert_eq!(put(board, n, SHIFT + at, at | BOTH), code::SUCCESS);
    }
    let queue = descriptor(SHIFT + QUEUE, ENTRIES * 16);
    let mac = 0x524b_3432_0000 | u64::from(n);
    let register = [REGISTER, LAN_UNIT, SHIFT + LIST, queue, 0, mac];
    assert_eq!(call(board, n, &register), code::SUCCESS);
}

fn post(board: &mut Board, n: u16, at: u64, length: u64) -> i64 {
    call(board, n, &[POST, LAN_UNIT, descriptor(at, length)])
}

/// Puts a frame of this length into domain 1's memory, for all.
fn write_frame(board: &mut Board, at: u64, length: u64) -> Vec<u8> {
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x4b, 0x34, 0x32, 0, 1];
    frame.extend((12..length).map(|n| n as u8));
    board.poke(1, at, &frame);
    frame
}

fn send(board: &mut Board, at: u64, length: u64) -> i64 {
    call(board, 1, &[SEND, LAN_UNIT, descriptor(at, length), 0, 0, 0, 0, 0, 0])
}

/// Bytes of a domain's memory, all in one piece of it.
fn bytes(board: &Board, n: u16, range: std::ops::Range<u64>) -> Vec<u8> {
    let real =
        board.hv.machine.guest_translate(n, GuestAddr::new(range.start)).expect("its memory");
    let mut bytes = vec![0; (range.end - range.start) as usize];
    board.hv.machine.read(real, &mut bytes);
    bytes
}

#[test]
fn entries_are_of_the_window_and_of_the_domains_memory() {
    let mut board = board();
    let last = LAN_WINDOW - PAGE;
    for (bus, at, tce) in [
        (LAN_UNIT + 1, 0, BOTH),
        (0, 0, BOTH),
        (LAN_UNIT, PAGE + 8, BOTH),
        (LAN_UNIT, LAN_WINDOW, BOTH),
        (LAN_UNIT, LAN_WINDOW, 0),
        (LAN_UNIT, !0xfff, 0),
        (LAN_UNIT, 0, END | READ),
        (LAN_UNIT, 0, END | WRITE),
        (LAN_UNIT, 0, 1 << 63 | READ),
        (LAN_UNIT, 0, PAGE | 4 | READ),
        (LAN_UNIT, 0, PAGE | 0x800 | WRITE),
    ] {
        let answer = call(&mut board, 1, &[PUT, bus, at, tce]);
        assert_eq!(answer, code::PARAMETER, "{bus:#x} {at:#x} {tce:#x}");
        let answer = call(&mut board, 1, &[STUFF, bus, at, tce, 1]);
        assert_eq!(answer, code::PARAMETER, "{bus:#x} {at:#x} {tce:#x}");
    }
    assert!(board.said(0).contains("domain 1 (one): refused: h_put_tce: "), "{}", board.said(0));
    for (at, tce) in [(0, READ), (last, (END - PAGE) | BOTH), (last, END), (0, u64::MAX & !BOTH)] {
        assert_eq!(put(&mut board, 1, at, tce), code::SUCCESS, "{at:#x} {tce:#x}");
    }
    for (at, count, answer) in [
        (last, 2, code::PARAMETER),
        (LAN_WINDOW - MOST_TCES * PAGE, MOST_TCES, code::SUCCESS),
        (0, MOST_TCES + 1, code::PARAMETER),
        (0, u64::MAX, code::PARAMETER),
        (0, 1 << 52, code::PARAMETER),
        (LAN_WINDOW, 0, code::SUCCESS),
    ] {
        for tail in [[0, count], [TCES, count]] {
            let token = if tail[0] == 0 { STUFF } else { INDIRECT };
            let answered = call(&mut board, 1, &[token, LAN_UNIT, at, tail[0], tail[1]]);
            assert_eq!(answered, answer, "{token:#x} {at:#x} {count:#x}");
        }
    }
    for list in [TCES + 8, END, 1 << 63] {
        let answer = call(&mut board, 1, &[INDIRECT, LAN_UNIT, 0, list, 1]);
        assert_eq!(answer, code::PARAMETER, "{list:#x}");
    }
}

#[test]
fn who_has_no_port_has_no_table() {
    let mut guests = [Personality::Papr, Personality::Xen].map(|p| Guest::new("one", p));
    guests[0].rights -= Rights::LAN;
    for (guest, answer) in guests.into_iter().zip([code::PRIVILEGE, code::PARAMETER]) {
        let mut board = Board::new(64, 1, &[guest]);
        board.dispatch(0);
        for token in [PUT, STUFF, INDIRECT] {
            assert_eq!(board.hypercall(0, &[token, LAN_UNIT, 0, 0, 1]), answer, "{token:#x}");
        }
    }
    // It is of the domain's own storage, and goes with it.
    let other = Guest::new("other", Personality::Xen);
    let free = |rights| {
        let guest = Guest { rights, ..Guest::new("one", Personality::Papr) };
        let mut board = Board::new(64, 1, &[guest, other.clone()]);
        board.dispatch(0);
        let with = board.hv.free_frames();
        board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
        (with, board.hv.free_frames())
    };
    let ((without, left), (with, left_too)) = (free(Rights::empty()), free(Rights::LAN));
    assert_eq!((without - with, left), (4, left_too));
}

#[test]
fn a_list_is_taken_up_to_its_first_wrong_entry() {
    let mut board = board();
    open(&mut board, 1);
    let good = [BUFFERS | BOTH, (BUFFERS + PAGE) | BOTH];
    assert_eq!(indirect(&mut board, 0, &[good[0], END | BOTH, good[1]]), code::PARAMETER);
    assert_eq!(post(&mut board, 1, 0, 64), code::SUCCESS, "what came before is set");
    assert_eq!(post(&mut board, 1, 2 * PAGE, 64), code::PARAMETER, "what came after is not");
    assert_eq!(indirect(&mut board, 0, &good), code::SUCCESS);
    assert_eq!(post(&mut board, 1, 0, 2 * PAGE), code::SUCCESS);
    assert_eq!(call(&mut board, 1, &[STUFF, LAN_UNIT, 0, 0, 2]), code::SUCCESS);
    for at in [0, PAGE] {
        assert_eq!(post(&mut board, 1, at, 64), code::PARAMETER, "{at:#x}");
    }
    assert_eq!(call(&mut board, 1, &[STUFF, LAN_UNIT, PAGE, good[0], 3]), code::SUCCESS);
    for (at, answer) in [(0, code::PARAMETER), (PAGE, 0), (3 * PAGE, 0), (4 * PAGE, -4)] {
        assert_eq!(post(&mut board, 1, at, 64), answer, "{at:#x}");
    }
}

/// A frame goes from pages to pages that lie elsewhere in memory, in another order.
#[test]
fn a_frame_crosses_pages() {
    let mut board = board();
    open(&mut board, 1);
    open(&mut board, 2);
    let length = 2 * PAGE + 200;
    let sent = write_frame(&mut board, OUTGOING, length);
    // The guest's pages 0, 1, 2 are the bus's 2, 0, 1 for the sender, and 1, 2, 0 for the receiver.
    let swap = |board: &mut Board, to: u64, from: u64| {
        let page: Vec<u8> = bytes(board, 1, from..from + PAGE);
        board.poke(1, to, &page);
    };
    for (to, from) in [(0x5_1000, 0), (0x5_2000, PAGE), (0x5_0000, 2 * PAGE)] {
        swap(&mut board, to, OUTGOING + from);
    }
    for (n, page) in [0x5_1000, 0x5_2000, 0x5_0000].into_iter().enumerate() {
        assert_eq!(put(&mut board, 1, n as u64 * PAGE, page | READ), code::SUCCESS);
    }
    let pages = [0x2_2000, 0x2_0000, 0x2_1000];
    for (n, page) in pages.into_iter().enumerate() {
        assert_eq!(put(&mut board, 2, n as u64 * PAGE, page | BOTH), code::SUCCESS);
    }
    assert_eq!(post(&mut board, 2, 0, 3 * PAGE), code::SUCCESS);
    assert_eq!(send(&mut board, 0, length), code::SUCCESS);
    let entry = board.peek(2, QUEUE).swap_bytes();
    assert_eq!(entry, 3 << 62 | 8 << 32 | length);
    let got: Vec<u8> = pages.into_iter().flat_map(|at| bytes(&board, 2, at..at + PAGE)).collect();
    assert!(got[8..8 + sent.len()] == sent);
}

#[test]
fn the_port_reads_and_writes_where_it_may() {
    let mut board = board();
    open(&mut board, 2);
    // A list or a queue that it may not write to is none.
    let register =
        |list, queue| [REGISTER, LAN_UNIT, list, descriptor(queue, 128), 0, 0x524b_3432_0001];
    for (list, queue) in [(READ, BOTH), (BOTH, READ), (0, BOTH), (BOTH, 0)] {
        assert_eq!(put(&mut board, 1, 0, LIST | list), code::SUCCESS);
        assert_eq!(put(&mut board, 1, PAGE, QUEUE | queue), code::SUCCESS);
        assert_eq!(call(&mut board, 1, &register(0, PAGE)), code::PARAMETER);
    }
    open(&mut board, 1);
    write_frame(&mut board, OUTGOING, 100);
    for (access, answer) in [(0, code::PARAMETER), (WRITE, code::PARAMETER), (READ, 0), (BOTH, 0)] {
        assert_eq!(put(&mut board, 1, 0, OUTGOING | access), code::SUCCESS);
        assert_eq!(send(&mut board, 0, 100), answer, "sends from {access}");
    }
    for (access, answer) in [(0, -4), (WRITE, -4), (READ, -4), (BOTH, 0)] {
        assert_eq!(put(&mut board, 2, 0, BUFFERS | access), code::SUCCESS);
        assert_eq!(post(&mut board, 2, 0, 256), answer, "posts {access}");
    }
    // What a bus address means is asked when it is used: the buffer is there no more.
    let before = bytes(&board, 2, BUFFERS..BUFFERS + 256);
    assert_eq!(put(&mut board, 2, 0, BUFFERS | READ), code::SUCCESS);
    let dropped = board.peek(2, LIST + 4088).swap_bytes();
    assert_eq!(send(&mut board, 0, 100), code::SUCCESS);
    assert_eq!(board.peek(2, LIST + 4088).swap_bytes(), dropped + 1);
    assert_eq!(bytes(&board, 2, BUFFERS..BUFFERS + 256), before);
    // Nor is a port that has been closed: its queue is the guest's again.
    assert_eq!(call(&mut board, 2, &[FREE, LAN_UNIT]), code::SUCCESS);
    assert_eq!(put(&mut board, 2, 0, BUFFERS | BOTH), code::SUCCESS);
    assert_eq!(send(&mut board, 0, 100), code::SUCCESS);
    assert_eq!(board.peek(2, QUEUE), 0);
}

#[test]
fn a_frame_interrupts_where_it_is_wanted() {
    let mut board = board();
    (1..=2).for_each(|n| open(&mut board, n));
    assert_eq!(put(&mut board, 1, 0, OUTGOING | READ), code::SUCCESS);
    assert_eq!(call(&mut board, 2, &[STUFF, LAN_UNIT, 0, BUFFERS | BOTH, 1]), code::SUCCESS);
    (0..3).for_each(|n| assert_eq!(post(&mut board, 2, n * 256, 256), code::SUCCESS));
    write_frame(&mut board, OUTGOING, 100);
    // Domain 2 has its source at priority 5, and lets all through.
    let words = [rtas::SET_XIVE, 3, 1, source::LAN, 0, 5, 9];
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    board.poke(2, TCES, &words);
    assert_eq!(call(&mut board, 2, &[RTAS, TCES]), code::SUCCESS);
    assert_eq!(call(&mut board, 2, &[CPPR, 0xff]), code::SUCCESS);
    let accepted = |board: &mut Board| {
        board.be(2);
        let mut frame = Frame::default();
        frame.gpr[3] = XIRR;
        board.exit(0, vector::SYSTEM_CALL, &mut frame);
        let source = frame.gpr[4] & 0xff_ffff;
        assert_eq!(board.hypercall(0, &[EOI, 0xff00_0000 | source]), code::SUCCESS);
        source as u32
    };
    for (signal, number) in [(0, 0), (1, source::LAN), (0, 0)] {
        assert_eq!(call(&mut board, 2, &[SIGNAL, LAN_UNIT, signal]), code::SUCCESS);
        assert_eq!(send(&mut board, 0, 100), code::SUCCESS);
        assert_eq!(accepted(&mut board), number, "signal {signal}");
        assert_eq!(accepted(&mut board), 0, "once for each frame");
    }
}

/// Something that a guest may do to its own table or its port.
#[derive(Clone, Debug)]
enum Step {
    Put { n: u16, slot: u64, page: u64, access: u64 },
    Stuff { n: u16, slot: u64, page: u64, access: u64, count: u64 },
    Post { n: u16, slot: u64, offset: u64, length: u64 },
    Send { slot: u64, offset: u64, length: u64 },
}

/// Pages that a guest's bus addresses may be: those from [`FIRST`] on.
const PAGES: u64 = 6;
const FIRST: u64 = 0x8_0000;

fn step() -> impl Strategy<Value = Step> {
    let (n, slot, page) = (1u16..=2, 0..PAGES, 0..PAGES);
    let length = prop_oneof![14u64..400, PAGE - 20..PAGE + 300, 2 * PAGE..2 * PAGE + 9];
    let offset = prop_oneof![Just(0u64), (0u64..PAGE / 8).prop_map(|n| n * 8)];
    let put = (n.clone(), slot.clone(), page.clone(), 0u64..4);
    prop_oneof![
        3 => put.prop_map(|(n, slot, page, access)| Step::Put { n, slot, page, access: access | 1 }),
        1 => (n.clone(), slot.clone(), page, 0u64..4, 0..PAGES)
            .prop_map(|(n, slot, page, access, count)| Step::Stuff { n, slot, page, access, count }),
        3 => (n, slot.clone(), offset.clone(), length.clone())
            .prop_map(|(n, slot, offset, length)| Step::Post { n, slot, offset, length }),
        4 => (slot, offset, length)
            .prop_map(|(slot, offset, length)| Step::Send { slot, offset, length }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever two guests make of their tables, buffers and frames: no page changes that its owner's
    /// table does not let the port write to, and what arrives was read where the sender's lets it.
    #[test]
    fn a_port_touches_only_what_is_mapped(steps in prop::collection::vec(step(), 1..60)) {
        let mut board = board();
        let mut tables = [[0u64; 16]; 3];
        for n in 1..=2 {
            open(&mut board, n);
            // What may be read says whose and which page it is; a frame's header begins each.
            for page in 0..PAGES {
                let mark = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x4b, 0x34, 0x32, 0, 1];
                let own = (n as u8) << 4 | page as u8 + 1;
                board.poke(n, FIRST + page * PAGE, &[own; PAGE as usize]);
                board.poke(n, FIRST + page * PAGE, &mark);
            }
        }
        let picture = |board: &Board, n: u16| -> Vec<Vec<u8>> {
            (0..PAGES).map(|page| bytes(board, n, FIRST + page * PAGE..FIRST + (page + 1) * PAGE)).collect()
        };
        // Pages that a byte of may have come to another by: what was ever readable.
        let mut readable = [false; PAGES as usize];
        for step in steps {
            let before = [picture(&board, 1), picture(&board, 2)];
            match step {
                Step::Put { n, slot, page, access } => {
                    let entry = (FIRST + page * PAGE) | access;
                    prop_assert_eq!(put(&mut board, n, slot * PAGE, entry), 0);
                    tables[usize::from(n)][slot as usize] = entry;
                }
                Step::Stuff { n, slot, page, access, count } => {
                    let entry = (FIRST + page * PAGE) | access;
                    let answer = call(&mut board, n, &[STUFF, LAN_UNIT, slot * PAGE, entry, count]);
                    prop_assert_eq!(answer, 0);
                    tables[usize::from(n)][slot as usize..(slot + count) as usize].fill(entry);
                }
                Step::Post { n, slot, offset, length } => {
                    post(&mut board, n, slot * PAGE + offset, length);
                }
                Step::Send { slot, offset, length } => {
                    send(&mut board, slot * PAGE + offset, length);
                }
            }
            for n in 1..=2u16 {
                let table = tables[usize::from(n)];
                let may = |page: u64, access| table.iter().any(|entry| {
                    entry & access == access && entry >> 12 == (FIRST + page * PAGE) >> 12
                });
                if n == 1 {
                    (0..PAGES).for_each(|page| readable[page as usize] |= may(page, READ));
                }
                let after = picture(&board, n);
                for page in 0..PAGES {
                    let at = page as usize;
                    let changed = after[at] != before[usize::from(n) - 1][at];
                    prop_assert!(!changed || may(page, WRITE), "page {page} of {n} was written");
                }
            }
            // Bytes of domain 1's that it never let the port read are nowhere in domain 2.
            for page in (0..PAGES).filter(|page| !readable[*page as usize]) {
                let foreign = 0x10 | page as u8 + 1;
                let seen = picture(&board, 2).concat().windows(8).any(|w| w == [foreign; 8]);
                prop_assert!(!seen, "page {page} of 1 was read");
            }
        }
    }
}
