//! Domains from their start to their end: memory, ownership, what is left behind.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_core::{Frame, Next, Storage};
use hv_fake::{Board, Guest, powers_off};
use k42_lib::{EffAddr, GuestAddr, vector};

const SCHED_OP: u64 = hv_abi::XEN_MARK | 29;
const SHUTDOWN: u64 = 2;

fn guests(count: usize) -> Vec<Guest> {
    const NAMES: [&str; 4] = ["one", "two", "three", "four"];
    NAMES.into_iter().take(count).map(|name| Guest::new(name, Personality::Xen)).collect()
}

/// Writes a `sched_shutdown` into domain `n`'s memory at 0x2000 and shuts down with it.
fn shut_down(board: &mut Board, processor: usize, domain: u16, command: u64, value: u32) -> i64 {
    let at = GuestAddr::new(0x2000);
    let real = board.hv.machine.guest_translate(domain, at).unwrap();
    board.hv.machine.write(real, &value.to_le_bytes());
    board.hypercall(processor, &[SCHED_OP, command, at.value()])
}

#[test]
fn a_domain_starts_with_its_image_and_zeroes() {
    let mut guest = Guest::new("one", Personality::Papr);
    guest.image = b"kernel".to_vec();
    let mut board = Board::new(64, 1, &[guest]);
    assert!(!board.said(0).contains("started"), "it has not run yet");
    board.hv.machine.state().now = 77;
    board.dispatch(0);
    let machine = &board.hv.machine;
    assert_eq!(machine.guest_byte(1, GuestAddr::new(0)), Some(b'k'));
    assert_eq!(machine.guest_byte(1, GuestAddr::new(5)), Some(b'l'));
    assert_eq!(machine.guest_byte(1, GuestAddr::new(6)), Some(0));
    assert_eq!(machine.guest_byte(1, GuestAddr::new((4 << 20) - 1)), Some(0));
    assert_eq!(machine.guest_byte(1, GuestAddr::new(4 << 20)), None, "beyond its memory");
    assert_eq!(machine.guest_byte(2, GuestAddr::new(0)), None, "no such domain");
    let start = machine.state().started[&0];
    assert_eq!(start.argument, 0x1000);
    assert!(!start.little_endian, "PAPR's guests start big-endian");
    assert!(board.said(0).contains("domain 1 (one): started on processor 0, 4 MiB, 77 ticks"));
}

#[test]
fn no_two_domains_share_storage() {
    let board = Board::new(64, 1, &guests(3));
    let mut seen = std::collections::BTreeSet::new();
    for domain in 1..=3 {
        for page in 0..(4 << 20) / 0x1_0000 {
            let at = GuestAddr::new(page * 0x1_0000);
            let real = board.hv.machine.guest_translate(domain, at).unwrap();
            assert!(seen.insert(real), "frame {real} has two owners");
        }
    }
}

#[test]
fn a_domain_that_dies_gives_everything_back() {
    let mut board = Board::new(64, 1, &guests(2));
    assert_eq!(board.dispatch(0), 0);
    let free = board.hv.free_frames();
    // The guest has been here: the TLB knows its pages.
    assert!(board.hv.machine.guest_byte(1, GuestAddr::new(0)).is_some());
    assert_eq!(shut_down(&mut board, 0, 1, SHUTDOWN, 0), 0);
    assert!(board.said(0).contains("domain 1 (one): ended: power-off"));
    assert_eq!(board.hv.machine.guest_byte(1, GuestAddr::new(0)), None, "a stale translation");
    // 4 MiB, a root table, a frame of other tables, and the page shared with the hypervisor.
    assert_eq!(board.hv.free_frames(), free + 64 + 3);
    assert!(board.hv.machine.guest_byte(2, GuestAddr::new(0)).is_some(), "the other lives");
}

#[test]
fn the_machine_goes_off_with_its_last_domain() {
    let mut board = Board::new(64, 1, &guests(1));
    board.dispatch(0);
    assert!(powers_off(|| {
        shut_down(&mut board, 0, 1, SHUTDOWN, 0);
    }));
    assert!(board.said(0).ends_with("hypervisor: all domains have ended\n"));
    assert_eq!(board.hv.free_frames(), board.free_at_start);
}

