//! The logical LAN: who gets which frame, what guests may name, what their mistakes cost others.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::common::{LAN_UNIT, code, multicast};
use hv_abi::{Rights, XEN_MARK};
use hv_core::{Frame, Hypervisor, Processor};
use hv_fake::{Board, Fake, Guest};
use k42_lib::vector;
use proptest::prelude::*;
use xen_sys::event_channel as op;
use xen_sys::{memory, xen};

const SIGNAL: u64 = 0x104;
const REGISTER: u64 = 0x114;
const FREE: u64 = 0x118;
const POST: u64 = 0x11c;
const SEND: u64 = 0x120;
const MULTICAST: u64 = 0x130;
const CHANGE_MAC: u64 = 0x14c;
/// H_MULTICAST_CTRL's flags to receive multicast frames.
const RECEIVE: u64 = 0xa_0000;
const CALLS: [u64; 7] = [SIGNAL, REGISTER, FREE, POST, SEND, MULTICAST, CHANGE_MAC];

/// Where a guest has what, in its 4 MiB.
const ARGUMENT: u64 = 0x2000;
const LIST: u64 = 0x1_0000;
const QUEUE: u64 = 0x1_1000;
const BUFFERS: u64 = 0x2_0000;
const OUTGOING: u64 = 0x10_0000;
/// What the upper half of a chain's link is.
const LINK: u64 = 0x4b34_324c << 32;
const END: u64 = 4 << 20;
const SHARED: u64 = 16 << 20;
/// Entries of a queue.
const ENTRIES: u64 = 8;
const BROADCAST: u64 = 0xffff_ffff_ffff;
const GROUP: u64 = 0x0100_5e00_0001;

fn descriptor(at: u64, length: u64) -> u64 {
    1 << 63 | length << 32 | at
}

/// The address that domain `n`'s port is given.
fn mac(n: u16) -> u64 {
    0x524b_3432_0000 | u64::from(n)
}

fn frame(to: u64, from: u64, text: &[u8]) -> Vec<u8> {
    let mut frame = [&to.to_be_bytes()[2..], &from.to_be_bytes()[2..], &[0x88, 0xb5]].concat();
    frame.extend(text);
    frame
}

/// What a guest knows of its own queue.
#[derive(Clone)]
struct Place {
    next: u64,
    toggle: u64,
}

/// Domains with ports: domain n's vCPU is n - 1.
struct Lan {
    board: Board,
    places: Vec<Place>,
}

impl Lan {
    /// Ports that are open, without buffers.
    fn new(count: u16) -> Lan {
        Lan::on(&vec![0; count.into()])
    }

    /// The same, each on the LAN of that number.
    fn on(lans: &[u16]) -> Lan {
        let mut lan = Lan::with(lans);
        for n in 1..=lans.len() as u16 {
            assert_eq!(lan.open(n), code::SUCCESS);
        }
        lan
    }

    fn closed(count: u16) -> Lan {
        Lan::with(&vec![0; count.into()])
    }

    fn with(lans: &[u16]) -> Lan {
        const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let guests = NAMES.into_iter().zip(lans);
        let guests =
            guests.map(|(name, lan)| Guest { lan: *lan, ..Guest::new(name, Personality::Xen) });
        let guests: Vec<Guest> = guests.collect();
        let mut board = Board::new(128, 1, &guests);
        board.dispatch(0);
        Lan { board, places: vec![Place { next: 0, toggle: 1 }; lans.len() + 1] }
    }

    fn open(&mut self, n: u16) -> i64 {
        self.places[usize::from(n)] = Place { next: 0, toggle: 1 };
        self.board.poke(n, QUEUE, &[0; (ENTRIES * 16) as usize]);
        let queue = descriptor(QUEUE, ENTRIES * 16);
        self.call(n, REGISTER, &[LIST, queue, LIST + 0x2000, mac(n)])
    }

    /// Gives the processor to a domain.
    fn be(&mut self, n: u16) {
        while self.board.processors[0].vcpu().map(|v| v.index()) != Some(usize::from(n) - 1) {
            self.board.hv.machine.state().now += 1;
            self.board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        }
    }

