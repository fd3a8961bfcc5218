//! Two domains that share pages by grants, and memory that goes and comes.
//!
//! `test=lend` (domain 1) grants two pages to domain 2, `test=borrow` maps them, copies, and counts
//! what that takes. `then=...` says what it tries at last, which the hypervisor is to end it for.
//!
//! The pages lie outside the kernel's own translation: all of this runs in real mode.

use crate::count::instructions;
use crate::{Options, Verdict, say};
use alloc::format;
use alloc::string::String;
use core::cell::UnsafeCell;
use hv_abi::xen::stub;
use kernel_arch::hypercall::{Hypervisor, yield_now};
use kernel_arch::{Boot, entry, guest_address, registers};
use xen_sys::grant_table::{
    GNTCOPY_DEST_GREF, GNTCOPY_SOURCE_GREF, GNTMAP_HOST_MAP, GNTMAP_READONLY, GNTST_OKAY,
    GNTTABOP_COPY, GNTTABOP_MAP_GRANT_REF, GNTTABOP_UNMAP_GRANT_REF, GTF_PERMIT_ACCESS,
    GTF_READING, GTF_READONLY, GTF_WRITING,
};
use xen_sys::{memory, xen};

const PAGE: u64 = 4096;
/// Where the grant table and borrowed pages are put, beyond any memory of a test.
const TABLE: u64 = 1 << 40;
const THERE: u64 = 2 << 40;
/// Entries of domain 1's table: a page to be written, a page to be read.
const WRITABLE: u32 = 8;
const READABLE: u32 = 9;
const LENDER: u16 = 1;
const BORROWER: u16 = 2;
/// What stands in the pages' first words, and in the second at the end.
const LENT: u64 = 0x6c65_6e74;
const DONE: u64 = 0x646f_6e65;
/// Rounds of a measurement, and before it.
const ROUNDS: u64 = 1000;
const WARM_UP: u64 = 100;
/// Extents of 2 MiB: their order, and how many one call is asked for.
const ORDER: u64 = 9;
const EXTENTS: usize = 16;

/// A page of the kernel's image that others may change.
#[repr(align(4096))]
struct Page(UnsafeCell<[u64; 512]>);

// SAFETY: reached through raw pointers only, a word at a time.
unsafe impl Sync for Page {}

static FIRST: Page = Page(UnsafeCell::new([0; 512]));
static SECOND: Page = Page(UnsafeCell::new([0; 512]));

impl Page {
    fn at(&self) -> u64 {
        guest_address(self.0.get()).value()
    }
}

fn load(at: u64) -> u64 {
    // SAFETY: in real mode; a page that is mapped, or the hypervisor ends this guest.
    unsafe { (at as *const u64).read_volatile() }
}

fn store(at: u64, word: u64) {
    // SAFETY: as `load`; no Rust object lies there but `Page`s.
    unsafe { (at as *mut u64).write_volatile(word) }
}

fn enter_real_mode() {
    // SAFETY: the kernel's addresses mean the same in real mode.
    unsafe { entry::set_machine_state(entry::REAL_MSR) };
}

fn wait_for(at: u64, word: u64) {
    while load(at) != word {
        yield_now();
    }
}

/// A grant operation with one element of these words; its status, at bit `status` of the words.
fn grant_op<const N: usize>(command: u32, words: &mut [u64; N], status: usize) -> i16 {
    let at = guest_address(&raw const *words);
    let result = stub::grant_table_op(&Hypervisor, command.into(), at, 1)[0];
    // SAFETY: the hypervisor has written to them behind the compiler's back.
    let after = unsafe { core::ptr::read_volatile(&raw const *words) };
    *words = after;
    if result == 0 { (after[status / 64] >> (status % 64)) as i16 } else { i16::MIN }
}

/// Maps an entry of the lender's; the handle.
fn map(reference: u32, at: u64, flags: u32) -> Result<u64, i16> {
    let mut words = [at, u64::from(reference) << 32 | u64::from(flags), LENDER.into(), 0];
    match grant_op(GNTTABOP_MAP_GRANT_REF, &mut words, 2 * 64 + 16) {
        GNTST_OKAY => Ok(words[2] >> 32),
        error => Err(error),
    }
}

fn unmap(at: u64, handle: u64) -> Result<(), i16> {
    let mut words = [at, 0, handle];
    match grant_op(GNTTABOP_UNMAP_GRANT_REF, &mut words, 2 * 64 + 32) {
        GNTST_OKAY => Ok(()),
        error => Err(error),
    }
}

/// Copies the start of a page from or to a granted one.
fn copy(reference: u32, page: u64, write: bool, length: u64) -> Result<(), i16> {
    let far = [reference.into(), LENDER.into()];
    let near = [page / PAGE, xen::DOMID_SELF.into()];
    let (from, to) = if write { (near, far) } else { (far, near) };
    let flags = if write { GNTCOPY_DEST_GREF } else { GNTCOPY_SOURCE_GREF };
    let mut words = [from[0], from[1], to[0], to[1], length | u64::from(flags) << 16];
    match grant_op(GNTTABOP_COPY, &mut words, 4 * 64 + 32) {
        GNTST_OKAY => Ok(()),
        error => Err(error),
    }
}

fn memory_op<const N: usize>(command: u32, words: &[u64; N]) -> i64 {
    let at = guest_address(&raw const *words);
    stub::memory_op(&Hypervisor, command.into(), at)[0].cast_signed()
}

