//! Reports on vCPUs: what is in them, how far a chain of callers is followed, and when they come.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_core::{Frame, Next};
use hv_fake::{Board, Guest};
use k42_lib::{msr, vector};

const KERNEL: u64 = 0xc000_0000_0000_0000;
const TRANSLATED: u64 = msr::SF | msr::IR | msr::DR | msr::LE;

fn board() -> Board {
    let guests = [Guest::new("one", Personality::Xen), Guest::new("two", Personality::Xen)];
    let mut board = Board::new(64, 1, &guests);
    board.dispatch(0);
    board
}

/// Lays stack frames at these guest real addresses, each with what its caller returns to; the last
/// leads to `end`. Their addresses are the kernel's.
fn stack(board: &Board, frames: &[(u64, u64)], end: u64) {
    let next = frames.iter().skip(1).map(|(at, _)| KERNEL | at).chain([end]);
    for ((at, link), next) in frames.iter().zip(next) {
        board.poke(1, *at, &next.to_le_bytes());
        board.poke(1, at + 16, &link.to_le_bytes());
    }
}

/// Registers that tell each other apart, in the kernel, with the stack at `stack`.
fn frame(stack: u64) -> Frame {
    let mut frame = Frame { nip: 0x1234, link: 0x5678, msr: TRANSLATED, ..Frame::default() };
    for (number, register) in (0..).zip(&mut frame.gpr) {
        *register = 0xaaaa_0000 + number;
    }
    (frame.counter, frame.cr, frame.xer) = (0xc7, 0xcc, 0xe4);
    frame.gpr[1] = stack;
    frame
}

fn crash(board: &mut Board, mut frame: Frame) -> Vec<String> {
    board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut frame);
    board.said(1).lines().map(String::from).collect()
}

/// The addresses of a report, in order.
fn addresses(report: &[String]) -> Vec<u64> {
    let hex = |line: &String| u64::from_str_radix(line.strip_prefix("vcpu 0: at ")?, 16).ok();
    report.iter().filter_map(hex).collect()
}

#[test]
fn a_crash_leaves_registers_and_callers_on_the_domains_console() {
    let mut board = board();
    board.hv.machine.state().interrupted = Some((0x111, 0x222));
    stack(&board, &[(0x8000, 0), (0x8100, 0x2001), (0x8200, 0x2002)], 0);
    let report = crash(&mut board, frame(KERNEL | 0x8000));
    assert!(report[0].starts_with("vcpu 0: crashed: load at guest real 0x0"), "{report:#?}");
    for line in [
        "nip 0000000000001234 msr 8000000000000031 lr  0000000000005678 ctr 00000000000000c7",
        "cr  00000000000000cc xer 00000000000000e4",
        "srr 0000000000000111 0000000000000222 dar 0000000000000000 dsisr 00000000",
        "r28 00000000aaaa001c 00000000aaaa001d 00000000aaaa001e 00000000aaaa001f",
    ] {
        assert!(report.contains(&format!("vcpu 0: {line}")), "{line} is not in {report:#?}");
    }
    assert_eq!(addresses(&report), [0x1234, 0x5678, 0x2001, 0x2002]);
    assert!(board.said(0).contains("domain 1 (one): crashed: load at"), "and on the hypervisor's");
    assert_eq!(board.hv.free_frames(), board.free_at_start - 67, "nothing is kept");
}

/// Nothing in the chain makes the hypervisor go on for long, read elsewhere, or fall over.
#[test]
fn a_chain_ends_at_nonsense() {
    let memory = 4 << 20;
    for (end, callers) in [
        (0, 2),
        (KERNEL | 0x8208, 2),        // no stack frame lies there
        (KERNEL | memory, 2),        // outside
        (KERNEL | (memory - 16), 2), // a frame whose end is outside
        (u64::MAX, 2),
        (0x8000, 2),           // a program's, not the kernel's
        (KERNEL | 0x8000, 24), // a circle
    ] {
        let mut board = board();
        stack(&board, &[(0x8000, 1), (0x8100, 2), (0x8200, 3)], end);
        let report = crash(&mut board, frame(KERNEL | 0x8000));
        assert_eq!(addresses(&report).len(), 2 + callers, "{end:#x}: {report:#?}");
    }
    for start in [0, 7, u64::MAX, KERNEL | memory, 0xc008_0000_0000_0000] {
        let report = crash(&mut board(), frame(start));
        assert_eq!(addresses(&report), [0x1234, 0x5678], "{start:#x}");
    }
}

