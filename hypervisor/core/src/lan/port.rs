//! A port's receiving side, as PAPR has it: buffers that the guest has posted, and its queue that
//! says which have been filled.
//!
//! Buffers of one size are a chain: each holds a link to the next where its frame will be. Chains and
//! queue lie in the guest's memory and may hold anything: what is read there is an address to be
//! checked again, no more. A guest that spoils them loses its own buffers: what does not look like a
//! link is not followed, for that would be to write a frame wherever it leads.

use super::Mac;
use crate::bus::{Bus, Descriptor};
use crate::machine::Machine;
use arrayvec::ArrayVec;
use hv_abi::common::code;
use k42_lib::BusAddr;
use k42_lib::radix::Access;

/// The most parts of a frame.
pub const PARTS: usize = 6;
/// Destination, source, type.
const HEADER: usize = 14;
/// The longest frame: 9,000 bytes, and room for what headers there are.
const LONGEST: usize = 9_216;

/// Sizes of buffers that are told apart.
const POOLS: usize = 5;
/// Bytes at the start of a buffer that are the guest's own, the correlator; the frame follows.
const CORRELATOR: usize = 8;
/// Bytes of the smallest buffer.
const SHORTEST: usize = CORRELATOR + HEADER;
/// What the upper half of a link is; the lower is the next buffer's address.
const LINK: u64 = 0x4b34_324c;
/// Bytes of the page that PAPR keeps a list of buffers in.
const LIST: usize = 4096;
/// What we use of it: the last doubleword counts the frames that were dropped.
const COUNTER: u64 = 4088;
/// Bytes of an entry of the queue: flags, the frame's offset and length, the correlator.
const ENTRY: usize = 16;
/// First flag: changes its meaning each time round, so that a guest sees what is new.
const TOGGLE: u64 = 1 << 63;
/// Second flag: there is a frame.
const VALID: u64 = 1 << 62;

/// A frame in its sender's memory. The header is a copy: what is checked is what is sent.
pub struct Outgoing {
    header: [u8; HEADER],
    rest: ArrayVec<Descriptor, PARTS>,
    length: usize,
}

impl Outgoing {
    /// The frame in these parts, up to the first that is not valid. `None` when it is too short or
    /// too long, not the domain's memory, or its first part does not hold the header.
    pub fn gather<M: Machine>(bus: &Bus<'_, M>, parts: [u64; PARTS]) -> Option<Outgoing> {
        let valid = parts.into_iter().take_while(|part| part >> 63 == 1);
        let parts = valid.map(|part| bus.named(part, 1, Access::READ));
        let mut rest = parts.collect::<Option<ArrayVec<_, PARTS>>>()?;
        let length = rest.iter().map(|part| part.length).sum();
        let first = rest.first_mut()?;
        let mut header = [0; HEADER];
        bus.read(first.at, &mut header)?;
        first.length = first.length.checked_sub(HEADER)?;
        first.at = first.at.offset(HEADER as u64);
        (length <= LONGEST).then_some(Outgoing { header, rest, length })
    }

    /// Destination and source.
    pub fn addresses(&self) -> (Mac, Mac) {
        let (destination, rest) = self.header.split_at(6);
        (Mac::in_header(destination), Mac::in_header(rest.split_at(6).0))
    }
}

/// Posted buffers of one size.
#[derive(Clone, Copy)]
struct Pool {
    size: usize,
    count: u32,
    first: BusAddr,
}

/// An open port.
pub struct Port {
    list: BusAddr,
    queue: Descriptor,
    /// Offset of the queue's next entry, and its flag.
    next: usize,
    toggle: u64,
    pools: [Pool; POOLS],
    dropped: u64,
    /// The guest wants to be told of frames.
    pub signal: bool,
}

impl Port {
    /// A port with these for list and queue; `None` when they are not the guest's memory, aligned.
    pub fn new<M: Machine>(bus: &Bus<'_, M>, list: u64, queue: u64) -> Option<Port> {
        let queue = bus.named(queue, ENTRY as u64, Access::WRITE)?;
        let list = BusAddr::new(list);
        let sound = list.is_aligned(LIST as u64) && bus.has(list, LIST, Access::WRITE);
        let pools = [Pool { size: 0, count: 0, first: list }; POOLS];
        let port = Port { list, queue, next: 0, toggle: TOGGLE, pools, dropped: 0, signal: false };
        (sound && queue.length != 0 && queue.length.is_multiple_of(ENTRY)).then_some(port)
    }

    /// Takes a buffer for a frame.
    ///
    /// # Errors
    /// H_PARAMETER for what is no buffer, H_RESOURCE when there are [`POOLS`] other sizes already.
    pub fn post<M: Machine>(&mut self, bus: &Bus<'_, M>, buffer: u64) -> Result<(), i64> {
        // The chain in it is read, too.
        let access = Access::READ | Access::WRITE;
        let buffer = bus.named(buffer, CORRELATOR as u64, access);
        let buffer = buffer.filter(|buffer| buffer.length >= SHORTEST).ok_or(code::PARAMETER)?;
        let size = buffer.length;
        let same = self.pools.iter().position(|pool| pool.size == size);
        let place = same.or_else(|| self.pools.iter().position(|pool| pool.count == 0));
        let pool = place.and_then(|place| self.pools.get_mut(place)).ok_or(code::RESOURCE)?;
        let next = buffer.at.offset(CORRELATOR as u64);
        bus.store(next, LINK << 32 | pool.first.value()).ok_or(code::PARAMETER)?;
        *pool = Pool { size, count: pool.count.saturating_add(1), first: buffer.at };
        Ok(())
    }

    /// Counts a frame that was not received.
    pub fn count_dropped<M: Machine>(&mut self, bus: &Bus<'_, M>) {
        self.dropped = self.dropped.saturating_add(1);
        let _ = bus.store(self.list.offset(COUNTER), self.dropped); // else it is not told
    }

    /// Receives a frame: copies it to the smallest buffer that holds it, and queues that. `None`
    /// when it cannot. The sender's memory may be gone by now: until all of it is copied, the
    /// buffer stays as it was posted.
    pub fn receive<M: Machine>(
        &mut self,
        bus: &Bus<'_, M>,
        frame: &Outgoing,
        sender: &Bus<'_, M>,
    ) -> Option<()> {
        let wanted = frame.length.saturating_add(CORRELATOR);
        let fitting = self.pools.iter_mut().filter(|pool| pool.count != 0 && pool.size >= wanted);
        let pool = fitting.min_by_key(|pool| pool.size)?;
        let start = pool.first.offset(CORRELATOR as u64);
        let Some(next) = bus.load(start).filter(|link| link >> 32 == LINK) else {
            pool.count = 0;
            return None;
        };
        let mut to = start.offset(HEADER as u64);
        for part in &frame.rest {
            bus.copy(to, sender, part.at, part.length)?;
            to = to.offset(part.length as u64);
        }
        bus.write(start, &frame.header)?;
        let entry = self.queue.at.offset(self.next as u64);
        bus.store(entry.offset(8), bus.load(pool.first)?)?;
        // The doubleword with the toggle comes last: the guest may be looking.
        let offset = (CORRELATOR as u64) << 32;
        bus.store(entry, self.toggle | VALID | offset | frame.length as u64)?;
        pool.count = pool.count.saturating_sub(1);
        pool.first = BusAddr::new(next & 0xffff_fff8);
        self.next = self.next.saturating_add(ENTRY);
        if self.next >= self.queue.length {
            self.next = 0;
            self.toggle ^= TOGGLE;
        }
        Some(())
    }
}
