//! How a processor notes events in the fewest instructions.

use core::arch::asm;
use core::sync::atomic::AtomicU64;
use k42_lib::trace::Word;

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

/// The timebase.
#[inline(always)]
pub(crate) fn now() -> u64 {
    let now;
    // SAFETY: a read of a register that all may read.
    unsafe { asm!("mftb {}", out(reg) now, options(nomem, nostack, preserves_flags)) };
    now
}
