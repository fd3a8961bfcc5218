//! Bringing the machine up: firmware, storage, vectors, domains, then the processors.

use crate::context::{Context, Cpu, HYPERVISOR};
use crate::machine::PIRS;
use crate::opal;
use crate::stop::fail;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;
use fdt::Fdt;
use hv_core::memory::disk::Disk;
use hv_core::{MAX_PROCESSORS, Processor, ProcessorId};
use hv_power::disks::{self, Window};
use hv_power::{spr, start, tree};
use k42_lib::calendar::DateTime;
use k42_lib::{RealAddr, lpcr, msr};

/// Calls of OPAL that nobody makes later (skiboot, include/opal-api.h).
mod token {
    pub(super) const RTC_READ: u64 = 3;
    pub(super) const POLL_EVENTS: u64 = 10;
    pub(super) const PCI_CONFIG_READ_WORD: u64 = 15;
    pub(super) const PCI_CONFIG_WRITE_WORD: u64 = 18;
    pub(super) const PCI_PHB_MMIO_ENABLE: u64 = 27;
    pub(super) const PCI_SET_PHB_MEM_WINDOW: u64 = 28;
    pub(super) const START_CPU: u64 = 41;
    pub(super) const REINIT_CPUS: u64 = 70;
}

/// OPAL_REINIT_CPUS: hypervisor interrupts little-endian, radix translation.
const LITTLE_ENDIAN_AND_RADIX: u64 = 2 | 8;

/// What a processor needs before it has a vCPU.
struct Seat {
    cpu: UnsafeCell<MaybeUninit<Cpu>>,
    context: UnsafeCell<MaybeUninit<Context>>,
}

impl Seat {
    /// Nothing yet, so that it takes no room in the image.
    const fn empty() -> Seat {
        let (cpu, context) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        Seat { cpu: UnsafeCell::new(cpu), context: UnsafeCell::new(context) }
    }
}

// SAFETY: a seat is used by its processor alone.
unsafe impl Sync for Seat {}

static SEATS: [Seat; MAX_PROCESSORS] = [const { Seat::empty() }; MAX_PROCESSORS];

unsafe extern "C" {
    static __image_start: u8;
    static __constants_end: u8;
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
    opal::BASE.store(opal, Ordering::Relaxed);
    opal::ENTRY.store(entry, Ordering::Relaxed);
    // SAFETY: the firmware passes a flattened device tree in r3, and keeps it.
    let tree = match unsafe { Fdt::from_ptr(tree) } {
        Ok(tree) => tree,
        Err(error) => fail(format_args!("the firmware's device tree is broken: {error:?}")),
    };
    opal::call(token::REINIT_CPUS, LITTLE_ENDIAN_AND_RADIX, 0, 0);
    let (first, last) = (&raw const vectors_start, &raw const vectors_end);
    // SAFETY: `switch.S` has the vectors between these symbols.
    unsafe { start::install_vectors(first, last) };
    let me = spr::read::<{ spr::PIR }>() as u32;
    let processors = tree::processors(&tree, me);
    let count = processors.len();
    let archive_at = archive_range(&tree);
    // SAFETY: skiboot lies at 768 MiB, the image at 512 MiB.
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
    for (number, pir) in (0u32..).zip(processors).skip(1) {
        start_processor(ProcessorId(number), pir);
    }
    run(ProcessorId(0))
}

