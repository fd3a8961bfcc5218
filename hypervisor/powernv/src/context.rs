//! A vCPU's registers, and what moves them.
//!
//! The vCPU whose special and vector registers are in the processor is *resident* there. It stays
//! so while the processor idles or serves its exits, until another vCPU is to run: switches are
//! rare, and on QEMU each write of LPIDR or PIDR flushes the whole TLB.

use crate::machine::PowerNv;
use crate::special;
use core::mem::offset_of;
use hv_core::vcpu::MAX_VCPUS;
use hv_core::{Frame, Hypervisor, Next, Processor, ProcessorId, Start, VcpuId};
use hv_power::mode;
use hv_power::slot::{Registers, Slots};
use hv_power::spr::{self, deadline, set_deadline};
use hv_power::vectors::Vectors;
use k42_lib::{lpcr, msr};

/// A vCPU's registers. `switch.S` knows this layout by its offsets.
#[repr(C, align(128))]
pub(crate) struct Context {
    pub(crate) frame: Frame,
    /// This processor's stack, TOC and entry points into Rust, while the vCPU is on it.
    stack: u64,
    toc: u64,
    exit: Option<unsafe extern "C" fn(*mut Context, u64) -> *mut Context>,
    switch: Option<unsafe extern "C" fn(*mut Context) -> *mut Context>,
    fatal: Option<unsafe extern "C" fn(*mut Context, u64) -> !>,
    cpu: *mut Cpu,
    lpid: u64,
    pid: u64,
    lpcr: u64,
    /// When the decrementer expires, in timebase ticks.
    deadline: u64,
    special: [u64; special::SWITCHED],
    vectors: Vectors,
}

core::arch::global_asm!(
    include_str!("switch.S"),
    GPR12 = const 12 * 8,
    NIP = const offset_of!(Context, frame.nip),
    MSR = const offset_of!(Context, frame.msr),
    LINK = const offset_of!(Context, frame.link),
    COUNTER = const offset_of!(Context, frame.counter),
    XER = const offset_of!(Context, frame.xer),
    CR = const offset_of!(Context, frame.cr),
    STACK = const offset_of!(Context, stack),
    TOC = const offset_of!(Context, toc),
    EXIT = const offset_of!(Context, exit),
    SWITCH = const offset_of!(Context, switch),
    FATAL = const offset_of!(Context, fatal),
);

/// A processor.
pub(crate) struct Cpu {
    pub(crate) number: ProcessorId,
    pub(crate) processor: Processor,
    /// The context whose special and vector registers are in the processor, and its vCPU.
    pub(crate) resident: Option<VcpuId>,
    /// Who is to run next, between an exit and the switch that follows it.
    pub(crate) next: Option<VcpuId>,
    pub(crate) stack: u64,
    pub(crate) toc: u64,
}

impl Context {
    // SAFETY: all bits zero are a value of every field: a number, no function, no address.
    pub(crate) const ZERO: Context = unsafe { core::mem::zeroed() };

    /// Tells `switch.S` where to go on: on this processor's stack, in our own code.
    pub(crate) fn seat(&mut self, cpu: &mut Cpu) {
        self.stack = cpu.stack;
        self.toc = cpu.toc;
        self.exit = Some(powernv_exit);
        self.switch = Some(powernv_switch);
        self.fatal = Some(powernv_fatal);
        self.cpu = cpu;
    }

    /// The registers of a vCPU at its start.
    fn start(&mut self, start: &Start) {
        let order = if start.little_endian { msr::LE } else { 0 };
        let msr = msr::SF | msr::ME | order;
        *self = Context {
            frame: Frame { nip: start.entry.value(), msr, ..Frame::default() },
            lpid: start.partition.0.into(),
            lpcr: mode::set(GUEST_LPCR, start.interrupts),
            deadline: u64::MAX,
            ..Context::ZERO
        };
        (self.frame.gpr[1], self.frame.gpr[3]) = (start.stack, start.argument);
    }
}

/// What the LPCR holds while guests run, but for the byte order of interrupts: radix for host and
/// guest, the guest's own TLB invalidations, external interrupts to the guest, the hypervisor's
/// decrementer to us, and what ends a `stop` (bits 17 and 47:51).
const GUEST_LPCR: u64 =
    lpcr::HR | lpcr::UPRT | lpcr::GTSE | lpcr::LPES0 | lpcr::HVICE | lpcr::HDICE | lpcr::STOP_ENDS;

static REGISTERS: [Registers<Context>; MAX_VCPUS] =
    [const { Registers::new(Context::ZERO) }; MAX_VCPUS];
pub(crate) static SLOTS: Slots<Context> = Slots::new(&REGISTERS);

/// The hypervisor, on this machine.
pub(crate) static HYPERVISOR: Hypervisor<PowerNv> = Hypervisor::new(PowerNv);

