//! The controller's calls: `domctl`, `sysctl`, `memory_op`, `event_channel_op`.

use alloc::format;
use alloc::string::String;
use boot_archive::{DomainImage, Load, Personality};
use hv_abi::guest::{Domctl, Sysctl};
use hv_abi::xen::{
    ARCH_LAN, ARCH_LITTLE_ENDIAN, ARCH_PAPR, ARCH_PROCESSORS, Declaration, VcpuGuestContext, stub,
};
use k42_lib::GuestAddr;
use k42_measure::Digest;
use kernel_arch::guest_address;
use kernel_arch::hypercall::Hypervisor;
use xen_sys::domctl::{self, CreateDomain, GetDomainInfo, MaxMem, VcpuContext};
use xen_sys::memory::{Reservation, XENMEM_POPULATE_PHYSMAP};
use xen_sys::sysctl::{self, PhysicalInfo};
use xen_sys::{Handle, errno, event_channel, sched, xen};

/// log2 of the extents that memory is populated by, in pages: 2 MiB.
const ORDER: u32 = 9;
/// Extents of one call.
const EXTENTS: usize = 16;
/// Ticks of a microsecond.
const TICKS: u64 = 512;
/// Bytes of an extent.
const EXTENT: u64 = 4096 << ORDER;

/// What became of a domain.
pub(crate) enum State {
    /// It lives.
    Alive,
    /// It has ended, and waits to be forgotten.
    Ended {
        /// It wants to be started again.
        reboot: bool,
    },
    /// It is not there.
    Gone,
}

/// Calls `call` with the address of an argument, which the hypervisor may change.
fn with<T>(argument: &mut T, call: impl FnOnce(GuestAddr) -> u64) -> i64 {
    // The compiler must not know what becomes of it.
    let argument = core::hint::black_box(argument);
    let result = call(guest_address(&raw const *argument)).cast_signed();
    core::hint::black_box(argument);
    result
}

fn domctl<T>(command: u32, domain: u16, own: T) -> Result<T, i64> {
    let version = domctl::XEN_DOMCTL_INTERFACE_VERSION;
    let mut call = Domctl { command, version, domain, pad: [0; 3], own, rest: [0; 16] };
    match with(&mut call, |at| stub::domctl(&Hypervisor, at)[0]) {
        0 => Ok(call.own),
        error => Err(error),
    }
}

/// Makes the domain, paused and without memory.
pub(crate) fn create(image: &DomainImage<'_>) -> Result<(), i64> {
    let mut handle = [0; 16];
    for (to, from) in handle.iter_mut().zip(image.name.bytes()) {
        *to = from;
    }
    let papr = if image.personality == Personality::Papr { ARCH_PAPR } else { 0 };
    let order = if image.little_endian { ARCH_LITTLE_ENDIAN } else { 0 };
    let mut arch = [papr | order, 0, 0];
    arch[ARCH_PROCESSORS] = image.scheduling.processors;
    arch[ARCH_LAN] = image.lan.into();
    let new = CreateDomain {
        ssidref: image.rights,
        handle,
        flags: domctl::XEN_DOMCTL_CDF_HVM | domctl::XEN_DOMCTL_CDF_HAP,
        iommu_opts: 0,
        max_vcpus: image.vcpus,
        max_evtchn_port: 0,
        max_grant_frames: -1,
        max_maptrack_frames: -1,
        grant_opts: 1,
        vmtrace_size: 0,
        cpupool_id: 0,
        arch,
    };
    domctl(domctl::XEN_DOMCTL_CREATEDOMAIN, image.number, new)?;
    let limit = MaxMem { max_memkb: image.memory_size >> 10 };
    domctl(domctl::XEN_DOMCTL_MAX_MEM, image.number, limit)?;
    Ok(())
}

/// Gives it its memory.
pub(crate) fn populate(image: &DomainImage<'_>) -> Result<(), i64> {
    let mut at = 0;
    while at < image.memory_size {
        let mut pages = [0u64; EXTENTS];
        let starts = (at..image.memory_size).step_by(EXTENT as usize);
        let mut count = 0;
        for (page, start) in pages.iter_mut().zip(starts) {
            *page = start >> 12;
            count += 1;
        }
        let mut reservation = Reservation {
            extent_start: Handle(guest_address(&raw const pages).value()),
            nr_extents: count,
            extent_order: ORDER,
            mem_flags: 0,
            domid: image.number,
            _hole: [0; 6],
        };
        core::hint::black_box(&pages);
        let command = XENMEM_POPULATE_PHYSMAP.into();
        match with(&mut reservation, |at| stub::memory_op(&Hypervisor, command, at)[0]) {
            done @ 1.. => at += done.cast_unsigned() * EXTENT,
            error => return Err(error),
        }
    }
    Ok(())
}

