//! A controller that makes small domains: how long that takes, and how long until one runs.
//!
//! A domain has 2 MiB and a page of code, which leaves the time of its first instruction there.

use crate::count::instructions;
use crate::{Options, Verdict, say};
use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::guest::Domctl;
use hv_abi::xen::{ARCH_LITTLE_ENDIAN, VcpuGuestContext, stub};
use kernel_arch::hypercall::{self, Hypervisor};
use kernel_arch::{Boot, entry, guest_address, registers};
use xen_sys::domctl::{self, CreateDomain, MaxMem, VcpuContext};
use xen_sys::memory::{self, AddToPhysmapBatch, RemoveFromPhysmap, Reservation};
use xen_sys::{Handle, xen};

/// Measurements; the median counts.
const ROUNDS: usize = 11;
/// A domain's memory, and its order in pages.
const MEMORY: u64 = 2 << 20;
const ORDER: u32 = 9;
/// Where the domain's page is seen, in pages: 1 TiB.
const WINDOW: u64 = 1 << 28;
/// Where in it the time is left.
const TIME: u64 = 0x800;

core::arch::global_asm!(
    ".globl first_instruction",
    "first_instruction:",
    "mfspr 3, 268",
    "std 3, 0x800(0)",
    "li 4, 1", // sched_op, SCHEDOP_block, for ever
    "1: li 3, -1",
    "sldi 3, 3, 16",
    "ori 3, 3, 29",
    "sc 1",
    "b 1b",
);

unsafe extern "C" {
    safe static first_instruction: [u32; 8];
}

/// Makes a call; the domain's number, which the first call gives.
fn domctl<T>(command: u32, domain: u16, own: T) -> Result<u16, String> {
    let version = domctl::XEN_DOMCTL_INTERFACE_VERSION;
    let call = Domctl { command, version, domain, pad: [0; 3], own, rest: [0; 16] };
    let call = core::hint::black_box(&call);
    match stub::domctl(&Hypervisor, guest_address(&raw const *call))[0].cast_signed() {
        // SAFETY: the hypervisor has written to it behind the compiler's back.
        0 => Ok(unsafe { (&raw const call.domain).read_volatile() }),
        error => Err(format!("domctl {command}: {error}")),
    }
}

fn memory_op<T>(command: u32, argument: &T, want: i64) -> Verdict {
    let at = guest_address(&raw const *core::hint::black_box(argument));
    match stub::memory_op(&Hypervisor, command.into(), at)[0].cast_signed() {
        result if result == want => Ok(()),
        result => Err(format!("memory_op {command}: {result}")),
    }
}

/// Where a variable is, for a structure that names it.
fn handle<T>(of: &T) -> Handle {
    Handle(guest_address(&raw const *core::hint::black_box(of)).value())
}

/// Makes a domain, paused and without memory; its number.
fn make() -> Result<u16, String> {
    let new = CreateDomain {
        ssidref: 0,
        handle: *b"small\0\0\0\0\0\0\0\0\0\0\0",
        flags: domctl::XEN_DOMCTL_CDF_HVM | domctl::XEN_DOMCTL_CDF_HAP,
        iommu_opts: 0,
        max_vcpus: 1,
        max_evtchn_port: 0,
        max_grant_frames: -1,
        max_maptrack_frames: -1,
        grant_opts: 1,
        vmtrace_size: 0,
        cpupool_id: 0,
        arch: [ARCH_LITTLE_ENDIAN, 0, 0],
    };
    domctl(domctl::XEN_DOMCTL_CREATEDOMAIN, 0, new)
}

/// Gives it memory, code and leave to run; its page stays in the window.
fn launch(domain: u16) -> Verdict {
    domctl(domctl::XEN_DOMCTL_MAX_MEM, domain, MaxMem { max_memkb: MEMORY >> 10 })?;
    let (theirs, ours, error) = (0u64, WINDOW, 0i32);
    let reservation = Reservation {
        extent_start: handle(&theirs),
        nr_extents: 1,
        extent_order: ORDER,
        mem_flags: 0,
        domid: domain,
        _hole: [0; 6],
    };
    memory_op(memory::XENMEM_POPULATE_PHYSMAP, &reservation, 1)?;
    let batch = AddToPhysmapBatch {
        domid: xen::DOMID_SELF,
        space: memory::XENMAPSPACE_GMFN_FOREIGN as u16,
        size: 1,
        u: domain,
        idxs: handle(&theirs),
        gpfns: handle(&ours),
        errs: handle(&error),
    };
    memory_op(memory::XENMEM_ADD_TO_PHYSMAP_BATCH, &batch, 0)?;
    let page = (WINDOW << 12) as *mut [u32; 8];
    // SAFETY: the domain's first page, which is mapped there, in real mode; it does not run yet.
    unsafe { page.write_volatile(first_instruction) };
    let flags = VcpuGuestContext::LITTLE_ENDIAN;
    let context = VcpuGuestContext { entry: 0, stack: 0, argument: 0, flags };
    let own = VcpuContext { vcpu: 0, _hole: [0; 4], ctxt: handle(&context) };
    domctl(domctl::XEN_DOMCTL_SETVCPUCONTEXT, domain, own)?;
    domctl(domctl::XEN_DOMCTL_UNPAUSEDOMAIN, domain, ())?;
    Ok(())
}

/// Waits for the domain's first instruction; when it was.
fn first() -> u64 {
    // SAFETY: as in `launch`; both sides write whole words.
    let time = unsafe { AtomicU64::from_ptr(((WINDOW << 12) + TIME) as *mut u64) };
    while time.load(Ordering::Acquire) == 0 {
        hypercall::yield_now();
    }
    time.load(Ordering::Acquire)
}

/// Makes domains and ends them, one after another.
pub fn create(_: Boot, _: Options) -> Verdict {
    // SAFETY: the kernel's addresses mean the same in real mode.
    unsafe { entry::set_machine_state(entry::REAL_MSR) };
    let (mut made, mut ran) = ([0; ROUNDS], [0; ROUNDS]);
    for (made, ran) in made.iter_mut().zip(&mut ran) {
        let began = registers::timebase();
        let domain = make()?;
        *made = registers::timebase() - began;
        launch(domain)?;
        *ran = first() - began;
        let page = RemoveFromPhysmap { domid: xen::DOMID_SELF, _hole: [0; 6], gpfn: WINDOW };
        memory_op(memory::XENMEM_REMOVE_FROM_PHYSMAP, &page, 0)?;
        domctl(domctl::XEN_DOMCTL_DESTROYDOMAIN, domain, ())?;
    }
    made.sort_unstable();
    ran.sort_unstable();
    say!("BENCH create {} insns", instructions(made[ROUNDS / 2]));
    say!("BENCH create-to-first-instruction {} insns", instructions(ran[ROUNDS / 2]));
    Ok(())
}
