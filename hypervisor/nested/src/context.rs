//! A vCPU's registers, and the loop in which a processor runs them.
//!
//! As on bare metal a vCPU is *resident* on a processor until another is to run there: what the
//! hypervisor below us does not switch stays in the processor meanwhile. That is the vectors, the
//! registers of `special.rs` and the decrementer, since neither we nor H_ENTER_NESTED use them.

use crate::abi::{self, GuestState, VERSION};
use crate::machine::{CPUS, Nested, this_processor};
use crate::{hcall, special, stop::fail};
use core::sync::atomic::Ordering;
use hv_core::vcpu::MAX_VCPUS;
use hv_core::{Frame, Hypervisor, Next, Processor, ProcessorId, Start, VcpuId};
use hv_power::mode;
use hv_power::slot::{Registers, Slots};
use hv_power::spr::{self, deadline, set_deadline};
use hv_power::vectors::Vectors;
use k42_lib::{lpcr, msr, vector};

/// A vCPU's registers.
pub(crate) struct Context {
    pub(crate) state: GuestState,
    pub(crate) registers: abi::Registers,
    /// When the decrementer expires, in timebase ticks.
    deadline: u64,
    /// A doorbell that the policy has sent may be waiting still. The register that says so is the
    /// hypervisor's below us: so one too many may come where vCPUs are switched, never one too few.
    pub(crate) rung: bool,
    special: [u64; special::SWITCHED],
    vectors: Vectors,
}

impl Context {
    // SAFETY: all bits zero are a value of every field: a number, or no.
    const ZERO: Context = unsafe { core::mem::zeroed() };

    /// The registers of a vCPU at its start.
    fn start(&mut self, vcpu: VcpuId, start: &Start) {
        let order = if start.little_endian { msr::LE } else { 0 };
        *self = Context::ZERO;
        self.deadline = u64::MAX;
        self.state.version = VERSION;
        self.state.lpid = start.partition.0.into();
        self.state.vcpu_token = vcpu.index() as u32;
        self.state.lpcr = mode::set(GUEST_LPCR, start.interrupts);
        self.state.amor = u64::MAX;
        let msr = msr::SF | msr::ME | order;
        let mut frame = Frame { nip: start.entry.value(), msr, ..Frame::default() };
        (frame.gpr[1], frame.gpr[3]) = (start.stack, start.argument);
        self.registers = abi::Registers::from(&frame);
    }
}

/// What the LPCR holds while guests run, as far as the hypervisor below us lets us choose.
const GUEST_LPCR: u64 = lpcr::HR | lpcr::UPRT | lpcr::GTSE | lpcr::HVICE | lpcr::HDICE;

/// Half an hour: longer than the host stops us between two calls.
const LATER_TICKS: u64 = 1 << 40;

static REGISTERS: [Registers<Context>; MAX_VCPUS] =
    [const { Registers::new(Context::ZERO) }; MAX_VCPUS];
pub(crate) static SLOTS: Slots<Context> = Slots::new(&REGISTERS);

/// The hypervisor, on this machine.
pub(crate) static HYPERVISOR: Hypervisor<Nested> = Hypervisor::new(Nested);

/// Works on the registers of the vCPU on this processor. `work` does not call this again.
pub(crate) fn with_resident<T>(work: impl FnOnce(&mut Context) -> T) -> T {
    let resident = CPUS[this_processor()].resident.load(Ordering::Relaxed) as usize;
    // SAFETY: this processor holds the slot, as it made the vCPU resident, and borrows its
    // registers nowhere but here.
    work(unsafe { &mut *SLOTS.context(resident) })
}

