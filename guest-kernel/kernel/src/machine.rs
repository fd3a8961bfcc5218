//! What the kernel needs of its machine. `guest-kernel/arch` implements it for a domain of the
//! hypervisor, [`crate::fake`] for host tests.

use crate::context::Context;
use k42_lib::trace::Tracer;
use k42_lib::{EffAddr, GuestAddr};

/// The number of an address space, as the processor knows it (PIDR).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpaceId(pub u16);

/// A domain's memory, translation, console and time; its events go to the buffer of this vCPU.
///
/// Addresses are guest real. Stores go only into the frames that the machine gave the kernel at
/// the start ([`crate::pm::PageManager`]); a machine panics at one elsewhere, which is a bug of
/// the kernel's.
pub trait Machine: Tracer {
    /// The translation table entry at `at` (big-endian in storage).
    fn load_entry(&self, at: GuestAddr) -> u64;
    /// Stores a translation table entry, so that a table walk sees the old or the new one.
    fn store_entry(&mut self, at: GuestAddr, entry: u64);
    /// Stores zeros.
    fn zero(&mut self, at: GuestAddr, bytes: u64);
    /// Copies within memory; the two ranges do not overlap.
    fn copy(&mut self, to: GuestAddr, from: GuestAddr, bytes: u64);
    /// Loads bytes.
    fn load_bytes(&self, at: GuestAddr, into: &mut [u8]);
    /// Instructions were stored in the page at `at`: makes instruction fetches see them.
    fn synchronize_instructions(&mut self, at: GuestAddr, bytes: u64);

    /// Entries stored before this call are seen by every later table walk.
    fn tables_changed(&mut self);
    /// Forgets the translation of one page.
    fn invalidate(&mut self, space: SpaceId, page: EffAddr);
    /// Makes the tree whose root table is at `root` the translation of `space`.
    fn set_space(&mut self, space: SpaceId, root: GuestAddr);
    /// The user address at which Linux system calls enter the system library.
    fn set_system_call_entry(&mut self, entry: u64);

    /// Writes memory to the console.
    fn console_write(&mut self, at: GuestAddr, bytes: u64);
    /// Reads from the console into memory; returns how many bytes, 0 when none wait.
    fn console_read(&mut self, at: GuestAddr, bytes: u64) -> u64;
    /// Writes a line of the kernel's own to the console.
    fn console_line(&mut self, line: core::fmt::Arguments<'_>);
    /// Waits for console input or for the timebase to reach `deadline`. May return early.
    fn wait(&mut self, deadline: u64);
    /// Now, in ticks of the timebase.
    fn timebase(&self) -> u64;
    /// The decrementer has expired: sets it far ahead.
    fn rearm_timer(&mut self);

    /// Runs the user whose registers these are, in address space `space`, until its next trap.
    fn run(&mut self, space: SpaceId, context: &mut Context);
}
