//! Trace buffers: what each processor did when, for a controller to read while it happens
//! (xen/trace.h; `sysctl`'s tbuf_op).
//!
//! A processor writes to its own buffer alone, without a lock, and the reader has it mapped. What the
//! reader writes there says how much room there is, and no more. All records have one size; the few
//! bytes left at the end of a buffer are one more, which says so and is written once. The storage is
//! taken when tracing is first enabled and stays, so a mapping of it never dangles.

use crate::exit::low;
use crate::frames::{FRAME_SIZE, Owner};
use crate::grants::PAGE;
use crate::machine::{Machine, Storage};
use crate::{Hypervisor, Processor};
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use k42_lib::RealAddr;
use xen_sys::sysctl::{self as op, TbufOp};
use xen_sys::{errno, trace as xen};

/// Pages of a buffer.
const PAGES: u32 = 16;
/// Bytes of a buffer before its records, for records, of one, and how many there are.
const HEAD: u32 = 8;
const SPACE: u32 = 0x1_0000 - HEAD;
const RECORD: u32 = 24;
const RECORDS: u32 = SPACE / RECORD;
/// A record's first word: its time is there; it has so many words of its own.
const TIMED: u32 = 1 << 31;
const OWN_WORDS: u32 = 3 << xen::TRACE_EXTRA_SHIFT;
/// Where in the list of buffers, in words, the first one's pages are: after a half-word each.
const LISTS: u32 = 32;
/// The last record: no time, and one word.
const WRAP: u32 = xen::TRC_TRACE_WRAP_BUFFER | 1 << xen::TRACE_EXTRA_SHIFT;

/// An event's class and subclass; each must be wanted.
const CLASS: u32 = 0x0fff_0000;
const SUBCLASS: u32 = 0xf000;

/// Whether and what is traced.
pub(crate) struct Trace {
    /// A frame with the list of the buffers (`t_info`), then each processor's; 0 before the first use.
    start: AtomicU64,
    /// Events that are wanted, and those that are noted at present.
    wanted: AtomicU32,
    enabled: AtomicU32,
}

/// Where a processor is in its buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    /// The next record's number, below twice [`RECORDS`].
    next: u32,
    /// Records that had no room since the last that had.
    lost: u32,
}

impl Writer {
    /// At the first record.
    pub(crate) const START: Writer = Writer { next: 0, lost: 0 };
}