    /// A call of domain `n`'s, with what follows the unit address.
    fn call(&mut self, n: u16, token: u64, arguments: &[u64]) -> i64 {
        self.be(n);
        self.board.hypercall(0, &[&[token, LAN_UNIT], arguments].concat())
    }

    /// Posts a buffer of this many bytes, with its address for a correlator.
    fn post(&mut self, n: u16, at: u64, length: u64) -> i64 {
        self.board.poke(n, at, &at.to_le_bytes());
        self.call(n, POST, &[descriptor(at, length)])
    }

    /// Posts `count` buffers of 2 KiB.
    fn supply(&mut self, n: u16, count: u64) {
        for buffer in 0..count {
            assert_eq!(self.post(n, BUFFERS + buffer * 0x800, 0x800), code::SUCCESS);
        }
    }

    /// Sends bytes as one part.
    fn send(&mut self, n: u16, frame: &[u8]) -> i64 {
        self.board.poke(n, OUTGOING, frame);
        self.call(n, SEND, &[descriptor(OUTGOING, frame.len() as u64)])
    }

    /// What has arrived at a port, and the correlators of its buffers.
    fn arrived(&mut self, n: u16) -> Vec<(Vec<u8>, u64)> {
        let mut frames = Vec::new();
        loop {
            let Place { next, toggle } = self.places[usize::from(n)].clone();
            let entry = QUEUE + next * 16;
            let word = self.board.peek(n, entry).swap_bytes();
            if word >> 63 != toggle {
                return frames;
            }
            assert_eq!(word >> 32 & 0x7fff_ffff, 0x4000_0008, "valid, the frame at offset 8");
            let correlator = self.board.peek(n, entry + 8);
            frames.push((self.bytes(n, correlator + 8, word & 0xffff_ffff), correlator));
            let place = &mut self.places[usize::from(n)];
            place.next = (next + 1) % ENTRIES;
            place.toggle ^= u64::from(place.next == 0);
        }
    }

    fn bytes(&self, n: u16, at: u64, length: u64) -> Vec<u8> {
        (at..at + length).map(|at| self.board.peek(n, at).to_le_bytes()[0]).collect()
    }

    /// How many frames have arrived at each port.
    fn counts(&mut self) -> Vec<usize> {
        (1..self.places.len() as u16).map(|n| self.arrived(n).len()).collect()
    }

    fn dropped(&self, n: u16) -> u64 {
        self.board.peek(n, LIST + 4088).swap_bytes()
    }
}

#[test]
fn a_domain_without_the_right_has_no_port() {
    let guests = [true, false].map(|lan| {
        let all = Guest::new("one", Personality::Xen);
        Guest { rights: if lan { Rights::LAN } else { Rights::all() - Rights::LAN }, ..all }
    });
    for (guest, answer) in guests.iter().zip([code::PARAMETER, code::PRIVILEGE]) {
        let guest =
            Guest { rights: guest.rights & (Rights::LAN | Rights::EVENTS), ..guest.clone() };
        let mut board = Board::new(64, 1, &[guest]);
        board.dispatch(0);
        for call in CALLS {
            assert_eq!(board.hypercall(0, &[call, LAN_UNIT + 1]), answer, "{call:#x}");
        }
        assert!(board.said(0).contains("domain 1 (one): refused: h_vio_signal"));
    }
}

#[test]
fn a_port_is_opened_once_with_memory_of_the_domain() {
    let mut lan = Lan::closed(2);
    let queue = descriptor(QUEUE, 128);
    for (list, queue, address) in [
        (LIST + 8, queue, mac(1)),
        (END, queue, mac(1)),
        (!0xfff, queue, mac(1)),
        (LIST, QUEUE, mac(1)),
        (LIST, descriptor(QUEUE, 0), mac(1)),
        (LIST, descriptor(QUEUE + 8, 128), mac(1)),
        (LIST, descriptor(QUEUE, 120), mac(1)),
        (LIST, descriptor(END - 64, 128), mac(1)),
        (LIST, queue | 1 << 62, mac(1)),
        (LIST, queue, mac(2)),
        (LIST, queue, GROUP),
        (LIST, queue, 1 << 48 | mac(1)),
    ] {
        let answer = lan.call(1, REGISTER, &[list, queue, 0, address]);
        assert_eq!(answer, code::PARAMETER, "{list:#x} {queue:#x} {address:#x}");
    }
    assert_eq!(lan.call(1, POST, &[descriptor(BUFFERS, 64)]), code::RESOURCE);
    assert_eq!(lan.call(1, FREE, &[]), code::RESOURCE);
    assert_eq!(lan.call(1, MULTICAST, &[RECEIVE]), code::RESOURCE);
    assert_eq!(lan.send(1, &frame(BROADCAST, mac(1), b"")), code::DROPPED);
    assert_eq!(lan.call(1, SIGNAL, &[0]), code::SUCCESS, "as Linux does before it opens");
    assert_eq!(lan.open(1), code::SUCCESS);
    assert_eq!(lan.open(1), code::RESOURCE);
    assert_eq!(lan.call(1, SIGNAL, &[2]), code::PARAMETER);
    assert_eq!(lan.call(1, FREE, &[]), code::SUCCESS);
    assert_eq!(lan.open(1), code::SUCCESS);
}

