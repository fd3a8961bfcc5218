//! Ports of the logical LAN: what one domain sends, the others get.
//!
//! `test=lanping` (domain 2) asks stations and checks their answers; `test=lanstation` (domains 1
//! and 3) answers what it hears, until it is told to end. `test=lansource` (domain 2) sends frames to
//! `test=lansink` (domain 1), which counts what that takes. `test=laninternet` asks a Linux, and has an
//! answer of its kernel's. All sleep until an event tells of a frame.

use crate::count::instructions;
use crate::events::{PENDING, SHARED, map_shared_page, operation, take};
use crate::{Options, Verdict, say};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use hv_abi::common::{LAN_UNIT, code, stub};
use kernel_arch::{Boot, guest_address, heap, hypercall, hypercall::Hypervisor, registers};
use xen_sys::{event_channel as op, xen};

/// The port pinged from, and those of the stations.
const PING: u64 = 2;
const ECHO: u64 = 1;
const WITNESS: u64 = 3;
/// An address of nobody's.
const NOBODY: u64 = 0x0200_0000_0099;
const BROADCAST: u64 = 0xffff_ffff_ffff;

/// Entries of the receive queue, buffers, and their size: for frames of 9,000 bytes.
const ENTRIES: usize = 16;
const BUFFER: usize = 9_240;
/// Ticks after which a question is asked again: a station may not have started yet.
const PATIENCE: u64 = 51_200_000;

/// What a frame is for: the first byte after its header.
const QUESTION: u8 = b'?';
const ANSWER: u8 = b'!';
const STRAY: u8 = b'F';
const END: u8 = b'E';
/// Bytes before what else it carries: header, purpose, number.
const HEAD: usize = 19;

/// The address that a domain's port is given.
pub const fn mac(domain: u64) -> u64 {
    0x524b_3432_0000 | domain
}

/// A frame of `length` bytes in all.
fn frame(to: u64, from: u64, purpose: u8, number: u32, length: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(length);
    frame.extend_from_slice(&to.to_be_bytes()[2..]);
    frame.extend_from_slice(&from.to_be_bytes()[2..]);
    frame.extend_from_slice(&[0x88, 0xb5, purpose]);
    frame.extend_from_slice(&number.to_be_bytes());
    frame.extend((HEAD..length).map(|n| n as u8 ^ number as u8));
    frame
}

/// The address at this offset of a frame.
pub fn address(frame: &[u8], offset: usize) -> u64 {
    frame[offset..offset + 6].iter().fold(0, |mac, byte| mac << 8 | u64::from(*byte))
}

fn part(bytes: &[u8]) -> u64 {
    1 << 63 | (bytes.len() as u64) << 32 | guest_address(bytes.as_ptr()).value()
}

/// The domain's port, open.
pub struct Port {
    own: u64,
    queue: *mut [u64; 2],
    next: usize,
    toggle: u64,
}

impl Port {
    pub fn open(domain: u64) -> Result<Port, String> {
        map_shared_page()?;
        let (result, _) = operation(op::EVTCHNOP_BIND_VIRQ, [xen::VIRQ_ARCH_0, 0, 0]);
        let memory = |bytes| heap::take(bytes, 4096).ok_or(String::from("no memory"));
        let list = memory(4096)?;
        let queue = memory(ENTRIES as u64 * 16)?.cast::<[u64; 2]>();
        let list = guest_address(list).value();
        let place = 1 << 63 | (ENTRIES as u64 * 16) << 32 | guest_address(queue).value();
        let own = mac(domain);
        let opened = stub::h_register_logical_lan(&Hypervisor, LAN_UNIT, list, place, list, own)[0];
        let signal = stub::h_vio_signal(&Hypervisor, LAN_UNIT, 1)[0];
        for _ in 0..ENTRIES - 1 {
            Port::post(memory(BUFFER as u64)?)?;
        }
        match (result, opened, signal) {
            (0, 0, 0) => Ok(Port { own, queue, next: 0, toggle: 1 }),
            errors => Err(format!("the port does not open: {errors:?}")),
        }
    }

    /// Posts a buffer, with its address for a correlator.
    fn post(buffer: *mut u8) -> Verdict {
        // SAFETY: a buffer is aligned, and nobody refers to it.
        unsafe { buffer.cast::<u64>().write_volatile(buffer as u64) };
        let buffer = 1 << 63 | (BUFFER as u64) << 32 | guest_address(buffer).value();
        match stub::h_add_logical_lan_buffer(&Hypervisor, LAN_UNIT, buffer)[0] {
            0 => Ok(()),
            error => Err(format!("a buffer is not taken: {}", error.cast_signed())),
        }
    }

    /// Sends a frame; the status.
    pub fn send(&self, frame: &[u8]) -> i64 {
        let send = stub::h_send_logical_lan;
        send(&Hypervisor, LAN_UNIT, part(frame), 0, 0, 0, 0, 0, 0)[0].cast_signed()
    }

