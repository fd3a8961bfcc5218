//! A machine that runs on the host: real storage in a map, a timebase that tests set, a serial
//! line of bytes, and a TLB that remembers translations until it is told to forget them, so that a
//! forgotten invalidation is a failed test.
//!
//! [`Fake`] is the machine; [`Board`] is a hypervisor on it with processors, driven by tests.
#![forbid(unsafe_code)]

mod board;
mod check;
pub mod fuzz;

pub use board::{Board, CLOCK, Guest, IMAGE};

use hv_core::frames::{Entry, FRAME_SIZE, Frames};
use hv_core::memory::disk::Disk;
use hv_core::{
    Fault, Frame, Hypervisor, InterruptMode, Machine, Partition, ProcessorId, Start, Storage,
    VcpuId,
};
use k42_lib::radix::{Access, TableMemory, TableSize, Tree};
use k42_lib::{GuestAddr, RealAddr};
use spin::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Deref;

/// What the TLB knows translations of.
const PAGE: u64 = 1 << 12;

/// The machine's disks, beyond all memory.
pub const DISKS: [Disk; 3] = [
    (RealAddr::new(1 << 50), 4 << 20),
    (RealAddr::new(1 << 50 | 1 << 32), 2 << 30),
    (RealAddr::new(1 << 50 | 2 << 32), 2 << 20),
];

/// What [`Machine::power_off`] unwinds with: a test catches it with [`powers_off`].
struct PoweredOff;

/// Whether `work` turns the machine off.
pub fn powers_off(work: impl FnOnce()) -> bool {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(()) => false,
        Err(payload) if payload.is::<PoweredOff>() => true,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// The machine's state, all of it for tests to see.
#[derive(Default)]
pub struct State {
    storage: BTreeMap<u64, Vec<u8>>,
    partitions: HashMap<u16, [u64; 2]>,
    tlb: HashMap<(u16, u64), (u64, Access)>,
    cached: check::Cached,
    /// The timebase.
    pub now: u64,
    /// When the vCPU's decrementer expires.
    pub deadline: u64,
    /// What has been written to the serial line.
    pub output: Vec<u8>,
    /// What waits to be read from it.
    pub input: VecDeque<u8>,
    /// How vCPUs were started, by their places.
    pub started: BTreeMap<usize, Start>,
    /// The alarm of the processor that set its last.
    pub alarm: u64,
    /// Which vCPU's registers each processor has.
    residents: BTreeMap<u32, VcpuId>,
    /// Processors that were kicked.
    pub kicked: BTreeSet<u32>,
    /// A window exit was asked for.
    pub window: bool,
    /// The doorbell was rung.
    pub rung: bool,
    /// The interrupted state that was set last.
    pub interrupted: Option<(u64, u64)>,
    /// The registers of vCPUs that are on no processor, by their places.
    pub registers: BTreeMap<usize, Frame>,
    /// What [`Machine::random`] gives.
    pub random: Option<u64>,
    /// How interrupts arrive.
    pub interrupts: InterruptMode,
    /// They cannot arrive translated.
    pub only_real_mode: bool,
    /// What another processor stores where, just before bits are set there.
    pub meanwhile: Option<(RealAddr, u64)>,
    /// What [`Machine::fault`] says.
    pub fault: Fault,
}

/// What several processors that run at once need of whoever runs them: to sleep and be woken. The
/// machine alone has nobody to wait for, and lets its time pass instead.
pub trait Host: Send + Sync {
    /// The calling processor's [`Machine::set_alarm`].
    fn set_alarm(&self, at: u64);
    /// Its [`Machine::wait`].
    fn wait(&self);
    /// [`Machine::kick`].
    fn kick(&self, processor: ProcessorId);
}

/// A machine in the host's memory.
#[derive(Default)]
pub struct Fake {
    /// Who runs its processors, where they run at once.
    pub host: Option<Box<dyn Host>>,
    storage: FakeStorage,
}

/// Its storage, and what else there is of it.
#[derive(Default)]
pub struct FakeStorage {
    state: Mutex<State>,
    size: u64,
}

impl Fake {
    /// A machine with `mebibytes` of storage.
    pub fn new(mebibytes: u64) -> Fake {
        let storage = FakeStorage { size: mebibytes << 20, ..FakeStorage::default() };
        Fake { host: None, storage }
    }

    /// All of its storage, free.
    pub fn frames(&self) -> Frames {
        let count = usize::try_from(self.size / FRAME_SIZE).expect("a machine of sane size");
        let mut frames = Frames::new(Vec::leak(vec![Entry::PLATFORM; count]));
        frames.release(RealAddr::new(0), RealAddr::new(self.size));
        frames
    }

    /// What a guest of `partition` finds at a guest real address: as the processor would, by the
    /// TLB if it knows the page, else by the partition's tables.
    pub fn guest_translate(&self, partition: u16, at: GuestAddr) -> Option<RealAddr> {
        self.guest_access(partition, at, Access::READ)
    }

    /// The same for an access of this kind; `None` for a fault.
    pub fn guest_access(&self, partition: u16, at: GuestAddr, access: Access) -> Option<RealAddr> {
        let page = at.align_down(PAGE).value();
        let mut state = self.state();
        let (real, allowed) = match state.tlb.get(&(partition, page)) {
            Some(known) => *known,
            None => {
                let [host, _] = state.partitions.get(&partition).copied()?;
                let found = Walk(&state, root(host)?).translate(page)?;
                state.tlb.insert((partition, page), found);
                found
            }
        };
        allowed.contains(access).then(|| RealAddr::new(real + at.offset_in(PAGE)))
    }

    /// Has the TLB know a translation that was true once.
    pub fn leave_translation(&self, partition: u16, at: GuestAddr, to: RealAddr) {
        let access = Access::READ | Access::WRITE;
        self.state().tlb.insert((partition, at.value()), (to.value(), access));
    }

    /// Reads a byte as a guest would; `None` for a partition-scoped fault.
    pub fn guest_byte(&self, partition: u16, at: GuestAddr) -> Option<u8> {
        let real = self.guest_translate(partition, at)?;
        let mut byte = [0];
        self.read(real, &mut byte);
        Some(byte[0])
    }
}

/// Moves a vCPU's registers to a processor where it runs now, and those of the one before out.
///
/// # Panics
/// When another processor has them.
pub fn make_resident(hv: &Hypervisor<Fake>, processor: ProcessorId, vcpu: VcpuId) {
    let before = {
        let mut state = hv.machine.state();
        let elsewhere = state.residents.iter().find(|(at, v)| **v == vcpu && **at != processor.0);
        assert_eq!(elsewhere, None, "{vcpu:?} is to run on {processor:?}");
        state.residents.insert(processor.0, vcpu)
    };
    if let Some(before) = before.filter(|before| *before != vcpu) {
        hv.released(before);
    }
}

/// The root table of a partition table entry that is valid.
fn root(entry: u64) -> Option<u64> {
    (entry >> 63 == 1).then_some(entry & 0x0fff_ffff_ffff_ff00)
}

/// A walk of tables in storage.
struct Walk<'a>(&'a State, u64);

