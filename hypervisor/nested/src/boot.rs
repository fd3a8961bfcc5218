//! Bringing the machine up: device tree, storage, vectors, domains, then the processors.

use crate::context::{self, HYPERVISOR};
use crate::hcall::{self, NEVER, POWER_OFF, Rtas};
use crate::machine::CPUS;
use crate::stop::fail;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use fdt::Fdt;
use hv_core::ProcessorId;
use hv_core::memory::disk::Disk;
use hv_power::disks::{self, Window};
use hv_power::tree::Range;
use hv_power::{spr, start, tree};
use k42_lib::RealAddr;
use k42_lib::calendar::DateTime;

/// Numbers of calls that nobody makes later (PAPR+ 2.13; the last two QEMU, hw/ppc/spapr.h).
mod number {
    pub(super) const CPPR: u64 = 0x68;
    pub(super) const SET_MODE: u64 = 0x31c;
    pub(super) const CAS: u64 = 0xf002;
    pub(super) const SET_PARTITION_TABLE: u64 = 0xf800;
}

/// H_SET_MODE's resource 4: the byte order of interrupts; 1 is little-endian.
const INTERRUPT_ENDIAN: u64 = 4;

/// What we ask the hypervisor below us for (PAPR+, "client architecture support"; QEMU hands the
/// device tree out in exchange): any processor, radix translation, interrupts by hypercall.
#[rustfmt::skip]
static WANTED: [u8; 52] = [
    0, 0, 0, 0,  0, 0, 0, 0,                 // mask and version: any processor as it is
    0, 0, 0, 0,  0xff, 0xff, 0xff, 0xff,     // no more of them
    4,                                       // five option vectors, each with its length less 1
    0, 0,  0, 0,  0, 0,  0, 0,
    25,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0,                                       // byte 23: XICS
    0x40,                                    // byte 24: radix
    0,
    0x40,                                    // byte 26: guests invalidate translations themselves
];

/// RTAS starts a processor, and reads and writes registers of PCI functions.
static START_CPU: Rtas = Rtas(AtomicU32::new(0));
static READ_CONFIG: Rtas = Rtas(AtomicU32::new(0));
static WRITE_CONFIG: Rtas = Rtas(AtomicU32::new(0));

/// RTAS tells the time.
static CLOCK: Rtas = Rtas(AtomicU32::new(0));

/// Where the device tree goes: a word, then the tree, which thus lies on a doubleword.
#[repr(C, align(8))]
struct Tree {
    filler: u32,
    bytes: UnsafeCell<[u8; 512 << 10]>,
}

// SAFETY: it is used by the boot processor alone.
unsafe impl Sync for Tree {}

static TREE: Tree = Tree { filler: 0, bytes: UnsafeCell::new([0; 512 << 10]) };

unsafe extern "C" {
    static __image_start: u8;
    static __constants_end: u8;
    static __image_end: u8;
    static vectors_start: u8;
    static vectors_end: u8;
    fn secondary_start();
}

/// The image's first Rust: the boot processor, on its boot stack. `archive` and `size` say where
/// the boot archive is.
#[unsafe(no_mangle)]
extern "C" fn nested_boot(archive: u64, size: u64, entered: u64) -> ! {
    hcall::call(number::SET_MODE, [1, INTERRUPT_ENDIAN, 0, 0]);
    let (first, last) = (&raw const vectors_start, &raw const vectors_end);
    // SAFETY: `vectors.S` has the vectors between these symbols.
    unsafe { start::install_vectors(first, last) };
    let (tree, boot) = device_tree();
    for (function, name) in [
        (&POWER_OFF, "power-off"),
        (&START_CPU, "start-cpu"),
        (&CLOCK, "get-time-of-day"),
        (&READ_CONFIG, "ibm,read-pci-config"),
        (&WRITE_CONFIG, "ibm,write-pci-config"),
    ] {
        let token = tree.find_node("/rtas").and_then(|node| node.property(name)?.as_usize());
        function.0.store(token.unwrap_or(0) as u32, Relaxed);
    }
    if size == 0 {
        fail(format_args!("there is no boot archive: start QEMU with -initrd ARCHIVE"));
    }
    if hcall::call1(number::SET_PARTITION_TABLE, start::partition_table_control())[0] != 0 {
        fail(format_args!("no guests here: start QEMU with -M pseries,cap-nested-hv=on"));
    }
    let processors = tree::processors(&tree, boot);
    let count = processors.len();
    for (cpu, server) in CPUS.iter().zip(&processors) {
        cpu.server.store(*server, Relaxed);
    }
    let archive_at = (RealAddr::new(archive), RealAddr::new(archive).offset(size));
    // SAFETY: the image lies at 4 MiB and a little, and the firmware is done.
    let frames = unsafe { tree::frames(&tree, [image(), archive_at]) };
    init_processor(ProcessorId(0));
    HYPERVISOR.init(frames, u32::try_from(count).unwrap_or(1), entered, clock().unwrap_or(0));
    let mut disks = find_disks(&tree).unwrap_or_default();
    let constants = (image().0, RealAddr::new(&raw const __constants_end as u64));
    // SAFETY: the firmware has loaded the archive there; its frames are reserved for ever, and the
    // image's code and constants stay as they are.
    let started =
        unsafe { start::start_domains(&HYPERVISOR, constants, archive_at, &mut disks, count) };
    if let Err(error) = started {
        fail(format_args!("the boot archive cannot be used: {error}"));
    }
    for (number, server) in (0u32..).zip(processors).skip(1) {
        let entry = secondary_start as *const () as u32;
        let start = || START_CPU.call([server, entry, 0]);
        if !start::start_processor(ProcessorId(number), start) {
            fail(format_args!("processor {server} does not start"));
        }
    }
    context::run(ProcessorId(0))
}

