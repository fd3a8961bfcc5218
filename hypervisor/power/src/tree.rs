//! What the firmware's device tree says of the machine: its processors and its storage.

use arrayvec::ArrayVec;
use fdt::Fdt;
use fdt::node::FdtNode;
use hv_core::MAX_PROCESSORS;
use hv_core::frames::{Entry, FRAME_SIZE, Frames};
use k42_lib::RealAddr;

/// Storage from here to there.
pub type Range = (RealAddr, RealAddr);

/// Hardware numbers of the processors that can be used, the boot processor first.
pub fn processors(tree: &Fdt<'_>, boot: u32) -> ArrayVec<u32, MAX_PROCESSORS> {
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

/// The most room there is for the frames' table: what lies above 63 GiB is not used.
const TABLE_END: u64 = 4 << 20;

/// Finds out what storage there is and what of it is taken: by whom the tree says, by `taken`, by
/// the vectors and by the frames' table, which lies at 64 KiB.
///
/// # Safety
/// To be called once. Nothing else lies below 4 MiB but the vectors.
pub unsafe fn frames(tree: &Fdt<'_>, taken: [Range; 2]) -> Frames {
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
    let table = RealAddr::new(FRAME_SIZE); // above the vectors
    let most = (TABLE_END - table.value()) / size_of::<Entry>() as u64;
    let count = (top / FRAME_SIZE).min(most) as usize;
    let table_end = table.offset((count * size_of::<Entry>()) as u64);
    // SAFETY: the storage from 64 KiB up is free, as the caller says, and reserved below; every value
    // of an `Entry`'s bytes is valid.
    let entries = unsafe { core::slice::from_raw_parts_mut(table.value() as *mut Entry, count) };
    let mut frames = Frames::new(entries);
    for (start, end) in memory() {
        frames.release(start, end);
    }
    let vectors = (RealAddr::new(0), table);
    for (start, end) in reserved().chain([vectors, (table, table_end)]).chain(taken) {
        frames.reserve(start, end);
    }
    frames
}