/// Domain 1: grants two pages until the borrower has done.
pub fn lend(_: Boot, _: Options) -> Verdict {
    enter_real_mode();
    let space = u64::from(memory::XENMAPSPACE_GRANT_TABLE) << 32;
    let words = [u64::from(xen::DOMID_SELF) | space, 0, TABLE / PAGE];
    if memory_op(memory::XENMEM_ADD_TO_PHYSMAP, &words) != 0 {
        return Err(String::from("the grant table cannot be mapped"));
    }
    let (writable, readable) = (FIRST.at(), SECOND.at());
    store(writable, LENT);
    store(readable, LENT);
    let grant = |reference: u32, page: u64, flags: u16| {
        let entry = (page / PAGE) << 32 | u64::from(BORROWER) << 16 | u64::from(flags);
        store(TABLE + u64::from(reference) * 8, entry);
    };
    grant(READABLE, readable, GTF_PERMIT_ACCESS | GTF_READONLY);
    grant(WRITABLE, writable, GTF_PERMIT_ACCESS);
    wait_for(writable + 8, DONE);
    let in_use = u64::from(GTF_READING | GTF_WRITING);
    for reference in [READABLE, WRITABLE] {
        while load(TABLE + u64::from(reference) * 8) & in_use != 0 {
            yield_now(); // until the borrower has unmapped it, or is gone
        }
    }
    match load(readable + 8) {
        0 => Ok(()),
        word => Err(format!("the page to be read has been written: {word:#x}")),
    }
}

/// Domain 2: uses what it is granted.
pub fn borrow(_: Boot, options: Options) -> Verdict {
    enter_real_mode();
    let failed = |what: &'static str| move |error: i16| format!("{what}: {error}");
    let (writable, readable) = (THERE, THERE + PAGE);
    let handle = loop {
        match map(WRITABLE, writable, GNTMAP_HOST_MAP) {
            Ok(handle) => break handle,
            Err(_) => yield_now(), // not granted yet
        }
    };
    let only_read = map(READABLE, readable, GNTMAP_HOST_MAP | GNTMAP_READONLY);
    let only_read = only_read.map_err(failed("map to be read"))?;
    if [load(writable), load(readable)] != [LENT; 2] {
        return Err(format!("the pages hold {:#x}, {:#x}", load(writable), load(readable)));
    }
    if map(READABLE, THERE + 2 * PAGE, GNTMAP_HOST_MAP).is_ok() {
        return Err(String::from("what may only be read has been mapped to be written"));
    }
    let own = FIRST.at();
    copy(READABLE, own, false, PAGE).map_err(failed("copy from"))?;
    if load(own) != LENT {
        return Err(format!("the copy holds {:#x}", load(own)));
    }
    store(own + 16, LENT);
    copy(WRITABLE, own, true, PAGE).map_err(failed("copy to"))?;
    if load(writable + 16) != LENT {
        return Err(String::from("the copy has not arrived"));
    }
    measure()?;
    store(writable + 8, DONE);
    match options.text("then") {
        Some("store") => {
            say!("storing to what may only be read");
            store(readable + 8, DONE);
            return Err(String::from("it was allowed"));
        }
        Some(_) => {
            unmap(writable, handle).map_err(failed("unmap"))?;
            say!("loading what is not mapped any more");
            return Err(format!("it was allowed: {:#x}", load(writable)));
        }
        None => {}
    }
    unmap(writable, handle).map_err(failed("unmap"))?;
    unmap(readable, only_read).map_err(failed("unmap"))
}

fn measure() -> Verdict {
    let there = THERE + 2 * PAGE;
    let pairs =
        |rounds| (0..rounds).try_for_each(|_| unmap(there, map(WRITABLE, there, GNTMAP_HOST_MAP)?));
    let copies = |rounds| (0..rounds).try_for_each(|_| copy(READABLE, FIRST.at(), false, PAGE));
    report("grant-map-unmap", pairs).map_err(|error| format!("map and unmap: {error}"))?;
    report("grant-copy-4k", copies).map_err(|error| format!("copy: {error}"))
}

fn report(name: &str, work: impl Fn(u64) -> Result<(), i16>) -> Result<(), i16> {
    work(WARM_UP)?;
    let start = registers::timebase();
    work(ROUNDS)?;
    let ticks = registers::timebase() - start;
    say!("BENCH {name} {} insns", instructions(ticks) / ROUNDS);
    Ok(())
}

/// Returns the upper half of the memory and takes it again; `then=load` reaches for it in between.
pub fn balloon(boot: Boot, options: Options) -> Verdict {
    enter_real_mode();
    let half = boot.memory_size / 2;
    let mut list = [0; EXTENTS];
    let mut change = |command: u32| {
        let size = PAGE << ORDER;
        for first in (half..boot.memory_size).step_by((EXTENTS as u64 * size) as usize) {
            for (n, place) in (0..).zip(&mut list) {
                *place = (first + n * size) / PAGE;
            }
            let list = guest_address(&raw const list).value();
            let words = [list, EXTENTS as u64, ORDER, xen::DOMID_SELF.into()];
            let done = memory_op(command, &words);
            if done != EXTENTS as i64 {
                return Err(format!("operation {command} at {first:#x}: {done}"));
            }
        }
        Ok(())
    };
    store(half, LENT);
    change(memory::XENMEM_DECREASE_RESERVATION)?;
    if options.text("then").is_some() {
        say!("loading what was returned");
        return Err(format!("it was allowed: {:#x}", load(half)));
    }
    let start = registers::timebase();
    change(memory::XENMEM_POPULATE_PHYSMAP)?;
    let ticks = registers::timebase() - start;
    for at in [half, boot.memory_size - 8] {
        if load(at) != 0 {
            return Err(format!("{at:#x} holds {:#x}", load(at)));
        }
        store(at, LENT);
    }
    say!("BENCH populate-gib {} insns", instructions(ticks) * (1 << 30) / half);
    Ok(())
}
