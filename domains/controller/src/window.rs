//! Storage that is not this domain's: the page that the hypervisor shares with it, a window on
//! other domains' memory, and the archive that was put into its own.

use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicU64, Ordering};
use fdt::Fdt;
use hv_abi::xen::stub;
use k42_lib::GuestAddr;
use kernel_arch::guest_address;
use kernel_arch::hypercall::{self, Hypervisor};
use xen_sys::{memory, xen};

/// Where the shared page is put: 1 TiB, beyond all memory. The window follows it, so that the same
/// tables map both.
const SHARED: u64 = 1 << 40;
const WINDOW: u64 = SHARED + (1 << 16);
const PAGE: u64 = 4096;
/// Pages of the window.
const PAGES: usize = 32;
/// Where the words of pending events are in the shared page.
const PENDING: u64 = 48;

/// The window, and the shared page beside it.
pub(crate) struct Window(());

impl Window {
    /// Maps the shared page. There is one window.
    pub(crate) fn new() -> Result<Window, String> {
        let space = u64::from(memory::XENMAPSPACE_SHARED_INFO);
        let words = [u64::from(xen::DOMID_SELF) | space << 32, 0, SHARED / PAGE];
        match call(memory::XENMEM_ADD_TO_PHYSMAP, &words) {
            0 => Ok(Window(())),
            error => Err(format!("the shared page cannot be mapped: error {error}")),
        }
    }

    /// Sleeps until the port has an event, and takes it.
    pub(crate) fn wait(&self, port: u32) {
        // SAFETY: `new` has mapped the page, which no Rust object lies in; it is used in real mode.
        let word = |at: u64| unsafe { AtomicU64::from_ptr((SHARED + at) as *mut u64) };
        let pending = word(PENDING + u64::from(port / 64) * 8);
        loop {
            // First what says that something is pending, then what is: an event in between shows.
            word(0).store(0, Ordering::SeqCst);
            word(8).store(0, Ordering::SeqCst);
            if pending.swap(0, Ordering::SeqCst) & 1 << (port % 64) != 0 {
                return;
            }
            hypercall::block();
        }
    }

    /// Copies bytes into another domain's memory.
    pub(crate) fn copy(&self, domain: u16, to: u64, bytes: &[u8]) -> Result<(), i64> {
        let mut done = 0;
        while done < bytes.len() {
            let at = to + done as u64;
            let offset = (at % PAGE) as usize;
            let room = PAGES * PAGE as usize - offset;
            let part = &bytes[done..bytes.len().min(done + room)];
            let pages = (offset + part.len()).div_ceil(PAGE as usize);
            map(domain, at / PAGE, pages)?;
            let target = (WINDOW + offset as u64) as *mut u8;
            // SAFETY: the window's pages are mapped, for nobody else here, and the copy stays in
            // them; no Rust object lies there.
            unsafe { core::ptr::copy_nonoverlapping(part.as_ptr(), target, part.len()) };
            unmap(pages)?;
            done += part.len();
        }
        Ok(())
    }
}

/// Maps pages of another domain's memory, from `first` on, in the window.
fn map(domain: u16, first: u64, pages: usize) -> Result<(), i64> {
    let (mut theirs, mut ours) = ([0u64; PAGES], [0u64; PAGES]);
    for (n, (theirs, ours)) in (0..).zip(theirs.iter_mut().zip(&mut ours)) {
        *theirs = first + n;
        *ours = WINDOW / PAGE + n;
    }
    let errors = [0i32; PAGES];
    core::hint::black_box((&theirs, &ours, &errors));
    // domid u16, space u16, size u16, foreign domid u16
    let space = u64::from(memory::XENMAPSPACE_GMFN_FOREIGN);
    let count = pages as u64;
    let head = u64::from(xen::DOMID_SELF) | space << 16 | count << 32 | u64::from(domain) << 48;
    let lists = [guest_address(&raw const theirs), guest_address(&raw const ours)];
    let errors_at = guest_address(&raw const errors);
    let words = [head, lists[0].value(), lists[1].value(), errors_at.value()];
    match call(memory::XENMEM_ADD_TO_PHYSMAP_BATCH, &words) {
        0 => {}
        error => return Err(error),
    }
    // SAFETY: the hypervisor has written there behind the compiler's back.
    let errors = unsafe { core::ptr::read_volatile(&raw const errors) };
    errors[..pages].iter().find(|error| **error != 0).map_or(Ok(()), |error| Err((*error).into()))
}

/// Takes the window's pages out again.
fn unmap(pages: usize) -> Result<(), i64> {
    for n in 0..pages as u64 {
        let words = [u64::from(xen::DOMID_SELF), WINDOW / PAGE + n];
        match call(memory::XENMEM_REMOVE_FROM_PHYSMAP, &words) {
            0 => {}
            error => return Err(error),
        }
    }
    Ok(())
}

fn call<const N: usize>(command: u32, words: &[u64; N]) -> i64 {
    let words = core::hint::black_box(words);
    let at: GuestAddr = guest_address(&raw const *words);
    stub::memory_op(&Hypervisor, command.into(), at)[0].cast_signed()
}

/// The archive that the device tree says is in memory.
pub(crate) fn archive(tree: &Fdt<'static>) -> Result<&'static [u8], String> {
    let number = |name: &str| {
        let value = tree.find_node("/chosen")?.property(name)?.value;
        Some(u64::from_be_bytes(value.try_into().ok()?))
    };
    let range = number("linux,initrd-start").zip(number("linux,initrd-end"));
    let (start, end) = range.ok_or("no archive was given to it")?;
    let length = end.checked_sub(start).ok_or("the archive's place makes no sense")?;
    // SAFETY: the contract of the start (docs/interfaces.md, §4): what is named there is in memory,
    // reserved, and nobody changes it.
    Ok(unsafe { core::slice::from_raw_parts(start as *const u8, length as usize) })
}
