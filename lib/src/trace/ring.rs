//! A vCPU's buffer, and how events get into it.
//!
//! ```text
//! words   | sub-buffer 0            | sub-buffer 1            | …
//!         | stamp event event fill  | stamp event event eve   |
//!                                                          ▲ index: the next event's place
//! ```
//!
//! A writer reserves words by moving the index and then has them to itself. It reads the time between
//! its look at the index and its move, and the move fails if anybody moved it meanwhile: so times are
//! in the order of places. The index has the upper half of the last event's time beside the place, for
//! an event has the lower half alone: where the upper one changes, a stamp says it all.
//!
//! No event lies across the border of a sub-buffer, and each begins with a stamp: a reader can begin at
//! any. The event's head is stored last, and has the number of the lap in it: until then there is
//! nothing, whatever was there in earlier laps. So a writer that dies leaves a hole where its event
//! would be, and harms no other.
//!
//! Each sub-buffer counts the words that are there (*committed*): one where none are missing has no
//! hole. A writer that sleeps for a whole lap may write over others' events; they then fail the count.

use super::{Head, events::control};
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// The magic number of a buffer: "K42TRACE".
pub const MAGIC: u64 = u64::from_be_bytes(*b"K42TRACE");
/// The most words an event has, its head included.
pub const LONGEST: usize = 28;
/// Words behind a buffer's own that are not used: no place of an event's word needs a check.
pub const SLACK: usize = 256;
/// The most bytes of a text.
pub const TEXT: usize = 8 * (LONGEST - 1);
/// The most sub-buffers.
pub const SUB_BUFFERS: usize = 128;
/// Words of a stamp.
const STAMP: u32 = 2;
/// Words of a domain's name.
const NAME: usize = 3;

/// The half of an index or an end that is the time's.
const EPOCH: u64 = !0 << 32;

/// A vCPU's buffer of 256 KiB.
pub type Buffer<W = AtomicU64> = Ring<W, 1024, { 32768 + SLACK }>;

/// A word that several may use at once. [`AtomicU64`] is one; models have theirs.
pub trait Word {
    /// Its value.
    fn get(&self) -> u64;
    /// Changes it.
    fn set(&self, value: u64);
    /// Changes it; who sees that sees all that was stored before.
    fn publish(&self, value: u64);
    /// Changes it if it is `old`.
    fn replace(&self, old: u64, new: u64) -> bool;
    /// Adds.
    fn add(&self, more: u64);

    /// Moves an index on by `WORDS` and one, if it stays in the same sub-buffer of `SUB` words and the
    /// upper half of the time is still the same: what it was, and when. Where it is not moved, somebody
    /// may have been faster, or something is to be done first.
    ///
    /// The time is read between the look at the index and its move. A machine may know a shorter way.
    #[inline(always)]
    fn advance<const SUB: usize, const WORDS: usize>(
        &self,
        now: &impl Fn() -> u64,
    ) -> Option<(u64, u64)> {
        let old = self.get();
        let time = now();
        let new = index(time, (old as u32).wrapping_add(WORDS as u32 + 1));
        ((old ^ new) < SUB as u64 && self.replace(old, new)).then_some((old, time))
    }
}

