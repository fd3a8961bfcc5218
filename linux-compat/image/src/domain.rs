//! The library's [`System`]: a K42 domain, and the address space it shares with its program.

use core::ptr;
use kernel_abi::{MAX_ARGUMENTS, Trap, stub};
use libos::runtime::{self, Native};
use linux_syscalls::System;

/// The domain.
pub(crate) struct Domain;

impl Trap for Domain {
    #[inline]
    fn native(&self, r0: u64, arguments: [u64; MAX_ARGUMENTS]) -> u64 {
        Native.native(r0, arguments)
    }
}

impl System for Domain {
    fn load(&self, from: u64, into: &mut [u8]) {
        // SAFETY: the caller has found the bytes to be the program's and mapped; they are none of
        // the library's, so they do not overlap.
        unsafe { ptr::copy_nonoverlapping(from as *const u8, into.as_mut_ptr(), into.len()) };
    }

    fn store(&self, to: u64, bytes: &[u8]) {
        // SAFETY: the caller has found the place to be the program's and mapped for stores; it is
        // none of the library's, so they do not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
    }

    fn console_read(&self, into: &mut [u8], deadline: u64) -> usize {
        let (at, length) = (into.as_mut_ptr() as u64, into.len() as u64);
        stub::console_read(&Native, at, length, deadline).unwrap_or(0) as usize
    }

    fn console_write(&self, bytes: &[u8]) {
        // It fails for bad pointers only.
        let _ = stub::console_write(&Native, bytes.as_ptr() as u64, bytes.len() as u64);
    }

    fn log(&self, line: &str) {
        // The same.
        let _ = stub::log(&Native, line.as_ptr() as u64, line.len() as u64);
    }

    fn timebase(&self) -> u64 {
        runtime::timebase()
    }

    fn random(&self) -> u64 {
        runtime::random()
    }
}
