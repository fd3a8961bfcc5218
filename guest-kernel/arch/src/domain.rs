//! The domain as the kernel's [`Machine`].

use crate::space::{self, Spaces};
use crate::vcpu::this;
use crate::{entry, hypercall, registers, wake};
use alloc::vec::Vec;
use core::arch::asm;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};
use guest_kernel::Machine;
use guest_kernel::context::Context;
use guest_kernel::machine::SpaceId;
use k42_lib::{EffAddr, GuestAddr};

/// Bytes that one cache operation covers on POWER9 and POWER10.
const CACHE_BLOCK: u64 = 128;

/// The domain: its memory, its console, its processors. All vCPUs may use it at once, and none stores to its
/// lines of the cache: counts of who has it are in another.
#[repr(align(128))]
pub struct Domain {
    memory_size: u64,
    /// Guest real addresses of the memory that is the Machine's to store to. No object of the
    /// kernel's is there.
    frames: Vec<Range<u64>>,
    spaces: Spaces,
}

impl Domain {
    /// A domain whose memory, up to `memory_size`, is mapped. Everything in `frames` is the Machine's.
    ///
    /// # Safety
    /// No object of the kernel's lies in `frames`.
    pub(crate) unsafe fn new(memory_size: u64, frames: Vec<Range<u64>>, spaces: Spaces) -> Domain {
        Domain { memory_size, frames, spaces }
    }

    /// The frames the Machine may store to, as ranges of guest real addresses.
    pub fn frames(&self) -> &[Range<u64>] {
        &self.frames
    }

    /// The processor version register, for the program's benefit.
    pub fn processor_version(&self) -> u64 {
        registers::processor_version()
    }

    fn readable(&self, at: GuestAddr, bytes: u64) -> *const u8 {
        let start = at.value();
        if start > self.memory_size || bytes > self.memory_size - start {
            outside(at);
        }
        crate::linear(at) as *const u8
    }

    fn writable(&self, at: GuestAddr, bytes: u64) -> *mut u8 {
        let start = at.value();
        let inside = |range: &Range<u64>| {
            range.start <= start && start < range.end && bytes <= range.end - start
        };
        if !self.frames.iter().any(inside) {
            outside(at);
        }
        crate::linear(at) as *mut u8
    }
}

/// Not in the functions that find out, which are short without it.
#[cold]
#[inline(never)]
fn outside(at: GuestAddr) -> ! {
    panic!("{at} is not the kernel's to use")
}

/// Stores zeros to so many blocks from `first` on, eight at a time and then one.
///
/// # Safety
/// They are aligned memory that may be stored to.
unsafe fn zero_blocks(first: *mut u8, blocks: u64) {
    let offsets: [u64; 7] = core::array::from_fn(|n| (n as u64 + 1) * CACHE_BLOCK);
    let mut block = first as u64;
    for _ in 0..blocks / 8 {
        // SAFETY: within them, says the caller.
        unsafe {
            asm!(
                "dcbz 0, {at}", "dcbz {o1}, {at}", "dcbz {o2}, {at}", "dcbz {o3}, {at}",
                "dcbz {o4}, {at}", "dcbz {o5}, {at}", "dcbz {o6}, {at}", "dcbz {o7}, {at}",
                at = in(reg_nonzero) block,
                o1 = in(reg_nonzero) offsets[0], o2 = in(reg_nonzero) offsets[1],
                o3 = in(reg_nonzero) offsets[2], o4 = in(reg_nonzero) offsets[3],
                o5 = in(reg_nonzero) offsets[4], o6 = in(reg_nonzero) offsets[5],
                o7 = in(reg_nonzero) offsets[6],
                options(nostack),
            );
        }
        block += 8 * CACHE_BLOCK;
    }
    for _ in 0..blocks % 8 {
        // SAFETY: within them, says the caller.
        unsafe { asm!("dcbz 0, {}", in(reg_nonzero) block, options(nostack)) };
        block += CACHE_BLOCK;
    }
}

/// Copies so many blocks, eight doublewords at a time; the compiler's own copy takes twice as long.
///
/// # Safety
/// They are aligned memory, that at `to` may be stored to, and they do not overlap.
unsafe fn copy_blocks(to: *mut u8, from: *const u8, blocks: u64) {
    // SAFETY: the loop stays within them, says the caller.
    unsafe {
        asm!(
            "mtctr {a}",
            "2: ld {a}, 0({from})", "ld {b}, 8({from})", "ld {c}, 16({from})", "ld {d}, 24({from})",
            "ld {e}, 32({from})", "ld {f}, 40({from})", "ld {g}, 48({from})", "ld {h}, 56({from})",
            "std {a}, 0({to})", "std {b}, 8({to})", "std {c}, 16({to})", "std {d}, 24({to})",
            "std {e}, 32({to})", "std {f}, 40({to})", "std {g}, 48({to})", "std {h}, 56({to})",
            "addi {from}, {from}, 64", "addi {to}, {to}, 64", "bdnz 2b",
            a = inout(reg) 2 * blocks => _, b = out(reg) _, c = out(reg) _, d = out(reg) _,
            e = out(reg) _, f = out(reg) _, g = out(reg) _, h = out(reg) _,
            from = inout(reg_nonzero) from => _, to = inout(reg_nonzero) to => _,
            out("ctr") _,
            options(nostack),
        );
    }
}

