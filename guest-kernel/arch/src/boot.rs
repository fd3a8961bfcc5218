//! From the first instruction to the kernel's `main`: memory, heap, translation.

use crate::space::Spaces;
use crate::start::{self, MAX_VCPUS};
use crate::{Domain, bug, entry, heap, hypercall, trace, vcpu};
use alloc::vec::Vec;
use core::ops::Range;
use fdt::Fdt;
use k42_lib::GuestAddr;
use k42_object::trace::Buffer;

/// The most ranges of memory that are spoken for at the start.
const MAX_RESERVED: usize = 64;
/// The kernel's heap: this much, and a share of the memory, for what it must know about pages.
const HEAP_BASE: u64 = 5 << 20;
/// And so much for every vCPU but the first: its stacks, its part of clustered objects, its trace.
const HEAP_VCPU: u64 = 1 << 20;
/// One byte of heap for so many of memory.
const HEAP_SHARE: u64 = 128;
/// Alignment of frames and of the heap.
const PAGE: u64 = kernel_abi::PAGE_SIZE;

/// What `main` starts with. Translation is on, interrupts are off and stay so.
pub struct Boot {
    /// The device tree.
    pub tree: Fdt<'static>,
    /// Where it is.
    pub tree_at: GuestAddr,
    /// Bytes of memory, from guest real address 0.
    pub memory_size: u64,
    /// How many vCPUs the domain has. Number 0 runs; [`crate::start()`] starts the others.
    pub vcpus: u32,
    /// Where events of each go.
    pub traces: Vec<&'static Buffer>,
    /// The machine.
    pub domain: Domain,
}

/// Declares the image's `main`: a `fn(Boot) -> !`.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        // SAFETY: the one definition of the symbol that kernel-arch declares, with its signature.
        #[unsafe(no_mangle)]
        extern "Rust" fn kernel_main(boot: $crate::Boot) -> ! {
            let main: fn($crate::Boot) -> ! = $main;
            main(boot)
        }
    };
}

unsafe extern "Rust" {
    /// Defined by [`main!`].
    safe fn kernel_main(boot: Boot) -> !;
}

/// In real mode, on the boot stack; `tree_at` as the hypervisor passed it.
#[unsafe(no_mangle)]
extern "C" fn kernel_boot(tree_at: GuestAddr) -> ! {
    // SAFETY: this is the first thing that the first vCPU does.
    unsafe { vcpu::begin() };
    bug::expect(entry::REAL_MSR);
    match boot(tree_at) {
        Ok(boot) => kernel_main(boot),
        Err(problem) => panic!("cannot start: {problem}"),
    }
}

fn boot(tree_at: GuestAddr) -> Result<Boot, &'static str> {
    let pointer = crate::linear(tree_at) as *const u8;
    // SAFETY: the contract of the start (docs/interfaces.md, §4): a device tree is there, and
    // nobody changes it.
    let tree = unsafe { Fdt::from_ptr(pointer) }.map_err(|_| "there is no device tree in r3")?;
    let memory = tree.memory();
    let memory_size = memory.regions().next().and_then(|region| region.size);
    let memory_size = memory_size.ok_or("the device tree has no memory")? as u64;

    let mut reserved = Reserved { ranges: [(0, 0); MAX_RESERVED], count: 0 };
    reserved.add(0, entry::end_of_image())?;
    reserved.add(tree_at.value(), tree_at.value() + tree.total_size() as u64)?;
    for reservation in tree.memory_reservations() {
        let start = reservation.address() as u64;
        reserved.add(start, start + reservation.size() as u64)?;
    }
    let largest = reserved.gaps(memory_size).max_by_key(|gap| gap.end.saturating_sub(gap.start));
    let largest = largest.ok_or("all memory is spoken for")?;
    let processors = tree.find_node("/cpus").map_or(0, |cpus| cpus.children().count());
    let vcpus = (processors as u32).clamp(1, MAX_VCPUS);
    let heap_size = HEAP_BASE
        + HEAP_VCPU * u64::from(vcpus - 1)
        + (memory_size / HEAP_SHARE).next_multiple_of(PAGE);
    let heap = largest.start..largest.start.saturating_add(heap_size);
    if heap.end > largest.end {
        return Err("the domain's memory is too small");
    }
    reserved.add(heap.start, heap.end)?;
    // SAFETY: the first and only time; the range is nobody's.
    unsafe { heap::start(heap) };

    let chosen = tree.find_node("/chosen");
    let text = |name| chosen.and_then(|node| node.property(name)?.as_str()).unwrap_or_default();
    let traces: Result<Vec<_>, _> =
        (0..vcpus).map(|number| trace::start(number, text("k42,name"), text("bootargs"))).collect();
    let traces = traces?;
    let spaces = Spaces::start(memory_size)?;
    start::translate();
    let frames: Vec<Range<u64>> = reserved.gaps(memory_size).collect();
    // SAFETY: the image, the heap and the device tree are reserved, and not in the gaps.
    let domain = unsafe { Domain::new(memory_size, frames, spaces) };
    Ok(Boot { tree, tree_at, memory_size, vcpus, traces, domain })
}

/// Memory that is spoken for, in order.
struct Reserved {
    ranges: [(u64, u64); MAX_RESERVED],
    count: usize,
}

impl Reserved {
    fn add(&mut self, start: u64, end: u64) -> Result<(), &'static str> {
        let slot = self.ranges.get_mut(self.count).ok_or("too many memory reservations")?;
        *slot = (start, end);
        self.count += 1;
        self.ranges[..self.count].sort_unstable();
        Ok(())
    }

    /// What lies between, in whole pages, up to `memory_size`.
    fn gaps(&self, memory_size: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut free_from = 0;
        let ranges = self.ranges[..self.count].iter().copied();
        let gaps = ranges.chain([(memory_size, memory_size)]).map(move |(start, end)| {
            let gap = free_from..start & !(PAGE - 1);
            free_from = free_from.max(end.next_multiple_of(PAGE));
            gap
        });
        gaps.filter(|gap| gap.start < gap.end)
    }
}

/// End of the domain, with an exit status.
pub fn exit(status: u8) -> ! {
    hypercall::exit(status)
}
