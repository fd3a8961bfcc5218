//! What a vCPU and the hypervisor share (H_REGISTER_VPA, LoPAR 14.11.3): the virtual processor
//! area, which tells the guest how often its vCPU was dispatched and how long it had to wait for a
//! processor, and the dispatch trace log, a record for each dispatch.
//!
//! Both lie in pages of the domain's own memory that are held while they are registered: they count
//! as lent, so that they are not taken from the domain. All in them is big-endian. What the hypervisor needs
//! to know of its own counts it keeps itself; the guest may spoil its copy.

use crate::Hypervisor;
use crate::domain::DomainId;
use crate::frames::FRAME_SIZE;
use crate::hypercall::Coded;
use crate::machine::{Machine, ProcessorId, Storage};
use crate::vcpu::{Times, VcpuId};
use hv_abi::common::code;
use k42_lib::{GuestAddr, RealAddr};

/// What H_REGISTER_VPA does: bits 16 to 18 of its flags.
mod function {
    pub(super) const SHIFT: u32 = 45;
    pub(super) const REGISTER_AREA: u64 = 1;
    pub(super) const REGISTER_LOG: u64 = 2;
    pub(super) const FORGET_AREA: u64 = 5;
    pub(super) const FORGET_LOG: u64 = 6;
}

/// The least that an area has, and what it must not cross.
const SHORTEST: u64 = 640;
const PAGE: u64 = 4096;
/// Offsets in an area, of doublewords.
mod offset {
    /// Its second byte has the flag that says that the processors are shared.
    pub(super) const STATUS: u64 = 0x8;
    /// Its first byte says which dispatches are to be logged.
    pub(super) const LOG_MASK: u64 = 0xb8;
    /// Dispatches and returns, in the upper word: odd while the vCPU has no processor.
    pub(super) const DISPATCHES: u64 = 0x100;
    /// Ticks that the vCPU has waited for a processor.
    pub(super) const WAITED: u64 = 0x158;
    /// How many records were ever written to the log.
    pub(super) const LOG_INDEX: u64 = 0x218;
}
/// The flag of `STATUS`.
const SHARED: u64 = 2 << 48;
/// Bytes of a record of the log.
const RECORD: u64 = 48;
/// Why a vCPU was dispatched, and why it was not before (bits of the mask are their numbers):
/// because its time had come after others', or an interrupt after it had ceded the processor.
const PREEMPTED: [u64; 3] = [7, 4, 2];
const CEDED: [u64; 3] = [0, 2, 1];

/// What a vCPU has registered.
#[derive(Clone, Copy, Debug)]
pub struct Areas {
    area: Option<RealAddr>,
    log: Option<Log>,
    /// Dispatches and returns.
    pub(super) dispatches: u32,
    /// Ticks that it had waited and slept at the last dispatch.
    before: [u64; 2],
}

#[derive(Clone, Copy, Debug)]
struct Log {
    at: RealAddr,
    /// Bytes of whole records, and records written.
    size: u64,
    written: u64,
}

impl Areas {
    /// Nothing is registered, and no processor has the vCPU.
    pub(crate) const NONE: Areas = Areas { area: None, log: None, dispatches: 1, before: [0; 2] };

    /// The pages that are held for them.
    pub(crate) fn pages(&self) -> impl Iterator<Item = RealAddr> {
        self.area.into_iter().chain(self.log.map(|log| log.at))
    }

    /// The vCPU gets a processor. Those that have no area are not to notice.
    #[inline]
    pub(crate) fn dispatched(&mut self, machine: &impl Machine, on: ProcessorId, times: &Times) {
        self.dispatches = self.dispatches.wrapping_add(1);
        if let Some(area) = self.area {
            self.tell_all(machine, area, on, times);
        }
    }

