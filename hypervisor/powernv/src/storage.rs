//! Real storage: the only place where an address becomes an access.
//!
//! The processor runs untranslated, so a real address is a pointer. Who may access what is the
//! policy's to know (`hypervisor/core`: frames and their owners); the functions here are handed
//! addresses that it has checked.

use core::arch::asm;
use core::sync::atomic::AtomicU64;
use k42_lib::RealAddr;

/// Copies from real storage.
pub(crate) fn read(from: RealAddr, into: &mut [u8]) {
    let source = from.value() as *const u8;
    // SAFETY: the policy gives only addresses of frames whose owner it holds locked; a guest that
    // writes there meanwhile changes bytes, which are copied, not referred to.
    unsafe { core::ptr::copy_nonoverlapping(source, into.as_mut_ptr(), into.len()) };
}

/// Copies to real storage.
pub(crate) fn write(to: RealAddr, from: &[u8]) {
    let target = to.value() as *mut u8;
    // SAFETY: as in `read`; a domain's frames never hold the hypervisor's own data.
    unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), target, from.len()) };
}

/// Makes stored instructions visible to fetches (Power ISA v3.0B, Book II, 4.3.1).
pub(crate) fn synchronize_code(at: RealAddr, length: u64) {
    for line in (at.value()..at.value() + length).step_by(128) {
        // SAFETY: writes back and invalidates cache lines; storage stays as it is.
        unsafe {
            asm!("dcbst 0, {0}", "sync", "icbi 0, {0}", in(reg) line, options(nostack, preserves_flags))
        };
    }
    // SAFETY: barriers.
    unsafe { asm!("sync", "isync", options(nostack, preserves_flags)) };
}

/// Zeroes blocks of 128 bytes, the processor's cache line.
pub(crate) fn zero(at: RealAddr, length: u64) {
    let mut line = at.value();
    let end = line + length;
    while line < end {
        // SAFETY: the frame has just been taken from the free ones and nobody refers to it.
        unsafe { asm!("dcbz 0, {}", in(reg) line, options(nostack, preserves_flags)) };
        line += 128;
    }
}

/// A doubleword of a page that a guest and the hypervisor share, for atomic changes.
pub(crate) fn shared_word(at: RealAddr) -> &'static AtomicU64 {
    // SAFETY: aligned, in a frame that is mapped for guests and never holds a Rust object; all
    // that the hypervisor does with it is atomic.
    unsafe { AtomicU64::from_ptr(at.value() as *mut u64) }
}

/// Loads a doubleword that a table walk reads: big-endian.
pub(crate) fn load_entry(at: RealAddr) -> u64 {
    let source = at.value() as *const u64;
    // SAFETY: the address lies in a table of ours, aligned; the processor only reads it.
    u64::from_be(unsafe { source.read_volatile() })
}

/// Stores a doubleword that a table walk reads, after all stores before it.
pub(crate) fn store_entry(at: RealAddr, entry: u64) {
    let target = at.value() as *mut u64;
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    // SAFETY: as in `load_entry`; an aligned doubleword is stored at once.
    unsafe { target.write_volatile(entry.to_be()) };
}

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