#[test]
fn an_exit_status_is_reported() {
    let mut board = Board::new(64, 1, &guests(2));
    board.dispatch(0);
    assert_eq!(shut_down(&mut board, 0, 1, SHUTDOWN, 0x4b34_3200 | 42), 0);
    assert!(board.said(0).contains("domain 1 (one): ended: exit status 42"));
}

#[test]
fn an_access_outside_its_memory_ends_the_culprit_alone() {
    let mut board = Board::new(64, 1, &guests(2));
    board.dispatch(0);
    board.hv.machine.state().fault = hv_core::Fault {
        effective: EffAddr::new(0xdead_0000),
        guest: GuestAddr::new(0x7777_0000),
        status: hv_core::machine::status::STORE,
    };
    let mut frame = Frame { nip: 0x1234, link: 0x5678, ..Frame::default() };
    let next = board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut frame);
    assert!(matches!(next, Next::Switch(vcpu) if vcpu.index() == 1), "the other runs at once");
    let said = board.said(0);
    let line = said.lines().find(|line| line.contains("crashed")).unwrap();
    assert!(line.starts_with("domain 1 (one): crashed: store at guest real 0x77770000"), "{line}");
    assert!(line.contains("instruction 0x1234, link 0x5678"), "{line}");
}

#[test]
fn a_domain_that_does_not_fit_is_refused_and_costs_nothing() {
    let mut large = guests(2);
    large[0].mebibytes = 4096;
    let mut board = Board::new(64, 1, &large);
    board.dispatch(0);
    assert!(
        board.said(0).contains("domain one is not started: needs 4096 MiB"),
        "{}",
        board.said(0)
    );
    assert!(board.said(0).contains("domain 2 (two): started"));
    assert_eq!(board.hv.free_frames(), board.free_at_start - 67);
}

#[test]
fn a_domain_on_two_processors_dies_on_both() {
    let mut wide = guests(2);
    wide[0].vcpus = 2;
    wide[0].personality = Personality::Papr;
    let mut board = Board::new(64, 2, &wide);
    let running = board.dispatch(0);
    assert_eq!(running, 0);
    // start-cpu(1, 0x100, 0) through an RTAS argument block at 0x3000.
    let block: Vec<u8> =
        [1u32, 3, 1, 1, 0x100, 0, 0].iter().flat_map(|w| w.to_be_bytes()).collect();
    let real = board.hv.machine.guest_translate(1, GuestAddr::new(0x3000)).unwrap();
    board.hv.machine.write(real, &block);
    assert_eq!(board.hypercall(0, &[0xf000, 0x3000]), 0);
    // Its second vCPU takes turns with the other domain on the second processor.
    board.dispatch(1);
    while board.processors[1].vcpu().unwrap().index() != 1 {
        board.hv.machine.state().now += 1 << 30;
        board.exit(1, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    }
    let next = board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    assert!(matches!(next, Next::Switch(vcpu) if vcpu.index() == 2), "the other domain moves here");
    assert!(board.hv.machine.state().kicked.contains(&1));
    assert!(board.hv.machine.guest_byte(1, GuestAddr::new(0)).is_some(), "still in use there");
    let next = board.exit(1, vector::HYPERVISOR_DOORBELL, &mut Frame::default());
    assert_eq!(next, Next::Idle);
    assert_eq!(board.hv.machine.guest_byte(1, GuestAddr::new(0)), None);
    assert_eq!(board.hv.free_frames(), board.free_at_start - 67);
}

#[test]
fn the_last_words_of_a_kernel_are_reported_without_breaking_the_line() {
    let mut guest = guests(2);
    guest[0].personality = Personality::Papr;
    let mut board = Board::new(64, 1, &guest);
    board.dispatch(0);
    let block: Vec<u8> = [5u32, 1, 1, 0x4000, 0].iter().flat_map(|w| w.to_be_bytes()).collect();
    for (at, bytes) in [(0x3000, block.as_slice()), (0x4000, b"out of\ndomain 2 (two): x\0")] {
        let real = board.hv.machine.guest_translate(1, GuestAddr::new(at)).unwrap();
        board.hv.machine.write(real, bytes);
    }
    board.hypercall(0, &[0xf000, 0x3000]);
    let said = board.said(0);
    assert!(
        said.contains("domain 1 (one): crashed: its kernel panicked: out of.domain 2"),
        "{said}"
    );
}
