//! How a guest takes its interrupts, as its LPCR says it.

use hv_core::InterruptMode;
use k42_lib::lpcr;

/// The LPCR `before` with its guest taking interrupts so.
pub fn set(before: u64, mode: InterruptMode) -> u64 {
    let order = if mode.little_endian { lpcr::ILE } else { 0 };
    let location = if mode.translated { lpcr::AIL_3 } else { 0 };
    before & !(lpcr::ILE | lpcr::AIL_3) | order | location
}

/// How the guest with this LPCR takes them.
pub fn of(lpcr: u64) -> InterruptMode {
    InterruptMode {
        little_endian: lpcr & lpcr::ILE != 0,
        translated: lpcr & lpcr::AIL_3 == lpcr::AIL_3,
    }
}
