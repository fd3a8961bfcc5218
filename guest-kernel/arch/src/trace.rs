//! The buffers of events (`k42_lib::trace`), one for each vCPU.
//!
//! A buffer is a piece of the kernel's heap in one of the extents of 2 MiB that the hypervisor gives
//! memory by: whoever reads the machine's memory from outside finds it whole. It is always there, and
//! nothing is noted until its mask says so: the option `trace=CLASS,CLASS` at the start, the host's tool
//! later.

use crate::{Domain, heap, registers};
use core::arch::asm;
use core::sync::atomic::AtomicU64;
use k42_lib::trace::{self, Tracer, Word, events};

/// A vCPU's buffer.
pub type Buffer = trace::Buffer<Place>;

/// A word of a buffer, whose index moves in the fewest instructions.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Place(AtomicU64);

impl Word for Place {
    #[inline(always)]
    fn get(&self) -> u64 {
        self.0.get()
    }

    #[inline(always)]
    fn set(&self, value: u64) {
        self.0.set(value);
    }

    #[inline(always)]
    fn publish(&self, value: u64) {
        self.0.publish(value);
    }

    #[inline(always)]
    fn replace(&self, old: u64, new: u64) -> bool {
        self.0.replace(old, new)
    }

    #[inline(always)]
    fn add(&self, more: u64) {
        self.0.add(more);
    }

    /// One reservation holds from the look at the index to its move, and the time is the timebase. Only
    /// the bits that a move changes say whether it was made.
    #[inline(always)]
    fn advance<const SUB: usize, const WORDS: usize>(
        &self,
        _: &impl Fn() -> u64,
    ) -> Option<(u64, u64)> {
        let (old, time, changed): (u64, u64, u64);
        // SAFETY: it stores to this word, which is an atomic one, and to no other memory.
        unsafe {
            asm!(
                "2: ldarx {old}, 0, {at}",
                "mftb {time}",
                "rotldi {changed}, {time}, 32",
                "addi {new}, {old}, {length}",
                "rldimi {new}, {changed}, 32, 0",
                "xor {changed}, {new}, {old}",
                "cmpldi {changed}, {sub}",
                "bge- 3f",
                "stdcx. {new}, 0, {at}",
                "bne- 2b",
                "3:",
                at = in(reg) self.0.as_ptr(),
                old = out(reg_nonzero) old,
                time = out(reg) time,
                changed = out(reg) changed,
                new = out(reg) _,
                length = const WORDS + 1,
                sub = const SUB,
                out("cr0") _,
                options(nostack),
            );
        }
        (changed < SUB as u64).then_some((old, time))
    }
}

/// Twice a buffer's size, or more: none lies across the end of an extent.
const ALIGNMENT: u64 = 512 << 10;
const _: () = assert!(size_of::<Buffer>() as u64 <= ALIGNMENT);

/// Makes a vCPU's buffer, of the domain of this name; `options` are the kernel's.
///
/// # Errors
/// What is wrong: no memory is left, or the options name a class of events that there is not.
pub(crate) fn start(vcpu: u64, name: &str, options: &str) -> Result<&'static Buffer, &'static str> {
    let wanted = options.split_whitespace().find_map(|word| word.strip_prefix("trace="));
    let mask = events::mask(wanted.unwrap_or("")).map_err(|_| "trace= names an unknown class")?;
    let at = heap::take(size_of::<Buffer>() as u64, ALIGNMENT);
    let at = at.ok_or("the domain's memory is too small for a trace buffer")?;
    // SAFETY: memory of that size and alignment, for ever, and zero: a buffer is nothing but atomic
    // words.
    let buffer = unsafe { &*at.cast::<Buffer>() };
    buffer.switch(mask);
    buffer.start(vcpu, crate::guest_address(at).value(), name);
    Ok(buffer)
}

impl Tracer for Domain {
    type Word = Place;

    #[inline(always)]
    fn now(&self) -> u64 {
        registers::timebase()
    }

    #[inline(always)]
    fn buffer(&self) -> &Buffer {
        self.trace
    }
}