/// The vCPU that this processor has or had last, for messages: its place in the table.
pub(crate) fn last_vcpu() -> Option<usize> {
    let first = &raw const REGISTERS as u64;
    let offset = spr::read::<{ spr::HSPRG0 }>().checked_sub(first)?;
    let place = offset as usize / size_of::<Registers<Context>>();
    Some(place).filter(|place| *place < MAX_VCPUS)
}

/// Moves the registers of `vcpu` into this processor, and those of the resident one out.
#[inline(never)]
fn make_resident(cpu: &mut Cpu, vcpu: VcpuId) -> *mut Context {
    let start = SLOTS.begins(vcpu);
    SLOTS.settle(vcpu, false);
    if cpu.resident == Some(vcpu) && start.is_none() {
        return SLOTS.context(vcpu.index());
    }
    spr::with_vectors(|| {
        if let Some(old) = cpu.resident.take() {
            // SAFETY: this processor holds the slot: it made the vCPU resident.
            let context = unsafe { &mut *SLOTS.context(old.index()) };
            special::save(&mut context.special);
            context.pid = spr::read::<{ spr::PIDR }>();
            context.lpcr = spr::read::<{ spr::LPCR }>();
            context.deadline = deadline();
            context.vectors.save();
            SLOTS.release(old);
            HYPERVISOR.released(old);
        }
        let at = SLOTS.take(vcpu, cpu.number);
        // SAFETY: `take` made this processor the only holder.
        let context = unsafe { &mut *at };
        if let Some(start) = &start {
            context.start(start);
        }
        context.seat(cpu);
        spr::write::<{ spr::LPIDR }>(context.lpid);
        spr::write::<{ spr::LPCR }>(context.lpcr);
        spr::write::<{ spr::PIDR }>(context.pid);
        special::load(&context.special);
        set_deadline(context.deadline);
        context.vectors.load();
        cpu.resident = Some(vcpu);
        at
    })
}

/// A guest has exited. Returns the same context to resume it, or null for a switch.
///
/// # Safety
/// Called by `switch.S` with the context in HSPRG0.
unsafe extern "C" fn powernv_exit(context: *mut Context, vector: u64) -> *mut Context {
    // SAFETY: the context of the vCPU on this processor is this processor's.
    let context_ref = unsafe { &mut *context };
    // SAFETY: `make_resident` set it to this processor's own.
    let cpu = unsafe { &mut *context_ref.cpu };
    let frame = &mut context_ref.frame;
    frame.msr &= !msr::SRR1_INFORMATION;
    cpu.next = match HYPERVISOR.exit(&mut cpu.processor, vector as u16, frame) {
        Next::Resume => return context,
        Next::Switch(vcpu) => Some(vcpu),
        Next::Idle => None,
    };
    core::ptr::null_mut()
}

/// `from`'s r14 to r31 are saved: another vCPU may come. Returns its context.
///
/// # Safety
/// Called by `switch.S` on the stack of the processor whose context `from` is.
unsafe extern "C" fn powernv_switch(from: *mut Context) -> *mut Context {
    // SAFETY: as in `powernv_exit`.
    let from = unsafe { &*from };
    // SAFETY: as in `powernv_exit`; a boot context has it from its making.
    let cpu = unsafe { &mut *from.cpu };
    loop {
        if let Some(vcpu) = cpu.resident {
            SLOTS.settle(vcpu, true);
        }
        let vcpu = cpu.next.take().unwrap_or_else(|| idle(cpu));
        let context = make_resident(cpu, vcpu);
        // SAFETY: `make_resident` made this processor the only holder.
        let frame = unsafe { &mut (*context).frame };
        match HYPERVISOR.leave(&mut cpu.processor, frame) {
            Next::Resume => return context,
            Next::Switch(vcpu) => cpu.next = Some(vcpu),
            Next::Idle => {}
        }
    }
}

/// Idles with the resident vCPU's decrementer put away, which would end every `stop` at once.
#[inline(never)]
fn idle(cpu: &mut Cpu) -> VcpuId {
    let kept = cpu.resident.map(|_| deadline());
    set_deadline(u64::MAX);
    let vcpu = HYPERVISOR.idle(&mut cpu.processor);
    if let Some(kept) = kept {
        set_deadline(kept);
    }
    vcpu
}

/// An interrupt that only a mistake of ours, or the machine's, can bring.
///
/// # Safety
/// Called by `switch.S`; does not return.
unsafe extern "C" fn powernv_fatal(_: *mut Context, vector: u64) -> ! {
    let (srr0, srr1) = (spr::read::<{ spr::SRR0 }>(), spr::read::<{ spr::SRR1 }>());
    let (dar, dsisr) = (spr::read::<{ spr::DAR }>(), spr::read::<{ spr::DSISR }>());
    let hsrr0 = spr::read::<{ spr::HSRR0 }>();
    crate::stop::fail(format_args!(
        "interrupt {vector:#x} in the hypervisor: srr0 {srr0:#x} srr1 {srr1:#x} hsrr0 {hsrr0:#x} dar {dar:#x} dsisr {dsisr:#x}"
    ))
}