impl Walk<'_> {
    fn translate(&self, page: u64) -> Option<(u64, Access)> {
        // A tree is known by its root alone; this one is the processor's view of it.
        Tree::at(self.1).translate(self, page).map(|found| (found.address, found.access))
    }
}

impl TableMemory for Walk<'_> {
    fn load(&self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        copy_out(&self.0.storage, address, &mut bytes);
        u64::from_be_bytes(bytes)
    }
    fn store(&mut self, _: u64, _: u64) {}
    fn allocate(&mut self, _: TableSize) -> Option<u64> {
        None
    }
}

fn copy_out(storage: &BTreeMap<u64, Vec<u8>>, from: u64, into: &mut [u8]) {
    let mut at = from;
    let mut rest = into;
    while !rest.is_empty() {
        let offset = (at % FRAME_SIZE) as usize;
        let (part, left) = rest.split_at_mut(rest.len().min(FRAME_SIZE as usize - offset));
        match storage.get(&(at / FRAME_SIZE)) {
            Some(frame) => part.copy_from_slice(&frame[offset..offset + part.len()]),
            None => part.fill(0),
        }
        at += part.len() as u64;
        rest = left;
    }
}

impl FakeStorage {
    /// The machine's state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Whether there is storage: memory, or a disk.
    fn has(&self, at: RealAddr, length: u64) -> bool {
        let inside = |(start, size): &Disk| {
            *start <= at && at.value() + length <= start.offset(*size).value()
        };
        at.value() + length <= self.size || DISKS.iter().any(inside)
    }

    /// Changes a doubleword under one lock; what it was.
    fn update(&self, at: RealAddr, change: impl FnOnce(u64) -> u64) -> u64 {
        assert!(at.is_aligned(8) && self.has(at, 8), "no doubleword at {at}");
        let mut state = self.state();
        let frame = state.storage.entry(at.value() / FRAME_SIZE);
        let frame = frame.or_insert_with(|| vec![0; FRAME_SIZE as usize]);
        let offset = (at.value() % FRAME_SIZE) as usize;
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&frame[offset..offset + 8]);
        let before = u64::from_le_bytes(bytes);
        frame[offset..offset + 8].copy_from_slice(&change(before).to_le_bytes());
        before
    }
}

impl Storage for FakeStorage {
    fn read(&self, from: RealAddr, into: &mut [u8]) {
        assert!(self.has(from, into.len() as u64), "read outside storage at {from}");
        copy_out(&self.state().storage, from.value(), into);
    }

    fn write(&self, to: RealAddr, from: &[u8]) {
        assert!(self.has(to, from.len() as u64), "write outside storage at {to}");
        let mut state = self.state();
        for (at, byte) in (to.value()..).zip(from) {
            let frame = state.storage.entry(at / FRAME_SIZE);
            let frame = frame.or_insert_with(|| vec![0; FRAME_SIZE as usize]);
            frame[(at % FRAME_SIZE) as usize] = *byte;
        }
    }

