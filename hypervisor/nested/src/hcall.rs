//! What the hypervisor below us does for its partition, by hypercall: console, interrupts between
//! processors, RTAS, nested guests (PAPR+ 2.13; the last QEMU, hw/ppc/spapr.h).

use crate::abi::{GuestState, Registers};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

/// Numbers of calls.
mod number {
    pub(super) const GET_TERM_CHAR: u64 = 0x54;
    pub(super) const PUT_TERM_CHAR: u64 = 0x58;
    pub(super) const EOI: u64 = 0x64;
    pub(super) const IPI: u64 = 0x6c;
    pub(super) const XIRR: u64 = 0x74;
    pub(super) const CEDE: u64 = 0xe0;
    pub(super) const RTAS: u64 = 0xf000;
    pub(super) const ENTER_NESTED: u64 = 0xf804;
    pub(super) const TLB_INVALIDATE: u64 = 0xf808;
}

/// The least and the most urgent of an interrupt's priorities.
pub(crate) const NEVER: u64 = 0xff;
const URGENT: u64 = 0;
/// The interrupt source of H_IPI.
const IPI_SOURCE: u64 = 2;

/// A hypercall; r3 to r6 as it leaves them.
pub(crate) fn call(number: u64, arguments: [u64; 4]) -> [u64; 4] {
    let [a, b, c, d] = arguments;
    let mut r = [0; 4];
    // SAFETY: the hypervisor preserves what is not named here and touches no storage of ours but
    // what a call names; the calls of this crate name objects that they have borrowed.
    unsafe {
        asm!(
            "sc 1",
            inlateout("r3") number => r[0],
            inlateout("r4") a => r[1],
            inlateout("r5") b => r[2],
            inlateout("r6") c => r[3],
            inlateout("r7") d => _,
            out("r0") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _,
            out("ctr") _, out("xer") _,
            out("cr0") _, out("cr1") _, out("cr5") _, out("cr6") _, out("cr7") _,
            options(nostack),
        );
    }
    r
}

/// The same with one argument.
pub(crate) fn call1(number: u64, argument: u64) -> [u64; 4] {
    call(number, [argument, 0, 0, 0])
}

/// Writes to the partition's console, all of it: 16 bytes at a time, packed in two registers.
pub(crate) fn console_write(bytes: &[u8]) {
    const BUSY: u64 = 1;
    for piece in bytes.chunks(16) {
        let mut packed = [0; 16];
        packed[..piece.len()].copy_from_slice(piece);
        let both = u128::from_be_bytes(packed);
        let arguments = [0, piece.len() as u64, (both >> 64) as u64, both as u64];
        while call(number::PUT_TERM_CHAR, arguments)[0] == BUSY {}
    }
}

/// Takes input from the console, up to 16 bytes; returns how many.
pub(crate) fn console_read(into: &mut [u8; 16]) -> usize {
    let [status, length, high, low] = call1(number::GET_TERM_CHAR, 0);
    *into = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    if status == 0 { (length as usize).min(into.len()) } else { 0 }
}

/// Interrupts a processor.
pub(crate) fn interrupt(server: u32) {
    call(number::IPI, [server.into(), URGENT, 0, 0]);
}

/// Takes back the interrupt that another processor has sent to this one, `server`.
pub(crate) fn take_interrupt(server: u32) {
    let [_, pending, ..] = call1(number::XIRR, 0);
    let source = pending & 0xff_ffff;
    if source == IPI_SOURCE {
        call(number::IPI, [server.into(), NEVER, 0, 0]);
    }
    if source != 0 {
        call1(number::EOI, pending);
    }
}

/// Gives the processor away until an interrupt comes; may return early. Interrupts are enabled in
/// it and nowhere else: `vectors.S` takes them.
pub(crate) fn cede() {
    // SAFETY: as in `call`; the vectors use r11 and r12 and disable interrupts, as the last
    // instructions do where none has come yet.
    unsafe {
        asm!(
            "sc 1",
            "li 11, 0",
            "mtmsrd 11, 1", // EE
            inlateout("r3") number::CEDE => _,
            out("r0") _, out("r4") _, out("r5") _, out("r6") _, out("r7") _, out("r8") _,
            out("r9") _, out("r10") _, out("r11") _, out("r12") _,
            out("ctr") _, out("xer") _,
            out("cr0") _, out("cr1") _, out("cr5") _, out("cr6") _, out("cr7") _,
            options(nostack),
        );
    }
}

/// Runs a guest until it stops; the interrupt's vector, or a negative status.
pub(crate) fn enter(state: &mut GuestState, registers: &mut Registers) -> i64 {
    let (state, registers) = (&raw mut *state as u64, &raw mut *registers as u64);
    call(number::ENTER_NESTED, [state, registers, 0, 0])[0].cast_signed()
}

/// Drops every translation of a partition from every processor.
pub(crate) fn invalidate_partition(lpid: u64) {
    /// RIC = 2 (everything), R = 1 (radix), where `tlbie` has them.
    const EVERYTHING: u64 = 2 << 18 | 1 << 16;
    /// IS = 2: all entries of the partition.
    const ALL_OF_PARTITION: u64 = 2 << 10;
    call(number::TLB_INVALIDATE, [EVERYTHING, ALL_OF_PARTITION, lpid, 0]);
}

/// A function of RTAS, by the token that the device tree gives.
pub(crate) struct Rtas(pub(crate) AtomicU32);

/// Turns the partition off.
pub(crate) static POWER_OFF: Rtas = Rtas(AtomicU32::new(0));

impl Rtas {
    /// Calls it with one result, the status; whether that is success.
    pub(crate) fn call<const N: usize>(&self, arguments: [u32; N]) -> bool {
        self.ask(arguments).is_some_and(|[]| true)
    }

    /// Calls it; what it gives besides its status, if that is success.
    pub(crate) fn ask<const N: usize, const R: usize>(
        &self,
        arguments: [u32; N],
    ) -> Option<[u32; R]> {
        let mut block = [0u32; 16];
        let head = [self.0.load(Ordering::Relaxed), N as u32, 1 + R as u32];
        for (word, value) in block.iter_mut().zip(head.into_iter().chain(arguments)) {
            *word = value.to_be();
        }
        let at = block.as_mut_ptr() as u64;
        let called = call1(number::RTAS, at)[0] == 0;
        let (status, given) = block.get(3 + N..)?.split_first()?;
        given.first_chunk().filter(|_| called && *status == 0).map(|given| given.map(u32::from_be))
    }
}
