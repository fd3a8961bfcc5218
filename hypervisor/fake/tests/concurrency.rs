//! Processors as threads of the host, on the hypervisor's real locks: no wake-up is lost, no vCPU
//! is in two places.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_core::{Frame, Hypervisor, Next, Processor, Storage, VcpuId};
use hv_fake::{Board, Fake, Guest, make_resident};
use k42_lib::{GuestAddr, msr, vector};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a guest's vCPU does at its next step: the registers of its hypercall.
type Program<'a> = dyn Fn(usize, u64) -> [u64; 3] + Sync + 'a;

/// So many looks for work without any, and there will never be some.
const HOPELESS: u64 = 20_000_000;

/// Runs one processor until `done`: it looks for work and makes its guests' hypercalls.
fn run_processor(
    hv: &Hypervisor<Fake>,
    processor: &mut Processor,
    alone: &[Mutex<()>],
    steps: &[AtomicU64],
    program: &Program<'_>,
    done: &AtomicBool,
) {
    let me = processor.id();
    let mut running = processor.vcpu();
    let mut fruitless: u64 = 0;
    while !done.load(Ordering::Relaxed) {
        running = running
            .or_else(|| hv.look_for_work(processor).and_then(|vcpu| arrive(hv, processor, vcpu)));
        let Some(vcpu) = running else {
            // The other processor has had every chance to wake somebody.
            fruitless += 1;
            assert!(fruitless < HOPELESS, "a wake-up was lost");
            std::thread::yield_now();
            continue;
        };
        fruitless = 0;
        make_resident(hv, me, vcpu);
        let vcpu = vcpu.index();
        let mut frame = Frame { msr: msr::SF | msr::EE, ..Frame::default() };
        let next = {
            // A vCPU that ran on two processors would meet itself here.
            let _alone = alone[vcpu].try_lock().expect("a vCPU runs on one processor at a time");
            let step = steps[vcpu].fetch_add(1, Ordering::Relaxed);
            frame.gpr[3..6].copy_from_slice(&program(vcpu, step));
            hv.exit(processor, vector::SYSTEM_CALL, &mut frame)
        };
        running = match next {
            Next::Resume => running,
            Next::Switch(next) => arrive(hv, processor, next),
            Next::Idle => None,
        };
    }
}

/// What a processor does when it has put another vCPU's registers in place.
fn arrive(hv: &Hypervisor<Fake>, processor: &mut Processor, vcpu: VcpuId) -> Option<VcpuId> {
    make_resident(hv, processor.id(), vcpu);
    match hv.leave(processor, &mut Frame::default()) {
        Next::Resume => Some(vcpu),
        Next::Switch(vcpu) => arrive(hv, processor, vcpu),
        Next::Idle => None,
    }
}

fn start_second_vcpu(board: &mut Board) {
    let block: Vec<u8> =
        [1u32, 3, 1, 1, 0x100, 0, 0].iter().flat_map(|w| w.to_be_bytes()).collect();
    let real = board.hv.machine.guest_translate(1, GuestAddr::new(0x3000)).unwrap();
    board.hv.machine.write(real, &block);
    board.dispatch(0);
    assert_eq!(board.hypercall(0, &[0xf000, 0x3000]), 0);
}

/// Two vCPUs on two processors wake each other and sleep, in turns: a lost wake-up ends it.
#[test]
fn no_wake_up_is_lost() {
    const PROD: u64 = 0xe8;
    const CEDE: u64 = 0xe0;
    const ROUNDS: u64 = 20_000;
    let guest = Guest { vcpus: 2, ..Guest::new("pair", Personality::Papr) };
    let mut board = Board::new(64, 2, &[guest]);
    start_second_vcpu(&mut board);
    let steps: Vec<AtomicU64> = (0..2).map(|_| AtomicU64::new(0)).collect();
    let alone: Vec<Mutex<()>> = (0..2).map(|_| Mutex::new(())).collect();
    let done = AtomicBool::new(false);
    let program = |vcpu: usize, step: u64| {
        if steps.iter().all(|s| s.load(Ordering::Relaxed) > 2 * ROUNDS) {
            done.store(true, Ordering::Relaxed);
        }
        // Wakes the other one, then sleeps until it is woken: no timer helps.
        if step.is_multiple_of(2) { [PROD, 1 - vcpu as u64, 0] } else { [CEDE, 0, 0] }
    };
    let Board { hv, processors, .. } = &mut board;
    std::thread::scope(|scope| {
        for processor in processors {
            let (hv, alone, steps, program, done) = (&**hv, &alone, &steps, &program, &done);
            scope.spawn(move || run_processor(hv, processor, alone, steps, program, done));
        }
    });
    assert!(steps.iter().all(|s| s.load(Ordering::Relaxed) > 2 * ROUNDS));
}

/// Five guests that spin and yield, on four processors: each runs on more than one of them, never on
/// two at a time, and no processor takes registers that another has.
#[test]
fn vcpus_move_and_are_never_in_two_places() {
    const YIELD: [u64; 3] = [hv_abi::XEN_MARK | 29, 0, 0];
    const STEPS: u64 = 3000;
    let names = ["a", "b", "c", "d", "e"];
    let guests: Vec<Guest> = names.iter().map(|name| Guest::new(name, Personality::Xen)).collect();
    let mut board = Board::new(64, 4, &guests);
    let steps: Vec<AtomicU64> = (0..5).map(|_| AtomicU64::new(0)).collect();
    let alone: Vec<Mutex<()>> = (0..5).map(|_| Mutex::new(())).collect();
    let done = AtomicBool::new(false);
    let program = |_: usize, _: u64| {
        if steps.iter().all(|s| s.load(Ordering::Relaxed) > STEPS) {
            done.store(true, Ordering::Relaxed);
        }
        YIELD
    };
    let Board { hv, processors, .. } = &mut board;
    std::thread::scope(|scope| {
        for processor in processors {
            let (hv, alone, steps, program, done) = (&**hv, &alone, &steps, &program, &done);
            scope.spawn(move || run_processor(hv, processor, alone, steps, program, done));
        }
    });
    assert!(steps.iter().all(|s| s.load(Ordering::Relaxed) > STEPS));
}
