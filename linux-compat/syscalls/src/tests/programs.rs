//! Loading programs: what they find in memory and on their stack.

use super::*;
use crate::Errno;
use crate::abi::{PAGE_SIZE, Structure};
use proptest::prelude::*;

const CODE: &[u8] = b"code!";
const TEXT_AT: u64 = 0x1000_0000;

/// A program of two segments: headers and code, and data of which the last bytes are zero.
fn program(kind: u16) -> Vec<u8> {
    let base = if kind == 2 { TEXT_AT } else { 0 };
    let header = Structure::default()
        .text(b"\x7fELF\x02\x01\x01", 16)
        .u16(kind)
        .u16(21)
        .u32(1)
        .u64(base + 0x200)
        .u64(64)
        .u64(0)
        .u32(2)
        .u16(64)
        .u16(56)
        .u16(2)
        .u16(0)
        .u16(0)
        .u16(0);
    let segment = |out: Structure, flags: u32, offset: u64, at: u64, file: u64, memory: u64| {
        out.u32(1).u32(flags).u64(offset).u64(at).u64(at).u64(file).u64(memory).u64(PAGE_SIZE)
    };
    let text = segment(header, 5, 0, base, 0x205, 0x205);
    let data = segment(text, 6, 0x208, base + 0x1_0208, 4, 0x2_0000);
    let mut bytes = data.0;
    bytes.resize(0x200, 0);
    bytes.extend_from_slice(CODE);
    bytes.resize(0x208, 0);
    bytes.extend_from_slice(b"dataafter the data");
    bytes
}

fn text(bytes: &str) -> Vec<u8> {
    bytes.as_bytes().to_vec()
}

/// The stack as a program reads it: arguments, environment, auxiliary vector.
fn read_stack(below: &Below, mut at: u64) -> (Vec<String>, Vec<String>, Vec<(u64, u64)>) {
    let string = |at| {
        let bytes = (at..).map(|at| below.bytes(at, 1)[0]).take_while(|byte| *byte != 0).collect();
        String::from_utf8(bytes).unwrap()
    };
    let count = below.word(at);
    let mut list = || {
        let mut list = Vec::new();
        loop {
            at += 8;
            match below.word(at) {
                0 => return list,
                pointer => list.push(string(pointer)),
            }
        }
    };
    let (arguments, environment) = (list(), list());
    assert_eq!(arguments.len() as u64, count);
    let pairs = (0..).map(|n| (below.word(at + 8 + 16 * n), below.word(at + 16 + 16 * n)));
    let vector = pairs.take_while(|(kind, _)| *kind != 0).collect();
    (arguments, environment, vector)
}

#[test]
fn a_program_finds_itself_and_its_arguments() {
    let (mut linux, below) = machine(&[("bin/x", 0o100_755, &program(2))]);
    let arguments = vec![text("x"), text("two words")];
    let start = linux.execute(b"/bin/x", arguments, &[text("A=1")]).unwrap();
    assert_eq!((start.entry, start.stack % 16), (TEXT_AT + 0x200, 0));
    assert_eq!(below.bytes(start.entry, 5), CODE);
    assert_eq!(below.bytes(TEXT_AT + 0x1_0208, 6), b"data\0\0");
    assert_eq!(below.bytes(TEXT_AT + 0x3_0207, 1), [0]);
    assert_eq!(linux.write_bytes(TEXT_AT, b"x"), Err(Errno::EFAULT));

    let (arguments, environment, vector) = read_stack(&below, start.stack);
    assert_eq!(arguments, ["x", "two words"]);
    assert_eq!(environment, ["A=1"]);
    let entry = |kind| vector.iter().find(|(k, _)| *k == kind).unwrap().1;
    assert_eq!((entry(3), entry(4), entry(5)), (TEXT_AT + 64, 56, 2));
    assert_eq!((entry(6), entry(9)), (PAGE_SIZE, TEXT_AT + 0x200));
    assert_eq!((entry(16), entry(26) & 0x4010_0000), (0xdc00_65c2, 0), "no HTM, no scv");
    assert_eq!(below.bytes(entry(31), 7), b"/bin/x\0");
    assert_eq!(below.bytes(entry(15), 7), b"power9\0");
}

#[test]
fn a_position_independent_program_has_a_place() {
    let (mut linux, below) = machine(&[("x", 0o100_755, &program(3))]);
    let start = linux.execute(b"/x", vec![text("x")], &[]).unwrap();
    assert_eq!(start.entry, 0x1_0000_0200);
    assert_eq!(below.bytes(start.entry, 5), CODE);
}

#[test]
fn a_script_is_its_interpreters() {
    let (mut linux, below) = machine(&[
        ("bin/x", 0o100_755, &program(2)),
        ("script", 0o100_755, b"#! /bin/x -f \nrest"),
    ]);
    let start = linux.execute(b"script", vec![text("s"), text("1")], &[]).unwrap();
    assert_eq!(read_stack(&below, start.stack).0, ["/bin/x", "-f", "script", "1"]);
}

#[test]
fn another_program_takes_over() {
    let (mut linux, below) =
        machine(&[("x", 0o100_755, &program(2)), ("y", 0o100_755, &program(3))]);
    linux.execute(b"/x", vec![text("x")], &[]).unwrap();
    linux.map_at(SCRATCH..SCRATCH + 0x1_0000, 3, None, false).unwrap();
    linux.write_bytes(SCRATCH, b"/y\0").unwrap();
    linux.write_bytes(SCRATCH + 8, &SCRATCH.to_le_bytes()).unwrap();
    assert_eq!(call(&mut linux, "execve", &[SCRATCH, SCRATCH + 8, 0]), Ok(0));
    let start = linux.take_start().unwrap();
    assert_eq!(read_stack(&below, start.stack).0, ["/y"]);
    assert_eq!(linux.read_bytes(TEXT_AT, &mut [0]), Err(Errno::EFAULT));
}

#[test]
fn what_is_no_program_is_refused() {
    let mut dynamic = program(2);
    dynamic[64 + 56] = 3; // the second segment names an interpreter
    let (mut linux, _) = machine(&[
        ("plain", 0o100_644, &program(2)),
        ("text", 0o100_755, b"no program"),
        ("dynamic", 0o100_755, &dynamic),
        ("loop", 0o100_755, b"#!/loop"),
        ("directory", 0o040_755, b""),
    ]);
    for (path, error) in [
        ("/plain", Errno::EACCES),
        ("/text", Errno::ENOEXEC),
        ("/dynamic", Errno::ENOEXEC),
        ("/loop", Errno::ELOOP),
        ("/directory", Errno::EACCES),
        ("/nothing", Errno::ENOENT),
    ] {
        assert_eq!(linux.execute(path.as_bytes(), vec![], &[]), Err(error), "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A damaged program runs or is refused; it never makes the loader fail.
    #[test]
    fn damaged_programs_do_no_harm(changes in prop::collection::vec((0usize..176, any::<u8>()), 1..6)) {
        let mut bytes = program(2);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let (mut linux, _) = machine(&[("x", 0o100_755, &bytes)]);
        let _ = linux.execute(b"/x", vec![text("x")], &[]);
    }
}