#[test]
fn a_frame_arrives_in_the_smallest_buffer_that_holds_it() {
    let mut lan = Lan::new(2);
    for (at, length) in [(BUFFERS, 0x2400), (BUFFERS + 0x4000, 64), (BUFFERS + 0x5000, 0x800)] {
        assert_eq!(lan.post(2, at, length), code::SUCCESS);
    }
    // 56 bytes fill the buffer of 64, one more does not fit.
    for (length, buffer) in [(56, 0x4000), (57, 0x5000), (9_216, 0)] {
        let sent = frame(mac(2), mac(1), &vec![length as u8; length - 14]);
        if length == 9_216 {
            assert_eq!(lan.post(2, BUFFERS + 0x8000, 9_224), code::SUCCESS);
        }
        assert_eq!(lan.send(1, &sent), code::SUCCESS);
        let buffer = if length == 9_216 { 0x8000 } else { buffer };
        assert!(lan.arrived(2) == [(sent, BUFFERS + buffer)], "{length}");
    }
    assert_eq!(lan.dropped(2), 0);
    assert!(lan.arrived(1).is_empty(), "nobody hears himself");
}

#[test]
fn a_frame_is_gathered_from_six_parts_across_pieces_of_memory() {
    let mut lan = Lan::new(2);
    lan.supply(2, 1);
    let sent = frame(mac(2), mac(1), &(0..=255).collect::<Vec<u8>>());
    let mut parts = Vec::new();
    let mut rest = &sent[..];
    for (n, length) in [20, 1, 0, 100, 7].into_iter().enumerate() {
        let (part, more) = rest.split_at(length);
        // Some lie across the border of two pieces of 2 MiB, in the middle of a byte's word.
        let at = [(2 << 20) - 7, OUTGOING + 3, OUTGOING, (2 << 20) + 0x101, END - 7][n];
        part.iter().zip(at..).for_each(|(byte, at)| lan.board.poke(1, at, &[*byte]));
        parts.push(descriptor(at, length as u64));
        rest = more;
    }
    lan.board.poke(1, OUTGOING + 0x1001, rest);
    parts.push(descriptor(OUTGOING + 0x1001, rest.len() as u64));
    assert_eq!(lan.call(1, SEND, &parts), code::SUCCESS);
    assert!(lan.arrived(2) == [(sent, BUFFERS)]);
}

#[test]
fn a_frame_that_is_none_is_refused_and_reaches_nobody() {
    let mut lan = Lan::new(2);
    lan.supply(2, 4);
    lan.board.poke(1, OUTGOING, &frame(BROADCAST, mac(1), b""));
    let whole = descriptor(OUTGOING, 14);
    for parts in [
        vec![0],
        vec![descriptor(OUTGOING, 13)],
        vec![descriptor(OUTGOING, 13), descriptor(OUTGOING + 13, 20)],
        vec![descriptor(OUTGOING, 9_217)],
        vec![whole, descriptor(OUTGOING, 9_203)],
        vec![whole, descriptor(END - 10, 11)],
        vec![whole, descriptor(END, 1)],
        vec![descriptor(0xffff_fff8, 14)],
        vec![whole | 1 << 58],
        vec![whole, whole, whole, whole, whole, descriptor(OUTGOING, 0xff_ffff)],
    ] {
        assert_eq!(lan.call(1, SEND, &parts), code::PARAMETER, "{parts:x?}");
    }
    assert!(lan.board.said(0).contains("domain 1 (a): refused: h_send_logical_lan: an argument"));
    assert_eq!((lan.counts(), lan.dropped(2)), (vec![0, 0], 0));
}