/// Has what was loaded into it logged.
pub(crate) fn declare(number: u16, load: &Load<'_>, digest: &Digest) -> Result<(), i64> {
    let size = load.data.len() as u64;
    let mut argument = Declaration { at: load.guest_address, size, digest: digest.0 };
    match with(&mut argument, |at| stub::declare_measurement(&Hypervisor, number.into(), at)[0]) {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Gives it its part of the processors' time; which they are was said when it was made.
pub(crate) fn share(image: &DomainImage<'_>) -> Result<(), i64> {
    let put = |scheduler, one, two| {
        let own = [scheduler, domctl::XEN_DOMCTL_SCHEDOP_PUTINFO, one, two, 0];
        domctl(domctl::XEN_DOMCTL_SCHEDULER_OP, image.number, own).map(|_| ())
    };
    // In microseconds. Before the weight, which may be 0 for whoever has reserved time.
    if let Some((budget, period)) = image.scheduling.reserved {
        let [budget, period] = [budget, period].map(|ticks| (ticks / TICKS) as u32);
        put(domctl::XEN_SCHEDULER_RTDS, period, budget)?;
    }
    put(
        domctl::XEN_SCHEDULER_CREDIT2,
        u32::from(image.weight) | u32::from(image.scheduling.cap) << 16,
        0,
    )
}

/// Lets its first vCPU start, where and as its image says.
pub(crate) fn launch(image: &DomainImage<'_>) -> Result<(), i64> {
    let context = VcpuGuestContext {
        entry: image.entry,
        stack: 0,
        argument: image.device_tree,
        flags: if image.little_endian { VcpuGuestContext::LITTLE_ENDIAN } else { 0 },
    };
    core::hint::black_box(&context);
    let ctxt = Handle(guest_address(&raw const context).value());
    let own = VcpuContext { vcpu: 0, _hole: [0; 4], ctxt };
    domctl(domctl::XEN_DOMCTL_SETVCPUCONTEXT, image.number, own)?;
    domctl(domctl::XEN_DOMCTL_UNPAUSEDOMAIN, image.number, ())
}

/// Ends a domain, or forgets one that has ended.
pub(crate) fn destroy(number: u16) -> Result<(), String> {
    let result = domctl(domctl::XEN_DOMCTL_DESTROYDOMAIN, number, ());
    result.map_err(|error| format!("domain {number} cannot be ended: error {error}"))
}

/// What became of a domain.
pub(crate) fn state(number: u16) -> Result<State, String> {
    let own = [0u8; size_of::<GetDomainInfo>()];
    match domctl(domctl::XEN_DOMCTL_GETDOMAININFO, number, own) {
        Ok(info) => {
            let at = core::mem::offset_of!(GetDomainInfo, flags);
            let flags = info[at..].first_chunk().map_or(0, |flags| u32::from_le_bytes(*flags));
            if flags & domctl::XEN_DOMINF_SHUTDOWN == 0 {
                return Ok(State::Alive);
            }
            Ok(State::Ended { reboot: flags >> 16 & 0xff == sched::SHUTDOWN_REBOOT })
        }
        Err(error) if error == -i64::from(errno::ESRCH) => Ok(State::Gone),
        Err(error) => Err(format!("domain {number} cannot be looked at: error {error}")),
    }
}

/// Pages of the machine that are free.
pub(crate) fn free_pages() -> Result<u64, String> {
    let own = [0u8; size_of::<PhysicalInfo>()];
    let version = sysctl::XEN_SYSCTL_INTERFACE_VERSION;
    let mut call = Sysctl { command: sysctl::XEN_SYSCTL_PHYSINFO, version, own, rest: [0; 16] };
    match with(&mut call, |at| stub::sysctl(&Hypervisor, at)[0]) {
        0 => {
            let at = core::mem::offset_of!(PhysicalInfo, free_pages);
            Ok(call.own[at..].first_chunk().map_or(0, |pages| u64::from_le_bytes(*pages)))
        }
        error => Err(format!("the machine cannot be looked at: error {error}")),
    }
}

/// Has a port tell of ends of domains.
pub(crate) fn bind_ends() -> Result<u32, String> {
    let command = event_channel::EVTCHNOP_BIND_VIRQ.into();
    let mut words = [xen::VIRQ_DOM_EXC, 0, 0];
    match with(&mut words, |at| stub::event_channel_op(&Hypervisor, command, at)[0]) {
        0 => Ok(words[2]),
        error => {
            Err(format!("it cannot be told of ends: error {error}; it needs the right \"events\""))
        }
    }
}
