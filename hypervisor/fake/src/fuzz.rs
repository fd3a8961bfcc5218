//! Fuzz targets: functions of a byte string that panic when something is wrong. `tests/fuzz` drives
//! them by libFuzzer; `tests/fuzz.rs` here replays the corpus and mutates it, in every `cargo test`.

use crate::{Board, Guest, powers_off};
use boot_archive::{Archive, Personality};
use hv_abi::{CommonCall, Number, PaprCall, Rights, Row, XenCall};
use hv_core::Frame;
use k42_lib::radix::Access;
use k42_lib::{GuestAddr, vector};
use k42_wire::Event;
use k42_wire::host::{Listener, Said};

/// A target and its name, which is also that of its folder in `tests/fuzz/corpus`.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] = [
    ("registers", registers),
    ("archive", archive),
    ("frames", frames),
    ("event", event),
    ("hypervisor", hypervisor),
];

/// The decoders of the hypercall tables: a call is decoded when its number has a row, and is what
/// that row says, and it needs a right.
pub fn registers(data: &[u8]) {
    let mut bytes = Bytes(data);
    while !bytes.0.is_empty() {
        let r3 = bytes.word();
        let arguments = std::array::from_fn(|_| bytes.word());
        let number = Number::decode(r3);
        assert_eq!(number.encode(), r3);
        let (row, call) = match number {
            Number::Xen(number) => {
                let call = XenCall::decode(number, &arguments);
                (row(XenCall::ROWS, number), call.map(|call| (call.name(), call.right())))
            }
            Number::Token(token) => {
                let common = CommonCall::decode(token, &arguments);
                let common = common.map(|call| (call.name(), call.right()));
                let call = PaprCall::decode(token, &arguments);
                let call = call.map(|call| (call.name(), call.right()));
                assert!(common.is_none() || call.is_none(), "two calls with one token");
                let row = row(CommonCall::ROWS, token).or_else(|| row(PaprCall::ROWS, token));
                (row, common.or(call))
            }
        };
        assert_eq!(row.map(|row| row.name), call.map(|(name, _)| name));
        assert!(call.is_none_or(|(_, right)| !right.is_empty()), "a call that needs no right");
    }
}

