//! The domain as the kernel's [`Machine`].

use crate::space::{self, Spaces};
use crate::trace::Buffer;
use crate::{entry, hypercall, registers};
use alloc::vec::Vec;
use core::arch::asm;
use core::ops::Range;
use core::ptr;
use guest_kernel::Machine;
use guest_kernel::context::Context;
use guest_kernel::machine::SpaceId;
use k42_lib::{EffAddr, GuestAddr};

/// The farthest the decrementer can be set: it has 32 bits, and is negative when it has expired.
const LONGEST: u64 = 0x7fff_ffff;
/// Bytes that one instruction cache operation covers on POWER9 and POWER10.
const CACHE_BLOCK: u64 = 128;

/// The domain: its memory, its console, its processor.
pub struct Domain {
    memory_size: u64,
    /// Guest real addresses of the memory that is the Machine's to store to. No object of the
    /// kernel's is there.
    frames: Vec<Range<u64>>,
    spaces: Spaces,
    current: SpaceId,
    /// Where this vCPU's events go.
    pub(crate) trace: &'static Buffer,
}

impl Domain {
    /// A domain whose memory, up to `memory_size`, is mapped. Everything in `frames` is the Machine's.
    ///
    /// # Safety
    /// No object of the kernel's lies in `frames`.
    pub(crate) unsafe fn new(
        memory_size: u64,
        frames: Vec<Range<u64>>,
        spaces: Spaces,
        trace: &'static Buffer,
    ) -> Domain {
        Domain { memory_size, frames, spaces, current: SpaceId(0), trace }
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
        let end = at.checked_add(bytes);
        assert!(end.is_some_and(|end| end.value() <= self.memory_size), "{at} is no memory");
        crate::linear(at) as *const u8
    }

    fn writable(&mut self, at: GuestAddr, bytes: u64) -> *mut u8 {
        let start = at.value();
        let inside = |range: &Range<u64>| {
            range.start <= start && start < range.end && bytes <= range.end - start
        };
        assert!(self.frames.iter().any(inside), "{at} is in no frame");
        crate::linear(at) as *mut u8
    }
}

impl Machine for Domain {
    fn load_entry(&self, at: GuestAddr) -> u64 {
        let pointer = self.readable(at, 8).cast::<u64>();
        // SAFETY: memory of the domain's, mapped; tables are aligned.
        u64::from_be(unsafe { pointer.read_volatile() })
    }

    fn store_entry(&mut self, at: GuestAddr, entry: u64) {
        let pointer = self.writable(at, 8).cast::<u64>();
        // SAFETY: in a frame, where no object lies; tables are aligned.
        unsafe { pointer.write_volatile(entry.to_be()) };
    }

    fn zero(&mut self, at: GuestAddr, bytes: u64) {
        if bytes != 0 {
            let pointer = self.writable(at, bytes);
            // SAFETY: in a frame, where no object lies.
            unsafe { ptr::write_bytes(pointer, 0, bytes as usize) };
        }
    }

    fn copy(&mut self, to: GuestAddr, from: GuestAddr, bytes: u64) {
        let from = self.readable(from, bytes);
        let to = self.writable(to, bytes);
        // SAFETY: memory of the domain's to a frame; should they overlap, `copy` allows it.
        unsafe { ptr::copy(from, to, bytes as usize) };
    }

    fn load_bytes(&self, at: GuestAddr, into: &mut [u8]) {
        let from = self.readable(at, into.len() as u64);
        // SAFETY: memory of the domain's, mapped; `copy` allows an overlap.
        unsafe { ptr::copy(from, into.as_mut_ptr(), into.len()) };
    }

    fn synchronize_instructions(&mut self, at: GuestAddr, bytes: u64) {
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

    fn tables_changed(&mut self) {
        registers::synchronize_tables();
    }

    fn invalidate(&mut self, space: SpaceId, page: EffAddr) {
        space::invalidate_page(space, page);
    }

    fn set_space(&mut self, space: SpaceId, root: GuestAddr) {
        self.spaces.set(space, root);
    }

    fn set_system_call_entry(&mut self, entry: u64) {
        entry::set_system_call_entry(entry);
    }

    fn console_write(&mut self, at: GuestAddr, bytes: u64) {
        hypercall::console_write(at, bytes);
    }

    fn console_read(&mut self, at: GuestAddr, bytes: u64) -> u64 {
        self.writable(at, bytes);
        hypercall::console_read(at, bytes)
    }

    fn console_line(&mut self, line: core::fmt::Arguments<'_>) {
        hypercall::print(format_args!("{line}\n"));
    }

    fn wait(&mut self, deadline: u64) {
        let left = deadline.saturating_sub(registers::timebase()).min(LONGEST);
        // SAFETY: the kernel is ready for the decrementer at any time.
        unsafe { registers::set_decrementer(left) };
        hypercall::block();
        self.rearm_timer();
    }

    fn timebase(&self) -> u64 {
        registers::timebase()
    }

    fn rearm_timer(&mut self) {
        // SAFETY: the kernel is ready for the decrementer at any time.
        unsafe { registers::set_decrementer(LONGEST) };
    }

    fn run(&mut self, space: SpaceId, context: &mut Context) {
        if self.current != space {
            self.current = space;
            // SAFETY: the kernel itself runs in quadrant 3, which is the same in all spaces.
            unsafe { registers::set_space(space.0.into()) };
            registers::synchronize_context();
        }
        context.msr &= !k42_lib::msr::SRR1_INFORMATION;
        entry::adopt(context);
        assert!(context.msr & k42_lib::msr::PR != 0, "only users are run like this");
        // SAFETY: a user's machine state, in the address space just set; translation is on.
        unsafe { entry::run_user(context) };
    }
}
