//! Special purpose registers, and the barriers that go with them.

use core::arch::asm;

macro_rules! readable {
    ($( $(#[$doc:meta])+ $number:literal $name:ident; )*) => { $(
        $(#[$doc])+
        pub fn $name() -> u64 {
            let value: u64;
            // SAFETY: reading this register has no side effect.
            unsafe { asm!("mfspr {}, {}", out(reg) value, const $number, options(nomem, nostack)) };
            value
        }
    )* };
}

macro_rules! writable {
    ($( $(#[$doc:meta])+ $number:literal $name:ident; )*) => { $(
        $(#[$doc])+
        ///
        /// # Safety
        /// The kernel must be able to go on with the new value.
        pub unsafe fn $name(value: u64) {
            // SAFETY: the caller's promise.
            unsafe { asm!("mtspr {}, {}", const $number, in(reg) value, options(nostack)) };
        }
    )* };
}

readable! {
    /// The timebase.
    268 timebase;
    /// The processor version.
    287 processor_version;
}

writable! {
    /// Sets the decrementer.
    22 set_decrementer;
    /// Sets the number of the current address space (PIDR).
    48 set_space;
    /// Sets which facilities a user may use (FSCR).
    153 set_facilities;
    /// Sets what an interrupt finds in SPRG0: the address of the context to save registers in.
    272 set_context;
}

/// Facilities a user may use, FSCR bits (Power ISA v3.1, Book III, 7.2.1.3): DSCR, TAR, prefixed
/// instructions. No event-based branches and no `scv`.
pub const FACILITIES: u64 = 1 << 2 | 1 << 8 | 1 << 13;

/// The farthest the decrementer can be set: it has 32 bits, and is negative when it has expired.
const LONGEST: u64 = 0x7fff_ffff;

/// Has the decrementer expire when the timebase reaches `deadline`, or before if that is too far.
pub fn set_alarm(deadline: u64) {
    // SAFETY: the kernel is ready for the decrementer at any time.
    unsafe { set_decrementer(deadline.saturating_sub(timebase()).min(LONGEST)) };
}

/// Has the decrementer expire as late as it can.
pub fn rearm_decrementer() {
    // SAFETY: as above.
    unsafe { set_decrementer(LONGEST) };
}

/// The context of all later instructions is the one that earlier instructions have set.
pub fn synchronize_context() {
    // SAFETY: a barrier.
    unsafe { asm!("isync", options(nostack)) };
}

/// Stores to translation tables before this are seen by table walks after it.
pub fn synchronize_tables() {
    // SAFETY: a barrier.
    unsafe { asm!("ptesync", options(nostack)) };
}

/// Waits politely for another processor.
pub fn relax() {
    // SAFETY: thread priority low and back to normal.
    unsafe { asm!("or 1, 1, 1", "or 2, 2, 2", options(nomem, nostack)) };
}