/// In real mode an address is itself, and the byte order is the kernel's.
#[test]
fn a_chain_in_real_mode_is_followed() {
    let guests = [Guest::new("one", Personality::Papr), Guest::new("two", Personality::Xen)];
    let mut board = Board::new(64, 1, &guests);
    board.dispatch(0);
    board.poke(1, 0x8000, &0x8100_u64.to_be_bytes());
    board.poke(1, 0x8110, &0x2001_u64.to_be_bytes());
    let report = crash(&mut board, Frame { msr: msr::SF, ..frame(0x8000) });
    assert_eq!(addresses(&report), [0x1234, 0x5678, 0x2001]);
}

#[test]
fn a_domain_that_is_asked_about_goes_on() {
    let mut board = board();
    board.type_to(0, &[1, 2, 9, 0, 255]);
    let mut registers = frame(0);
    let next = board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut registers);
    assert!(matches!(next, Next::Switch(vcpu) if vcpu.index() == 1), "its slice is over");
    let report = board.said(1);
    assert!(report.starts_with("vcpu 0: running\nvcpu 0: nip 0000000000001234"), "{report}");
    assert_eq!(registers, frame(0), "it finds its registers as they were");
    assert_eq!(board.said(2), "vcpu 0: Ready\n", "it has not run, so there are no registers");
    board.hv.machine.state().now += 2 * hv_core::schedule::SLICE_TICKS;
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut frame(0));
    assert_eq!(board.processors[0].vcpu().map(|vcpu| vcpu.index()), Some(0));
    assert_eq!(board.said(1), report, "one request, one report");
}

/// Its vCPUs run on two processors: each reports when it has left its own.
#[test]
fn all_vcpus_of_a_domain_are_reported_on() {
    let mut wide = Guest::new("one", Personality::Papr);
    wide.vcpus = 3;
    let mut board = Board::new(64, 2, &[wide, Guest::new("two", Personality::Xen)]);
    board.dispatch(0);
    // start-cpu(1, 0x100, 0) through an RTAS argument block.
    let block = [1u32, 3, 1, 1, 0x100, 0, 0].map(u32::to_be_bytes);
    board.poke(1, 0x3000, block.as_flattened());
    board.hypercall(0, &[0xf000, 0x3000]);
    board.dispatch(1);
    while board.processors[1].vcpu().unwrap().index() != 1 {
        board.hv.machine.state().now += 1 << 30;
        board.exit(1, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    }
    board.hv.machine.state().kicked.clear();
    board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut frame(0));
    let said = board.said(1);
    assert!(said.contains("vcpu 0: crashed: ") && said.contains("vcpu 2: Stopped\n"), "{said}");
    assert!(!said.contains("vcpu 1: "), "it is on its processor: {said}");
    assert!(board.hv.machine.state().kicked.contains(&1));
    board.exit(1, vector::HYPERVISOR_DOORBELL, &mut frame(0));
    assert!(board.said(1).contains("vcpu 1: running\nvcpu 1: nip 0000000000001234"));
    assert_eq!(board.hv.free_frames(), board.free_at_start - 67, "the domain is gone");
}

const SCHED_OP: u64 = hv_abi::XEN_MARK | 29;
const SECOND: u64 = 512_000_000;

/// SCHEDOP_watchdog of the first domain, which is on the processor.
fn watchdog(board: &mut Board, id: u32, seconds: u32) -> i64 {
    board.poke(1, 0x2000, [id, seconds].map(u32::to_le_bytes).as_flattened());
    board.hypercall(0, &[SCHED_OP, 6, 0x2000])
}

