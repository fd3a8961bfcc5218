//! The buffers of events (`k42_lib::trace`), one for each vCPU.
//!
//! A buffer is a piece of the kernel's heap in one of the extents of 2 MiB that the hypervisor gives
//! memory by: whoever reads the machine's memory from outside finds it whole. It is always there, and
//! nothing is noted until its mask says so: the option `trace=CLASS,CLASS` at the start, the host's tool
//! later.

use crate::heap;
use k42_lib::trace::events;
use k42_object::trace::Buffer;

/// Twice a buffer's size, or more: none lies across the end of an extent.
const ALIGNMENT: u64 = 512 << 10;
const _: () = assert!(size_of::<Buffer>() as u64 <= ALIGNMENT);

/// Makes a vCPU's buffer, of the domain of this name; `options` are the kernel's.
///
/// # Errors
/// What is wrong: no memory is left, or the options name a class of events that there is not.
pub(crate) fn start(vcpu: u32, name: &str, options: &str) -> Result<&'static Buffer, &'static str> {
    let wanted = options.split_whitespace().find_map(|word| word.strip_prefix("trace="));
    let mask = events::mask(wanted.unwrap_or("")).map_err(|_| "trace= names an unknown class")?;
    let at = heap::take(size_of::<Buffer>() as u64, ALIGNMENT);
    let at = at.ok_or("the domain's memory is too small for a trace buffer")?;
    // SAFETY: memory of that size and alignment, for ever, and zero: a buffer is nothing but atomic
    // words.
    let buffer = unsafe { &*at.cast::<Buffer>() };
    buffer.switch(mask);
    buffer.start(vcpu.into(), crate::guest_address(at).value(), name);
    Ok(buffer)
}