#[test]
fn a_frame_to_a_station_reaches_nobody_else() {
    let mut lan = Lan::new(4);
    (1..=4).for_each(|n| lan.supply(n, 8));
    assert_eq!(lan.send(1, &frame(mac(2), mac(1), b"where")), code::SUCCESS);
    assert_eq!(lan.counts(), [0, 1, 0, 0], "who has not sent yet");
    assert_eq!(lan.send(2, &frame(mac(1), mac(2), b"here")), code::SUCCESS);
    assert_eq!(lan.counts(), [1, 0, 0, 0]);
    assert_eq!(lan.send(1, &frame(mac(2), mac(1), b"thanks")), code::SUCCESS);
    assert_eq!(lan.counts(), [0, 1, 0, 0]);
    assert_eq!(lan.send(1, &frame(mac(1), mac(1), b"me")), code::SUCCESS);
    assert_eq!(lan.counts(), [0, 0, 0, 0], "its own");
    // With its port closed, or at another address, it is not reached, and nobody in its place.
    assert_eq!(lan.call(2, FREE, &[]), code::SUCCESS);
    assert_eq!(lan.send(1, &frame(mac(2), mac(1), b"gone")), code::SUCCESS);
    assert_eq!(lan.counts(), [0, 0, 0, 0]);
    assert_eq!(lan.call(1, CHANGE_MAC, &[0x0200_0000_0001]), code::SUCCESS);
    for (address, reached) in [(mac(1), 0), (0x0200_0000_0001, 1), (0x0200_0000_0002, 0)] {
        assert_eq!(lan.send(3, &frame(address, mac(3), b"moved")), code::SUCCESS);
        assert_eq!(lan.counts(), [reached, 0, 0, 0], "{address:#x}");
    }
}

#[test]
fn no_frame_goes_from_one_lan_to_another() {
    let mut lan = Lan::on(&[0, 5, 0, 5, 62]);
    (1..=5).for_each(|n| lan.supply(n, 8));
    for (to, heard) in [(BROADCAST, 1), (GROUP, 1), (mac(3), 1), (mac(2), 0), (mac(9), 0)] {
        assert_eq!(lan.send(1, &frame(to, mac(1), b"here")), code::SUCCESS);
        assert_eq!(lan.counts(), [0, 0, heard, 0, 0], "{to:#x}");
    }
    assert_eq!(lan.send(2, &frame(mac(4), mac(2), b"where")), code::SUCCESS);
    assert_eq!(lan.send(4, &frame(mac(2), mac(4), b"here")), code::SUCCESS);
    assert_eq!(lan.counts(), [0, 1, 0, 1, 0]);
    assert_eq!(lan.send(1, &frame(mac(2), mac(1), b"you")), code::SUCCESS);
    assert_eq!(lan.send(5, &frame(mac(2), mac(5), b"you")), code::SUCCESS);
    assert_eq!(lan.counts(), [0, 0, 0, 0, 0]);
    // A port that is closed and opened again is where it was.
    assert_eq!(lan.call(2, FREE, &[]), code::SUCCESS);
    assert_eq!(lan.open(2), code::SUCCESS);
    lan.supply(2, 8);
    assert_eq!(lan.send(4, &frame(BROADCAST, mac(4), b"")), code::SUCCESS);
    assert_eq!(lan.counts(), [0, 1, 0, 0, 0]);
}

#[test]
fn groups_reach_all_as_broadcasts_do() {
    let mut lan = Lan::new(3);
    (1..=3).for_each(|n| lan.supply(n, 8));
    for group in [GROUP, BROADCAST] {
        assert_eq!(lan.send(1, &frame(group, mac(1), b"")), code::SUCCESS);
        assert_eq!(lan.counts(), [0, 1, 1], "{group:#x}");
    }
    assert_eq!(lan.call(3, MULTICAST, &[RECEIVE]), code::SUCCESS);
    assert_eq!(lan.call(3, MULTICAST, &[multicast::ADD, GROUP]), code::RESOURCE, "no table");
    assert_eq!(lan.send(1, &frame(GROUP, mac(1), b"")), code::SUCCESS);
    assert_eq!(lan.counts(), [0, 1, 1]);
}