    #[inline(never)]
    fn tell_all(&mut self, machine: &impl Machine, area: RealAddr, on: ProcessorId, times: &Times) {
        let [_, waited, slept, _] = times.spent;
        self.tell(machine, area);
        machine.store_entry(area.offset(offset::WAITED), waited);
        let [waited_before, slept_before] = core::mem::replace(&mut self.before, [waited, slept]);
        let Some(log) = self.log.as_mut() else { return };
        let slept = slept.saturating_sub(slept_before);
        let [why, why_not, bit] = if slept == 0 { PREEMPTED } else { CEDED };
        if machine.load_entry(area.offset(offset::LOG_MASK)) >> 56 & bit == 0 {
            return;
        }
        let word = |ticks: u64| ticks.min(u32::MAX.into());
        let waited = word(waited.saturating_sub(waited_before));
        let head = why << 56 | why_not << 48 | u64::from(on.0) << 32 | waited;
        let place = log.written.saturating_mul(RECORD).checked_rem(log.size).unwrap_or(0);
        let record = [head, word(slept), times.since, 0, 0, 0];
        for (n, value) in (0..).step_by(8).zip(record) {
            machine.store_entry(log.at.offset(place).offset(n), value);
        }
        log.written = log.written.wrapping_add(1);
        machine.store_entry(area.offset(offset::LOG_INDEX), log.written);
    }

    /// It has none any more.
    pub(crate) fn left(&mut self, machine: &impl Machine) {
        self.dispatches = self.dispatches.wrapping_add(1);
        if let Some(area) = self.area {
            self.tell(machine, area);
        }
    }

    fn tell(&self, machine: &impl Machine, area: RealAddr) {
        machine.store_entry(area.offset(offset::DISPATCHES), u64::from(self.dispatches) << 32);
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Registers or forgets an area or a log of a vCPU of the domain.
    pub(super) fn register_area(
        &self,
        id: DomainId,
        vcpu: VcpuId,
        flags: u64,
        at: GuestAddr,
    ) -> Coded {
        let function = flags >> function::SHIFT & 7;
        let slot = self.domain(id);
        let memory = &slot.as_ref().ok_or(code::PARAMETER)?.memory;
        // What is to be registered: its page, and the second of its words, in which it says its
        // length.
        let named = || {
            let page = memory.own_page(&self.machine, at).filter(|_| at.is_aligned(8));
            let page = page.ok_or(code::PARAMETER)?;
            Ok::<_, i64>((page, self.machine.load_entry(page) & 0xffff_ffff))
        };
        let mut frames = self.frames.lock();
        let mut status = self.vcpu(vcpu).status.lock();
        let areas = &mut status.papr.areas;
        let replaced = match function {
            function::REGISTER_AREA => {
                let (area, length) = named()?;
                let length = length >> 16;
                if length < SHORTEST || at.offset_in(PAGE).saturating_add(length) > PAGE {
                    return Err(code::PARAMETER);
                }
                frames.lend(area).then_some(()).ok_or(code::RESOURCE)?;
                let status = area.offset(offset::STATUS);
                self.machine.store_entry(status, self.machine.load_entry(status) | SHARED);
                areas.tell(&self.machine, area);
                areas.area.replace(area)
            }
            function::REGISTER_LOG => {
                let (at, length) = named()?;
                let size = length.saturating_sub(length % RECORD);
                if size == 0 || at.offset_in(FRAME_SIZE).saturating_add(length) > FRAME_SIZE {
                    return Err(code::PARAMETER);
                }
                let held = areas.area.is_some() && frames.lend(at);
                held.then_some(()).ok_or(code::RESOURCE)?;
                areas.log.replace(Log { at, size, written: 0 }).map(|log| log.at)
            }
            // A log is told of in the area.
            function::FORGET_AREA if areas.log.is_some() => return Err(code::RESOURCE),
            function::FORGET_AREA => areas.area.take(),
            function::FORGET_LOG => areas.log.take().map(|log| log.at),
            _ => return Err(code::PARAMETER),
        };
        if let Some(page) = replaced {
            frames.give_back(page);
        }
        Ok(())
    }
}
