//! OPAL, the firmware: its console, its processors, its power switch (skiboot, doc/opal-api).
//! Calls take real addresses and big-endian numbers, and may be made from any processor.

use core::sync::atomic::{AtomicU64, Ordering};

/// Tokens (skiboot, include/opal-api.h).
mod token {
    pub(super) const CONSOLE_WRITE: u64 = 1;
    pub(super) const CONSOLE_READ: u64 = 2;
    pub(super) const CEC_POWER_DOWN: u64 = 5;
    pub(super) const POLL_EVENTS: u64 = 10;
    pub(super) const CONSOLE_WRITE_BUFFER_SPACE: u64 = 25;
    pub(super) const CONSOLE_FLUSH: u64 = 117;
}

/// Where the firmware is; [`crate::boot`] is told.
pub(crate) static BASE: AtomicU64 = AtomicU64::new(0);
pub(crate) static ENTRY: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    fn opal_call(call: *const [u64; 8], entry: u64, base: u64) -> i64;
}

/// A call; its result.
pub(crate) fn call(token: u64, a: u64, b: u64, c: u64) -> i64 {
    call_with([token, a, b, c, 0, 0, 0, 0])
}

/// The same with the token and all the arguments that a call can have.
pub(crate) fn call_with(arguments: [u64; 8]) -> i64 {
    let (entry, base) = (ENTRY.load(Ordering::Relaxed), BASE.load(Ordering::Relaxed));
    // SAFETY: entry and base are what the firmware gave the image in r8 and r9; the calls of this
    // crate pass addresses of live objects only.
    unsafe { opal_call(&raw const arguments, entry, base) }
}

/// Writes to the firmware's console, all of it, and in one piece when its buffer can hold it:
/// the firmware itself writes there while we poll, and shall not break into a frame.
pub(crate) fn console_write(bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        wait_for_space(rest.len() as u64);
        let mut length = (rest.len() as u64).to_be();
        let at = &raw mut length as u64;
        let status = call(token::CONSOLE_WRITE, 0, at, rest.as_ptr() as u64);
        let written = usize::try_from(u64::from_be(length)).unwrap_or(0);
        match rest.get(written..) {
            Some(tail) if status == 0 && written > 0 => rest = tail,
            _ => poll(),
        }
    }
}

/// Polls until the console's buffer has room for `wanted` bytes, or does not fill any further.
fn wait_for_space(wanted: u64) {
    let mut before = u64::MAX;
    loop {
        let mut space = 0u64;
        if call(token::CONSOLE_WRITE_BUFFER_SPACE, 0, &raw mut space as u64, 0) != 0 {
            return;
        }
        let space = u64::from_be(space);
        if space >= wanted || space == before {
            return;
        }
        before = space;
        poll();
    }
}

fn poll() {
    call(token::POLL_EVENTS, 0, 0, 0);
}

/// Takes input from the firmware's console; returns how many bytes.
pub(crate) fn console_read(into: &mut [u8]) -> usize {
    let mut length = (into.len() as u64).to_be();
    let at = &raw mut length as u64;
    poll();
    if call(token::CONSOLE_READ, 0, at, into.as_mut_ptr() as u64) != 0 {
        return 0;
    }
    usize::try_from(u64::from_be(length)).unwrap_or(0).min(into.len())
}

/// Turns the machine off.
pub(crate) fn power_off() -> ! {
    call(token::CONSOLE_FLUSH, 0, 0, 0);
    call(token::CEC_POWER_DOWN, 0, 0, 0);
    loop {
        poll();
    }
}