#[test]
fn a_port_sends_from_its_own_address_alone() {
    let mut lan = Lan::new(3);
    (1..=3).for_each(|n| lan.supply(n, 8));
    for source in [mac(2), mac(9), 0x0200_0000_0001, BROADCAST, 0] {
        assert_eq!(lan.send(1, &frame(BROADCAST, source, b"")), code::DROPPED, "{source:#x}");
    }
    assert_eq!(lan.counts(), [0, 0, 0]);
    assert!(lan.board.said(0).contains("h_send_logical_lan: the source is not its port's address"));
    // It may take another that is nobody's: not one that a domain was or may be given.
    for taken in [mac(2), mac(62), mac(0), mac(255), GROUP, BROADCAST, 0, 1 << 48 | 2] {
        assert_eq!(lan.call(1, CHANGE_MAC, &[taken]), code::PARAMETER, "{taken:#x}");
    }
    assert_eq!(lan.call(1, CHANGE_MAC, &[0x0200_0000_0001]), code::SUCCESS);
    assert_eq!(lan.call(2, CHANGE_MAC, &[0x0200_0000_0001]), code::PARAMETER);
    assert_eq!(lan.send(1, &frame(BROADCAST, mac(1), b"")), code::DROPPED, "it has another now");
    assert_eq!(lan.send(1, &frame(BROADCAST, 0x0200_0000_0001, b"")), code::SUCCESS);
    assert_eq!(lan.counts(), [0, 1, 1]);
    // Its own can be had back, and the other is free again.
    assert_eq!(lan.call(1, CHANGE_MAC, &[mac(1)]), code::SUCCESS);
    assert_eq!(lan.call(2, CHANGE_MAC, &[0x0200_0000_0001]), code::SUCCESS);
}

#[test]
fn a_frame_without_a_buffer_is_dropped_and_counted_and_its_sender_does_not_wait() {
    let mut lan = Lan::new(3);
    lan.supply(2, 1);
    lan.supply(3, 4);
    assert_eq!(lan.post(2, BUFFERS + 0x4000, 32), code::SUCCESS, "too small for what comes");
    for _ in 0..3 {
        assert_eq!(lan.send(1, &frame(BROADCAST, mac(1), &[7; 100])), code::SUCCESS);
    }
    assert_eq!(lan.counts(), [0, 1, 3]);
    assert_eq!((lan.dropped(2), lan.dropped(3)), (2, 0));
}

#[test]
fn what_is_no_buffer_is_not_posted() {
    let mut lan = Lan::new(2);
    for buffer in [
        BUFFERS,
        descriptor(BUFFERS, 16),
        descriptor(BUFFERS + 4, 64),
        descriptor(END - 8, 64),
        descriptor(0xffff_fff8, 64),
        descriptor(BUFFERS, 64) | 1 << 57,
    ] {
        assert_eq!(lan.call(1, POST, &[buffer]), code::PARAMETER, "{buffer:#x}");
    }
    for size in 1..=5 {
        assert_eq!(lan.post(1, BUFFERS + size * 0x1000, size * 64), code::SUCCESS);
    }
    assert_eq!(lan.post(1, BUFFERS, 6 * 64), code::RESOURCE, "a sixth size");
    // When the buffers of a size are used up there is room for another.
    assert_eq!(lan.send(2, &frame(mac(1), mac(2), b"")), code::SUCCESS);
    assert_eq!(lan.post(1, BUFFERS, 6 * 64), code::SUCCESS);
}

#[test]
fn the_queue_goes_round() {
    let mut lan = Lan::new(2);
    for round in 0..3 * ENTRIES as u8 {
        lan.supply(2, 1);
        let sent = frame(mac(2), mac(1), &[round]);
        assert_eq!(lan.send(1, &sent), code::SUCCESS);
        assert!(lan.arrived(2) == [(sent, BUFFERS)], "{round}");
    }
}