impl Machine for Domain {
    fn load_entry(&self, at: GuestAddr) -> u64 {
        let pointer = self.readable(at, 8).cast::<u64>();
        // SAFETY: memory of the domain's, mapped; tables are aligned.
        u64::from_be(unsafe { pointer.read_volatile() })
    }

    fn store_entry(&self, at: GuestAddr, entry: u64) {
        let pointer = self.writable(at, 8).cast::<u64>();
        // SAFETY: in a frame, where no object lies; tables are aligned.
        unsafe { pointer.write_volatile(entry.to_be()) };
    }

    fn link_entry(&self, at: GuestAddr, entry: u64) -> u64 {
        let pointer = self.writable(at, 8).cast::<u64>();
        // SAFETY: in a frame, where no object lies; tables are aligned.
        let there = unsafe { AtomicU64::from_ptr(pointer) };
        let put = there.compare_exchange(0, entry.to_be(), Ordering::AcqRel, Ordering::Acquire);
        put.map_or_else(u64::from_be, |_| entry)
    }

    fn zero(&self, at: GuestAddr, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let pointer = self.writable(at, bytes);
        if !(at.value() | bytes).is_multiple_of(CACHE_BLOCK) {
            // SAFETY: in a frame, where no object lies.
            unsafe { ptr::write_bytes(pointer, 0, bytes as usize) };
            return;
        }
        let blocks = bytes / CACHE_BLOCK;
        // SAFETY: in a frame, where no object lies; so many blocks are within it.
        unsafe { zero_blocks(pointer, blocks) };
    }

    fn copy(&self, to: GuestAddr, from: GuestAddr, bytes: u64) {
        let from = self.readable(from, bytes);
        let to = self.writable(to, bytes);
        if (from as u64 | to as u64 | bytes).is_multiple_of(CACHE_BLOCK) {
            // SAFETY: as below, and they do not overlap, says the trait.
            unsafe { copy_blocks(to, from, bytes / CACHE_BLOCK) };
            return;
        }
        // SAFETY: memory of the domain's to a frame; should they overlap, `copy` allows it.
        unsafe { ptr::copy(from, to, bytes as usize) };
    }

    fn load_bytes(&self, at: GuestAddr, into: &mut [u8]) {
        let from = self.readable(at, into.len() as u64);
        // SAFETY: memory of the domain's, mapped; `copy` allows an overlap.
        unsafe { ptr::copy(from, into.as_mut_ptr(), into.len()) };
    }

    fn synchronize_instructions(&self, at: GuestAddr, bytes: u64) {
        let start = self.readable(at, bytes) as u64;
        let blocks = || (start..start + bytes).step_by(CACHE_BLOCK as usize);
        for block in blocks() {
            // SAFETY: memory of the domain's; storing a block back changes nothing.
            unsafe { asm!("dcbst 0, {}", in(reg_nonzero) block, options(nostack)) };
        }
        // SAFETY: a barrier.
        unsafe { asm!("sync", options(nostack)) };
        for block in blocks() {
            // SAFETY: memory of the domain's; fetching a block again changes nothing.
            unsafe { asm!("icbi 0, {}", in(reg_nonzero) block, options(nostack)) };
        }
        // SAFETY: a barrier.
        unsafe { asm!("sync", "isync", options(nostack)) };
    }

    fn tables_changed(&self) {
        registers::synchronize_tables();
    }

    fn invalidate(&self, space: SpaceId, page: EffAddr) {
        space::invalidate_page(space, page);
    }

    fn set_space(&self, space: SpaceId, root: GuestAddr) {
        self.spaces.set(space, root);
    }

    fn spaces(&self) -> u16 {
        space::SPACES as u16
    }

    fn set_system_call_entry(&self, entry: u64) {
        entry::set_system_call_entry(entry);
    }

    fn console_write(&self, at: GuestAddr, bytes: u64) {
        let _whole = hypercall::Writing::begin();
        hypercall::console_write(at, bytes);
    }

    fn console_read(&self, at: GuestAddr, bytes: u64) -> u64 {
        self.writable(at, bytes);
        hypercall::console_read(at, bytes)
    }

    fn console_line(&self, line: core::fmt::Arguments<'_>) {
        hypercall::print(format_args!("{line}\n"));
    }

    fn wait(&self, deadline: u64) {
        wake::sleep(deadline);
    }

    fn timebase(&self) -> u64 {
        registers::timebase()
    }

    fn rearm_timer(&self) {
        registers::rearm_decrementer();
    }

    fn run(&self, space: SpaceId, context: &mut Context) {
        if this().space.replace(space) != space {
            // SAFETY: the kernel itself runs in quadrant 3, which is the same in all spaces.
            unsafe { registers::set_space(space.0.into()) };
            registers::synchronize_context();
        }
        context.msr &= !k42_lib::msr::SRR1_INFORMATION;
        entry::adopt(context);
        assert!(context.msr & k42_lib::msr::PR != 0, "only users are run like this");
        // SAFETY: a user's machine state, in the address space just set; translation is on.
        unsafe { entry::run_user(context) };
        wake::take();
    }
}
