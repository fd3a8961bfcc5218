//! Real storage: the only place where an address becomes an access.
//!
//! The processor runs untranslated, so a real address is a pointer. Who may access what is the
//! policy's to know (`hypervisor/core`: frames and their owners); [`RealStorage`] is handed
//! addresses that it has checked.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use hv_core::Storage;
use k42_lib::RealAddr;

/// The storage of both machines.
pub struct RealStorage;

/// A doubleword of a page that a guest and the hypervisor share, for atomic changes.
fn shared_word(at: RealAddr) -> &'static AtomicU64 {
    // SAFETY: aligned, in a frame that is mapped for guests and never holds a Rust object; all
    // that the hypervisor does with it is atomic.
    unsafe { AtomicU64::from_ptr(at.value() as *mut u64) }
}

impl Storage for RealStorage {
    fn read(&self, from: RealAddr, into: &mut [u8]) {
        let source = from.value() as *const u8;
        // SAFETY: the policy gives only addresses of frames whose owner it holds locked; a guest that
        // writes there meanwhile changes bytes, which are copied, not referred to.
        unsafe { core::ptr::copy_nonoverlapping(source, into.as_mut_ptr(), into.len()) };
    }

    fn write(&self, to: RealAddr, from: &[u8]) {
        let target = to.value() as *mut u8;
        // SAFETY: as in `read`; a domain's frames never hold the hypervisor's own data.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), target, from.len()) };
    }

    fn copy(&self, from: RealAddr, to: RealAddr, length: u64) {
        let (source, target) = (from.value() as *const u8, to.value() as *mut u8);
        // SAFETY: as in `read` and `write`; a page that is lent may be both.
        unsafe { core::ptr::copy(source, target, length as usize) };
    }

    fn zero(&self, at: RealAddr, length: u64) {
        if length < 1024 {
            return; // a counter of 0 would go round 2^64 times
        }
        // Eight cache lines of the processor at a time.
        // SAFETY: the frames have just been taken from the free ones and nobody refers to them.
        unsafe {
            asm!(
                "mtctr {count}",
                "2: dcbz 0, {line}",
                "dcbz {b}, {line}",
                "dcbz {c}, {line}",
                "dcbz {d}, {line}",
                "dcbz {e}, {line}",
                "dcbz {f}, {line}",
                "dcbz {g}, {line}",
                "dcbz {h}, {line}",
                "addi {line}, {line}, 1024",
                "bdnz 2b",
                count = in(reg) length / 1024,
                line = inout(reg_nonzero) at.value() => _,
                b = in(reg_nonzero) 128, c = in(reg_nonzero) 256, d = in(reg_nonzero) 384,
                e = in(reg_nonzero) 512, f = in(reg_nonzero) 640, g = in(reg_nonzero) 768,
                h = in(reg_nonzero) 896, out("ctr") _,
                options(nostack),
            );
        }
    }

    fn load_entry(&self, at: RealAddr) -> u64 {
        let source = at.value() as *const u64;
        // SAFETY: the address lies in a table of ours, aligned; the processor only reads it.
        u64::from_be(unsafe { source.read_volatile() })
    }

    fn store_entry(&self, at: RealAddr, entry: u64) {
        let target = at.value() as *mut u64;
        fence(Ordering::SeqCst);
        // SAFETY: as in `load_entry`; an aligned doubleword is stored at once.
        unsafe { target.write_volatile(entry.to_be()) };
    }

    /// Whoever else stores first and loads then sees the stores before this, or is seen here.
    fn load_shared(&self, at: RealAddr) -> u64 {
        fence(Ordering::SeqCst);
        shared_word(at).load(Ordering::Relaxed)
    }

    fn fetch_or(&self, at: RealAddr, bits: u64) -> u64 {
        shared_word(at).fetch_or(bits, Ordering::AcqRel)
    }

    fn fetch_and(&self, at: RealAddr, bits: u64) -> u64 {
        shared_word(at).fetch_and(bits, Ordering::AcqRel)
    }
}