#[test]
fn a_watchdog_spares_who_calls_it() {
    let mut board = Board::new(64, 1, &[Guest::new("one", Personality::Xen)]);
    board.dispatch(0);
    assert_eq!(watchdog(&mut board, 0, 0), -22);
    assert_eq!(watchdog(&mut board, 1, 2), -22, "there is none yet");
    assert_eq!(watchdog(&mut board, 0, 2), 1);
    assert_eq!(watchdog(&mut board, 0, 2), -28, "a domain has one");
    assert_eq!(watchdog(&mut board, 2, 2), -22);
    for _ in 0..5 {
        board.hv.machine.state().now += 2 * SECOND - 1;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        assert_eq!(watchdog(&mut board, 1, 2), 0);
    }
    assert_eq!(watchdog(&mut board, 1, 0), 0, "stopped");
    board.hv.machine.state().now += 100 * SECOND;
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert!(!board.said(0).contains("crashed"), "{}", board.said(0));
}

#[test]
fn a_watchdog_ends_who_does_not() {
    for sleeps in [false, true] {
        let mut board = board();
        assert_eq!(watchdog(&mut board, 0, 2), 1);
        if sleeps {
            board.hypercall(0, &[SCHED_OP, 1]);
        }
        board.hv.machine.state().now += 2 * SECOND;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut frame(0));
        let end = "domain 1 (one): crashed: its watchdog has not been called in time\n";
        assert!(board.said(0).contains(end), "{}", board.said(0));
        let state = if sleeps { "Blocked(" } else { "crashed: its watchdog" };
        let report = board.said(1);
        assert!(report.starts_with(&format!("vcpu 0: {state}")), "{report}");
        assert!(report.contains("vcpu 0: r28"), "{report}");
        assert_eq!(board.hv.free_frames(), board.free_at_start - 67);
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        assert_eq!(board.said(0).matches("crashed").count(), 1);
    }
}

#[test]
fn what_a_kernel_says_at_its_end_stays_in_its_line() {
    let guests = [Guest::new("one", Personality::Papr), Guest::new("two", Personality::Xen)];
    let mut board = Board::new(64, 1, &guests);
    board.dispatch(0);
    let block = [5u32, 1, 1, 0x4000, 0].map(u32::to_be_bytes);
    board.poke(1, 0x3000, block.as_flattened());
    board.poke(1, 0x4000, b"x\nvcpu 0: at 0000000000000001\n\x01\x40\x05\0");
    board.hypercall(0, &[0xf000, 0x3000]);
    let report: Vec<String> = board.said(1).lines().map(String::from).collect();
    assert!(report[0].ends_with("panicked: x.vcpu 0: at 0000000000000001..@."), "{report:#?}");
    assert_eq!(addresses(&report), [0, 0]);
}

#[test]
fn what_comes_while_a_vcpu_is_asked_about_is_not_forgotten() {
    let guest = Guest { vcpus: 2, ..Guest::new("pair", Personality::Papr) };
    let mut board = Board::new(64, 2, &[guest]);
    board.dispatch(0);
    let start: Vec<u8> = [hv_abi::papr::rtas::START_CPU, 3, 1, 1, 0x4000, 0, 9]
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .collect();
    board.poke(1, 0x2000, &start);
    assert_eq!(board.hypercall(0, &[0xf000, 0x2000]), 0);
    board.dispatch(1);
    assert_eq!(board.hypercall(1, &[0x68, 0xff]), 0); // H_CPPR: everything
    board.type_to(0, &[1]);
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert_eq!(board.hypercall(0, &[0x6c, 1, 5]), 0); // H_IPI
    assert!(!board.said(1).contains("vcpu 1:"), "it has not been reported on");
    board.hv.machine.state().window = false;
    board.exit(1, vector::HYPERVISOR_DOORBELL, &mut Frame::default());
    assert!(board.said(1).contains("vcpu 1:"));
    assert!(board.hv.machine.state().window, "the interrupt waits to be let in");
}
