//! A guest that reads its own register of measurements, and may not read the log.

use crate::{Options, Verdict, say};
use alloc::format;
use alloc::string::String;
use hv_abi::xen::stub;
use kernel_arch::{Boot, guest_address, hypercall::Hypervisor};
use xen_sys::errno;

/// Says the register.
pub fn own(_: Boot, _: Options) -> Verdict {
    let register = [0u8; 32];
    let at = guest_address(&raw const register);
    let result = stub::measurement(&Hypervisor, at)[0].cast_signed();
    if result != 0 {
        return Err(format!("the register cannot be read: {result}"));
    }
    // SAFETY: the hypervisor has written to it behind the compiler's back.
    let register = unsafe { core::ptr::read_volatile(&raw const register) };
    let digits: String = register.iter().map(|byte| format!("{byte:02x}")).collect();
    say!("register {digits}");
    match stub::measurement_log(&Hypervisor, 0, at)[0].cast_signed() {
        result if result == i64::from(-errno::EPERM) => Ok(()),
        result => Err(format!("the log may be read: {result}")),
    }
}