/// The firmware's clock, in seconds since 1970 began; `None` where it has none.
fn clock() -> Option<u64> {
    /// The firmware asks its service processor, and says that it is at it.
    const BUSY: i64 = -12;
    let (mut date, mut time) = (0u32, 0u64);
    let read = |date: &mut u32, time: &mut u64| {
        opal::call(token::RTC_READ, &raw mut *date as u64, &raw mut *time as u64, 0)
    };
    while match read(&mut date, &mut time) {
        0 => false,
        BUSY => true,
        _ => return None,
    } {
        opal::call(token::POLL_EVENTS, 0, 0, 0);
    }
    // Two decimal digits a byte: year, month, day; hour, minute, second.
    let digits = |byte: u8| u32::from(byte >> 4) * 10 + u32::from(byte & 0xf);
    let [century, year, month, day] = date.to_ne_bytes().map(digits);
    let [hour, minute, second, ..] = time.to_ne_bytes().map(digits);
    DateTime { year: century * 100 + year, month, day, hour, minute, second }.to_unix()
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

/// The disks, behind the root port of the host bridge that there is for them. The firmware has set up
/// all but the bridge's window for 64-bit addresses; it opens that for every device.
fn find_disks(tree: &Fdt<'_>) -> Option<[Option<Disk>; disks::MAX]> {
    /// The first device behind the root port: bus 1, device 0.
    const DEVICE: u64 = 1 << 8;
    /// OPAL_M64_WINDOW_TYPE, its number (0 has the 32-bit addresses), OPAL_ENABLE_M64_SPLIT.
    const WIDE: u64 = 2;
    const NUMBER: u64 = 1;
    const SPLIT: u64 = 1;
    let bridge = tree.all_nodes().find(|node| node.property("ibm,opal-m64-window").is_some())?;
    let number = |name, at| {
        let bytes = bridge.property(name)?.value.get(at..)?.first_chunk()?;
        Some(u64::from_be_bytes(*bytes))
    };
    let id = number("ibm,opal-phbid", 0)?;
    let window = |at| number("ibm,opal-m64-window", at);
    let window = Window { bus: window(0)?, at: window(8)?, size: window(16)? };
    let Window { at, bus, size } = window;
    opal::call_with([token::PCI_SET_PHB_MEM_WINDOW, id, WIDE, NUMBER, at, bus, size, 0]);
    opal::call_with([token::PCI_PHB_MMIO_ENABLE, id, WIDE, NUMBER, SPLIT, 0, 0, 0]);
    Some(disks::find(window, |function, register, value| {
        let (function, register) = (DEVICE | u64::from(function), register.into());
        let mut word = u32::MAX;
        let (token, argument) = match value {
            Some(value) => (token::PCI_CONFIG_WRITE_WORD, value.into()),
            None => (token::PCI_CONFIG_READ_WORD, &raw mut word as u64),
        };
        opal::call_with([token, id, function, register, argument, 0, 0, 0]);
        u32::from_be(word)
    }))
}

fn start_processor(number: ProcessorId, pir: u32) {
    let entry = secondary_start as *const () as u64;
    if !start::start_processor(number, || opal::call(token::START_CPU, pir.into(), entry, 0) == 0) {
        fail(format_args!("the firmware does not start processor {pir}"));
    }
}

#[unsafe(no_mangle)]
extern "C" fn powernv_secondary() -> ! {
    let number = start::arriving();
    init_processor(number);
    start::arrived();
    run(number)
}

/// Sets this processor's registers that stay as they are.
fn init_processor(processor: ProcessorId) {
    /// Authority masks.
    const AMR: u32 = 29;
    const AMOR: u32 = 349;
    /// Hypervisor facility control.
    const HFSCR: u32 = 190;
    /// Partition table control.
    const PTCR: u32 = 464;
    /// What `stop` does.
    const PSSCR: u32 = 855;
    let pir = spr::read::<{ spr::PIR }>();
    if let Some(slot) = PIRS.get(processor.0 as usize) {
        slot.store(pir as u32, Ordering::Release);
    }
    spr::write::<PTCR>(start::partition_table_control());
    spr::write::<HFSCR>(spr::GUEST_FACILITIES);
    spr::write::<AMOR>(u64::MAX);
    spr::write::<AMR>(0);
    spr::write::<{ spr::DPDES }>(0);
    spr::write::<PSSCR>(0); // `stop` loses no state and goes on at the next instruction
    spr::write::<{ spr::LPIDR }>(0);
    spr::write::<{ spr::LPCR }>(lpcr::HDICE | lpcr::STOP_ENDS | lpcr::HR | lpcr::UPRT);
    spr::write_msr(spr::read_msr() | msr::ME);
}

/// This processor runs guests from now on.
fn run(number: ProcessorId) -> ! {
    let seat = &SEATS[number.0 as usize];
    let toc: u64;
    // SAFETY: reads r2.
    unsafe { core::arch::asm!("mr {}, 2", out(reg) toc, options(nomem, nostack)) };
    let stack = start::stack_top(number);
    // SAFETY: the seat is this processor's, and this is its first use.
    let cpu = unsafe { &mut *seat.cpu.get() }.write(Cpu {
        number,
        processor: Processor::new(number),
        resident: None,
        next: None,
        stack,
        toc,
    });
    // SAFETY: as above.
    let context = unsafe { &mut *seat.context.get() }.write(Context::ZERO);
    context.seat(cpu);
    let switch = &raw const switch_offset;
    // SAFETY: `switch.S` defines the word.
    let switch = unsafe { switch.read() };
    // SAFETY: the boot context is live for ever and its stack is this processor's.
    unsafe { enter_guests(&raw mut *context as u64, switch) }
}