#[test]
fn an_interrupt_tells_of_frames_if_it_is_wanted() {
    let mut lan = Lan::new(2);
    lan.supply(2, 8);
    lan.be(2);
    let mut argument = [0; 24];
    argument[..2].copy_from_slice(&xen::DOMID_SELF.to_le_bytes());
    argument[16..].copy_from_slice(&(SHARED >> 12).to_le_bytes());
    lan.board.poke(2, ARGUMENT, &argument);
    let map = u64::from(memory::XENMEM_ADD_TO_PHYSMAP);
    let memory_op = XEN_MARK | xen::HYPERVISOR_MEMORY_OP;
    assert_eq!(lan.board.hypercall(0, &[memory_op, map, ARGUMENT]), 0);
    lan.board.poke(2, ARGUMENT, &[&xen::VIRQ_ARCH_0.to_le_bytes()[..], &[0; 8]].concat());
    let bind = u64::from(op::EVTCHNOP_BIND_VIRQ);
    let event_channel_op = XEN_MARK | xen::HYPERVISOR_EVENT_CHANNEL_OP;
    assert_eq!(lan.board.hypercall(0, &[event_channel_op, bind, ARGUMENT]), 0);
    let port = lan.board.peek(2, ARGUMENT + 8);
    let pending = |lan: &Lan| lan.board.peek(2, SHARED + 48) >> port & 1 == 1;
    let hello = frame(mac(2), mac(1), b"hello");
    assert_eq!(lan.send(1, &hello), code::SUCCESS);
    assert!(!pending(&lan), "off at first");
    assert_eq!(lan.call(2, SIGNAL, &[1]), code::SUCCESS);
    assert!(!pending(&lan), "it looks by itself after switching it on");
    assert_eq!(lan.send(1, &hello), code::SUCCESS);
    assert!(pending(&lan));
    lan.board.poke(2, SHARED + 48, &[0; 8]);
    assert_eq!(lan.call(2, SIGNAL, &[0]), code::SUCCESS);
    assert_eq!(lan.send(1, &hello), code::SUCCESS);
    assert!(!pending(&lan));
    assert_eq!(lan.counts(), [0, 3]);
}

#[test]
fn a_guest_that_spoils_its_chain_loses_its_own_frames() {
    let mut lan = Lan::new(3);
    lan.supply(3, 8);
    // The last buffer names a next one outside, then one that is not aligned, then itself.
    for (round, next) in [END, u64::MAX, BUFFERS + 3, BUFFERS + 7 * 0x800].into_iter().enumerate() {
        let last = BUFFERS + 7 * 0x800;
        let next = LINK | next;
        lan.supply(2, 8);
        assert_eq!(lan.post(2, last, 0x800), code::SUCCESS);
        lan.board.poke(2, last + 8, &next.to_be_bytes());
        for _ in 0..2 {
            assert_eq!(lan.send(1, &frame(BROADCAST, mac(1), b"x")), code::SUCCESS);
        }
        assert_eq!(lan.arrived(3).len(), 2, "{round}: the others get theirs");
        lan.arrived(2);
    }
    assert!(lan.dropped(2) > 0);
    assert_eq!(lan.dropped(3), 0);
}

#[test]
fn what_is_no_link_is_not_followed() {
    let mut lan = Lan::new(2);
    let (buffer, longer, elsewhere) = (BUFFERS, BUFFERS + 0x2000, BUFFERS + 0x4000);
    assert_eq!(lan.post(2, longer, 0x1000), code::SUCCESS);
    for _ in 0..2 {
        assert_eq!(lan.post(2, buffer, 0x800), code::SUCCESS);
    }
    lan.board.poke(2, buffer + 8, &elsewhere.to_be_bytes());
    for _ in 0..2 {
        assert_eq!(lan.send(1, &frame(mac(2), mac(1), b"x")), code::SUCCESS);
    }
    assert_eq!([8, 16].map(|offset| lan.board.peek(2, elsewhere + offset)), [0, 0]);
    assert_eq!((lan.arrived(2).len(), lan.dropped(2)), (1, 1), "one has room in the longer");
    // What is posted from then on is good.
    assert_eq!(lan.post(2, elsewhere, 0x800), code::SUCCESS);
    assert_eq!(lan.send(1, &frame(mac(2), mac(1), b"x")), code::SUCCESS);
    assert_eq!(lan.arrived(2).len(), 1);
}