    /// The next frame, if there is one.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>, String> {
        // SAFETY: the queue's entries are only the hypervisor's to write.
        let [word, correlator] = unsafe { self.queue.wrapping_add(self.next).read_volatile() };
        let word = u64::from_be(word);
        if word >> 63 != self.toggle {
            return Ok(None);
        }
        let buffer = correlator as *mut u8;
        let length = (word & 0xffff_ffff) as usize;
        if word >> 32 & 0x7fff_ffff != 0x4000_0008 || length + 8 > BUFFER {
            return Err(format!("an entry of the queue is {word:#x}"));
        }
        // SAFETY: the hypervisor has filled the buffer and is done with it.
        let frame = unsafe { core::slice::from_raw_parts(buffer.wrapping_add(8), length) }.to_vec();
        Port::post(buffer)?;
        self.next = (self.next + 1) % ENTRIES;
        self.toggle ^= u64::from(self.next == 0);
        Ok(Some(frame))
    }

    /// Waits for a frame until it has one, or for [`PATIENCE`].
    pub fn wait(&mut self) -> Result<Option<Vec<u8>>, String> {
        // SAFETY: interrupts are off: all it does is end a sleep.
        unsafe { registers::set_decrementer(PATIENCE) };
        // First what says that something is pending, then what is: a frame in between shows.
        take(SHARED);
        take(SHARED + 8);
        if take(PENDING) == 0 {
            hypercall::block();
        }
        self.receive()
    }

    /// Sends a frame until `from` answers it, with all that the frame carries.
    fn ask(&mut self, question: &[u8], from: u64) -> Verdict {
        let intact = self.ask_until(question, |answer| {
            let ours = address(answer, 6) == from && answer[15..HEAD] == question[15..HEAD];
            ours.then(|| answer[14] == ANSWER && answer[HEAD..] == question[HEAD..])
        })?;
        if intact { Ok(()) } else { Err(String::from("another answer")) }
    }

    /// Sends a frame until one comes that is an answer; what that says.
    fn ask_until<T>(
        &mut self,
        question: &[u8],
        says: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, String> {
        loop {
            let sent = self.send(question);
            if sent != code::SUCCESS {
                return Err(format!("a frame is not sent: {sent}"));
            }
            let mut next = self.wait()?;
            while let Some(answer) = next {
                if let Some(said) = says(&answer) {
                    return Ok(said);
                }
                next = self.receive()?;
            }
        }
    }
}

/// Answers all it hears; in the end it must have heard so many questions that were asked of it, and
/// no frame that is not for it.
pub fn station(_: Boot, options: Options) -> Verdict {
    let number = |key| options.number(key).unwrap_or(0);
    let mut port = Port::open(number("domain"))?;
    let (mut last, mut questions, mut strays) = (0, 0, 0);
    say!("listening");
    loop {
        let mut next = port.wait()?;
        while let Some(mut frame) = next {
            let (to, from, purpose) = (address(&frame, 0), address(&frame, 6), frame[14]);
            let count = u32::from_be_bytes([frame[15], frame[16], frame[17], frame[18]]);
            // A question that is asked again counts once.
            if core::mem::replace(&mut last, count) != count {
                questions += u64::from(purpose == QUESTION && to != BROADCAST);
                strays += u64::from(to != port.own && to != BROADCAST);
            }
            frame[..6].copy_from_slice(&from.to_be_bytes()[2..]);
            frame[6..12].copy_from_slice(&port.own.to_be_bytes()[2..]);
            frame[14] = ANSWER;
            port.send(&frame);
            if purpose == END {
                let heard = (questions, strays);
                let wanted = (number("questions"), 0);
                return if heard == wanted { Ok(()) } else { Err(format!("heard {heard:?}")) };
            }
            next = port.receive()?;
        }
    }
}

/// Asks the stations: first who is there, then the one alone, then all by frames to nobody.
pub fn ping(_: Boot, options: Options) -> Verdict {
    let mut port = Port::open(PING)?;
    let rounds = options.number("rounds").unwrap_or(100) as u32;
    for (count, station) in [(1, ECHO), (2, WITNESS)] {
        port.ask(&frame(BROADCAST, port.own, QUESTION, count, 64), mac(station))?;
    }
    for count in 3..3 + rounds {
        let length = if count % 10 == 0 { 9_000 } else { HEAD + (count as usize * 97) % 1_495 };
        port.ask(&frame(mac(ECHO), port.own, QUESTION, count, length), mac(ECHO))?;
    }
    for count in 3 + rounds..6 + rounds {
        port.send(&frame(NOBODY, port.own, STRAY, count, 64));
    }
    let forged = port.send(&frame(mac(ECHO), mac(WITNESS), QUESTION, 0, 64));
    if forged != code::DROPPED {
        return Err(format!("a frame with another's address: {forged}"));
    }
    for station in [ECHO, WITNESS] {
        port.ask(&frame(mac(station), port.own, END, 6 + rounds, 64), mac(station))?;
    }
    Ok(())
}

