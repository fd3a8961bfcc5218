//! The machine that `hypervisor/core` runs on, in terms of registers, storage and hypercalls.

use crate::context::{SLOTS, with_resident};
use crate::hcall;
use core::ops::{Deref, RangeInclusive};
use core::sync::atomic::Ordering::{self, Relaxed};
use core::sync::atomic::{AtomicU32, AtomicU64, fence};
use hv_core::{
    Fault, Frame, InterruptMode, MAX_PROCESSORS, Machine, Partition, ProcessorId, Start, VcpuId,
};
use hv_power::storage::RealStorage;
use hv_power::{mode, partition, spr};
use k42_lib::{EffAddr, GuestAddr, vector};

/// A partition with guests of its own. There is one.
pub(crate) struct Nested;

/// What a processor knows; but for `server` only it reads and writes it.
pub(crate) struct Cpu {
    /// Its number for interrupts.
    pub(crate) server: AtomicU32,
    /// The vCPU whose registers are in the processor, by its index.
    pub(crate) resident: AtomicU32,
    /// How often a guest was entered and left: odd while one runs.
    passages: AtomicU64,
    /// That guest's partition.
    partition: AtomicU32,
    /// When the policy wants an exit, in timebase ticks.
    alarm: AtomicU64,
    /// When the guest exits for us to see whether it has enabled interrupts.
    window: AtomicU64,
    /// How long it is from the last look until then, in timebase ticks; 0 when none is asked for.
    pause: AtomicU64,
}

pub(crate) static CPUS: [Cpu; MAX_PROCESSORS] = [const {
    Cpu {
        server: AtomicU32::new(0),
        resident: AtomicU32::new(u32::MAX),
        passages: AtomicU64::new(0),
        partition: AtomicU32::new(0),
        alarm: AtomicU64::new(u64::MAX),
        window: AtomicU64::new(u64::MAX),
        pause: AtomicU64::new(0),
    }
}; MAX_PROCESSORS];

/// How long a guest runs with an interrupt waiting until it is looked at again: for 16 µs at first,
/// then twice as long each time, up to half a millisecond. The hypervisor below us offers no exit on the
/// guest's enabling of interrupts. Most guests soon do; and half a millisecond is much more than an
/// entry takes, where processors wait for one another's: a guest whose time is over by then gets nowhere.
const WINDOW_TICKS: RangeInclusive<u64> =
    Nested::TICKS_PER_SECOND / 62_500..=Nested::TICKS_PER_SECOND / 2_000;

/// This processor's number, which is kept in SPRG0: guests have one of their own.
pub(crate) fn this_processor() -> usize {
    spr::read::<{ spr::SPRG0 }>() as usize % MAX_PROCESSORS
}

impl Cpu {
    /// When the guest is to exit; a window is good for one exit.
    pub(crate) fn expiry(&self) -> u64 {
        let window = self.window.swap(u64::MAX, Relaxed);
        if window == u64::MAX {
            self.pause.store(0, Relaxed);
        }
        let at = self.alarm.load(Relaxed).min(window);
        at.min(Nested.timebase() + i32::MAX as u64)
    }

    pub(crate) fn alarm_is_due(&self) -> bool {
        self.alarm.load(Relaxed) <= Nested.timebase()
    }

    /// Notes a guest's entry into partition `Some`, or its exit.
    pub(crate) fn pass(&self, into: Option<u32>) {
        if let Some(partition) = into {
            self.partition.store(partition, Relaxed);
        }
        self.passages.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst); // what the guest's translations are read from has been stored
    }

    /// Waits until a guest of the partition that runs there now has been stopped.
    fn drive_out(&self, partition: u32) {
        let seen = self.passages.load(Ordering::SeqCst);
        if seen % 2 == 1 && self.partition.load(Relaxed) == partition {
            hcall::interrupt(self.server.load(Relaxed));
            while self.passages.load(Ordering::SeqCst) == seen {
                core::hint::spin_loop();
            }
        }
    }

    /// Takes back the interrupt of a kick.
    pub(crate) fn take_kick(&self) {
        hcall::take_interrupt(self.server.load(Relaxed));
    }
}

