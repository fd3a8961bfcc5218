//! System calls, by topic.

use super::*;
use crate::abi::{MAP_ANONYMOUS, MAP_FIXED, O_CREAT, O_DIRECTORY, PAGE_SIZE};
use crate::{Errno, table};
use proptest::prelude::*;

/// Puts text at [`SCRATCH`] and calls with its address.
fn with_path(linux: &mut Linux, name: &str, path: &[u8], rest: &[u64]) -> Outcome {
    linux.write_bytes(SCRATCH, path).unwrap();
    linux.write_bytes(SCRATCH + path.len() as u64, &[0]).unwrap();
    call(linux, name, &[&[SCRATCH], rest].concat())
}

const BUFFER: u64 = SCRATCH + 0x1000;

#[test]
fn the_table_is_the_abi() {
    assert!(table::ROWS.windows(2).all(|pair| pair[0].number < pair[1].number));
    for (number, name) in
        [(1, "exit"), (4, "write"), (64, "getppid"), (234, "exit_group"), (387, "rseq")]
    {
        assert_eq!(table::name(number), Some(name));
    }
    assert!(table::handler(u64::MAX).is_none() && table::handler(511).is_none());
}

#[test]
fn what_is_not_there_says_so_once() {
    let (mut linux, below) = ready();
    for _ in 0..2 {
        assert_eq!(linux.system_call(2, &[0; 6]), -38);
        assert_eq!(linux.system_call(5000, &[0; 6]), -38);
    }
    assert_eq!(
        below.output(),
        "system call fork is not implemented\nthere is no system call 5000\n"
    );
}

#[test]
fn files_are_read() {
    let (mut linux, below) = ready();
    assert_eq!(with_path(&mut linux, "open", b"/etc/link", &[0]), Ok(3));
    assert_eq!(call(&mut linux, "read", &[3, BUFFER, 4]), Ok(4));
    assert_eq!(call(&mut linux, "read", &[3, BUFFER + 4, 100]), Ok(3));
    assert_eq!(below.bytes(BUFFER, 7), b"welcome");
    assert_eq!(call(&mut linux, "read", &[3, BUFFER, 100]), Ok(0));
    assert_eq!(call(&mut linux, "lseek", &[3, (-2i64).cast_unsigned(), 2]), Ok(5));
    assert_eq!(call(&mut linux, "lseek", &[3, (-6i64).cast_unsigned(), 1]), Err(Errno::EINVAL));
    assert_eq!(call(&mut linux, "pread64", &[3, BUFFER, 2, 1]), Ok(2));
    assert_eq!(below.bytes(BUFFER, 2), b"el");
    assert_eq!(call(&mut linux, "write", &[3, BUFFER, 2]), Err(Errno::EBADF));
    assert_eq!(call(&mut linux, "read", &[3, 0xc000_0000_0000_0000, 2]), Err(Errno::EFAULT));
    assert_eq!(call(&mut linux, "close", &[3]), Ok(0));
    assert_eq!(call(&mut linux, "close", &[3]), Err(Errno::EBADF));
}

#[test]
fn the_file_system_is_read_only() {
    let (mut linux, _) = ready();
    let create = O_CREAT.into();
    assert_eq!(with_path(&mut linux, "open", b"/new", &[create]), Err(Errno::EROFS));
    assert_eq!(with_path(&mut linux, "open", b"/etc/motd", &[1]), Err(Errno::EROFS));
    assert_eq!(with_path(&mut linux, "open", b"/etc", &[1]), Err(Errno::EISDIR));
    assert_eq!(with_path(&mut linux, "unlink", b"/etc/motd", &[]), Err(Errno::EROFS));
    assert_eq!(with_path(&mut linux, "mkdir", b"/etc", &[]), Err(Errno::EEXIST));
    assert_eq!(with_path(&mut linux, "mkdir", b"/new", &[]), Err(Errno::EROFS));
    assert_eq!(with_path(&mut linux, "open", b"/dev/null", &[1]), Ok(3));
    let directory = O_DIRECTORY.into();
    assert_eq!(with_path(&mut linux, "open", b"/etc/motd", &[directory]), Err(Errno::ENOTDIR));
}