/// Moves the registers of `vcpu` into this processor, and those of the `resident` one out.
fn make_resident(me: ProcessorId, resident: &mut Option<VcpuId>, vcpu: VcpuId) {
    let start = SLOTS.begins(vcpu);
    SLOTS.settle(vcpu, false);
    if *resident == Some(vcpu) && start.is_none() {
        return;
    }
    spr::with_vectors(|| {
        if let Some(old) = resident.take() {
            with_resident(|context| {
                special::save(&mut context.special);
                context.deadline = deadline();
                context.vectors.save();
            });
            SLOTS.release(old);
            HYPERVISOR.released(old);
        }
        SLOTS.take(vcpu, me);
        CPUS[this_processor()].resident.store(vcpu.index() as u32, Ordering::Relaxed);
        with_resident(|context| {
            if let Some(start) = &start {
                context.start(vcpu, start);
            }
            special::load(&context.special);
            set_deadline(context.deadline);
            context.vectors.load();
        });
        *resident = Some(vcpu);
    });
    spr::clear_doorbell();
    ring_again();
}

/// Sends the resident vCPU's doorbell again, which had to be taken back.
fn ring_again() {
    if with_resident(|context| context.rung) {
        spr::ring_doorbell();
    }
}

/// This processor runs guests from now on.
pub(crate) fn run(me: ProcessorId) -> ! {
    let mut processor = Processor::new(me);
    let mut resident = None;
    let mut vcpu = HYPERVISOR.idle(&mut processor);
    loop {
        make_resident(me, &mut resident, vcpu);
        let mut next = decide(|frame| HYPERVISOR.leave(&mut processor, frame));
        while next == Next::Resume {
            next = step(&mut processor);
        }
        SLOTS.settle(vcpu, true);
        vcpu = match next {
            Next::Switch(vcpu) => vcpu,
            _ => idle(&mut processor),
        };
    }
}

/// Has the policy decide about the resident vCPU's registers.
fn decide(policy: impl FnOnce(&mut Frame) -> Next) -> Next {
    let mut frame = with_resident(|context| context.registers.frame());
    frame.msr &= !msr::SRR1_INFORMATION;
    let next = policy(&mut frame);
    with_resident(|context| context.registers = abi::Registers::from(&frame));
    next
}

/// Runs the resident vCPU to its next exit, and has the policy decide.
fn step(processor: &mut Processor) -> Next {
    let cpu = &CPUS[this_processor()];
    let expiry = cpu.expiry();
    let (status, enabled) = with_resident(|context| {
        let Context { state, registers, .. } = context;
        state.hfscr = spr::GUEST_FACILITIES;
        cpu.pass(Some(state.lpid));
        // The hypervisor below us triggers its decrementer by an edge, and would never stop a guest
        // that is entered after its time, unless much was left before. So first it enters one that
        // has much time and stops at its first instruction.
        state.hdec_expiry = spr::read::<{ spr::TIMEBASE }>() + LATER_TICKS;
        hcall::enter(state, &mut abi::Registers::nowhere());
        state.hdec_expiry = expiry;
        let status = hcall::enter(state, registers);
        cpu.pass(None);
        (status, registers.frame().msr & msr::EE != 0)
    });
    let Ok(stopped) = u16::try_from(status) else {
        fail(format_args!("the hypervisor below does not run the guest: status {status}"))
    };
    let stopped = match stopped {
        // Early: to see whether the guest has enabled interrupts (`Machine::request_window`).
        vector::HYPERVISOR_DECREMENTER if !cpu.alarm_is_due() => vector::HYPERVISOR_DOORBELL,
        vector::HYPERVISOR_VIRTUALIZATION => {
            cpu.take_kick();
            stopped
        }
        _ => stopped,
    };
    if stopped == vector::SYSTEM_CALL && enabled {
        with_resident(|context| context.rung = false); // it has come before the call
    }
    decide(|frame| HYPERVISOR.exit(processor, stopped, frame))
}

/// Idles with the resident vCPU's doorbell and decrementer put away, which is the alarm meanwhile.
fn idle(processor: &mut Processor) -> VcpuId {
    let kept = deadline();
    spr::clear_doorbell();
    let vcpu = HYPERVISOR.idle(processor);
    set_deadline(kept);
    ring_again();
    vcpu
}
