//! Bringing the machine up: firmware, storage, vectors, domains, then the processors.

use crate::context::{Context, Cpu, HYPERVISOR};
use crate::machine;
use crate::{opal, spr, storage};
use arrayvec::ArrayVec;
use boot_archive::Archive;
use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};
use fdt::Fdt;
use fdt::node::FdtNode;
use hv_core::frames::{FRAME_SIZE, Frames, Owner};
use hv_core::{MAX_PROCESSORS, Processor, ProcessorId};
use k42_lib::RealAddr;

/// A processor's stack. `cargo k42 audit` says how deep it gets.
const STACK: usize = 32 << 10;

#[repr(C, align(128))]
struct Stack(UnsafeCell<[u8; STACK]>);

// SAFETY: a stack is used by its processor alone.
unsafe impl Sync for Stack {}

static STACKS: [Stack; MAX_PROCESSORS] =
    [const { Stack(UnsafeCell::new([0; STACK])) }; MAX_PROCESSORS];

/// What a processor needs before it has a vCPU.
struct Seat {
    cpu: UnsafeCell<Option<Cpu>>,
    context: UnsafeCell<Option<Context>>,
}

// SAFETY: a seat is used by its processor alone.
unsafe impl Sync for Seat {}

static SEATS: [Seat; MAX_PROCESSORS] =
    [const { Seat { cpu: UnsafeCell::new(None), context: UnsafeCell::new(None) } }; MAX_PROCESSORS];

/// The stack of the processor that is being started.
#[unsafe(no_mangle)]
static secondary_stack: AtomicU64 = AtomicU64::new(0);
/// Which processor is being started: its number, until it has arrived.
static ARRIVING: AtomicU64 = AtomicU64::new(NOBODY);
const NOBODY: u64 = u64::MAX;

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
    static vectors_start: u8;
    static vectors_end: u8;
    static switch_offset: u64;
    fn secondary_start();
    fn enter_guests(context: u64, switch: u64) -> !;
}

/// Addresses of linker symbols.
fn image() -> (RealAddr, RealAddr) {
    let start = &raw const __image_start as u64;
    let end = &raw const __image_end as u64;
    (RealAddr::new(start), RealAddr::new(end))
}

/// The image's first Rust: the boot processor, on its boot stack.
#[unsafe(no_mangle)]
extern "C" fn powernv_boot(tree: *const u8, opal: u64, entry: u64, entered: u64) -> ! {
    opal::init(opal, entry);
    // SAFETY: the firmware passes a flattened device tree in r3, and keeps it.
    let tree = match unsafe { Fdt::from_ptr(tree) } {
        Ok(tree) => tree,
        Err(error) => fail(format_args!("the firmware's device tree is broken: {error:?}")),
    };
    opal::reinit_cpus();
    copy_vectors();
    let me = spr::read::<{ spr::PIR }>() as u32;
    let processors = processors(&tree, me);
    let count = processors.len();
    let archive_at = archive_range(&tree);
    let frames = frames(&tree, archive_at);
    machine::init_processor(ProcessorId(0));
    HYPERVISOR.init(frames, u32::try_from(count).unwrap_or(1), entered);
    start_domains(archive_at, count);
    for (number, pir) in (0u32..).zip(processors).skip(1) {
        start_processor(number, pir);
    }
    run(ProcessorId(0))
}

fn start_domains(at: (RealAddr, RealAddr), processors: usize) {
    let (start, end) = at;
    let length = (end.value() - start.value()) as usize;
    // SAFETY: the firmware has loaded the archive there; its frames are reserved for ever.
    let bytes = unsafe { core::slice::from_raw_parts(start.value() as *const u8, length) };
    match Archive::parse(bytes) {
        Ok(archive) => {
            let free = HYPERVISOR.free_frames() as u64 * FRAME_SIZE;
            HYPERVISOR.start_all(
                &archive,
                format_args!("{processors} processors, {} MiB free", free >> 20),
            );
        }
        Err(error) => fail(format_args!("the boot archive cannot be used: {error}")),
    }
}

/// Interrupts come to real address 0 and up. The first vector is at 0x100: what lies before it is
/// not copied, since no Rust code may write to address 0.
fn copy_vectors() {
    let first = RealAddr::new(k42_lib::vector::SYSTEM_RESET.into());
    let start = &raw const vectors_start as u64 + first.value();
    let length = &raw const vectors_end as u64 - start;
    // SAFETY: the linker put the vectors between the two symbols.
    let vectors = unsafe { core::slice::from_raw_parts(start as *const u8, length as usize) };
    storage::write(first, vectors);
    storage::synchronize_code(first, length);
}

