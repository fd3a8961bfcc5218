//! Tracing: what happened when, for the kernel, the system library and applications alike.
//!
//! An event is declared once ([`events`]): its name, its fields and how it reads. The declaration
//! makes a function that notes it and a row of the table that all tools know ([`schema`]). Each vCPU
//! has a buffer ([`ring`]) to which all that runs there writes without a lock; somebody else, who may
//! have nothing but the words, reads it ([`read`]) and believes none of it.
//!
//! An event that nobody wants costs a load, a test and a branch; without the feature `trace`, nothing.

pub mod events;
pub mod read;
pub mod ring;
pub mod schema;

pub use events::EVENTS;
pub use ring::{Buffer, Ring, Word};
pub use schema::{Event, Kind, Phase};

/// Who can note events: he knows the time and the buffer of the vCPU that he is on.
///
/// A buffer that is another vCPU's, as one may be from before a thread was moved, is a slow choice and
/// no wrong one.
pub trait Tracer {
    /// Whether there is any code for events where this one notes them.
    const COMPILED: bool = cfg!(feature = "trace");

    /// What the buffer is made of.
    type Word: Word;

    /// Now, in ticks of the timebase.
    fn now(&self) -> u64;
    /// Where events go.
    fn buffer(&self) -> &Buffer<Self::Word>;
    /// Whether events of these classes are wanted.
    #[inline(always)]
    fn wants(&self, classes: u64) -> bool {
        self.buffer().wants(classes)
    }
}

/// The head of an event: the first of its words.
///
/// | bits (0 is the least) | what |
/// |---|---|
/// | 63:32 | the time's low half, in ticks of the timebase |
/// | 31:16 | which lap of the buffer it is, so that nothing from an earlier one is taken for an event |
/// | 15:11 | how many words the event has, with this one: never 0 |
/// | 10:5 | its class (major number) |
/// | 4:0 | its number in the class (minor number) |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head(pub u64);

impl Head {
    /// The part that an event's declaration gives: `words` of data, `major`, `minor`.
    pub const fn event(words: usize, major: u8, minor: u8) -> u16 {
        assert!(words < ring::LONGEST && major < 64 && minor < 32);
        (words as u16 + 1) << 11 | (major as u16) << 5 | minor as u16
    }

    /// A head.
    #[inline(always)]
    pub const fn new(time: u64, lap: u16, event: u16) -> Head {
        Head(time << 32 | (lap as u64) << 16 | event as u64)
    }

    /// The time's low half.
    pub const fn time(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The lap.
    pub const fn lap(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Words of the event, with this one.
    pub const fn length(self) -> usize {
        (self.0 >> 11 & 0x1f) as usize
    }

    /// The major number, below 64.
    pub const fn major(self) -> u8 {
        (self.0 >> 5 & 0x3f) as u8
    }

    /// The minor number, below 32.
    pub const fn minor(self) -> u8 {
        (self.0 & 0x1f) as u8
    }
}

#[cfg(test)]
mod tests;
