//! How vCPUs of a domain wake each other: each has an event channel of its own, by which the others
//! tell it, and sleeps until something has come.
//!
//! Who is told in user mode is interrupted by that, and comes back to the kernel. An event stays until
//! its vCPU has taken it, which [`sleep`] does and every return from user mode: so whoever stores what
//! there is to do, and then wakes, is not missed by one who looks for it before it sleeps.

use crate::start::MAX_VCPUS;
use crate::vcpu::{Info, current, this};
use crate::{guest_address, hypercall, linear, registers};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use k42_lib::GuestAddr;
use xen_sys::event_channel::{BindIpi, EVTCHNOP_BIND_IPI, EVTCHNOP_SEND};
use xen_sys::vcpu::{RegisterVcpuInfo, VCPUOP_REGISTER_VCPU_INFO};
use xen_sys::xen::SharedInfo;

/// Where the page lies that the domain shares with the hypervisor: beyond all memory.
/// [`crate::space`] maps it.
pub(crate) const SHARED: GuestAddr = GuestAddr::new(1 << 41);

/// Each vCPU's port; 0 while it has none.
static PORTS: [AtomicU32; MAX_VCPUS as usize] = [const { AtomicU32::new(0) }; MAX_VCPUS as usize];

/// Before the first vCPU starts another: it can be told, too.
pub(crate) fn prepare() -> Result<(), &'static str> {
    if PORTS[current() as usize].load(Ordering::Relaxed) != 0 {
        return Ok(());
    }
    if hypercall::map_shared_page(SHARED) != 0 {
        return Err("the page that is shared with the hypervisor cannot be mapped");
    }
    announce(current(), &this().info)
}

/// Tells the hypervisor how a vCPU is told.
pub(crate) fn announce(number: u32, info: &Info) -> Result<(), &'static str> {
    let at = guest_address(info).value();
    let register = RegisterVcpuInfo { mfn: at >> 12, offset: (at & 0xfff) as u32, rsvd: 0 };
    let mut bind = BindIpi { vcpu: number, port: 0 };
    if hypercall::vcpu_op(VCPUOP_REGISTER_VCPU_INFO, number, &register) != 0
        || hypercall::event_channel_op(EVTCHNOP_BIND_IPI, &mut bind) != 0
    {
        return Err("the hypervisor does not tell the vCPU of events");
    }
    PORTS[number as usize].store(bind.port, Ordering::Release);
    Ok(())
}

/// Wakes a vCPU that sleeps, and brings one that runs a user back to the kernel; one that does neither
/// finds its next sleep at an end. A vCPU that was never started, and itself, it lets be.
pub fn wake(vcpu: u32) {
    let port = PORTS.get(vcpu as usize).map_or(0, |port| port.load(Ordering::Acquire));
    if port != 0 && vcpu != current() {
        // What was stored before is there when the event is.
        fence(Ordering::Release);
        hypercall::event_channel_op(EVTCHNOP_SEND, &mut { port });
    }
}

/// Gives up the processor until this vCPU is woken, was woken since it last slept, or the timebase has
/// reached `deadline`. The first vCPU also wakes for console input. May return early.
pub fn sleep(deadline: u64) {
    if !take() {
        registers::set_alarm(deadline);
        hypercall::block();
        registers::rearm_decrementer();
        take();
    }
}

/// Takes the event of this vCPU; whether there was one.
pub(crate) fn take() -> bool {
    let port = PORTS[current() as usize].load(Ordering::Relaxed);
    let Info([pending, selector, ..]) = &this().info;
    if port == 0 || pending.load(Ordering::Relaxed) == 0 {
        return false;
    }
    // From the outside to the inside: what comes meanwhile is announced again, or taken here.
    pending.swap(0, Ordering::AcqRel);
    selector.swap(0, Ordering::AcqRel);
    let (word, bit) = (port / u64::BITS, 1 << (port % u64::BITS));
    let at = SHARED.offset(core::mem::offset_of!(SharedInfo, evtchn_pending) as u64);
    let bits = linear(at.offset(u64::from(word) * 8)) as *const AtomicU64;
    // SAFETY: a word of the shared page, which is mapped since there are ports.
    unsafe { &*bits }.fetch_and(!bit, Ordering::AcqRel) & bit != 0
}
