//! The domain's port of the logical LAN: its buffers, the queue of what has come, and the event that
//! tells of it (docs/interfaces.md §3).

use alloc::format;
use alloc::string::String;
use aoe::Mac;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::common::{LAN_UNIT, stub};
use hv_abi::xen::stub as xen_stub;
use kernel_arch::{guest_address, heap, hypercall, hypercall::Hypervisor, registers};
use xen_sys::{event_channel, memory, xen};

/// Where the page is put that the hypervisor shares with this domain: beyond all memory, below the
/// disks.
const SHARED: u64 = 1 << 39;
/// Where the words of pending events are in it.
const PENDING: u64 = 48;
const PAGE: u64 = 4096;
/// Bytes of a buffer: eight that are our own, and the longest frame that there is.
const BUFFER: usize = 8 + 9216;
/// The most that a sleep without an event takes: about four seconds.
const PATIENCE: u64 = 0x7fff_ffff;
const VALID: u64 = 1 << 63;

/// The open port.
pub(crate) struct Port {
    queue: *const [u64; 2],
    entries: usize,
    next: usize,
    /// What the toggle bit is of an entry that is new.
    toggle: u64,
}

/// A buffer with a frame, which is ours until it is posted again.
pub(crate) struct Received {
    buffer: *mut u8,
    length: usize,
}

impl Received {
    /// The frame.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the hypervisor has filled so much of the buffer and is done with it.
        unsafe { core::slice::from_raw_parts(self.buffer.wrapping_add(8), self.length) }
    }
}

impl Port {
    /// Opens the port with this address, with room for so many frames that wait.
    pub(crate) fn open(own: Mac, frames: usize) -> Result<Port, String> {
        let space = u64::from(memory::XENMAPSPACE_SHARED_INFO);
        let place = [u64::from(xen::DOMID_SELF) | space << 32, 0, SHARED / PAGE];
        let mut bound = [xen::VIRQ_ARCH_0, 0, 0]; // the last word is for its port
        core::hint::black_box((&place, &mut bound));
        let (map, bind) = (memory::XENMEM_ADD_TO_PHYSMAP, event_channel::EVTCHNOP_BIND_VIRQ);
        let (at, port) = (guest_address(&raw const place), guest_address(&raw const bound));
        let memory = |bytes| heap::take(bytes, PAGE).ok_or("it has too little memory");
        // One more, so that a queue that is full is not one that is empty.
        let entries = frames + 1;
        let bytes = entries as u64 * 16;
        let (lists, queue) = (memory(PAGE)?, memory(bytes)?);
        let list = guest_address(lists).value();
        let place = VALID | bytes << 32 | guest_address(queue).value();
        let mac = own.iter().fold(0, |mac, byte| mac << 8 | u64::from(*byte));
        let results = [
            xen_stub::memory_op(&Hypervisor, map.into(), at)[0],
            xen_stub::event_channel_op(&Hypervisor, bind.into(), port)[0],
            stub::h_register_logical_lan(&Hypervisor, LAN_UNIT, list, place, list, mac)[0],
            stub::h_vio_signal(&Hypervisor, LAN_UNIT, 1)[0],
        ];
        if results != [0; 4] {
            let results = results.map(u64::cast_signed);
            return Err(format!(
                "its port does not open: {results:?}; it needs the rights \"events\" and \"lan\""
            ));
        }
        let port = Port { queue: queue.cast(), entries, next: 0, toggle: 1 };
        for _ in 0..frames {
            port.post(Received { buffer: memory(BUFFER as u64)?, length: 0 })?;
        }
        Ok(port)
    }

    /// Gives a buffer to the hypervisor, with its address for what is our own.
    pub(crate) fn post(&self, received: Received) -> Result<(), String> {
        let buffer = received.buffer;
        // SAFETY: the buffer is aligned, and nobody refers to it any more.
        unsafe { buffer.cast::<u64>().write_volatile(buffer as u64) };
        let part = VALID | (BUFFER as u64) << 32 | guest_address(buffer).value();
        match stub::h_add_logical_lan_buffer(&Hypervisor, LAN_UNIT, part)[0] {
            0 => Ok(()),
            error => Err(format!("a buffer is not taken: {}", error.cast_signed())),
        }
    }

    /// Sends a frame to one station. What is not delivered is lost.
    pub(crate) fn send(&self, frame: &[u8]) {
        let frame = core::hint::black_box(frame);
        let part = VALID | (frame.len() as u64) << 32 | guest_address(frame.as_ptr()).value();
        stub::h_send_logical_lan(&Hypervisor, LAN_UNIT, part, 0, 0, 0, 0, 0, 0);
    }

    /// The next frame, if one has come.
    pub(crate) fn receive(&mut self) -> Result<Option<Received>, String> {
        /// Valid, and the frame behind eight bytes.
        const GOOD: u64 = 0x4000_0008;
        // SAFETY: an entry of the queue, which only the hypervisor writes to.
        let [word, own] = unsafe { self.queue.wrapping_add(self.next).read_volatile() };
        let word = u64::from_be(word);
        if word >> 63 != self.toggle {
            return Ok(None);
        }
        let length = (word & 0xffff_ffff) as usize;
        if word >> 32 & 0x7fff_ffff != GOOD || length + 8 > BUFFER {
            return Err(format!("an entry of the queue is {word:#x}"));
        }
        self.next = (self.next + 1) % self.entries;
        self.toggle ^= u64::from(self.next == 0);
        Ok(Some(Received { buffer: own as *mut u8, length }))
    }

    /// Sleeps until something has come.
    pub(crate) fn wait(&self) {
        // SAFETY: `open` has mapped the page, which no Rust object lies in; it is used in real mode.
        let word = |at: u64| unsafe { AtomicU64::from_ptr((SHARED + at) as *mut u64) };
        // SAFETY: interrupts are off: all it does is end a sleep.
        unsafe { registers::set_decrementer(PATIENCE) };
        // First what says that something is pending, then what is: a frame in between shows.
        word(0).store(0, Ordering::SeqCst);
        word(8).store(0, Ordering::SeqCst);
        if word(PENDING).swap(0, Ordering::SeqCst) == 0 {
            hypercall::block();
        }
    }
}