/// Hardware numbers of the processors that can be used, the boot processor first.
fn processors(tree: &Fdt<'_>, boot: u32) -> ArrayVec<u32, MAX_PROCESSORS> {
    let says = |node: &FdtNode<'_, '_>, name, wanted| {
        node.property(name).and_then(|value| value.as_str()).is_none_or(|value| value == wanted)
    };
    let found = tree
        .find_all_nodes("/cpus")
        .flat_map(|cpus| cpus.children())
        .filter(|node| says(node, "device_type", "cpu") && says(node, "status", "okay"))
        .filter_map(|node| node.property("ibm,ppc-interrupt-server#s"))
        .flat_map(|servers| servers.value.chunks_exact(4))
        .filter_map(|cell| cell.try_into().ok().map(u32::from_be_bytes));
    core::iter::once(boot).chain(found.filter(|pir| *pir != boot)).take(MAX_PROCESSORS).collect()
}

/// Where the firmware has put the boot archive: the two properties have one cell or two.
fn archive_range(tree: &Fdt<'_>) -> (RealAddr, RealAddr) {
    let address = |name| {
        let value = tree.find_node("/chosen")?.property(name)?.value;
        let number = value.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        Some(RealAddr::new(number))
    };
    match (address("linux,initrd-start"), address("linux,initrd-end")) {
        (Some(start), Some(end)) if start < end => (start, end),
        _ => fail(format_args!("there is no boot archive: start QEMU with -initrd ARCHIVE")),
    }
}

/// Finds out what storage there is and what of it is taken. The owners' table lies at 64 KiB.
fn frames(tree: &Fdt<'_>, archive: (RealAddr, RealAddr)) -> Frames {
    let memory = || {
        tree.find_all_nodes("/memory").flat_map(|node| node.reg().into_iter().flatten()).filter_map(
            |region| {
                let start = RealAddr::new(region.starting_address as u64);
                Some((start, start.checked_add(region.size? as u64)?))
            },
        )
    };
    let reserved = || {
        tree.memory_reservations().map(|range| {
            let start = RealAddr::new(range.address() as u64);
            (start, start.offset(range.size() as u64))
        })
    };
    let top = memory().map(|(_, end)| end.value()).max().unwrap_or(0);
    let count = (top / FRAME_SIZE) as usize;
    let table = RealAddr::new(FRAME_SIZE); // above the vectors
    let table_end = table.offset(count as u64);
    // SAFETY: the storage from 64 KiB up is free (skiboot lies at 768 MiB, the image at 512 MiB)
    // and reserved below; `Owner` is a byte for which every value is valid.
    let owners = unsafe { core::slice::from_raw_parts_mut(table.value() as *mut Owner, count) };
    let mut frames = Frames::new(owners);
    for (start, end) in memory() {
        frames.release(start, end);
    }
    let vectors = (RealAddr::new(0), table);
    for (start, end) in reserved().chain([vectors, (table, table_end), image(), archive]) {
        frames.reserve(start, end);
    }
    frames
}

fn start_processor(number: u32, pir: u32) {
    let stack = stack_top(number);
    secondary_stack.store(stack, Ordering::Release);
    ARRIVING.store(number.into(), Ordering::Release);
    if !opal::start_cpu(pir, secondary_start as *const () as u64) {
        fail(format_args!("the firmware does not start processor {pir}"));
    }
    while ARRIVING.load(Ordering::Acquire) != NOBODY {
        core::hint::spin_loop();
    }
}

#[unsafe(no_mangle)]
extern "C" fn powernv_secondary() -> ! {
    let number = ProcessorId(ARRIVING.load(Ordering::Acquire) as u32);
    machine::init_processor(number);
    ARRIVING.store(NOBODY, Ordering::Release);
    run(number)
}

fn stack_top(number: u32) -> u64 {
    STACKS[number as usize].0.get() as u64 + STACK as u64 - 128
}

/// This processor runs guests from now on.
fn run(number: ProcessorId) -> ! {
    let seat = &SEATS[number.0 as usize];
    let toc: u64;
    // SAFETY: reads r2.
    unsafe { core::arch::asm!("mr {}, 2", out(reg) toc, options(nomem, nostack)) };
    let stack = stack_top(number.0);
    // SAFETY: the seat is this processor's, and this is its first use.
    let cpu = unsafe { &mut *seat.cpu.get() }.insert(Cpu::new(Processor::new(number), stack, toc));
    // SAFETY: as above.
    let context = unsafe { &mut *seat.context.get() }.insert(Context::boot(cpu));
    let switch = &raw const switch_offset;
    // SAFETY: `switch.S` defines the word.
    let switch = unsafe { switch.read() };
    // SAFETY: the boot context is live for ever and its stack is this processor's.
    unsafe { enter_guests(&raw mut *context as u64, switch) }
}

/// Writes to the firmware's console.
struct Firmware;

impl Write for Firmware {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        opal::console_write(text.as_bytes());
        Ok(())
    }
}

/// The hypervisor cannot go on: says why, unframed, and turns the machine off.
pub(crate) fn fail(why: fmt::Arguments<'_>) -> ! {
    let _ = writeln!(Firmware, "\nhypervisor: stopped: {why}");
    opal::power_off()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    fail(format_args!("{info}"))
}
