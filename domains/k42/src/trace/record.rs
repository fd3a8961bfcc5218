//! Finds trace buffers in a machine's memory and reads them before their writers come round again.

use std::collections::BTreeMap;

use anyhow::Result;
use k42_lib::trace::read::{CONTROL, Found, Snapshot, at, size};
use k42_lib::trace::ring::MAGIC;

use super::hypervisor::{self, Hypervisor};
use super::memory::Memory;

/// Buffers begin at multiples of this: the hypervisor's frame. A domain's pages of it are as aligned in
/// the machine's memory as in the domain's.
const ALIGNMENT: u64 = 64 << 10;
/// More buffers than this are no machine's but somebody's who wants to keep us busy.
const MOST_BUFFERS: usize = 512;
/// More events are not kept.
const MOST_EVENTS: usize = 8 << 20;
/// Looks for new buffers once in so many looks at those that are known.
const LOOKS: u32 = 25;

/// Where something happened. In order: processors are first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Track {
    /// On a processor, as the hypervisor tells it.
    Processor(u32),
    /// On a vCPU, as the domain of this name tells it.
    Vcpu(String, u32),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An event of a domain: its class and number there, and its words.
    Domain(u8, u8, Vec<u64>),
    /// An event of the hypervisor.
    Hypervisor(hypervisor::Event),
    /// So many words of a buffer are no events: their writer has died, or was interrupted.
    Hole(usize),
    /// Nobody knows what happened here: so many sub-buffers were written over before they were read, or
    /// so many records had no room.
    Lost(u64),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// When, in ticks of the timebase.
    pub time: u64,
    /// Where.
    pub track: Track,
    /// What.
    pub what: What,
}

/// What was recorded, in the order of times.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// All that happened.
    pub events: Vec<Happened>,
    /// How many events more there were than are kept.
    pub dropped: usize,
}

impl Trace {
    pub(super) fn add(&mut self, happened: Happened) {
        if self.events.len() < MOST_EVENTS {
            self.events.push(happened);
        } else {
            self.dropped += 1;
        }
    }
}

/// A buffer of a domain.
#[derive(Debug)]
struct Buffer {
    words: usize,
    track: Track,
    /// The first sub-buffer that has not been read.
    next: u64,
    /// Time of the last event.
    time: u64,
}

/// Reads buffers.
#[derive(Debug)]
pub struct Recorder {
    memory: Memory,
    /// Only that domain's.
    domain: Option<String>,
    buffers: BTreeMap<u64, Buffer>,
    hypervisor: Option<Hypervisor>,
    trace: Trace,
    looks: u32,
}

impl Recorder {
    /// Records of the machine with this memory all, or just one domain.
    pub fn new(memory: Memory, domain: Option<&str>) -> Recorder {
        Recorder {
            memory,
            domain: domain.map(String::from),
            buffers: BTreeMap::new(),
            hypervisor: None,
            trace: Trace::default(),
            looks: 0,
        }
    }

    /// Whether a domain has a buffer.
    pub fn has_domain(&self) -> bool {
        !self.buffers.is_empty()
    }

    /// Looks for buffers.
    ///
    /// # Errors
    /// When the memory cannot be read.
    pub fn find(&mut self) -> Result<()> {
        for place in (0..self.memory.size()?).step_by(ALIGNMENT as usize) {
            if self.memory.word(place + at::MAGIC as u64 * 8)? == MAGIC {
                self.meet(place)?;
            } else if self.hypervisor.is_none() && self.domain.is_none() {
                self.hypervisor = Hypervisor::at(&self.memory, place)?;
            }
        }
        Ok(())
    }

    /// Takes up the buffer at `place`, if it is one.
    fn meet(&mut self, place: u64) -> Result<()> {
        let control = self.memory.words(place, CONTROL)?;
        let Some(words) = size(&control) else { return Ok(()) };
        let name: Vec<u8> = control
            .get(at::NAME..)
            .unwrap_or_default()
            .iter()
            .take(3)
            .flat_map(|word| word.to_le_bytes())
            .take_while(|byte| *byte != 0)
            .collect();
        let name: String = name
            .iter()
            .map(|byte| match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' => *byte as char,
                _ => '?',
            })
            .collect();
        let wanted = self.domain.as_ref().is_none_or(|domain| *domain == name);
        let vcpu = control.get(at::VCPU).map_or(0, |vcpu| *vcpu as u32);
        let track = Track::Vcpu(name, vcpu);
        // Memory that was another domain's, and a buffer at the same place.
        let known = self.buffers.get(&place).is_some_and(|buffer| buffer.track == track);
        if wanted && !known && self.buffers.len() < MOST_BUFFERS {
            self.buffers.insert(place, Buffer { words, track, next: 0, time: 0 });
        }
        Ok(())
    }

    /// Has all domains that are recorded write events of these classes, and no others, from now on.
    ///
    /// # Errors
    /// When the memory cannot be written.
    pub fn switch(&self, classes: u64) -> Result<()> {
        for place in self.buffers.keys() {
            self.memory.store(place + at::MASK as u64 * 8, &classes.to_le_bytes())?;
        }
        Ok(())
    }

    /// Reads what is whole by now.
    ///
    /// # Errors
    /// When the memory cannot be read.
    pub fn poll(&mut self) -> Result<()> {
        if self.looks.is_multiple_of(LOOKS) {
            self.find()?;
        }
        self.looks += 1;
        self.read(false)
    }

    /// Reads the rest; all that was recorded.
    ///
    /// # Errors
    /// When the memory cannot be read.
    pub fn finish(mut self) -> Result<Trace> {
        self.find()?;
        self.read(true)?;
        self.trace.events.sort_by_key(|happened| happened.time);
        Ok(self.trace)
    }

    fn read(&mut self, last: bool) -> Result<()> {
        let Recorder { memory, buffers, hypervisor, trace, .. } = self;
        for (place, buffer) in buffers {
            buffer.read(memory, *place, last, trace)?;
        }
        if let Some(hypervisor) = hypervisor {
            hypervisor.read(memory, trace)?;
        }
        Ok(())
    }
}

impl Buffer {
    /// Reads the sub-buffers that are full, and at last the one that is not.
    fn read(&mut self, memory: &Memory, place: u64, last: bool, trace: &mut Trace) -> Result<()> {
        let words = memory.words(place, self.words)?;
        let Some(snapshot) = Snapshot::new(&words) else { return Ok(()) };
        let index = memory.word(place + at::INDEX as u64 * 8)?;
        let subs: Vec<_> = snapshot.sub_buffers(index).collect();
        let newest = subs.last().map(|sub| sub.number);
        for sub in subs {
            // What is written to now, and what a writer has not left yet, is for the next time.
            let early = Some(sub.number) == newest || !sub.whole && Some(sub.number + 1) == newest;
            if sub.number < self.next || early && !last {
                continue;
            }
            let missed = sub.number - self.next;
            if missed > 0 {
                self.add(trace, What::Lost(missed));
            }
            self.next = sub.number + 1;
            for found in sub.records() {
                match found {
                    Found::Hole(words) => self.add(trace, What::Hole(words)),
                    Found::Event(record) => {
                        self.time = record.time;
                        let data = record.data.to_vec();
                        self.add(trace, What::Domain(record.major, record.minor, data));
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&self, trace: &mut Trace, what: What) {
        trace.add(Happened { time: self.time, track: self.track.clone(), what });
    }
}