#[test]
fn directories_are_listed_whatever_the_buffer() {
    let (mut linux, below) = ready();
    assert_eq!(with_path(&mut linux, "open", b"/etc", &[0]), Ok(3));
    assert_eq!(call(&mut linux, "getdents64", &[3, BUFFER, 20]), Err(Errno::EINVAL));
    let mut names = Vec::new();
    loop {
        let count = call(&mut linux, "getdents64", &[3, BUFFER, 40]).unwrap() as usize;
        let records = below.bytes(BUFFER, count);
        let mut rest = &records[..];
        while !rest.is_empty() {
            let length = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
            let name: Vec<u8> = rest[19..length].iter().copied().take_while(|b| *b != 0).collect();
            names.push((rest[18], String::from_utf8(name).unwrap()));
            rest = &rest[length..];
        }
        if count == 0 {
            break;
        }
    }
    let expected = [(4, "."), (4, ".."), (10, "link"), (8, "motd")];
    assert_eq!(names, expected.map(|(kind, name)| (kind, String::from(name))));
}

#[test]
fn status_has_the_fields_where_linux_has_them() {
    let (mut linux, below) = ready();
    assert_eq!(with_path(&mut linux, "stat", b"/etc/link", &[BUFFER]), Ok(0));
    let mode = below.word(BUFFER + 24) as u32;
    assert_eq!((mode, below.word(BUFFER + 48), below.word(BUFFER + 64)), (0o100_644, 7, 8));
    assert_eq!(below.word(BUFFER + 88), 1000, "time of the last change");
    assert_eq!(with_path(&mut linux, "lstat", b"/etc/link", &[BUFFER]), Ok(0));
    assert_eq!(below.word(BUFFER + 24) as u32, 0o120_777);
    assert_eq!(with_path(&mut linux, "stat", b"/dev/zero", &[BUFFER]), Ok(0));
    assert_eq!(with_path(&mut linux, "readlink", b"/etc/link", &[BUFFER, 3]), Ok(3));
    assert_eq!(below.bytes(BUFFER, 3), b"mot");
    assert_eq!(with_path(&mut linux, "access", b"/etc/motd", &[2]), Err(Errno::EROFS));
    assert_eq!(with_path(&mut linux, "access", b"/etc/motd", &[1]), Err(Errno::EACCES));
}

#[test]
fn the_console_is_read_to_its_end() {
    let (mut linux, below) = ready();
    below.input(b"ab\ncd\x04");
    assert_eq!(call(&mut linux, "read", &[0, BUFFER, 4]), Ok(4));
    assert_eq!(call(&mut linux, "read", &[0, BUFFER, 4]), Ok(1));
    assert_eq!(call(&mut linux, "read", &[0, BUFFER, 4]), Ok(0));
    linux.write_bytes(BUFFER, b"hello").unwrap();
    assert_eq!(call(&mut linux, "write", &[1, BUFFER, 5]), Ok(5));
    assert_eq!(below.output(), "hello");
    assert_eq!(call(&mut linux, "write", &[1, 0x44, 5]), Err(Errno::EFAULT));
}

#[test]
fn polling_ends_at_its_time() {
    let (mut linux, below) = ready();
    linux.write_bytes(BUFFER, &[0, 0, 0, 0, 1, 0, 0, 0]).unwrap();
    assert_eq!(call(&mut linux, "poll", &[BUFFER, 1, 0]), Ok(0));
    assert_eq!(call(&mut linux, "poll", &[BUFFER, 1, 2000]), Ok(0));
    assert_eq!(below.timebase(), 2000);
    below.input(b"x");
    assert_eq!(call(&mut linux, "poll", &[BUFFER, 1, u64::MAX]), Ok(1));
    assert_eq!(below.bytes(BUFFER + 6, 1), [1]);
}