/// The disks, on the partition's own PCI bus (PAPR+ 2.13, 7.3.4: a function's address has bus, device,
/// function and register; the bridge's is in two words).
fn find_disks(tree: &Fdt<'_>) -> Option<[Option<Disk>; disks::MAX]> {
    /// Device 1 of bus 0.
    const DEVICE: u32 = 1 << 11;
    const FUNCTION: u32 = 8;
    const WORD: u32 = 4;
    /// A window of 64-bit addresses, in the first of the seven cells of a range: its kind, where it is
    /// on the bus, where for the processor, and its size (IEEE 1275, PCI Bus Binding 2.1, 2.2.1.1).
    const KIND: u32 = 0x0300_0000;
    let bridge = tree.all_nodes().find(|node| {
        node.property("compatible").is_some_and(|p| p.as_str() == Some("IBM,Logical_PHB"))
    })?;
    let cell =
        |bytes: &[u8], n: usize| Some(u32::from_be_bytes(*bytes.get(n * 4..)?.first_chunk()?));
    let pair =
        |bytes: &[u8], n| Some(u64::from(cell(bytes, n)?) << 32 | u64::from(cell(bytes, n + 1)?));
    let unit = bridge.property("reg")?.value;
    let mut ranges = bridge.property("ranges")?.value.chunks_exact(28);
    let range = ranges.find(|range| cell(range, 0) == Some(KIND))?;
    let window = Window { bus: pair(range, 1)?, at: pair(range, 3)?, size: pair(range, 5)? };
    let (high, low) = (cell(unit, 0)?, cell(unit, 1)?);
    Some(disks::find(window, |function, register, value| {
        let address = DEVICE | function << FUNCTION | register;
        if let Some(value) = value {
            WRITE_CONFIG.call([address, high, low, WORD, value]);
        }
        READ_CONFIG.ask([address, high, low, WORD]).map_or(u32::MAX, |[word]| word)
    }))
}

/// The partition's clock, in seconds since 1970 began; `None` where it has none.
fn clock() -> Option<u64> {
    let [year, month, day, hour, minute, second, _] = CLOCK.ask([])?;
    DateTime { year, month, day, hour, minute, second }.to_unix()
}

/// Addresses of linker symbols.
fn image() -> Range {
    let start = &raw const __image_start as u64;
    let end = &raw const __image_end as u64;
    (RealAddr::new(start), RealAddr::new(end))
}

/// The device tree, and the boot processor's number in it.
fn device_tree() -> (Fdt<'static>, u32) {
    /// Where the tree's header has the number (Devicetree Specification 0.4, 5.2).
    const BOOT_PROCESSOR: usize = 28;
    const WORD: usize = 4;
    // SAFETY: called once, and nobody else uses the buffer.
    let buffer = unsafe { &mut *TREE.bytes.get() };
    let at = buffer.as_mut_ptr() as u64;
    if hcall::call(number::CAS, [WANTED.as_ptr() as u64, at, buffer.len() as u64, 0])[0] != 0 {
        fail(format_args!("the hypervisor below gives no device tree"));
    }
    let bytes = &buffer[WORD..];
    let boot = bytes[BOOT_PROCESSOR..].first_chunk().map_or(0, |b| u32::from_be_bytes(*b));
    match Fdt::new(bytes) {
        Ok(tree) => (tree, boot),
        Err(error) => fail(format_args!("the device tree is broken: {error:?}")),
    }
}

/// Sets up the processor that this is: its number, and that all interrupts get through to it.
fn init_processor(processor: ProcessorId) {
    spr::write::<{ spr::SPRG0 }>(processor.0.into());
    hcall::call1(number::CPPR, NEVER);
}

#[unsafe(no_mangle)]
extern "C" fn nested_secondary() -> ! {
    let number = start::arriving();
    init_processor(number);
    start::arrived();
    context::run(number)
}
