//! What is counted where the emulator counts instructions as time, and which of several counts is the one.

/// The instructions in so many ticks of the timebase: 0.512 ticks each.
pub const fn instructions(ticks: u64) -> u64 {
    ticks * 1000 / 512
}

/// The median of `N` measurements.
pub fn median<const N: usize>(mut measure: impl FnMut() -> u64) -> u64 {
    let mut counts: [u64; N] = core::array::from_fn(|_| measure());
    counts.sort_unstable();
    counts[N / 2]
}
