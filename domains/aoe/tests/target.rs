//! What a disk answers: as a model says, whatever it is asked, and never beyond its end.
#![allow(missing_docs)]

use aoe::{Disk, LONGEST, MOST_SECTORS, Mac, Request, SECTOR, announcement};
use proptest::prelude::*;

const CLIENT: Mac = [0x52, 0x4b, 0x34, 0x32, 0, 7];
const OWN: Mac = [0x52, 0x4b, 0x34, 0x32, 0, 1];
const SECTORS: u64 = 64;

/// A disk in memory, which panics when it is asked for what it has not.
#[derive(Clone, PartialEq)]
struct Memory {
    bytes: Vec<u8>,
    flushes: u32,
}

impl Memory {
    fn new() -> Memory {
        let bytes = (0..SECTORS as usize * SECTOR).map(|n| (n / 7) as u8).collect();
        Memory { bytes, flushes: 0 }
    }
}

impl Disk for Memory {
    fn sectors(&self) -> u64 {
        SECTORS
    }
    fn read(&mut self, first: u64, into: &mut [u8]) {
        let start = first as usize * SECTOR;
        into.copy_from_slice(&self.bytes[start..start + into.len()]);
    }
    fn write(&mut self, first: u64, from: &[u8]) {
        let start = first as usize * SECTOR;
        self.bytes[start..start + from.len()].copy_from_slice(from);
    }
    fn flush(&mut self) {
        self.flushes += 1;
    }
}

fn frame(shelf: u16, slot: u8, command: u8, rest: &[u8]) -> Vec<u8> {
    let mut frame = [OWN, CLIENT].concat();
    frame.extend([0x88, 0xa2, 0x10, 0]);
    frame.extend(shelf.to_be_bytes());
    frame.extend([slot, command, 0xde, 0xad, 0xbe, 0xef]);
    frame.extend(rest);
    frame
}

fn ata(flags: u8, sectors: u8, command: u8, first: u64, data: &[u8]) -> Vec<u8> {
    let mut rest = vec![flags, 0, sectors, command];
    rest.extend(&first.to_le_bytes()[..6]);
    rest.extend([0, 0]);
    rest.extend(data);
    frame(0, 3, 0, &rest)
}

/// The answer of the disk in slot 3.
fn ask(disk: &mut Memory, frame: &[u8]) -> Option<Vec<u8>> {
    let request = Request::parse(frame).filter(|request| request.asks(3))?;
    let mut answer = [0xaa; LONGEST];
    let length = request.answer(disk, 3, OWN, &mut answer);
    (length != 0).then(|| answer[..length].to_vec())
}

fn error(answer: &[u8]) -> u8 {
    assert_eq!((answer[14], answer.len()), (0x1c, 24));
    answer[15]
}

/// Sectors, anywhere, in and beyond a disk's end.
fn sector() -> impl Strategy<Value = u64> {
    prop_oneof![0..SECTORS + 20, (1u64 << 28) - 4..(1 << 28) + 4, (1u64 << 48) - 20..1 << 48]
}

proptest! {
    /// Reads and writes with both lengths of address do to the disk what the model says.
    #[test]
    fn sectors_are_read_and_written(steps in prop::collection::vec(
        (any::<bool>(), any::<bool>(), sector(), 0u8..20, any::<u8>()), 1..40)) {
        let (mut disk, mut model) = (Memory::new(), Memory::new());
        for (write, wide, first, sectors, fill) in steps {
            let length = usize::from(sectors) * SECTOR;
            let data = vec![fill; length];
            let command = if write { 0x30 } else { 0x20 } | if wide { 4 } else { 0 };
            let flags = u8::from(write) | if wide { 0x40 } else { 0 };
            let sent = if write { &data[..] } else { &[] };
            let answer = ask(&mut disk, &ata(flags, sectors, command, first, sent)).unwrap();
            let first = if wide { first } else { first & 0x0fff_ffff };
            if sectors == 0 || usize::from(sectors) > MOST_SECTORS {
                prop_assert_eq!(error(&answer), 2);
            } else if first + u64::from(sectors) > SECTORS {
                prop_assert_eq!((answer.len(), answer[27], answer[25]), (36, 0x41, 0x10));
            } else {
                prop_assert_eq!((answer[14], answer[27]), (0x18, 0x40));
                if write {
                    model.write(first, &data);
                    prop_assert_eq!(answer.len(), 36);
                } else {
                    let mut there = vec![0; length];
                    model.read(first, &mut there);
                    prop_assert_eq!(&answer[36..], &there[..]);
                }
            }
            prop_assert_eq!(&answer[..12], &[CLIENT, OWN].concat()[..]);
            prop_assert_eq!(&answer[16..24], &[0, 0, 3, 0, 0xde, 0xad, 0xbe, 0xef]);
            prop_assert!(disk == model);
        }
    }

    /// Any bytes at all get an answer or none, and nothing is written but by a write that is whole.
    #[test]
    fn any_frame_is_survived(mut frame in prop::collection::vec(any::<u8>(), 0..1200),
                             head in prop::sample::select(vec![0usize, 14, 19, 24]),
                             command in prop::sample::select(vec![0u8, 1, 2, 3])) {
        let good = ata(0x41, 1, 0x34, 1, &[]);
        let known = head.min(frame.len());
        frame[..known].copy_from_slice(&good[..known]);
        if frame.len() > 19 { frame[19] = command; }
        let mut disk = Memory::new();
        if let Some(answer) = ask(&mut disk, &frame) {
            prop_assert!(answer.len() >= 24 && answer[14] & 8 != 0);
            prop_assert_eq!(&answer[..6], &frame[6..12]);
        }
        let writes = frame.len() >= 36 && command == 0 && [0x30, 0x34].contains(&frame[27]);
        prop_assert!(writes || disk.bytes == Memory::new().bytes);
    }

    /// A write that is cut short writes nothing.
    #[test]
    fn a_short_write_is_refused(sectors in 1u8..17, short in 1usize..SECTOR) {
        let mut disk = Memory::new();
        let data = vec![9; usize::from(sectors) * SECTOR - short];
        let answer = ask(&mut disk, &ata(0x41, sectors, 0x34, 0, &data)).unwrap();
        prop_assert_eq!(error(&answer), 2);
        prop_assert!(disk == Memory::new());
    }
}

