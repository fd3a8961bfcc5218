//! The commands of ATA that a disk obeys: IDENTIFY DEVICE, reads and writes with sectors of 28 and of
//! 48 bits, flushes. Everything else it aborts, as a disk does.

use crate::{DATA, Disk, LONGEST, MOST_SECTORS, Refused, SECTOR, bytes};

/// Where the fields of a command are.
mod field {
    pub(super) const FLAGS: usize = 24;
    /// An error's bits in an answer.
    pub(super) const ERROR: usize = 25;
    pub(super) const SECTORS: usize = 26;
    /// The command; in an answer the status.
    pub(super) const COMMAND: usize = 27;
    /// Six bytes, the lowest first.
    pub(super) const FIRST: usize = 28;
}

/// A flag: the sector has 48 bits.
const EXTENDED: u8 = 0x40;

mod command {
    pub(super) const READ: u8 = 0x20;
    pub(super) const READ_EXT: u8 = 0x24;
    pub(super) const WRITE: u8 = 0x30;
    pub(super) const WRITE_EXT: u8 = 0x34;
    pub(super) const FLUSH: u8 = 0xe7;
    pub(super) const FLUSH_EXT: u8 = 0xea;
    pub(super) const IDENTIFY: u8 = 0xec;
}

/// Status: ready; an error, which is told by bits of its own.
const READY: u8 = 0x40;
const ERROR: u8 = 0x01;
/// Errors: there is no such sector; there is no such command.
const NO_SECTOR: u8 = 0x10;
const ABORTED: u8 = 0x04;

/// Obeys the command in a request; the answer, whose headers are there already, gets what it returns.
/// The answer's length.
pub(crate) fn obey(
    request: &[u8],
    disk: &mut impl Disk,
    into: &mut [u8; LONGEST],
) -> Result<usize, Refused> {
    let sent = request.get(DATA..).ok_or(Refused::Argument)?;
    let ([flags], [command]) = (bytes(request, field::FLAGS), bytes(request, field::COMMAND));
    let extended = flags & EXTENDED != 0;
    let mut first = [0; 8];
    first[..6].copy_from_slice(&bytes::<6>(request, field::FIRST));
    if !extended {
        // The rest is the device's number.
        first[3] &= 0xf;
        first[4..].fill(0);
    }
    let first = u64::from_le_bytes(first);
    let [sectors] = bytes(request, field::SECTORS);
    let length = usize::from(sectors) * SECTOR;
    let there = first.checked_add(sectors.into()).is_some_and(|end| end <= disk.sectors());
    into[field::COMMAND] = READY;
    into[field::ERROR] = 0;
    match command {
        command::READ | command::READ_EXT | command::WRITE | command::WRITE_EXT => {
            let whole = 1..=MOST_SECTORS;
            if !whole.contains(&usize::from(sectors)) || extended != (command & 4 != 0) {
                return Err(Refused::Argument);
            }
            if !there {
                return Ok(fail(into, NO_SECTOR));
            }
            if command & command::WRITE == command::WRITE {
                disk.write(first, sent.get(..length).ok_or(Refused::Argument)?);
                return Ok(DATA);
            }
            disk.read(first, &mut into[DATA..DATA + length]);
            Ok(DATA + length)
        }
        command::IDENTIFY => {
            identify(disk.sectors(), &mut into[DATA..DATA + SECTOR]);
            Ok(DATA + SECTOR)
        }
        command::FLUSH | command::FLUSH_EXT => {
            disk.flush();
            Ok(DATA)
        }
        _ => Ok(fail(into, ABORTED)),
    }
}

fn fail(into: &mut [u8; LONGEST], error: u8) -> usize {
    into[field::COMMAND] = READY | ERROR;
    into[field::ERROR] = error;
    DATA
}

/// What a disk says of itself: words of 16 bits, little-endian; texts with each word's bytes exchanged
/// (ATA/ATAPI-6, 8.15).
fn identify(sectors: u64, into: &mut [u8]) {
    /// A geometry that nobody uses: heads, and sectors of a track.
    const HEADS: u16 = 255;
    const TRACK: u16 = 63;
    /// Commands that there are and are on: flushes, and all with 48 bits (words 83 and 86).
    const COMMANDS: u16 = 1 << 14 | 1 << 13 | 1 << 12 | 1 << 10;
    into.fill(0);
    let mut set = |word: usize, value: u16| {
        into[word * 2..word * 2 + 2].copy_from_slice(&value.to_le_bytes());
    };
    let few = u32::try_from(sectors).unwrap_or(u32::MAX).min(0x0fff_ffff);
    set(1, (sectors / (u64::from(HEADS) * u64::from(TRACK))).min(16_383) as u16);
    set(3, HEADS);
    set(6, TRACK);
    set(49, 1 << 9); // sectors are counted through
    set(53, 1 << 1);
    set(60, few as u16);
    set(61, (few >> 16) as u16);
    set(80, 1 << 6); // ATA/ATAPI-6
    set(83, COMMANDS);
    set(84, 1 << 14);
    set(86, COMMANDS & 0x3fff);
    set(87, 1 << 14);
    for n in 0..4 {
        set(100 + n, (sectors >> (16 * n)) as u16);
    }
    for (word, pair) in (27..47).zip(MODEL.chunks_exact(2)) {
        set(word, u16::from_be_bytes([pair[0], pair[1]]));
    }
}

/// 40 letters.
const MODEL: &[u8; 40] = b"K42 disk                                ";