    fn copy(&self, from: RealAddr, to: RealAddr, length: u64) {
        let mut bytes = vec![0; length as usize];
        self.read(from, &mut bytes);
        self.write(to, &bytes);
    }

    fn zero(&self, at: RealAddr, length: u64) {
        assert!(at.is_aligned(128) && length.is_multiple_of(128));
        let mut state = self.state();
        for frame in at.value() / FRAME_SIZE..(at.value() + length) / FRAME_SIZE {
            state.storage.remove(&frame);
        }
    }

    fn load_entry(&self, at: RealAddr) -> u64 {
        assert!(at.is_aligned(8), "an entry at {at}");
        let mut bytes = [0; 8];
        self.read(at, &mut bytes);
        u64::from_be_bytes(bytes)
    }

    fn store_entry(&self, at: RealAddr, entry: u64) {
        assert!(at.is_aligned(8), "an entry at {at}");
        self.write(at, &entry.to_be_bytes());
    }

    fn load_shared(&self, at: RealAddr) -> u64 {
        self.update(at, |before| before)
    }

    fn fetch_or(&self, at: RealAddr, bits: u64) -> u64 {
        let meanwhile = self.state().meanwhile.take_if(|(place, _)| *place == at && bits != 0);
        if let Some((at, value)) = meanwhile {
            self.write(at, &value.to_le_bytes());
        }
        self.update(at, |before| before | bits)
    }

    fn fetch_and(&self, at: RealAddr, bits: u64) -> u64 {
        self.update(at, |before| before & bits)
    }
}

impl Deref for Fake {
    type Target = FakeStorage;

    fn deref(&self) -> &FakeStorage {
        &self.storage
    }
}

impl Machine for Fake {
    fn timebase(&self) -> u64 {
        self.state().now
    }

    fn random(&self) -> Option<u64> {
        self.state().random
    }

    fn set_partition(&self, partition: Partition, entry: [u64; 2]) {
        self.state().partitions.insert(partition.0, entry);
    }

    fn flush_partition(&self, partition: Partition) {
        let now = self.leaves(partition.0);
        let mut state = self.state();
        state.tlb.retain(|(owner, _), _| *owner != partition.0);
        state.cached.flush(partition, now);
    }

    fn holder(&self, vcpu: VcpuId) -> Option<ProcessorId> {
        let state = self.state();
        let holder = state.residents.iter().find(|(_, resident)| **resident == vcpu);
        holder.map(|(processor, _)| ProcessorId(*processor))
    }

    fn install(&self, vcpu: VcpuId, start: &Start) {
        self.state().started.insert(vcpu.index(), *start);
    }

    fn set_interrupt_mode(&self, mode: InterruptMode) -> bool {
        let mut state = self.state();
        let possible = !mode.translated || !state.only_real_mode;
        if possible {
            state.interrupts = mode;
        }
        possible
    }

    fn interrupt_mode(&self) -> InterruptMode {
        self.state().interrupts
    }

    fn set_interrupted_state(&self, nip: u64, msr: u64) {
        self.state().interrupted = Some((nip, msr));
    }

    fn interrupted_state(&self) -> [u64; 4] {
        let state = self.state();
        let (srr0, srr1) = state.interrupted.unwrap_or_default();
        [srr0, srr1, state.fault.effective.value(), state.fault.status]
    }

    fn registers(&self, vcpu: VcpuId) -> Option<Frame> {
        self.state().registers.get(&vcpu.index()).copied()
    }

    fn guest_deadline(&self) -> u64 {
        self.state().deadline
    }

    fn fault(&self, _: u16) -> Fault {
        self.state().fault
    }

    fn request_window(&self) {
        self.state().window = true;
    }

    fn ring(&self) {
        self.state().rung = true;
    }

    fn set_alarm(&self, at: u64) {
        self.state().alarm = at;
        if let Some(host) = &self.host {
            host.set_alarm(at);
        }
    }

    fn wait(&self) {
        if let Some(host) = &self.host {
            return host.wait();
        }
        let mut state = self.state();
        assert_ne!(state.alarm, u64::MAX, "nothing would ever end this processor's sleep");
        state.now = state.now.max(state.alarm);
    }

    fn kick(&self, processor: ProcessorId) {
        self.state().kicked.insert(processor.0);
        if let Some(host) = &self.host {
            host.kick(processor);
        }
    }

    fn console_write(&self, bytes: &[u8]) {
        self.state().output.extend(bytes);
    }

    fn console_read(&self, into: &mut [u8]) -> usize {
        let mut state = self.state();
        let count = into.len().min(state.input.len());
        for slot in &mut into[..count] {
            *slot = state.input.pop_front().unwrap_or(0);
        }
        count
    }

    fn power_off(&self) -> ! {
        // No panic of a test: nothing is printed, and a fuzzer does not see it.
        std::panic::resume_unwind(Box::new(PoweredOff))
    }
}