impl Trace {
    /// No buffers.
    pub(crate) const fn new() -> Trace {
        let wanted = AtomicU32::new(xen::TRC_ALL);
        Trace { start: AtomicU64::new(0), wanted, enabled: AtomicU32::new(0) }
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Notes an event, if it is wanted.
    #[inline(always)]
    pub(crate) fn trace(
        &self,
        processor: &mut Processor,
        event: u32,
        words: impl FnOnce() -> [u32; 3],
    ) {
        if self.trace.enabled.load(Ordering::Relaxed) != 0 {
            self.note_event(processor, event, words());
        }
    }

    #[cold]
    #[inline(never)]
    fn note_event(&self, processor: &mut Processor, event: u32, words: [u32; 3]) {
        let wanted = self.trace.enabled.load(Ordering::Relaxed) & event;
        if wanted & CLASS == 0 || wanted & SUBCLASS == 0 {
            return;
        }
        let Writer { lost, .. } = processor.writer;
        let told = lost == 0 || self.append(processor, xen::TRC_LOST_RECORDS, [lost, 0, 0]);
        let written = told && self.append(processor, event, words);
        let lost = if told { 0 } else { lost };
        processor.writer.lost = if written { lost } else { lost.saturating_add(1) };
    }

    /// Writes a record; false when there is no room.
    fn append(&self, processor: &mut Processor, event: u32, [a, b, c]: [u32; 3]) -> bool {
        let start = RealAddr::new(self.trace.start.load(Ordering::Acquire));
        let buffer = start.offset(buffer(processor.id.0));
        let Writer { next, .. } = processor.writer;
        let (consumed, produced) = (low(self.machine.load_shared(buffer)), offset(next));
        let turn = if produced < consumed { 2 * SPACE } else { 0 };
        let used = produced.saturating_add(turn).saturating_sub(consumed);
        if used > SPACE - 2 * RECORD {
            return false;
        }
        let now = self.machine.timebase();
        let words =
            [event | TIMED | OWN_WORDS, low(now), low(now >> 32), a, b, c].map(u32::to_le_bytes);
        let place = HEAD.saturating_add(produced.checked_rem(SPACE).unwrap_or(0));
        self.machine.write(buffer.offset(place.into()), words.as_flattened());
        let next = next.saturating_add(1).checked_rem(2 * RECORDS).unwrap_or(0);
        processor.writer.next = next;
        fence(Ordering::Release); // the record is there before the reader is told so
        self.machine.write(buffer.offset(4), &offset(next).to_le_bytes());
        true
    }

    /// `tbuf_op`: does what the command says, and tells where the list of buffers is.
    pub(crate) fn trace_control(&self, call: &mut TbufOp) -> Result<(), i32> {
        let Trace { start, wanted, enabled } = &self.trace;
        match call.cmd {
            op::XEN_SYSCTL_TBUFOP_GET_INFO => {}
            op::XEN_SYSCTL_TBUFOP_SET_EVT_MASK => wanted.store(call.evt_mask, Ordering::Relaxed),
            op::XEN_SYSCTL_TBUFOP_SET_SIZE if call.size == PAGES => {}
            op::XEN_SYSCTL_TBUFOP_SET_SIZE => return Err(errno::EINVAL),
            op::XEN_SYSCTL_TBUFOP_ENABLE => {
                self.make_buffers()?;
                enabled.store(wanted.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            op::XEN_SYSCTL_TBUFOP_DISABLE => enabled.store(0, Ordering::Relaxed),
            _ => return Err(errno::ENOSYS),
        }
        call.buffer_mfn = start.load(Ordering::Relaxed) / PAGE;
        call.size = PAGE as u32;
        Ok(())
    }

    /// The page of that number, if it is the list's or a buffer's.
    pub(crate) fn trace_page(&self, number: u64) -> Option<RealAddr> {
        let at = number.checked_mul(PAGE)?;
        self.traced().contains(&at).then_some(RealAddr::new(at))
    }

    /// Where list and buffers are.
    pub(crate) fn traced(&self) -> Range<u64> {
        let start = self.trace.start.load(Ordering::Acquire);
        let size = buffer(self.processors.load(Ordering::Relaxed));
        start..if start == 0 { 0 } else { start.saturating_add(size) }
    }

    /// Takes the storage, once, and writes the list: pages of a buffer, then for each processor
    /// where in the list, in words, the numbers of its buffer's pages begin.
    fn make_buffers(&self) -> Result<(), i32> {
        let mut frames = self.frames.lock();
        if self.trace.start.load(Ordering::Relaxed) != 0 {
            return Ok(());
        }
        let count = self.processors.load(Ordering::Relaxed);
        let size = buffer(count).next_power_of_two();
        let storage = frames.allocate(&self.machine, size, Owner::PLATFORM);
        let start = storage.ok_or(errno::ENOMEM)?;
        let tell = |at: u64, bytes: &[u8]| self.machine.write(start.offset(at), bytes);
        tell(0, &[PAGES as u8, 0]);
        for processor in 0..count {
            let list = LISTS.saturating_add(processor.saturating_mul(PAGES));
            let [low, high, ..] = list.to_le_bytes();
            tell(u64::from(processor).saturating_mul(2).saturating_add(2), &[low, high]);
            let first = start.offset(buffer(processor));
            for page in 0..PAGES {
                let at = first.offset(u64::from(page).saturating_mul(PAGE));
                let [a, b, c, d, ..] = (at.value() / PAGE).to_le_bytes();
                tell(u64::from(list.saturating_add(page)).saturating_mul(4), &[a, b, c, d]);
            }
            self.machine.write(first.offset(FRAME_SIZE - 8), &WRAP.to_le_bytes());
        }
        self.trace.start.store(start.value(), Ordering::Release);
        Ok(())
    }
}

/// Where a processor's buffer is, from the list on.
fn buffer(processor: u32) -> u64 {
    u64::from(processor).saturating_add(1).saturating_mul(FRAME_SIZE)
}

/// Where a record is, in bytes of twice the space for records.
fn offset(record: u32) -> u32 {
    let turn = if record < RECORDS { 0 } else { SPACE - RECORDS * RECORD };
    record.saturating_mul(RECORD).saturating_add(turn)
}
