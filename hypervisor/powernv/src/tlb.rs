//! The processors' translations of partitions, which changed tables make stale.

use core::arch::asm;

/// Drops all translations of partition `lpid` from every processor (Power ISA v3.0B, Book III,
/// 5.9.3.2): partition-scoped and process-scoped.
pub(crate) fn invalidate_partition(lpid: u64) {
    /// tlbie RB, RS with RIC = 2 (everything), R = 1 (radix); PRS in bit 14.
    const TLBIE: u32 = 0x7c00_0264 | 2 << 18 | 1 << 16;
    const PROCESS_SCOPED: u32 = 1 << 17;
    /// IS = 2 in bits 52:53 of RB: all entries of the partition in RS.
    const ALL_OF_PARTITION: u64 = 2 << 10;
    // SAFETY: invalidating translations is always sound; the barriers order it as the
    // architecture asks (ptesync before; eieio, tlbsync, ptesync after).
    unsafe {
        asm!(
            "ptesync",
            ".long {partition} | 4 << 21 | 3 << 11", // RS = r4, RB = r3
            ".long {process} | 4 << 21 | 3 << 11",
            "eieio",
            "tlbsync",
            "ptesync",
            partition = const TLBIE,
            process = const TLBIE | PROCESS_SCOPED,
            in("r3") ALL_OF_PARTITION,
            in("r4") lpid,
            options(nostack, preserves_flags)
        );
    }
}
