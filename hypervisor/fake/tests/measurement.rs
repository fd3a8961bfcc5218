//! The measurement log: what is in it is what the domains were started from, it only grows, and
//! each guest reads of it what it may.
#![allow(missing_docs)]

use boot_archive::write::{Blob, Domain, write};
use boot_archive::{Archive, Console, Machine, Personality, Scheduling};
use hv_abi::{Rights, XEN_MARK};
use hv_core::Frame;
use hv_core::domain::DomainId;
use hv_fake::{Board, Guest, IMAGE};
use k42_lib::vector;
use k42_measure::{Digest, Kind, Record};

const SCHED_OP: u64 = XEN_MARK | 29;
const MEASUREMENT: u64 = XEN_MARK | 48;
const MEASUREMENT_LOG: u64 = XEN_MARK | 49;
const EPERM: i64 = 1;
const ENOENT: i64 = 2;
const EFAULT: i64 = 14;

fn guests() -> [Guest; 2] {
    let mut controller = Guest::new("one", Personality::Xen);
    controller.rights = Rights::CONTROL;
    controller.image = b"a kernel".to_vec();
    let mut linux = Guest::new("two", Personality::Papr);
    linux.rights = Rights::empty();
    linux.image = b"another".to_vec();
    linux.weight = 7;
    linux.scheduling =
        Scheduling { cap: 25, processors: 0b11, reserved: Some((512_000, 5_120_000)) };
    [controller, linux]
}

/// What the log should have, worked out without the hypervisor.
fn expected() -> Vec<Record> {
    let record = |domain, kind, bytes: &[u8]| {
        let (size, digest) = (bytes.len() as u64, Digest::of(bytes));
        Record { domain, kind, at: 0, size, digest }
    };
    let texts = [
        "one xen vcpus 1 little true lan 0",
        "two papr vcpus 1 little false lan 0",
        "entry 0x0 argument 0x1000 little true memory 4194304 weight 256 cap 0 reserved 0/0 \
         processors 0xffffffff",
        "entry 0x0 argument 0x1000 little false memory 4194304 weight 7 cap 25 \
         reserved 512000/5120000 processors 0x3",
    ]
    .map(str::as_bytes);
    vec![
        record(0, Kind::Hypervisor, IMAGE),
        record(1, Kind::Description, texts[0]),
        record(1, Kind::Rights, &(Rights::XEN | Rights::CONTROL).bits().to_le_bytes()),
        record(1, Kind::Load, b"a kernel"),
        record(1, Kind::Start, texts[2]),
        record(2, Kind::Description, texts[1]),
        record(2, Kind::Rights, &Rights::PAPR.bits().to_le_bytes()),
        record(2, Kind::Load, b"another"),
        record(2, Kind::Start, texts[3]),
    ]
}

fn register(records: &[Record]) -> Digest {
    let mut register = Digest::ZERO;
    records.iter().for_each(|record| register.extend(record));
    register
}

fn log(board: &Board) -> Vec<[u8; Record::SIZE]> {
    (0..).map_while(|number| board.hv.record(number)).collect()
}

#[test]
fn the_log_has_all_that_the_domains_start_from() {
    let board = Board::new(64, 1, &guests());
    let expected = expected();
    assert_eq!(log(&board), expected.iter().map(Record::bytes).collect::<Vec<_>>());
    // The lines for the host tool say the same, before the first domain runs.
    let said = board.said(0);
    assert!(!said.contains("started"), "{said}");
    let lines: Vec<&str> = said.lines().filter_map(|l| l.strip_prefix("measured: ")).collect();
    let want = expected.iter().enumerate().map(|(n, record)| {
        let register = register(&expected[..=n]);
        format!("{record}, log {register}")
    });
    assert_eq!(lines, want.collect::<Vec<_>>());
    // Each domain's register is of its own records alone.
    for (number, own) in [(1, 1..5), (2, 5..9)] {
        let domain = DomainId::new(number).unwrap();
        assert_eq!(board.hv.measurement(domain), register(&expected[own]));
    }
}

#[test]
fn a_byte_of_an_image_that_is_changed_shows_in_its_domain_alone() {
    let before = Board::new(64, 1, &guests());
    let mut changed = guests();
    changed[0].image[3] ^= 1;
    let after = Board::new(64, 1, &changed);
    let [one, two] = [1, 2].map(|number| DomainId::new(number).unwrap());
    assert_ne!(after.hv.measurement(one), before.hv.measurement(one));
    assert_eq!(after.hv.measurement(two), before.hv.measurement(two));
}