impl Word for AtomicU64 {
    #[inline(always)]
    fn get(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn set(&self, value: u64) {
        self.store(value, Ordering::Relaxed);
    }

    #[inline(always)]
    fn publish(&self, value: u64) {
        self.store(value, Ordering::Release);
    }

    #[inline(always)]
    fn replace(&self, old: u64, new: u64) -> bool {
        self.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    #[inline(always)]
    fn add(&self, more: u64) {
        self.fetch_add(more, Ordering::Relaxed);
    }
}

/// What a buffer begins with. Who looks for buffers in memory finds it by its magic number; who reads
/// one may change `mask` and `policy`, and what is stored there harms nobody.
#[derive(Debug)]
#[repr(C)]
pub struct Control<W> {
    /// For each sub-buffer which lap it is in, from 1, in the upper half, and how many of its words are
    /// there. First, as its places then take an instruction less.
    pub committed: [W; SUB_BUFFERS],
    /// [`MAGIC`], when the rest is right.
    pub magic: W,
    /// Words of a sub-buffer in the upper half, of all in the lower.
    pub shape: W,
    /// A bit for each class (major number) of events that are wanted.
    pub mask: W,
    /// What happens when the buffer is full: 0 the oldest sub-buffer goes, 1 events are lost.
    pub policy: W,
    /// The upper half of the last event's time; in the lower half where the next one goes, in words
    /// since the buffer was new.
    pub index: W,
    /// Events that were lost because the buffer was full.
    pub lost: W,
    /// The vCPU's number.
    pub vcpu: W,
    /// The machine's own memory that the buffer's first word is at, as the domain knows it: guest real.
    pub address: W,
    /// The domain's name, zeros after it.
    pub name: [W; NAME],
    /// Nothing yet.
    pub reserved: [W; SLACK - 11 - SUB_BUFFERS],
}

/// A buffer with sub-buffers of `SUB` words; `PLACES` is [`SLACK`] more than all words, whose number
/// is a power of two. It consists of nothing but words, and all zero it is a new one with an empty mask.
#[derive(Debug)]
#[repr(C)]
pub struct Ring<W, const SUB: usize, const PLACES: usize> {
    control: Control<W>,
    words: [W; PLACES],
}

impl<W: Default, const SUB: usize, const PLACES: usize> Default for Ring<W, SUB, PLACES> {
    fn default() -> Self {
        use core::array::from_fn;
        let word = |_| W::default();
        let control = Control {
            magic: W::default(),
            shape: W::default(),
            mask: W::default(),
            policy: W::default(),
            index: W::default(),
            lost: W::default(),
            vcpu: W::default(),
            address: W::default(),
            name: from_fn(word),
            reserved: from_fn(word),
            committed: from_fn(word),
        };
        Ring { control, words: from_fn(word) }
    }
}

impl<W: Word, const SUB: usize, const PLACES: usize> Ring<W, SUB, PLACES> {
    /// Words for events.
    pub const SIZE: usize = {
        let size = PLACES - SLACK;
        assert!(size.is_power_of_two() && SUB.is_power_of_two() && size / SUB <= SUB_BUFFERS);
        size
    };

    /// Makes a buffer that is all zeros known to who looks for it: the vCPU's with this number, at this
    /// guest real address, of the domain of this name. Its mask is as it was.
    pub fn start(&self, vcpu: u64, address: u64, name: &str) {
        let control = &self.control;
        control.shape.set((SUB as u64) << 32 | Self::SIZE as u64);
        control.vcpu.set(vcpu);
        control.address.set(address);
        control.index.set(EPOCH); // of no time: the first event begins the first sub-buffer
        for (word, bytes) in control.name.iter().zip(name.as_bytes().chunks(8)) {
            word.set(text(bytes));
        }
        control.magic.publish(MAGIC);
    }

    /// From now on events of these classes are wanted, and no others.
    pub fn switch(&self, classes: u64) {
        self.control.mask.set(classes);
    }

    /// What readers and switches see.
    pub fn control(&self) -> &Control<W> {
        &self.control
    }

    /// A copy of all that it is, for [`Snapshot`](super::read::Snapshot), word by word.
    pub fn copy(&self) -> impl Iterator<Item = u64> + '_ {
        let Control { committed, magic, shape, mask, policy, .. } = &self.control;
        let Control { index, lost, vcpu, address, name, reserved, .. } = &self.control;
        let numbers = [magic, shape, mask, policy, index, lost, vcpu, address];
        let lists = name.iter().chain(reserved).chain(&self.words);
        committed.iter().chain(numbers).chain(lists).map(Word::get)
    }

    /// Whether events of these classes are wanted.
    #[inline(always)]
    pub fn wants(&self, classes: u64) -> bool {
        self.control.mask.get() & classes != 0
    }

    /// Writes an event ([`Head::event`] of `WORDS`).
    #[inline(always)]
    pub fn write<const WORDS: usize>(&self, now: impl Fn() -> u64, event: u16, data: [u64; WORDS]) {
        const { assert!(WORDS < LONGEST && WORDS + 4 < SUB) };
        match self.control.index.advance::<SUB, WORDS>(&now) {
            Some((old, time)) => self.put(old as u32, time, event, data),
            // A copy, so that it is made here and not before.
            None => self.write_slowly(&now, event, data.map(|word| word)),
        }
    }

    #[cold]
    #[inline(never)]
    fn write_slowly<const WORDS: usize>(
        &self,
        now: &impl Fn() -> u64,
        event: u16,
        data: [u64; WORDS],
    ) {
        if let Some((place, time)) = self.reserve(now, WORDS as u32 + 1) {
            self.put(place, time, event, data);
        }
    }

    /// Writes a text, of which [`TEXT`] bytes have room; `event` is that of no words.
    #[inline(never)]
    pub fn write_text(&self, now: impl Fn() -> u64, event: u16, text: &str) {
        let bytes = text.as_bytes();
        let words = bytes.len().div_ceil(8).clamp(1, (SUB - 5).min(TEXT / 8));
        let Some((place, time)) = self.reserve(&now, words as u32 + 1) else { return };
        let at = Self::at(place);
        for n in 0..words {
            let piece = bytes.chunks(8).nth(n).unwrap_or_default();
            self.words[(at + 1 + n) % PLACES].set(self::text(piece));
        }
        self.finish(place, time, event + ((words as u16) << 11), words as u32 + 1);
    }

    /// Stores an event in the words that are its own.
    #[inline(always)]
    fn put<const WORDS: usize>(&self, place: u32, time: u64, event: u16, data: [u64; WORDS]) {
        for (n, word) in data.into_iter().enumerate() {
            self.words[Self::at(place) + 1 + n].set(word);
        }
        self.finish(place, time, event, WORDS as u32 + 1);
    }

    /// The event at `place` is there.
    #[inline(always)]
    fn finish(&self, place: u32, time: u64, event: u16, length: u32) {
        let at = Self::at(place);
        self.words[at].publish(Head::new(time, Self::lap(place) as u16, event).0);
        self.control.committed[at / SUB].add(length.into());
    }

    /// A writer that dies when it has reserved `length` words.
    #[cfg(test)]
    pub(super) fn abandon(&self, now: impl Fn() -> u64, length: u32) {
        self.reserve(&now, length);
    }

    /// Reserves `length` words, in whatever state the buffer is: where they are, and the time. None when
    /// the buffer is full and stops there.
    fn reserve(&self, now: &impl Fn() -> u64, length: u32) -> Option<(u32, u64)> {
        let sub = SUB as u32;
        loop {
            let old = self.control.index.get();
            let time = now();
            let place = old as u32;
            let room = place.wrapping_neg() % sub; // none in a new buffer
            let same = (old ^ time) & EPOCH == 0;
            // The index never rests at a border: what is behind one has been begun.
            let (start, stamp) = match room {
                _ if room > length && same => (place, 0),
                _ if room > length + STAMP => (place, STAMP),
                _ => (place.wrapping_add(room), STAMP),
            };
            if start % sub == 0 {
                if self.control.policy.get() != 0 && start as usize >= Self::SIZE {
                    self.control.lost.add(1);
                    return None;
                }
                self.begin(start);
            }
            let after = start.wrapping_add(stamp + length);
            if !self.control.index.replace(old, index(time, after)) {
                continue;
            }
            if start != place {
                const FILLER: u16 = Head::event(0, control::MAJOR, 0);
                self.finish(place, time, FILLER + ((room as u16 - 1) << 11), room);
            }
            if stamp != 0 {
                self.put(start, time, Head::event(1, control::MAJOR, 1), [time]);
            }
            return Some((start.wrapping_add(stamp), time));
        }
    }

    /// Nothing is there of the sub-buffer that begins at `start`. Whoever is about to begin it says so,
    /// before anybody can write to it; the first one counts.
    fn begin(&self, start: u32) {
        let committed = &self.control.committed[Self::at(start) / SUB];
        let lap = Self::lap(start).wrapping_add(1);
        loop {
            let old = committed.get();
            let newer = lap.wrapping_sub((old >> 32) as u32).cast_signed() > 0;
            if !newer || committed.replace(old, u64::from(lap) << 32) {
                break;
            }
        }
        fence(Ordering::Release); // before the index moves there
    }

    /// Where a place is among the words.
    #[inline(always)]
    const fn at(place: u32) -> usize {
        place as usize & (Self::SIZE - 1)
    }

    /// Which lap of the buffer a place is in.
    #[inline(always)]
    const fn lap(place: u32) -> u32 {
        place / Self::SIZE as u32
    }
}

/// An index: the upper half of a time, and a place.
#[inline(always)]
const fn index(time: u64, place: u32) -> u64 {
    time & EPOCH | place as u64
}

/// Up to eight bytes as a word.
fn text(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}
