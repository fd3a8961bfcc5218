//! Reading a buffer: from its words alone, whatever they are.
//!
//! The words may be a copy made while events were written, of memory that somebody else may store
//! anything to. Nothing here panics, nothing is believed that does not fit, and what is read is bounded
//! by the words that are there.

use super::events::{self, control};
use super::ring::{Control, MAGIC, SLACK, SUB_BUFFERS};
use super::{Event, Head};
use core::mem::offset_of;

/// Where the parts of a buffer's control words are, in words.
pub mod at {
    use super::{Control, offset_of};

    /// Makes a number of words of a field's place.
    macro_rules! word {
        ($($(#[$doc:meta])+ $name:ident = $field:ident;)*) => {
            $( $(#[$doc])+ pub const $name: usize = offset_of!(Control<u64>, $field) / 8; )*
        };
    }
    word! {
        /// The magic number.
        MAGIC = magic;
        /// Words of a sub-buffer, and of all.
        SHAPE = shape;
        /// The mask.
        MASK = mask;
        /// What happens when the buffer is full.
        POLICY = policy;
        /// The index.
        INDEX = index;
        /// Events that were lost.
        LOST = lost;
        /// The vCPU.
        VCPU = vcpu;
        /// The guest real address.
        ADDRESS = address;
        /// The domain's name.
        NAME = name;
        /// Words that are there, for each sub-buffer.
        COMMITTED = committed;
    }
    /// The first of the buffer's own words.
    pub const WORDS: usize = super::CONTROL;
}

/// Words of the control words.
pub const CONTROL: usize = size_of::<Control<u64>>() / 8;
/// The most words of a buffer that is read: one of 16 MiB.
pub const MOST: usize = 1 << 21;

/// A buffer, as words that were copied.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    control: &'a [u64],
    words: &'a [u64],
    sub: usize,
}

/// How many words a buffer has that begins with these control words, with them; none when they are not
/// a buffer's.
pub fn size(control: &[u64]) -> Option<usize> {
    let (sub, all) = shape(control)?;
    (all / sub <= SUB_BUFFERS).then_some(CONTROL + all)
}

fn shape(control: &[u64]) -> Option<(usize, usize)> {
    let shape = *control.get(at::SHAPE)?;
    let (sub, all) = ((shape >> 32) as usize, shape as u32 as usize);
    let sound = sub.is_power_of_two() && all.is_power_of_two() && sub <= all && all <= MOST;
    (sound && sub > 2 && *control.get(at::MAGIC)? == MAGIC).then_some((sub, all))
}

impl<'a> Snapshot<'a> {
    /// The buffer that is at the start of `words`; none when no whole buffer is.
    pub fn new(words: &'a [u64]) -> Option<Snapshot<'a>> {
        let size = size(words)?;
        let (sub, _) = shape(words)?;
        let (control, words) = words.get(..size)?.split_at_checked(CONTROL)?;
        Some(Snapshot { control, words, sub })
    }

    /// One of the control words, by its place ([`at`]).
    pub fn control(&self, place: usize) -> u64 {
        self.control.get(place).copied().unwrap_or(0)
    }

    /// The domain's name, as bytes: zeros after it.
    pub fn name(&self) -> [u8; 24] {
        let mut name = [0; 24];
        let words = self.control.get(at::NAME..).unwrap_or_default();
        for (bytes, word) in name.chunks_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        name
    }

    /// The sub-buffers that have events, the oldest first. Those that were begun since the copy was
    /// begun are left out: `index` is that of afterwards, or of the copy if nobody was writing.
    pub fn sub_buffers(self, index: u64) -> impl Iterator<Item = SubBuffer<'a>> {
        let count = self.words.len() / self.sub;
        let end = self.control(at::INDEX) as u32;
        let last = u64::from(end).div_ceil(self.sub as u64);
        // Whoever has begun a sub-buffer has spoilt the one of the lap before.
        let begun = u64::from(index as u32).div_ceil(self.sub as u64).max(last);
        let first = begun.saturating_sub(count as u64);
        (first..last).filter_map(move |number| self.sub_buffer(number, u64::from(end)))
    }

    fn sub_buffer(self, number: u64, end: u64) -> Option<SubBuffer<'a>> {
        let count = self.words.len() / self.sub;
        let slot = (number % count as u64) as usize;
        let written = end.saturating_sub(number * self.sub as u64).min(self.sub as u64) as usize;
        let words = self.words.get(slot * self.sub..)?.get(..written)?;
        let lap = (number / count as u64) as u32;
        let committed = self.control(at::COMMITTED + slot);
        let whole = committed == u64::from(lap.wrapping_add(1)) << 32 | written as u64;
        let epoch = self.control(at::INDEX) & !0 << 32;
        Some(SubBuffer { words, number, lap: lap as u16, whole, epoch })
    }
}

/// A sub-buffer, as far as it was written.
#[derive(Clone, Copy, Debug)]
pub struct SubBuffer<'a> {
    words: &'a [u64],
    lap: u16,
    /// The upper half of the time of the buffer's last event.
    epoch: u64,
    /// Its number since the buffer was new.
    pub number: u64,
    /// Whether all of its words are said to be there.
    pub whole: bool,
}

/// What is next in a sub-buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// An event.
    Event(Record<'a>),
    /// So many words that are no event: of a writer that has died, or has not finished.
    Hole(usize),
}

/// An event that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it happened, in ticks of the timebase.
    pub time: u64,
    /// Its class.
    pub major: u8,
    /// Its number there.
    pub minor: u8,
    /// Its words.
    pub data: &'a [u64],
}