/// The internet addresses of this station and of the Linux that it asks.
const OWN_INTERNET: [u8; 4] = [10, 0, 0, 9];
const LINUX_INTERNET: [u8; 4] = [10, 0, 0, 1];
/// Bytes of an Ethernet, an internet and an ICMP header.
const ETHERNET: usize = 14;
const INTERNET: usize = 20;
const ICMP: usize = 8;
/// What a ping carries: as much as a frame does.
const CARRIED: usize = 1_500 - INTERNET - ICMP;

/// The sum by which internet headers are checked (RFC 1071), in its place.
fn check(bytes: &mut [u8], place: usize) {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = !(((sum >> 16) + sum) as u16);
    bytes[place..place + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Asks which station a Linux is (ARP), then pings it (ICMP) and has all back that the ping carried.
pub fn internet(_: Boot, options: Options) -> Verdict {
    let mut port = Port::open(options.number("domain").unwrap_or(0))?;
    let ethernet = |to: u64, from: u64, kind: u16| {
        let [to, from] = [to, from].map(u64::to_be_bytes);
        [&to[2..], &from[2..], &kind.to_be_bytes()].concat()
    };
    let own = port.own.to_be_bytes();
    let question = [0, 1, 8, 0, 6, 4, 0, 1];
    let who =
        [&question[..], &own[2..], &OWN_INTERNET, &[0; 6], &LINUX_INTERNET, &[0; 18]].concat();
    let who = [ethernet(BROADCAST, port.own, 0x806), who].concat();
    let linux = port.ask_until(&who, |answer| {
        let ours = answer[12..14] == [8, 6] && answer[20..22] == [0, 2];
        (ours && answer[28..32] == LINUX_INTERNET).then(|| address(answer, 22))
    })?;
    let length = ((INTERNET + ICMP + CARRIED) as u16).to_be_bytes();
    let mut head = [&[0x45, 0][..], &length, &[0, 0, 0, 0, 64, 1, 0, 0]].concat();
    head.extend([OWN_INTERNET, LINUX_INTERNET].concat());
    check(&mut head, 10);
    let mut echo = alloc::vec![8, 0, 0, 0, 0, 9, 0, 1];
    echo.extend((0..CARRIED).map(|n| n as u8));
    check(&mut echo, 2);
    let ping = [ethernet(linux, port.own, 0x800), head, echo].concat();
    let carried = ETHERNET + INTERNET + ICMP;
    let intact = port.ask_until(&ping, |answer| {
        let ours =
            answer[12..14] == [8, 0] && answer.get(23) == Some(&1) && answer.get(34) == Some(&0);
        ours.then(|| answer.get(carried..) == ping.get(carried..))
    })?;
    if !intact {
        return Err(String::from("the answer has other bytes"));
    }
    say!("answered by {linux:x}");
    Ok(())
}

/// Frames before and in a measurement.
const WARM_UP: u64 = 20;
const FRAMES: u64 = 200;
/// Bytes of each: 1,500 after the header.
const LENGTH: usize = 1_514;

/// Sends frames with the time at which they were sent, each when the last has been answered.
pub fn source(_: Boot, _: Options) -> Verdict {
    let mut port = Port::open(PING)?;
    port.ask(&frame(BROADCAST, port.own, QUESTION, 0, 64), mac(ECHO))?;
    let mut timed = frame(mac(ECHO), port.own, QUESTION, 1, LENGTH);
    for _ in 0..WARM_UP + FRAMES {
        let now = registers::timebase();
        timed[HEAD..HEAD + 8].copy_from_slice(&now.to_be_bytes());
        port.send(&timed);
        while port.wait()?.is_none() {}
        while port.receive()?.is_some() {}
    }
    Ok(())
}

/// Says how many instructions it is from a frame's sending to when its receiver is awake.
pub fn sink(_: Boot, _: Options) -> Verdict {
    let mut port = Port::open(ECHO)?;
    let (mut count, mut ticks) = (0, 0);
    while count < WARM_UP + FRAMES {
        // SAFETY: interrupts are off: all it does is end a sleep.
        unsafe { registers::set_decrementer(PATIENCE) };
        take(SHARED);
        take(SHARED + 8);
        if take(PENDING) == 0 {
            hypercall::block();
        }
        let now = registers::timebase();
        let Some(received) = port.receive()? else { continue };
        if received.len() == LENGTH {
            let sent = received[HEAD..HEAD + 8].iter().fold(0, |t, byte| t << 8 | u64::from(*byte));
            count += 1;
            ticks += if count > WARM_UP { now - sent } else { 0 };
        }
        port.send(&frame(mac(PING), port.own, ANSWER, 0, 64));
    }
    say!("BENCH lan-frame-1500 {} insns", instructions(ticks) / FRAMES);
    Ok(())
}
