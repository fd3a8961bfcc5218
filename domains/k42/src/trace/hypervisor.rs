//! The hypervisor's trace buffers: Xen's (xen/trace.h, docs/interfaces.md §3), as whoever reads them
//! finds them in memory.

use anyhow::Result;
use xen_sys::trace as xen;

use super::memory::Memory;
use super::record::{Happened, Trace, Track, What};

/// Pages of a buffer, 4 KiB each, and bytes of one.
const PAGES: u64 = 16;
const BUFFER: u64 = PAGES << 12;
/// Where in the list of buffers the first buffer's pages are, in words of 32 bits.
const LISTS: u64 = 32;
/// Bytes before a buffer's records, for records, and of one.
const HEAD: u64 = 8;
const SPACE: u64 = BUFFER - HEAD;
const RECORD: u64 = 24;
/// The most processors of a machine.
const MOST_PROCESSORS: u64 = 8;

/// An event of the hypervisor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A vCPU of a domain, by their numbers, gets the processor.
    Runs(u32, u32),
    /// It leaves it.
    Leaves(u32, u32),
    /// A guest has exited: the interrupt's vector, and where the guest was.
    Exit(u32, u64),
    /// A guest has called: the low halves of r3 and r4.
    Call(u32, u32),
    /// Something else.
    Other(u32, [u32; 3]),
}

/// The buffers of all processors, that of the first at `first`.
#[derive(Debug)]
pub struct Hypervisor {
    first: u64,
    processors: u64,
}

impl Hypervisor {
    /// Those that the list at `place` tells of, if one is there: it names the pages behind itself, a
    /// buffer of 16 for each processor.
    pub fn at(memory: &Memory, place: u64) -> Result<Option<Hypervisor>> {
        let size = memory.word(place)?;
        if size & 0xffff_ffff != PAGES | LISTS << 16 {
            return Ok(None);
        }
        let first = place + BUFFER;
        let list = memory.words(place + LISTS * 4, (PAGES * MOST_PROCESSORS / 2) as usize)?;
        let pages = list.iter().flat_map(|word| [word & 0xffff_ffff, word >> 32]);
        let named = pages.zip(first >> 12..).take_while(|(have, page)| have == page).count() as u64;
        let processors = named / PAGES;
        Ok((processors > 0).then_some(Hypervisor { first, processors }))
    }

    /// Reads all records that are there, and says so.
    pub fn read(&self, memory: &Memory, trace: &mut Trace) -> Result<()> {
        for processor in 0..self.processors {
            let place = self.first + processor * BUFFER;
            let ends = memory.word(place)?;
            let (mut at, end) = (ends & 0xffff_ffff, ends >> 32);
            let track = Track::Processor(processor as u32);
            let mut words = memory.words(place, (BUFFER / 8) as usize)?;
            words.truncate((BUFFER / 8) as usize);
            // No more records than there can be, whatever the ends are.
            for _ in 0..=2 * SPACE / RECORD {
                if at == end || at >= 2 * SPACE {
                    break;
                }
                if SPACE - at % SPACE < RECORD {
                    at = (at + SPACE - at % SPACE) % (2 * SPACE);
                    continue;
                }
                let from = ((HEAD + at % SPACE) / 8) as usize;
                if let Some(&[a, b, c]) = words.get(from..from + 3) {
                    let (time, what) = record([a, b, c]);
                    trace.add(Happened { time, track: track.clone(), what });
                }
                at = (at + RECORD) % (2 * SPACE);
            }
            memory.store(place, &(end as u32).to_le_bytes())?;
        }
        Ok(())
    }
}

/// A record's time, and what it says.
fn record([a, b, c]: [u64; 3]) -> (u64, What) {
    let time = a >> 32 | b << 32;
    let [x, y, z] = [(b >> 32) as u32, c as u32, (c >> 32) as u32];
    let event = match a as u32 & 0x0fff_ffff {
        xen::TRC_SCHED_SWITCH_INFNEXT => Event::Runs(x, y),
        xen::TRC_SCHED_SWITCH_INFPREV => Event::Leaves(x, y),
        xen::TRC_HVM_VMEXIT64 => Event::Exit(x, u64::from(y) | u64::from(z) << 32),
        xen::TRC_HVM_VMMCALL => Event::Call(x, y),
        xen::TRC_LOST_RECORDS => return (time, What::Lost(x.into())),
        other => Event::Other(other, [x, y, z]),
    };
    (time, What::Hypervisor(event))
}
