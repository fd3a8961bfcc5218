//! ATA over Ethernet (AoE, revision 11 of its specification; commands of ATA/ATAPI-6), a target's side:
//! what a disk answers to a frame. `domains/storage` is the program around it.
//!
//! [`Request::parse`] takes a frame apart and [`Request::answer`] has a [`Disk`] obey it ([`ata`]) and
//! writes the frame that goes back. A frame is an allegation: each length and each sector is checked
//! before the disk is asked, and what makes no sense gets an error for an answer, or none. What is
//! served is docs/interfaces.md §7.
#![no_std]
#![forbid(unsafe_code)]

pub mod ata;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// The most sectors in a frame: what is left of a jumbo frame's 9,000 bytes, in whole pages.
pub const MOST_SECTORS: usize = 16;
/// Bytes before a command's data: the headers of Ethernet, AoE, ATA.
const DATA: usize = 36;
/// The longest answer.
pub const LONGEST: usize = DATA + MOST_SECTORS * SECTOR;
/// The shelf that every disk is on.
const SHELF: u16 = 0;
/// How many requests to a disk may be under way, which a client is told.
pub const UNDER_WAY: u16 = 16;

/// Where the fields of a frame are.
mod field {
    pub(crate) const SOURCE: usize = 6;
    pub(crate) const TYPE: usize = 12;
    /// Version in the high four bits, flags in the low.
    pub(crate) const VERSION: usize = 14;
    pub(crate) const ERROR: usize = 15;
    pub(crate) const SHELF: usize = 16;
    pub(crate) const SLOT: usize = 18;
    pub(crate) const COMMAND: usize = 19;
    /// After the tag, which is the client's own: a command's arguments.
    pub(crate) const ARGUMENTS: usize = 24;
    /// How many sectors a configuration's answer says that a frame may have.
    pub(crate) const SECTORS: usize = 28;
    pub(crate) const CONFIGURE: usize = 29;
    pub(crate) const TEXT_LENGTH: usize = 30;
    pub(crate) const TEXT: usize = 32;
}

const ETHERNET_TYPE: [u8; 2] = [0x88, 0xa2];
const VERSION: u8 = 1;
const RESPONSE: u8 = 8;
const FAILED: u8 = 4;
/// Every shelf, and every slot of it.
const ALL_SHELVES: u16 = 0xffff;
const ALL_SLOTS: u8 = 0xff;

/// Commands of AoE.
mod command {
    pub(crate) const ATA: u8 = 0;
    pub(crate) const CONFIGURE: u8 = 1;
}

/// Why a request is not obeyed: the error in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refused {
    /// There is no such command.
    Command = 1,
    /// A length or an argument is wrong.
    Argument = 2,
    /// Another version of the protocol.
    Version = 5,
}

/// What a disk does. Callers have checked that the sectors are there.
pub trait Disk {
    /// How many sectors there are.
    fn sectors(&self) -> u64;
    /// Copies from the sectors that begin with `first`.
    fn read(&mut self, first: u64, into: &mut [u8]);
    /// Copies to them.
    fn write(&mut self, first: u64, from: &[u8]);
    /// Returns when all that was written will be kept.
    fn flush(&mut self);
}

/// A frame that asks something.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a>(&'a [u8]);

impl<'a> Request<'a> {
    /// The request in a frame; `None` when it is none: another protocol, an answer, too short.
    pub fn parse(frame: &'a [u8]) -> Option<Request<'a>> {
        let request = frame.get(field::TYPE..field::VERSION)? == ETHERNET_TYPE
            && frame.len() >= field::ARGUMENTS
            && frame.get(field::VERSION)? & RESPONSE == 0;
        request.then_some(Request(frame))
    }

    /// Who asks.
    pub fn client(&self) -> Mac {
        bytes(self.0, field::SOURCE)
    }

    /// Whether it asks the disk in this slot, alone or with others.
    pub fn asks(&self, slot: u8) -> bool {
        let shelf = u16::from_be_bytes(bytes(self.0, field::SHELF));
        let [of] = bytes(self.0, field::SLOT);
        [SHELF, ALL_SHELVES].contains(&shelf) && [slot, ALL_SLOTS].contains(&of)
    }

    /// Has the disk in a slot obey and writes the answer, from the address `own`; its length, or 0
    /// where there is none.
    pub fn answer(
        &self,
        disk: &mut impl Disk,
        slot: u8,
        own: Mac,
        into: &mut [u8; LONGEST],
    ) -> usize {
        let ([version], [command]) = (bytes(self.0, field::VERSION), bytes(self.0, field::COMMAND));
        // The tag and, of a short request, as much of the arguments as there is.
        let head = self.0.len().min(DATA);
        into[..DATA].fill(0);
        into[..head].copy_from_slice(&self.0[..head]);
        set_heads(into, self.client(), own, slot);
        let done = match command {
            _ if version >> 4 != VERSION => Err(Refused::Version),
            command::ATA => ata::obey(self.0, disk, into),
            command::CONFIGURE => return configure(self.0, into),
            _ => Err(Refused::Command),
        };
        done.unwrap_or_else(|why| refuse(into, why))
    }
}

/// What tells a client of its disk before it asks: the answer to a question for its configuration.
pub fn announcement(client: Mac, slot: u8, own: Mac, into: &mut [u8; LONGEST]) -> usize {
    into[..DATA].fill(0);
    into[field::COMMAND] = command::CONFIGURE;
    set_heads(into, client, own, slot);
    describe(into)
}

/// The headers of an answer, but for its command and tag.
fn set_heads(into: &mut [u8; LONGEST], client: Mac, own: Mac, slot: u8) {
    into[..field::SOURCE].copy_from_slice(&client);
    into[field::SOURCE..field::TYPE].copy_from_slice(&own);
    into[field::TYPE..field::VERSION].copy_from_slice(&ETHERNET_TYPE);
    into[field::VERSION] = VERSION << 4 | RESPONSE;
    into[field::ERROR] = 0;
    into[field::SHELF..field::SLOT].copy_from_slice(&SHELF.to_be_bytes());
    into[field::SLOT] = slot;
}

fn refuse(into: &mut [u8; LONGEST], why: Refused) -> usize {
    into[field::VERSION] |= FAILED;
    into[field::ERROR] = why as u8;
    field::ARGUMENTS
}

/// A disk's configuration. Its text, which a client could set, is empty for good: that a text is to be
/// compared with is another's, or is it if it is empty, too.
fn configure(request: &[u8], into: &mut [u8; LONGEST]) -> usize {
    const READ: u8 = 0;
    const IS: u8 = 1;
    const BEGINS_WITH: u8 = 2;
    let Some(text) = request.get(field::TEXT..) else { return refuse(into, Refused::Argument) };
    let length = usize::from(u16::from_be_bytes(bytes(request, field::TEXT_LENGTH)));
    if length > text.len() {
        return refuse(into, Refused::Argument);
    }
    match request[field::CONFIGURE] & 0xf {
        READ => describe(into),
        IS | BEGINS_WITH if length == 0 => describe(into),
        IS | BEGINS_WITH => 0,
        _ => refuse(into, Refused::Command),
    }
}

fn describe(into: &mut [u8; LONGEST]) -> usize {
    into[field::ARGUMENTS..field::TEXT].fill(0);
    into[field::ARGUMENTS..field::ARGUMENTS + 2].copy_from_slice(&UNDER_WAY.to_be_bytes());
    into[field::SECTORS] = MOST_SECTORS as u8;
    into[field::CONFIGURE] = VERSION << 4;
    field::TEXT
}

/// The bytes of a field, zeros where the frame has ended.
fn bytes<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    frame.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}
