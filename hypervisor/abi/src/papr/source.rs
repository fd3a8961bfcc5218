//! Interrupt sources of a domain's virtual devices: numbers we choose; the domain's device tree
//! (`domains/builder`) tells them to the guest.

/// The first; 0 and 2 have meanings of their own.
pub const FIRST: u32 = 0x1000;
/// Input at the console.
pub const CONSOLE: u32 = FIRST;
/// Frames at the port of the logical LAN.
pub const LAN: u32 = FIRST + 1;
/// How many there are.
pub const COUNT: usize = 2;
