//! A disk, by ATA over Ethernet from a storage domain.
//!
//! `test=disk domain=N seed=S` finds its disk, checks that it is alone there and has an end, and then
//! with `do=write` writes a pattern all over it and waits for its machine's end, with `do=crash` writes
//! the same and crashes, with `do=read` reads the pattern. `test=diskreads` counts what a read takes.

use crate::count::instructions;
use crate::lan::{Port, address, mac};
use crate::{Options, Verdict, say};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use hv_abi::common::code;
use kernel_arch::{Boot, hypercall, registers};

const BROADCAST: u64 = 0xffff_ffff_ffff;
const SECTOR: usize = 512;
/// Sectors of a request: a jumbo frame's.
const RUN: usize = 16;
/// Where a frame has the headers' ends: of AoE, and of ATA.
const HEAD: usize = 24;
const DATA: usize = 36;
const READ_EXT: u8 = 0x24;
const WRITE_EXT: u8 = 0x34;
const FLUSH_EXT: u8 = 0xea;
const IDENTIFY: u8 = 0xec;
/// A command with 48 bits of address has done well, or there are no such sectors.
const EXTENDED: u8 = 0x40;
const GOOD: u8 = 0x40;
const NO_SECTOR: [u8; 2] = [0x10, 0x41];

/// A client with one disk, in slot 0.
struct Client {
    port: Port,
    own: u64,
    server: u64,
    tag: u32,
}

impl Client {
    /// Finds who serves the disk.
    fn find(options: Options) -> Result<Client, String> {
        let domain = options.number("domain").unwrap_or(1);
        let port = Port::open(domain)?;
        let mut client = Client { port, own: mac(domain), server: BROADCAST, tag: 0 };
        let configured = client.ask(1, 0xffff, 0xff, &[0, 0, 0, 0, 0, 0x10, 0, 0])?;
        if configured.len() != 32 || configured[16..19] != [0, 0, 0] {
            return Err(format!("its disk is {:x?}", &configured[14..]));
        }
        client.server = address(&configured, 6);
        Ok(client)
    }

    /// Asks until it is answered; the answer.
    fn ask(&mut self, command: u8, shelf: u16, slot: u8, rest: &[u8]) -> Result<Vec<u8>, String> {
        self.tag += 1;
        let mut frame = Vec::with_capacity(HEAD + rest.len());
        frame.extend_from_slice(&self.server.to_be_bytes()[2..]);
        frame.extend_from_slice(&self.own.to_be_bytes()[2..]);
        frame.extend_from_slice(&[0x88, 0xa2, 0x10, 0]);
        frame.extend_from_slice(&shelf.to_be_bytes());
        frame.extend_from_slice(&[slot, command]);
        frame.extend_from_slice(&self.tag.to_be_bytes());
        frame.extend_from_slice(rest);
        loop {
            let sent = self.port.send(&frame);
            if sent != code::SUCCESS {
                return Err(format!("a request is not sent: {sent}"));
            }
            let mut next = self.port.wait()?;
            while let Some(answer) = next {
                // Others' questions to all are heard, too.
                let answers = answer.len() >= HEAD && answer[14] & 8 != 0;
                if answers && answer[20..HEAD] == self.tag.to_be_bytes() {
                    return Ok(answer);
                }
                next = self.port.receive()?;
            }
        }
    }

    /// A command of ATA; its error, its status, and the data that it returns.
    fn ata(
        &mut self,
        command: u8,
        first: u64,
        sectors: usize,
        data: &[u8],
    ) -> Result<([u8; 2], Vec<u8>), String> {
        let mut rest = Vec::with_capacity(DATA - HEAD + data.len());
        rest.extend_from_slice(&[EXTENDED, 0, sectors as u8, command]);
        rest.extend_from_slice(&first.to_le_bytes()[..6]);
        rest.extend_from_slice(&[0, 0]);
        rest.extend_from_slice(data);
        let answer = self.ask(0, 0, 0, &rest)?;
        if answer.len() < DATA || answer[14] != 0x18 {
            return Err(format!("{command:#x} is answered {:x?}", &answer[14..]));
        }
        Ok(([answer[25], answer[27]], answer[DATA..].to_vec()))
    }

    /// How many sectors the disk has.
    fn sectors(&mut self) -> Result<u64, String> {
        let (_, words) = self.ata(IDENTIFY, 0, 1, &[])?;
        let count = words.get(200..208).and_then(|bytes| bytes.try_into().ok());
        count.map(u64::from_le_bytes).ok_or(String::from("it does not say how large it is"))
    }
}

/// What is written from sector `first` on.
fn pattern(seed: u64, first: u64) -> Vec<u8> {
    let start = first * SECTOR as u64;
    (start..start + (RUN * SECTOR) as u64)
        .map(|at| (at / SECTOR as u64 + at + seed) as u8)
        .collect()
}

pub fn disk(_: Boot, options: Options) -> Verdict {
    let mut client = Client::find(options)?;
    let (sectors, seed) = (client.sectors()?, options.number("seed").unwrap_or(0));
    if Some(sectors) != options.number("sectors") {
        return Err(format!("it has {sectors} sectors"));
    }
    for (first, count) in [(sectors - 1, 2), (sectors, 1), ((1 << 48) - 1, 1)] {
        let (status, _) = client.ata(READ_EXT, first, count, &[])?;
        if status != NO_SECTOR {
            return Err(format!("{count} sectors from {first} are read: {status:x?}"));
        }
    }
    let writes = options.text("do") != Some("read");
    for first in (0..sectors).step_by(RUN) {
        let data = pattern(seed, first);
        let ([_, status], there) = if writes {
            client.ata(WRITE_EXT, first, RUN, &data)?
        } else {
            client.ata(READ_EXT, first, RUN, &[])?
        };
        if status != GOOD || !writes && there != data {
            return Err(format!("sector {first}: status {status:#x}, or other data"));
        }
    }
    if writes {
        client.ata(FLUSH_EXT, 0, 0, &[])?;
        say!("written");
    }
    match options.text("do") {
        Some("crash") => hypercall::crash(),
        Some("write") => loop {
            hypercall::block();
        },
        _ => Ok(()),
    }
}

/// Reads before and in a measurement, of a page each.
const WARM_UP: u64 = 20;
const READS: u64 = 200;

/// Says how many instructions a read takes, from its request to its data, all domains together.
pub fn reads(_: Boot, options: Options) -> Verdict {
    let mut client = Client::find(options)?;
    for (name, sectors) in [("disk-read-4k", 8), ("disk-read-8k", 16)] {
        let mut start = 0;
        for n in 0..WARM_UP + READS {
            if n == WARM_UP {
                start = registers::timebase();
            }
            client.ata(READ_EXT, n, sectors, &[])?;
        }
        say!("BENCH {name} {} insns", instructions(registers::timebase() - start) / READS);
    }
    Ok(())
}
