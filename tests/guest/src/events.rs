//! Two domains that send each other events in turns, and count what that takes.
//!
//! `test=echo` (domain 1) makes a channel for domain 2 and answers every event with one;
//! `test=ping` (domain 2) connects to it and measures round trips. Both sleep while they wait.
//!
//! The shared page has no place in the kernel's own translation: it is used in real mode.

use crate::count::instructions;
use crate::{Options, Verdict, say};
use alloc::format;
use alloc::string::String;
use core::arch::asm;
use k42_lib::{GuestAddr, msr};
use kernel_arch::{Boot, hypercall, registers};
use xen_sys::{event_channel as op, xen};

/// Where the shared page is put: 1 TiB, beyond any memory of a test.
pub const SHARED: u64 = 1 << 40;
/// Offsets of `shared_info`: the first doubleword has the upcall's byte, the second the selector.
pub const PENDING: u64 = SHARED + 48;
/// Both domains' port: the first that is given out.
const PORT: u32 = 1;
/// Round trips before and in a measurement.
const WARM_UP: u64 = 100;
const ROUNDS: u64 = 1000;

/// Exchanges a doubleword of guest real storage for zero, atomically, in real mode.
pub fn take(at: u64) -> u64 {
    let before: u64;
    // SAFETY: only this code's own instructions run with data translation off; the storage is the
    // shared page, which no Rust object lies in.
    unsafe {
        asm!(
            "mfmsr {kept}",
            "andc {real}, {kept}, {translation}",
            "mtmsrd {real}",
            "isync",
            "2: ldarx {before}, 0, {at}",
            "stdcx. {zero}, 0, {at}",
            "bne- 2b",
            "mtmsrd {kept}",
            "isync",
            kept = out(reg) _,
            real = out(reg) _,
            translation = in(reg) msr::DR,
            before = out(reg) before,
            at = in(reg) at,
            zero = in(reg) 0u64,
            out("cr0") _,
            options(nostack),
        );
    }
    before
}

/// Makes a call whose argument is these words; the result, and the words afterwards.
pub fn operation<const N: usize>(command: u32, mut words: [u32; N]) -> (i64, [u32; N]) {
    let result = hypercall::event_channel_op(command, &mut words);
    (result, words)
}

/// Maps the page that the domain shares with the hypervisor at [`SHARED`].
pub fn map_shared_page() -> Verdict {
    match hypercall::map_shared_page(GuestAddr::new(SHARED)) {
        0 => Ok(()),
        error => Err(format!("the shared page cannot be mapped: {error}")),
    }
}

/// Sleeps until the port has an event, and takes it.
fn wait() {
    loop {
        if take(PENDING) & 1 << PORT != 0 {
            return;
        }
        // First what says that something is pending, then what is: an event in between shows.
        take(SHARED);
        take(SHARED + 8);
        if take(PENDING) & 1 << PORT != 0 {
            return;
        }
        hypercall::block();
    }
}

fn send() -> Verdict {
    match operation(op::EVTCHNOP_SEND, [PORT]).0 {
        0 => Ok(()),
        error => Err(format!("send: {error}")),
    }
}

/// Domain 1: answers every event until the other has ended.
pub fn echo(_: Boot, _: Options) -> Verdict {
    map_shared_page()?;
    let words = [u32::from(xen::DOMID_SELF) | 2 << 16, 0];
    let (result, words) = operation(op::EVTCHNOP_ALLOC_UNBOUND, words);
    if (result, words[1]) != (0, PORT) {
        return Err(format!("allocated port {}: {result}", words[1]));
    }
    for _ in 0..WARM_UP + ROUNDS {
        wait();
        send()?;
    }
    Ok(())
}

/// Domain 2: connects, and measures.
pub fn ping(_: Boot, _: Options) -> Verdict {
    map_shared_page()?;
    loop {
        let (result, words) = operation(op::EVTCHNOP_BIND_INTERDOMAIN, [1, PORT, 0]);
        match (result, words[2]) {
            (0, PORT) => break,
            (0, port) => return Err(format!("connected as port {port}")),
            _ => hypercall::yield_now(), // the other has not made it yet
        }
    }
    wait(); // connecting makes the own end pending
    round_trips(WARM_UP)?;
    let start = registers::timebase();
    round_trips(ROUNDS)?;
    let ticks = registers::timebase() - start;
    say!("BENCH event-round-trip {} insns", instructions(ticks) / ROUNDS);
    Ok(())
}

fn round_trips(count: u64) -> Result<(), String> {
    for _ in 0..count {
        send()?;
        wait();
    }
    Ok(())
}