#[test]
fn a_domain_that_dies_takes_its_port_along() {
    let mut lan = Lan::new(3);
    (1..=3).for_each(|n| lan.supply(n, 8));
    assert_eq!(lan.call(2, CHANGE_MAC, &[0x0200_0000_0001]), code::SUCCESS);
    assert_eq!(lan.send(2, &frame(BROADCAST, 0x0200_0000_0001, b"")), code::SUCCESS);
    assert_eq!(lan.counts(), [1, 0, 1]);
    lan.be(2);
    lan.board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    assert_eq!(lan.send(1, &frame(0x0200_0000_0001, mac(1), b"")), code::SUCCESS);
    assert_eq!((lan.arrived(1).len(), lan.arrived(3).len()), (0, 0), "nobody's");
    assert_eq!(lan.call(3, CHANGE_MAC, &[0x0200_0000_0001]), code::SUCCESS, "free again");
}

#[test]
fn a_frame_to_many_takes_several_calls() {
    let mut lan = Lan::new(12);
    (2..=12).for_each(|n| lan.supply(n, 2));
    lan.board.poke(1, OUTGOING, &frame(BROADCAST, mac(1), b"all"));
    let send = |lan: &mut Lan, token| {
        lan.be(1);
        let mut frame = Frame::default();
        let part = descriptor(OUTGOING, 17);
        frame.gpr[3..13].copy_from_slice(&[SEND, LAN_UNIT, part, 0, 0, 0, 0, 0, token, 0]);
        lan.board.exit(0, vector::SYSTEM_CALL, &mut frame);
        (frame.gpr[3].cast_signed(), frame.gpr[4])
    };
    assert_eq!(send(&mut lan, 0), (code::BUSY, 10));
    assert_eq!(lan.counts(), [0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]);
    assert_eq!(send(&mut lan, 10), (code::SUCCESS, 0));
    assert_eq!(lan.counts(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
    assert_eq!(send(&mut lan, u64::MAX), (code::SUCCESS, 0), "a token that was not given");
    assert_eq!(lan.counts(), [0; 12]);
}

/// Two processors send to each other's guests without a pause: neither waits for ever.
#[test]
fn ports_that_send_to_each_other_do_not_lock_each_other_out() {
    let guests = ["one", "two"].map(|name| Guest::new(name, Personality::Xen));
    let mut board = Board::new(64, 2, &guests);
    for n in 1..=2u16 {
        let own = usize::from(n) - 1;
        board.dispatch(own);
        let queue = descriptor(QUEUE, ENTRIES * 16);
        assert_eq!(board.hypercall(own, &[REGISTER, LAN_UNIT, LIST, queue, 0, mac(n)]), 0);
        // What comes finds a buffer, though the other has done all before this one begins.
        assert_eq!(board.hypercall(own, &[POST, LAN_UNIT, descriptor(BUFFERS, 64)]), 0);
        board.poke(n, OUTGOING, &frame(mac(3 - n), mac(n), b"ping"));
    }
    fn talk(hv: &Hypervisor<Fake>, processor: &mut Processor) {
        for _ in 0..5_000 {
            for call in [
                [POST, LAN_UNIT, descriptor(BUFFERS, 64)],
                [SEND, LAN_UNIT, descriptor(OUTGOING, 18)],
            ] {
                let mut frame = Frame::default();
                frame.gpr[3..6].copy_from_slice(&call);
                hv.exit(processor, vector::SYSTEM_CALL, &mut frame);
                assert_eq!(frame.gpr[3], 0);
            }
        }
    }
    let Board { hv, processors, .. } = &mut board;
    std::thread::scope(|scope| {
        for processor in processors {
            let hv = &**hv;
            scope.spawn(move || talk(hv, processor));
        }
    });
    assert_ne!(board.peek(1, QUEUE), 0);
    assert_ne!(board.peek(2, QUEUE), 0);
}

/// What a test's switch does to a model of it.
#[derive(Clone, Debug)]
enum Step {
    Send { from: u16, to: u64, text: Vec<u8> },
    Post { at: u16, count: usize },
    Look { at: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    let port = 1u16..=4;
    let to = prop_oneof![(1u16..=5).prop_map(mac), Just(BROADCAST), Just(GROUP)];
    let text = prop::collection::vec(any::<u8>(), 0..600);
    prop_oneof![
        6 => (port.clone(), to, text).prop_map(|(from, to, text)| Step::Send { from, to, text }),
        2 => (port.clone(), 1usize..4).prop_map(|(at, count)| Step::Post { at, count }),
        2 => port.prop_map(|at| Step::Look { at }),
    ]
}

/// A port of the model: buffers that are the guest's, those that are posted, frames that wait in
/// theirs, whether it has sent.
#[derive(Clone)]
struct Model {
    own: Vec<u64>,
    posted: Vec<u64>,
    waiting: Vec<(Vec<u8>, u64)>,
    dropped: u64,
}

impl Model {
    fn new() -> Model {
        let own = (0..ENTRIES).map(|n| BUFFERS + n * 0x800).collect();
        Model { own, posted: vec![], waiting: vec![], dropped: 0 }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever four ports on up to three LANs send each other: each gets the frames that the model
    /// says, of its own LAN alone, intact and in their order, and the rest are counted as dropped.
    #[test]
    fn the_switch_is_the_models(
        lans in prop::array::uniform4(prop_oneof![Just(0u16), Just(1), Just(62)]),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut lan = Lan::on(&lans);
        let same = |one: u16, other: u16| lans[usize::from(one) - 1] == lans[usize::from(other) - 1];
        let mut model: [Model; 4] = std::array::from_fn(|_| Model::new());
        let looks = (1..=4).map(|at| Step::Look { at });
        for step in steps.into_iter().chain(looks) {
            match step {
                Step::Post { at, count } => {
                    let port = &mut model[usize::from(at) - 1];
                    for buffer in port.own.drain(..port.own.len().min(count)) {
                        prop_assert_eq!(lan.post(at, buffer, 0x800), 0);
                        port.posted.push(buffer);
                    }
                }
                Step::Send { from, to, text } => {
                    let sent = frame(to, mac(from), &text);
                    prop_assert_eq!(lan.send(from, &sent), 0);
                    let others = (1..=4).zip(&mut model).filter(|(n, _)| *n != from && same(*n, from));
                    for (n, port) in others {
                        if to >> 40 & 1 == 0 && to != mac(n) {
                            continue;
                        }
                        match port.posted.pop() {
                            None => port.dropped += 1,
                            Some(buffer) => port.waiting.push((sent.clone(), buffer)),
                        }
                    }
                }
                Step::Look { at } => {
                    let port = &mut model[usize::from(at) - 1];
                    let arrived = lan.arrived(at);
                    prop_assert!(arrived == port.waiting, "port {}", at);
                    port.own.extend(port.waiting.drain(..).map(|(_, buffer)| buffer));
                    prop_assert_eq!(lan.dropped(at), port.dropped);
                }
            }
        }
    }

    /// Whatever a guest writes to its list, queue and buffers, and names in its calls: the others'
    /// memory is theirs, and their frames arrive.
    #[test]
    fn a_hostile_port_harms_itself_alone(
        writes in prop::collection::vec((LIST..BUFFERS + 0x1000, any::<u64>()), 0..40),
        calls in prop::collection::vec((0usize..7, prop::collection::vec(prop_oneof![
            any::<u64>(), (0..END).prop_map(|at| descriptor(at & !7, 64)), 0u64..5, LIST..BUFFERS,
        ], 8)), 0..40),
    ) {
        let mut lan = Lan::new(3);
        (1..=3).for_each(|n| lan.supply(n, 2));
        lan.board.poke(3, 0x3000, b"mine");
        for (at, value) in writes {
            lan.board.poke(1, at & !7, &value.to_be_bytes());
        }
        for (call, arguments) in calls {
            lan.call(1, CALLS[call], &arguments);
            lan.send(2, &frame(BROADCAST, mac(2), b"noise"));
            lan.arrived(3);
            lan.supply(3, 1);
        }
        prop_assert_eq!(lan.bytes(3, 0x3000, 4), b"mine");
        let before = lan.arrived(3).len();
        lan.supply(3, 1);
        lan.send(2, &frame(mac(3), mac(2), b"still here"));
        let arrived = lan.arrived(3);
        prop_assert_eq!(&arrived.last().expect("its frame").0, &frame(mac(3), mac(2), b"still here"), "{}", before);
    }
}
