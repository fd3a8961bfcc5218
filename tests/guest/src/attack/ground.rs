//! The storage that an attack is made on, all of it outside the kernel's image.
//!
//! From half of the memory on: *extents*, which come and go, and which the attacker itself never
//! touches; *junk*, where the hypervisor may write what it likes; *slots*, where arguments lie. Both
//! vCPUs use the same slots, so what one's call reads the other may be writing. Whatever fields
//! of two arguments for one slot come together, the call is one that leaves the attacker alive.

use crate::random::Random;
use alloc::string::String;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::xen::stub;
use kernel_arch::hypercall::Hypervisor;
use kernel_arch::{Boot, guest_address};
use xen_sys::{memory, xen};

pub const PAGE: u64 = 4096;
/// What a frame of the hypervisor's has, the smallest extent.
const FRAME: u64 = 16 * PAGE;
/// Where the attacker's own grant table stays mapped: 1 TiB, beyond any memory.
const TABLE: u64 = 1 << 40;
/// Pages that calls map things at and take them out of.
const WINDOWS: u64 = 2 << 40;
pub const WINDOW_PAGES: u64 = 16;
const MEBI: u64 = 1 << 20;
/// Bytes of a slot; there are two for each use.
const SLOT: u64 = 512;

/// Handles of what was mapped last at each window. A hint: the other vCPU changes them, too.
static HANDLES: [AtomicU64; WINDOW_PAGES as usize] =
    [const { AtomicU64::new(0) }; WINDOW_PAGES as usize];

/// What a slot is used for: what a call reads from memory, by its kind.
#[derive(Clone, Copy)]
pub enum Use {
    Events,
    Grants,
    Reservation,
    Extents,
    Pages,
    Indices,
    Map,
    Size,
    Vcpu,
    Area,
    Timer,
    Place,
    Poll,
    Ports,
    Watchdog,
    Parameter,
}

impl Use {
    /// Another argument's words there, or zeroes, could be the attacker's own end.
    fn is_delicate(self) -> bool {
        use Use::*;
        matches!(self, Reservation | Extents | Area | Place | Watchdog)
    }
}

/// Where everything is.
#[derive(Clone, Copy)]
pub struct Ground {
    extents: u64,
    junk: u64,
    slots: u64,
    end: u64,
}

impl Ground {
    /// Divides the memory, and maps the grant table.
    pub fn new(boot: &Boot) -> Result<Ground, String> {
        let end = boot.memory_size;
        let ground = Ground { extents: end / 2, junk: end - 4 * MEBI, slots: end - 2 * MEBI, end };
        if boot.tree_at.value() > ground.extents || ground.junk <= ground.extents {
            return Err(String::from("the memory is too small"));
        }
        let command = memory::XENMEM_ADD_TO_PHYSMAP.into();
        let space = u64::from(memory::XENMAPSPACE_GRANT_TABLE) << 32;
        let words = [u64::from(xen::DOMID_SELF) | space, 0, TABLE / PAGE];
        match stub::memory_op(&Hypervisor, command, guest_address(&raw const words))[0] {
            0 => Ok(ground),
            _ => Err(String::from("the grant table cannot be mapped")),
        }
    }

    /// Puts an argument somewhere and says where: in a slot, at the end of the memory or across
    /// it, or nowhere at all.
    pub fn argument(&self, random: &mut Random, of: Use, words: &[u64]) -> u64 {
        let size = words.len() as u64 * 8;
        let at = match random.below(16) {
            0 if of.is_delicate() => return 1 << 52,
            0 => self.end - random.below(size / 8 + 2) * 8,
            1 if !of.is_delicate() => return self.nowhere(random),
            2 if !of.is_delicate() => self.slot(random, of) + random.below(8), // not aligned
            _ => self.slot(random, of),
        };
        for (place, word) in (at..).step_by(8).zip(words) {
            if place + 8 <= self.end {
                store(place, *word);
            }
        }
        at
    }

    fn slot(&self, random: &mut Random, of: Use) -> u64 {
        self.slots + (of as u64 * 2 + random.below(2)) * SLOT
    }

    /// An address of nothing, or of nothing that can be used.
    pub fn nowhere(&self, random: &mut Random) -> u64 {
        let any = random.next();
        random.of(&[
            self.end,
            self.end + (any & 0xff_ffff),
            1 << 52,
            1 << 63,
            !(any & 63),
            any | 1 << 45,
        ])
    }

    /// Somewhere for an answer: where it harms nobody, in memory that may be gone, across the end,
    /// in somebody else's page, or nowhere.
    pub fn answer(&self, random: &mut Random) -> u64 {
        match random.below(8) {
            0 => self.nowhere(random),
            1 => self.end - random.below(16),
            2 => self.extent(random) + random.below(FRAME),
            3 => self.window(random) + random.below(PAGE),
            4 => self.junk_page(random) + PAGE - random.below(32),
            _ => self.junk_page(random) + random.below(PAGE / 8) * 8,
        }
    }

    /// A page of junk.
    pub fn junk_page(&self, random: &mut Random) -> u64 {
        self.junk + random.below(64) * PAGE
    }

    /// The start of an extent.
    pub fn extent(&self, random: &mut Random) -> u64 {
        self.extents + random.below((self.junk - self.extents) / FRAME) * FRAME
    }

    /// A page to map something at.
    pub fn window(&self, random: &mut Random) -> u64 {
        WINDOWS + random.below(WINDOW_PAGES) * PAGE
    }

    /// A page to lend, or to copy to.
    pub fn page(&self, random: &mut Random) -> u64 {
        match random.below(8) {
            0 => self.nowhere(random),
            1 => self.window(random),
            2 | 3 => self.extent(random) + random.below(16) * PAGE,
            _ => self.junk_page(random),
        }
    }

    /// Whether an argument lies wholly in memory that stays.
    pub fn holds(&self, at: u64, size: u64) -> bool {
        at >= self.slots && at <= self.end && self.end - at >= size
    }

    /// Writes the header of a frame of the logical LAN into junk; its address.
    pub fn frame(&self, random: &mut Random, to: u64, from: u64) -> u64 {
        let at = self.junk_page(random);
        store(at, (to << 16 | from >> 32).to_be());
        store(at + 8, (from << 32 | 0x88b5 << 16).to_be());
        at
    }

    /// Writes an entry of the attacker's own grant table.
    pub fn grant(&self, reference: u64, page: u64, low: u64) {
        let entry = (page / PAGE).min(u32::MAX.into()) << 32 | low;
        store(TABLE + reference % 512 * 8, entry);
    }
}

/// The handle that belongs to a window, as far as is known.
pub fn handle(window: u64) -> u64 {
    HANDLES[(window / PAGE % WINDOW_PAGES) as usize].load(Ordering::Relaxed)
}

/// Notes the handle that the hypervisor has put into an argument of GNTTABOP_map_grant_ref.
pub fn note_handle(argument: u64, window: u64) {
    // SAFETY: in real mode; the caller has put the argument into a slot.
    let word = unsafe { ((argument + 16) as *const u64).read_volatile() };
    if word >> 16 & 0xffff == 0 {
        HANDLES[(window / PAGE % WINDOW_PAGES) as usize].store(word >> 32, Ordering::Relaxed);
    }
}

fn store(at: u64, word: u64) {
    // SAFETY: in real mode; slots, junk and the grant table are nobody's objects.
    unsafe { (at as *mut u64).write_unaligned(word) };
}