#[test]
fn a_disk_says_what_it_is() {
    let answer = ask(&mut Memory::new(), &ata(0, 1, 0xec, 0, &[])).unwrap();
    assert_eq!((answer.len(), answer[27]), (36 + 512, 0x40));
    let word = |n: usize| u16::from_le_bytes([answer[36 + n * 2], answer[37 + n * 2]]);
    assert_eq!([word(60), word(61), word(100), word(103)], [64, 0, 64, 0]);
    assert_ne!(word(83) & word(86) & 1 << 10, 0, "it has addresses of 48 bits");
    assert_eq!(&answer[36 + 54..36 + 58], b"4K 2");
}

#[test]
fn commands_that_it_has_not_are_aborted() {
    let mut disk = Memory::new();
    for command in [0xe7, 0xea] {
        let answer = ask(&mut disk, &ata(0, 0, command, 0, &[])).unwrap();
        assert_eq!((answer.len(), answer[27]), (36, 0x40));
    }
    assert_eq!(disk.flushes, 2);
    for command in [0x00, 0x25, 0xb0, 0xc8] {
        let answer = ask(&mut disk, &ata(0x40, 1, command, 0, &[])).unwrap();
        assert_eq!((answer[27], answer[25]), (0x41, 0x04), "{command:#x}");
    }
    for (flags, command) in [(0x40, 0x20), (0, 0x24), (0x41, 0x30), (1, 0x34)] {
        let answer = ask(&mut disk, &ata(flags, 1, command, 0, &[0; SECTOR])).unwrap();
        assert_eq!(error(&answer), 2, "{command:#x} with the other length of address");
    }
}

#[test]
fn its_configuration_is_told_and_stays() {
    let mut disk = Memory::new();
    let configure = |command: u8, length: u16, text: &[u8]| {
        let mut rest = vec![0, 0, 0, 0, 0, 0x10 | command];
        rest.extend(length.to_be_bytes());
        rest.extend(text);
        frame(0xffff, 0xff, 1, &rest)
    };
    let told = ask(&mut disk, &configure(0, 0, &[])).unwrap();
    assert_eq!(told.len(), 32);
    assert_eq!(told[16..20], [0, 0, 3, 1]);
    assert_eq!(told[24..], [0, 16, 0, 0, 16, 0x10, 0, 0]);
    let mut unasked = [0xaa; LONGEST];
    let length = announcement(CLIENT, 3, OWN, &mut unasked);
    assert_eq!(unasked[..20], told[..20]);
    assert_eq!((&unasked[20..24], &unasked[24..length]), (&[0; 4][..], &told[24..]));
    for command in [1, 2] {
        assert!(ask(&mut disk, &configure(command, 0, &[])).is_some());
        assert_eq!(ask(&mut disk, &configure(command, 1, b"x")), None);
    }
    for command in [3, 4, 5] {
        assert_eq!(error(&ask(&mut disk, &configure(command, 1, b"x")).unwrap()), 1);
    }
    assert_eq!(error(&ask(&mut disk, &configure(0, 2, b"x")).unwrap()), 2);
    assert_eq!(error(&ask(&mut disk, &frame(0, 3, 1, &[0; 7])).unwrap()), 2);
}

#[test]
fn what_is_not_for_it_is_not_answered() {
    let mut disk = Memory::new();
    let good = ata(0, 1, 0xec, 0, &[]);
    assert!(ask(&mut disk, &good).is_some());
    for (at, value) in [(13, 0xa3), (14, 0x18), (17, 1), (18, 4)] {
        let mut other = good.clone();
        other[at] = value;
        assert_eq!(ask(&mut disk, &other), None, "byte {at}");
    }
    assert_eq!(ask(&mut disk, &good[..23]), None);
    assert_eq!(error(&ask(&mut disk, &good[..35]).unwrap()), 2);
    let mut other = good.clone();
    other[14] = 0x20;
    assert_eq!(error(&ask(&mut disk, &other).unwrap()), 5);
    assert_eq!(error(&ask(&mut disk, &frame(0, 3, 2, &[0; 12])).unwrap()), 1);
}
