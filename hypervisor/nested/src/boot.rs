//! Bringing the machine up: device tree, storage, vectors, domains, then the processors.

use crate::context::{self, HYPERVISOR};
use crate::hcall::{self, POWER_OFF, START_CPU};
use crate::machine::{self, CPUS};
use crate::stop::fail;
use core::cell::UnsafeCell;
use fdt::Fdt;
use hv_core::ProcessorId;
use hv_power::tree::Range;
use hv_power::{partition, start, storage, tree};
use k42_lib::RealAddr;

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
    hcall::little_endian_interrupts();
    let (first, last) = (&raw const vectors_start, &raw const vectors_end);
    // SAFETY: `vectors.S` has the vectors between these symbols.
    unsafe { storage::install_vectors(first, last) };
    let (tree, boot) = device_tree();
    for (function, name) in [(&POWER_OFF, "power-off"), (&START_CPU, "start-cpu")] {
        let token = tree.find_node("/rtas").and_then(|node| node.property(name)?.as_usize());
        function.set(token.unwrap_or(0) as u32);
    }
    if size == 0 {
        fail(format_args!("there is no boot archive: start QEMU with -initrd ARCHIVE"));
    }
    if !hcall::set_partition_table(partition::control()) {
        fail(format_args!("no guests here: start QEMU with -M pseries,cap-nested-hv=on"));
    }
    let processors = tree::processors(&tree, boot);
    let count = processors.len();
    for (cpu, server) in CPUS.iter().zip(&processors) {
        cpu.set_server(*server);
    }
    let archive_at = (RealAddr::new(archive), RealAddr::new(archive).offset(size));
    // SAFETY: the image lies at 4 MiB and a little, and the firmware is done.
    let frames = unsafe { tree::frames(&tree, [image(), archive_at]) };
    machine::init_processor(ProcessorId(0));
    HYPERVISOR.init(frames, u32::try_from(count).unwrap_or(1), entered);
    let constants = (image().0, RealAddr::new(&raw const __constants_end as u64));
    // SAFETY: the firmware has loaded the archive there; its frames are reserved for ever, and the
    // image's code and constants stay as they are.
    if let Err(error) = unsafe { start::start_domains(&HYPERVISOR, constants, archive_at, count) } {
        fail(format_args!("the boot archive cannot be used: {error}"));
    }
    for (number, server) in (0u32..).zip(processors).skip(1) {
        let entry = secondary_start as *const () as u32;
        if !start::start_processor(ProcessorId(number), || START_CPU.call([server, entry, 0])) {
            fail(format_args!("processor {server} does not start"));
        }
    }
    context::run(ProcessorId(0))
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
    if !hcall::device_tree(buffer) {
        fail(format_args!("the hypervisor below gives no device tree"));
    }
    let bytes = &buffer[WORD..];
    let boot = bytes[BOOT_PROCESSOR..].first_chunk().map_or(0, |b| u32::from_be_bytes(*b));
    match Fdt::new(bytes) {
        Ok(tree) => (tree, boot),
        Err(error) => fail(format_args!("the device tree is broken: {error:?}")),
    }
}

#[unsafe(no_mangle)]
extern "C" fn nested_secondary() -> ! {
    let number = start::arriving();
    machine::init_processor(number);
    start::arrived();
    context::run(number)
}
