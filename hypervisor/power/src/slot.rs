//! Places for the vCPUs' registers, each of which one processor at a time may touch.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use hv_core::vcpu::MAX_VCPUS;
use hv_core::{ProcessorId, Start, VcpuId};
use spin::Mutex;

/// Nobody's: no processor has this slot's registers.
const NOBODY: u32 = u32::MAX;

/// The registers `C` of a vCPU. They are apart from [`Slots`] so that an image holds no zeroes for
/// them.
pub struct Registers<C>(UnsafeCell<C>);

// SAFETY: touched only by the processor that the slot's `holder` names (see `Slots::take`).
unsafe impl<C> Sync for Registers<C> {}

impl<C> Registers<C> {
    /// With this in them.
    pub const fn new(context: C) -> Registers<C> {
        Registers(UnsafeCell::new(context))
    }
}

/// Whose a vCPU's registers are, and how it starts.
struct Slot {
    /// The processor that may touch them.
    holder: AtomicU32,
    /// How the vCPU starts, when it next gets a processor.
    start: Mutex<Option<Start>>,
    /// It does.
    starts: AtomicBool,
    /// The general registers are in their place: the vCPU has run, and has left its processor.
    settled: AtomicBool,
}

impl Slot {
    const fn new() -> Slot {
        let (starts, settled) = (AtomicBool::new(false), AtomicBool::new(false));
        Slot { holder: AtomicU32::new(NOBODY), start: Mutex::new(None), starts, settled }
    }
}

/// The places of all vCPUs.
pub struct Slots<C: 'static> {
    registers: &'static [Registers<C>; MAX_VCPUS],
    slots: [Slot; MAX_VCPUS],
}

impl<C> Slots<C> {
    /// Slots that nobody holds.
    pub const fn new(registers: &'static [Registers<C>; MAX_VCPUS]) -> Slots<C> {
        let slots = [const { Slot::new() }; MAX_VCPUS];
        Slots { registers, slots }
    }

    /// Notes how the vCPU starts; it takes effect when it next gets a processor.
    pub fn install(&self, vcpu: VcpuId, start: &Start) {
        let slot = &self.slots[vcpu.index()];
        *slot.start.lock() = Some(*start);
        slot.starts.store(true, Ordering::Release);
    }

    /// Notes that the vCPU has left its processor, or is about to run there.
    pub fn settle(&self, vcpu: VcpuId, settled: bool) {
        self.slots[vcpu.index()].settled.store(settled, Ordering::Release);
    }

    /// Looks at general registers that are in their place, from any processor; the policy sees to it
    /// that the vCPU is not run meanwhile.
    pub fn look<T>(&self, vcpu: VcpuId, look: impl FnOnce(&C) -> T) -> Option<T> {
        let slot = &self.slots[vcpu.index()];
        let settled = slot.settled.load(Ordering::Acquire) && !slot.starts.load(Ordering::Acquire);
        // SAFETY: general registers change only while the vCPU runs; `look` reads no others, which
        // the processor that holds them may be saving.
        settled.then(|| look(unsafe { &*self.context(vcpu.index()) }))
    }

    /// How the vCPU is to start anew, if it is to: told once.
    pub fn begins(&self, vcpu: VcpuId) -> Option<Start> {
        let slot = &self.slots[vcpu.index()];
        if slot.starts.load(Ordering::Acquire) {
            slot.starts.store(false, Ordering::Relaxed);
            return slot.start.lock().take();
        }
        None
    }

    /// Makes the registers `processor`'s alone.
    ///
    /// # Panics
    /// When another processor has them.
    pub fn take(&self, vcpu: VcpuId, processor: ProcessorId) -> *mut C {
        let (me, holder) = (processor.0, &self.slots[vcpu.index()].holder);
        match holder.compare_exchange(NOBODY, me, Ordering::Acquire, Ordering::Relaxed) {
            Err(holder) if holder != me => {
                panic!("vCPU {vcpu:?} was to run, whose registers processor {holder} has")
            }
            _ => self.context(vcpu.index()),
        }
    }

    /// The processor that has them.
    pub fn holder(&self, vcpu: VcpuId) -> Option<ProcessorId> {
        let holder = self.slots[vcpu.index()].holder.load(Ordering::Acquire);
        (holder != NOBODY).then_some(ProcessorId(holder))
    }

    /// Lets another processor take them.
    pub fn release(&self, vcpu: VcpuId) {
        self.slots[vcpu.index()].holder.store(NOBODY, Ordering::Release);
    }

    /// Where they are, by the vCPU's index; only for the processor that has taken them.
    pub fn context(&self, index: usize) -> *mut C {
        self.registers[index].0.get()
    }
}
