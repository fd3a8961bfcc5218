//! A controller that maps its processor's trace buffer and finds its own calls in it.
//!
//! The pages have no place in the kernel's own translation: they are read in real mode.

use crate::events::take;
use crate::{Options, Verdict};
use alloc::format;
use alloc::string::String;
use hv_abi::XEN_MARK;
use hv_abi::guest::Sysctl;
use hv_abi::xen::stub;
use kernel_arch::{Boot, guest_address, hypercall, hypercall::Hypervisor};
use xen_sys::memory::{self, AddToPhysmapBatch};
use xen_sys::plain::Field;
use xen_sys::sysctl::{self, TbufOp};
use xen_sys::{Handle, trace, xen};

/// Where pages of the hypervisor's are mapped: 1 TiB, beyond any memory of a test.
const WINDOW: u64 = 1 << 40;
/// Calls that are to be found: their records fit the buffer's first page.
const CALLS: usize = 100;

/// Does an operation on the trace buffers; the page with their list.
fn control(cmd: u32) -> Result<u64, String> {
    let (command, version) = (sysctl::XEN_SYSCTL_TBUF_OP, sysctl::XEN_SYSCTL_INTERFACE_VERSION);
    let call = Sysctl { command, version, own: TbufOp { cmd, ..TbufOp::zero() }, rest: [0; 16] };
    let call = core::hint::black_box(&call);
    match stub::sysctl(&Hypervisor, guest_address(&raw const *call))[0].cast_signed() {
        // SAFETY: the hypervisor has written to it behind the compiler's back.
        0 => Ok(unsafe { (&raw const call.own.buffer_mfn).read_volatile() }),
        error => Err(format!("tbuf_op {cmd}: {error}")),
    }
}

/// Maps a page of the trace buffers at a page of the window.
fn map(page: u64, place: u64) -> Verdict {
    let (index, target, error) = (page, (WINDOW >> 12) + place, 1);
    let handle = |at: *const u8| Handle(guest_address(at).value());
    let batch = AddToPhysmapBatch {
        domid: xen::DOMID_SELF,
        space: memory::XENMAPSPACE_GMFN_FOREIGN as u16,
        size: 1,
        u: xen::DOMID_XEN,
        idxs: handle((&raw const index).cast()),
        gpfns: handle((&raw const target).cast()),
        errs: handle((&raw const error).cast()),
    };
    let at = guest_address(&raw const *core::hint::black_box(&batch));
    let result = stub::memory_op(&Hypervisor, memory::XENMEM_ADD_TO_PHYSMAP_BATCH.into(), at)[0];
    // SAFETY: the hypervisor has written to it behind the compiler's back.
    let error: i32 = unsafe { (&raw const error).read_volatile() };
    match (result, error) {
        (0, 0) => Ok(()),
        (result, error) => Err(format!("page {page:#x} is not mapped: {result}, {error}")),
    }
}

/// Traces its own calls.
pub fn own_calls(_: Boot, _: Options) -> Verdict {
    let list = control(sysctl::XEN_SYSCTL_TBUFOP_ENABLE)?;
    map(list, 0)?;
    let sizes = take(WINDOW);
    if sizes & 0xffff != 16 {
        return Err(format!("buffers of {} pages", sizes & 0xffff));
    }
    let first = take(WINDOW + (sizes >> 16 & 0xffff) * 4) & 0xffff_ffff;
    map(first, 1)?;
    for _ in 0..CALLS {
        hypercall::version();
    }
    control(sysctl::XEN_SYSCTL_TBUFOP_DISABLE)?;
    let buffer = WINDOW + 4096;
    let produced = take(buffer) >> 32;
    let number = (XEN_MARK | 17) & 0xffff_ffff;
    let (mut found, mut before) = (0, 0);
    for record in (0..produced / 24).map(|n| buffer + 8 + n * 24) {
        let (start, end) = (take(record), take(record + 8));
        let time = start >> 32 | end << 32;
        if time < before {
            return Err(format!("at {before} and then at {time}"));
        }
        before = time;
        let call = start & 0x0fff_ffff == trace::TRC_HVM_VMMCALL.into() && end >> 32 == number;
        found += usize::from(call);
    }
    if found == CALLS {
        Ok(())
    } else {
        Err(format!("{found} calls of {CALLS} in {produced} bytes"))
    }
}