impl Record<'_> {
    /// Its declaration, unless it is of a newer kernel than this code or of no kernel at all.
    pub fn event(&self) -> Option<&'static Event> {
        events::find(self.major, self.minor).filter(|event| event.has_words(self.data.len()))
    }
}

impl<'a> SubBuffer<'a> {
    /// What is in it, in the order of places, which is that of times.
    pub fn records(self) -> Records<'a> {
        Records { sub: self, place: 0, time: None }
    }

    /// The event at `place`, if there may be one after `time`.
    fn event(&self, place: usize, time: Option<u64>) -> Option<(Head, &'a [u64])> {
        let head = Head(*self.words.get(place)?);
        // None for a head of no words, too: the range's end is before its start.
        let data = self.words.get(place + 1..place.checked_add(head.length())?)?;
        // A stamp, and a filler before one, may begin the lower half of the time anew.
        let own = head.major() == control::MAJOR;
        let later = own || time.is_none_or(|time| head.time() >= time as u32);
        (head.lap() == self.lap && later).then_some((head, data))
    }

    /// Whether an event at `place` is declared as it is: nothing less is believed after a hole.
    fn is_declared(&self, place: usize, time: Option<u64>) -> bool {
        self.event(place, time).is_some_and(|(head, data)| match (head.major(), head.minor()) {
            (control::MAJOR, 0) => place + head.length() == self.words.len(),
            numbers => {
                let event = events::find(numbers.0, numbers.1);
                event.is_some_and(|event| event.has_words(data.len()))
            }
        })
    }
}

/// What is in a sub-buffer, one after the other.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    sub: SubBuffer<'a>,
    place: usize,
    time: Option<u64>,
}

impl<'a> Iterator for Records<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        while self.place < self.sub.words.len() {
            let Some((head, data)) = self.sub.event(self.place, self.time) else {
                let from = self.place;
                let is_next = |place: &usize| self.sub.is_declared(*place, self.time);
                self.place =
                    (from + 1..self.sub.words.len()).find(is_next).unwrap_or(self.sub.words.len());
                return Some(Found::Hole(self.place - from));
            };
            self.place += head.length();
            let base = self.time.unwrap_or(self.sub.epoch);
            let time = base & !0 << 32 | u64::from(head.time());
            match (head.major(), head.minor(), data) {
                (control::MAJOR, 0, _) => {}
                (control::MAJOR, 1, [stamp]) if *stamp as u32 == head.time() => {
                    self.time = Some(*stamp)
                }
                (major, minor, data) => {
                    self.time = Some(time);
                    return Some(Found::Event(Record { time, major, minor, data }));
                }
            }
        }
        None
    }
}

const _: () = assert!(CONTROL == SLACK);