#[test]
fn time_is_the_timebase() {
    let (mut linux, below) = ready();
    below.machine().time = 2500; // at a thousand a second
    assert_eq!(call(&mut linux, "time", &[0]), Ok(crate::time::RELEASE + 2), "no file is newer");
    assert_eq!(call(&mut linux, "clock_gettime", &[1, BUFFER]), Ok(0));
    assert_eq!((below.word(BUFFER), below.word(BUFFER + 8)), (2, 500_000_000));
    linux.write_bytes(BUFFER, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(call(&mut linux, "nanosleep", &[BUFFER, 0]), Ok(0));
    assert_eq!(below.timebase(), 3500);
}

#[test]
fn memory_is_counted() {
    let (mut linux, below) = ready();
    linux.write_bytes(BUFFER, &[1]).unwrap();
    assert_eq!(call(&mut linux, "sysinfo", &[BUFFER]), Ok(0));
    let (total, free) = (below.word(BUFFER + 32), below.word(BUFFER + 40));
    assert!(total == 400 << 16 && free < total && free > total / 2, "{total} {free}");
    assert_eq!((below.bytes(BUFFER + 80, 1), below.bytes(BUFFER + 104, 1)), (vec![1], vec![1]));
}

#[test]
fn signals_to_oneself_end_or_are_ignored() {
    let (mut linux, below) = ready();
    assert_eq!(call(&mut linux, "kill", &[2, 17]), Ok(0));
    assert_eq!(call(&mut linux, "kill", &[7, 9]), Err(Errno::ESRCH));
    linux.write_bytes(BUFFER, &[1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(call(&mut linux, "rt_sigaction", &[15, BUFFER, BUFFER + 64, 8]), Ok(0));
    assert_eq!(call(&mut linux, "kill", &[2, 15]), Ok(0));
    assert_eq!(below.ended(), None);
    assert_eq!(call(&mut linux, "tgkill", &[2, 2, 6]), Ok(0));
    assert_eq!(below.ended(), Some(134));
}

#[test]
fn memory_comes_and_goes_and_the_break_moves() {
    let (mut linux, below) = ready();
    let anonymous = MAP_ANONYMOUS | 2;
    let at = call(&mut linux, "mmap", &[0, 100_000, 3, anonymous, u64::MAX, 0]).unwrap();
    linux.write_bytes(at + 131_000, b"end").unwrap();
    assert_eq!(call(&mut linux, "mprotect", &[at, PAGE_SIZE, 1]), Ok(0));
    assert_eq!(linux.write_bytes(at, b"x"), Err(Errno::EFAULT));
    assert_eq!(call(&mut linux, "write", &[1, at, 1]), Ok(1));
    let grown = call(&mut linux, "mremap", &[at, 131_072, 400_000, 1]).unwrap();
    assert_eq!(below.bytes(grown + 131_000, 3), b"end");
    assert_eq!(call(&mut linux, "munmap", &[grown, 400_000]), Ok(0));
    assert_eq!(linux.read_bytes(grown, &mut [0]), Err(Errno::EFAULT));
    assert_eq!(call(&mut linux, "munmap", &[0x1000_6000_0001, 5]), Err(Errno::EINVAL));

    assert_eq!(with_path(&mut linux, "open", b"/etc/motd", &[0]), Ok(3));
    let file = call(&mut linux, "mmap", &[0, 7, 1, 2, 3, 0]).unwrap();
    assert_eq!(below.bytes(file, 8), b"welcome\0");

    linux.set_break_start(0x20_0123);
    assert_eq!(call(&mut linux, "brk", &[0]), Ok(0x20_0123));
    linux.map_at(0x20_0000..0x21_0000, 3, None, false).unwrap();
    assert_eq!(call(&mut linux, "brk", &[0x25_0001]), Ok(0x25_0001));
    linux.write_bytes(0x25_0000, b"x").unwrap();
    assert_eq!(call(&mut linux, "brk", &[0x22_0000]), Ok(0x22_0000));
    assert_eq!(linux.write_bytes(0x25_0000, b"x"), Err(Errno::EFAULT));
    assert_eq!(call(&mut linux, "brk", &[0x25_0001]), Ok(0x25_0001));
    assert_eq!(below.bytes(0x25_0000, 1), [0]);
    assert_eq!(call(&mut linux, "brk", &[u64::MAX]), Ok(0x25_0001));
}

fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..16,
        (0u64..0x1_0000).prop_map(|offset| SCRATCH + offset),
        (0u64..8).prop_map(|page| page * PAGE_SIZE),
        Just(u64::MAX),
        Just(MAP_ANONYMOUS | MAP_FIXED),
        any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a program asks for: no panic, and the library's record of the program's memory is
    /// never more than the kernel's (or a pointer that was checked would fault).
    #[test]
    fn nothing_a_program_asks_for_is_the_end(
        calls in prop::collection::vec((0u64..512, prop::array::uniform6(argument())), 1..60)
    ) {
        let (mut linux, below) = ready();
        linux.set_break_start(0x20_0000);
        for (number, arguments) in calls {
            linux.system_call(number, &arguments);
        }
        for page in 0..64 {
            let at = page * PAGE_SIZE;
            if linux.read_bytes(at, &mut [0]).is_ok() && linux.write_bytes(at, &[1]).is_ok() {
                prop_assert_eq!(below.bytes(at, 1), [1]);
            }
        }
    }
}