fn peek(board: &Board, domain: u16, at: u64, bytes: usize) -> Vec<u8> {
    let words = (0..bytes as u64).step_by(8).flat_map(|n| board.peek(domain, at + n).to_le_bytes());
    words.collect()
}

#[test]
fn a_guest_reads_its_own_register() {
    let mut board = Board::new(64, 2, &guests());
    for (processor, own) in [(0, 1..5), (1, 5..9)] {
        board.dispatch(processor);
        assert_eq!(board.hypercall(processor, &[MEASUREMENT, 0x3000]), 0);
        let read = peek(&board, processor as u16 + 1, 0x3000, 32);
        assert_eq!(read, register(&expected()[own]).0);
        assert_eq!(board.hypercall(processor, &[MEASUREMENT, 4 << 20]), -EFAULT);
    }
}

#[test]
fn the_log_is_the_controllers_to_read() {
    let mut board = Board::new(64, 2, &guests());
    board.dispatch(0);
    for (number, record) in (0..).zip(expected()) {
        assert_eq!(board.hypercall(0, &[MEASUREMENT_LOG, number, 0x3000]), 0);
        assert_eq!(peek(&board, 1, 0x3000, Record::SIZE), record.bytes());
    }
    for beyond in [9, 37_448, 37_449, u64::MAX] {
        assert_eq!(board.hypercall(0, &[MEASUREMENT_LOG, beyond, 0x3000]), -ENOENT);
    }
    assert_eq!(board.hypercall(0, &[MEASUREMENT_LOG, 0, u64::MAX]), -EFAULT);
    board.dispatch(1);
    assert_eq!(board.hypercall(1, &[MEASUREMENT_LOG, 0, 0x3000]), -EPERM);
    assert_eq!(peek(&board, 2, 0x3000, Record::SIZE), [0; Record::SIZE]);
}

/// An archive with one more domain, number 3.
fn third() -> Vec<u8> {
    let domain = Domain {
        number: 3,
        name: "three".into(),
        personality: Personality::Xen,
        memory_size: 4 << 20,
        vcpus: 1,
        weight: 256,
        scheduling: Scheduling::default(),
        rights: 0,
        lan: 0,
        entry: 0,
        device_tree: 0x1000,
        little_endian: true,
        loads: vec![Blob { what: "image", guest_address: 0, data: [0x60; 16].into() }],
        disks: Vec::new(),
    };
    write(Machine::Powernv9, Console::Framed, false, &[domain]).unwrap()
}

#[test]
fn the_log_only_grows_and_a_new_life_has_a_new_register() {
    let mut board = Board::new(64, 1, &guests());
    let bytes = third();
    let archive = Archive::parse(&bytes).unwrap();
    let id = DomainId::new(3).unwrap();
    board.hv.start_all(&archive, IMAGE, &mut [], format_args!("once"));
    let (before, first) = (log(&board), board.hv.measurement(id));
    // It runs in its turn, and ends.
    board.dispatch(0);
    while board.processors[0].vcpu().map(|vcpu| vcpu.index()) != Some(2) {
        board.hv.machine.state().now += 1 << 24;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    }
    board.poke(3, 0x2000, &0u32.to_le_bytes());
    assert_eq!(board.hypercall(0, &[SCHED_OP, 2, 0x2000]), 0);
    assert_eq!(log(&board), before, "an end leaves the log as it is");
    board.hv.start_all(&archive, IMAGE, &mut [], format_args!("again"));
    assert_eq!(log(&board)[..before.len()], before);
    assert_eq!(log(&board).len(), before.len() + 5);
    assert_eq!(board.hv.measurement(id), first, "the same domain, started again");
}

#[test]
fn a_domain_that_cannot_be_logged_is_not_started() {
    let board = Board::new(64, 1, &guests());
    let record = expected()[0];
    while board.hv.log(record).is_ok() {}
    assert_eq!(log(&board).len(), 37_449);
    let free = board.hv.free_frames();
    let bytes = third();
    board.hv.start_all(&Archive::parse(&bytes).unwrap(), IMAGE, &mut [], format_args!("full"));
    let said = board.said(0);
    assert!(said.contains("domain three is not started: the measurement log is full"), "no line");
    assert_eq!(board.hv.free_frames(), free);
    assert_eq!(log(&board).len(), 37_449);
}
