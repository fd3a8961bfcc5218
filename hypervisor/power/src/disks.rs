//! The machine's disks: functions of one PCI device that have nothing but storage, which keeps what is
//! in it (QEMU: `ivshmem-plain`; its memory is a file of the host's). Disk n is function n.
//!
//! No firmware has given them addresses: that is done here, at boot. Afterwards a disk is storage like
//! any other, and nothing here knows of PCI any more.

use hv_core::memory::disk::Disk;
use k42_lib::RealAddr;

/// The functions of a device, and so the most disks.
pub const MAX: usize = 8;

/// A host bridge's window of 64-bit addresses, by which processors reach its devices' storage.
#[derive(Clone, Copy)]
pub struct Window {
    /// Its first address for the processors.
    pub at: u64,
    /// The same on the bus.
    pub bus: u64,
    /// Its bytes.
    pub size: u64,
}

/// Configuration registers (PCI Local Bus Specification 3.0, 6.1 and 6.2.5).
mod register {
    /// Vendor and device.
    pub(super) const ID: u32 = 0x00;
    pub(super) const COMMAND: u32 = 0x04;
    /// The third base address register, of 64 bits with the fourth: the storage.
    pub(super) const STORAGE: [u32; 2] = [0x18, 0x1c];
}

/// `ivshmem`'s (QEMU, docs/specs/ivshmem-spec.rst).
const ID: u32 = 0x1110_1af4;
/// The command that lets a function answer to its addresses.
const MEMORY: u32 = 1 << 1;
/// Bits of a base address register that are no address.
const FLAGS: u64 = 0xf;

/// Gives each disk an address in `window`. `config` reads a register of a function, or writes a value
/// to it.
pub fn find(
    window: Window,
    mut config: impl FnMut(u32, u32, Option<u32>) -> u32,
) -> [Option<Disk>; MAX] {
    let mut free = window.bus;
    let mut number = 0;
    [(); MAX].map(|()| {
        let function = number;
        number += 1;
        if config(function, register::ID, None) != ID {
            return None;
        }
        let [low, high] = register::STORAGE;
        config(function, low, Some(u32::MAX));
        config(function, high, Some(u32::MAX));
        let word = |value: u32, shift: u32| -> u64 { u64::from(value) << shift };
        let mask = word(config(function, high, None), 32) | word(config(function, low, None), 0);
        let size = (!(mask & !FLAGS)).wrapping_add(1);
        let at = free.checked_next_multiple_of(size)?;
        free = at.checked_add(size).filter(|end| end - window.bus <= window.size)?;
        config(function, low, Some(at as u32));
        config(function, high, Some((at >> 32) as u32));
        let command = config(function, register::COMMAND, None);
        config(function, register::COMMAND, Some(command | MEMORY));
        Some((RealAddr::new(window.at + (at - window.bus)), size))
    })
}
