//! What lies where in a program's address space. The places are those of K42 on 64-bit Power;
//! a program's own segments lie where its ELF file says, below all of these.

use k42_lib::EffAddr;

/// Where the kernel starts to look when it may choose a region's place.
pub const CHOICE_START: EffAddr = EffAddr::new(0x0100_0000_0000);
/// Where it stops.
pub const CHOICE_END: EffAddr = EffAddr::new(0x1000_0000_0000);
/// The device tree, read-only.
pub const DEVICE_TREE: EffAddr = EffAddr::new(0x1000_1000_0000);
/// The root file system image, read-only.
pub const ROOT_FILE_SYSTEM: EffAddr = EffAddr::new(0x1000_8000_0000);
/// The system library's stack: from here down.
pub const LIBRARY_STACK_TOP: EffAddr = EffAddr::new(0x1000_6fff_0000);
/// Size of the system library's stack, in bytes.
pub const LIBRARY_STACK_SIZE: u64 = 1 << 20;
/// User addresses lie below this one; the rest of the first quadrant is left empty.
pub const USER_END: EffAddr = EffAddr::new(0x8000_0000_0000);