impl Deref for Nested {
    type Target = RealStorage;

    fn deref(&self) -> &RealStorage {
        &RealStorage
    }
}

impl Machine for Nested {
    fn timebase(&self) -> u64 {
        spr::read::<{ spr::TIMEBASE }>()
    }

    fn random(&self) -> Option<u64> {
        hv_power::random::number()
    }

    fn set_partition(&self, partition: Partition, entry: [u64; 2]) {
        partition::set(partition, entry);
    }

    fn flush_partition(&self, partition: Partition) {
        hcall::invalidate_partition(partition.0.into());
        // QEMU forgets translations where guests are entered and left, and only there.
        fence(Ordering::SeqCst);
        for cpu in &CPUS {
            cpu.drive_out(partition.0.into());
        }
    }

    fn holder(&self, vcpu: VcpuId) -> Option<ProcessorId> {
        SLOTS.holder(vcpu)
    }

    fn install(&self, vcpu: VcpuId, start: &Start) {
        SLOTS.install(vcpu, start);
    }

    fn set_interrupt_mode(&self, mode: InterruptMode) -> bool {
        with_resident(|context| context.state.lpcr = mode::set(context.state.lpcr, mode));
        true
    }

    fn interrupt_mode(&self) -> InterruptMode {
        with_resident(|context| mode::of(context.state.lpcr))
    }

    fn set_interrupted_state(&self, nip: u64, msr: u64) {
        with_resident(|context| (context.state.srr0, context.state.srr1) = (nip, msr));
    }

    fn interrupted_state(&self) -> [u64; 4] {
        let (srr0, srr1) = with_resident(|context| (context.state.srr0, context.state.srr1));
        [srr0, srr1, spr::read::<{ spr::DAR }>(), spr::read::<{ spr::DSISR }>()]
    }

    fn registers(&self, vcpu: VcpuId) -> Option<Frame> {
        SLOTS.look(vcpu, |context| context.registers.frame())
    }

    fn guest_deadline(&self) -> u64 {
        spr::deadline()
    }

    fn fault(&self, vector: u16) -> Fault {
        with_resident(|context| {
            let state = &context.state;
            // The cause of a fetch's fault is lost on the way from the hypervisor below us.
            let (effective, status) = match vector {
                vector::HYPERVISOR_INSTRUCTION_STORAGE => (context.registers.nip(), 0),
                _ => (state.hdar, state.hdsisr),
            };
            let effective = EffAddr::new(effective);
            let page = GuestAddr::new(state.asdr).align_down(1 << 12);
            Fault { effective, guest: page.offset(effective.offset_in(1 << 12)), status }
        })
    }

    fn request_window(&self) {
        let cpu = &CPUS[this_processor()];
        let pause = (2 * cpu.pause.load(Relaxed)).clamp(*WINDOW_TICKS.start(), *WINDOW_TICKS.end());
        cpu.pause.store(pause, Relaxed);
        cpu.window.store(self.timebase() + pause, Relaxed);
    }

    fn ring(&self) {
        with_resident(|context| context.rung = true);
        spr::ring_doorbell();
    }

    fn set_alarm(&self, at: u64) {
        CPUS[this_processor()].alarm.store(at, Relaxed);
    }

    fn wait(&self) {
        let cpu = &CPUS[this_processor()];
        spr::set_deadline(cpu.alarm.load(Relaxed));
        hcall::cede();
        cpu.take_kick();
    }

    fn kick(&self, processor: ProcessorId) {
        let number = processor.0 as usize;
        if let Some(cpu) = CPUS.get(number).filter(|_| number != this_processor()) {
            hcall::interrupt(cpu.server.load(Relaxed));
        }
    }

    fn console_write(&self, bytes: &[u8]) {
        hcall::console_write(bytes);
    }

    fn console_read(&self, into: &mut [u8]) -> usize {
        // What is taken cannot be put back: nothing is where there is too little room.
        into.first_chunk_mut().map_or(0, hcall::console_read)
    }

    fn power_off(&self) -> ! {
        crate::stop::power_off()
    }
}