fn row(rows: &'static [Row], number: u64) -> Option<&'static Row> {
    rows.iter().find(|row| row.number == number)
}

/// The boot archive's reader: whatever the bytes are, what it finds lies where it may.
pub fn archive(data: &[u8]) {
    let Ok(archive) = Archive::parse(data) else { return };
    for image in archive.domains().take(100) {
        let Ok(image) = image else { break };
        assert!(image.entry < image.memory_size && image.device_tree < image.memory_size);
        for load in image.loads() {
            let end = load.guest_address.checked_add(load.data.len() as u64);
            assert!(end.is_some_and(|end| end <= image.memory_size));
            assert!(data.as_ptr_range().contains(&load.data.as_ptr()) || load.data.is_empty());
        }
    }
}

/// The host's decoder of the serial line: it makes no bytes up, and finds the line again after noise.
pub fn frames(data: &[u8]) {
    let mut listener = Listener::default();
    let found = data.iter().filter_map(|byte| listener.push(*byte)).count();
    assert!(found <= data.len());
    for _ in 0..=k42_wire::frame::MAX_PAYLOAD + k42_wire::frame::HEADER {
        listener.push(b' ');
    }
    assert_eq!(listener.push(b'x'), Some(Said::Raw(b'x')));
}

/// Lines of channel 0: what is read is written the same.
pub fn event(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    if let Some(event) = Event::parse(line) {
        let written = event.to_string();
        assert_eq!(Event::parse(&written), Some(event), "{written}");
    }
}

/// A whole hypervisor with three domains on two processors: the bytes say what their vCPUs do. The
/// walker looks at everything after each step.
pub fn hypervisor(data: &[u8]) {
    let all = Rights::GIVEN.iter().fold(Rights::empty(), |all, (_, right)| all | *right);
    let guest =
        |name, personality| Guest { vcpus: 2, rights: all, ..Guest::new(name, personality) };
    let guests = [
        guest("linux", Personality::Papr),
        guest("one", Personality::Xen),
        guest("two", Personality::Xen),
    ];
    let mut board = Board::new(24, 2, &guests);
    board.dispatch(0);
    let mut bytes = Bytes(data);
    powers_off(|| {
        while let Some(what) = bytes.byte() {
            step(&mut board, what, &mut bytes);
        }
    });
}

/// Where guests of the whole hypervisor have their arguments.
const ARGUMENT: u64 = 0x2000;
/// Exits besides hypercalls.
const VECTORS: [u16; 4] = [
    vector::HYPERVISOR_DECREMENTER,
    vector::HYPERVISOR_DOORBELL,
    vector::HYPERVISOR_DECREMENTER,
    vector::HYPERVISOR_EMULATION,
];

fn step(board: &mut Board, what: u8, bytes: &mut Bytes<'_>) {
    let n = usize::from(what & 1);
    if board.processors[n].vcpu().is_none() {
        board.hv.machine.state().now += 1 << 20;
        board.hv.look_for_work(&mut board.processors[n]);
        return board.check();
    }
    let mut frame =
        Frame { msr: bytes.byte().map_or(0, |b| u64::from(b) << 12), ..Frame::default() };
    match what >> 1 {
        // Words into some domain's memory, where the next call may look for its argument.
        0..48 => {
            let (domain, wide) = (u16::from(what >> 1 & 3), what & 0x10 != 0);
            let mut at = ARGUMENT + (frame.msr >> 12) % 64 * 4;
            for _ in 0..what >> 1 & 7 {
                let word = bytes.word().to_le_bytes();
                let word = if wide { &word[..] } else { &word[..4] };
                let place = GuestAddr::new(at);
                if board.hv.machine.guest_access(domain, place, Access::WRITE).is_some() {
                    board.poke(domain, at, word);
                }
                at += word.len() as u64;
            }
        }
        48..116 => {
            let place = usize::from(bytes.byte().unwrap_or(0));
            let mut tokens = [CommonCall::ROWS, PaprCall::ROWS].concat();
            tokens.sort_by_key(|row| row.number);
            let call = if what & 4 != 0 {
                Number::Xen(XenCall::ROWS[place % XenCall::ROWS.len()].number)
            } else {
                Number::Token(tokens[place % tokens.len()].number)
            };
            frame.gpr[3] = call.encode();
            for register in &mut frame.gpr[4..9] {
                *register = bytes.word();
            }
            board.exit(n, vector::SYSTEM_CALL, &mut frame);
        }
        116..127 => {
            board.hv.machine.state().now += 1 << (what & 31);
            let vector = VECTORS[usize::from(what >> 3 & 3)];
            board.exit(n, vector, &mut frame);
        }
        _ => {
            board.exit(n, vector::HYPERVISOR_DATA_STORAGE, &mut frame);
        }
    }
}

/// What is left of the bytes.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number: mostly one that means something somewhere.
    fn word(&mut self) -> u64 {
        const TOLD: [u64; 16] = [
            ARGUMENT,
            ARGUMENT + 0x80,
            ARGUMENT >> 12,
            0x7ff0,        // DOMID_SELF
            0x3000_0000,   // the terminal
            (4 << 20) - 4, // the end of memory
            4 << 20,
            2 << 20 >> 12,
            4 << 20 >> 12,
            16 << 20 >> 12,
            1 << 52,
            u64::MAX,
            u32::MAX as u64,
            hv_abi::XEN_MARK,
            1 << 63,
            0x1_0000,
        ];
        match self.byte() {
            None => 0,
            Some(small @ 0..128) => small.into(),
            Some(told @ 128..224) => TOLD[usize::from(told) % TOLD.len()],
            Some(_) => {
                let (raw, rest) = self.0.split_at(self.0.len().min(8));
                self.0 = rest;
                raw.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
            }
        }
    }
}
