//! What a program finds on its stack: arguments, environment and the auxiliary vector (System V ABI;
//! include/uapi/linux/auxvec.h and arch/powerpc/include/uapi/asm/{auxvec,cputable}.h).

use crate::abi::PAGE_SIZE;
use crate::loader::Loaded;
use crate::{Errno, Hardware, Linux};
use alloc::vec::Vec;

// Types of entries.
const AT_NULL: u64 = 0;
const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const AT_PAGESZ: u64 = 6;
const AT_BASE: u64 = 7;
const AT_FLAGS: u64 = 8;
const AT_ENTRY: u64 = 9;
const AT_UID: u64 = 11;
const AT_EUID: u64 = 12;
const AT_GID: u64 = 13;
const AT_EGID: u64 = 14;
const AT_PLATFORM: u64 = 15;
const AT_HWCAP: u64 = 16;
const AT_CLKTCK: u64 = 17;
const AT_DCACHEBSIZE: u64 = 19;
const AT_ICACHEBSIZE: u64 = 20;
const AT_UCACHEBSIZE: u64 = 21;
const AT_SECURE: u64 = 23;
const AT_BASE_PLATFORM: u64 = 24;
const AT_RANDOM: u64 = 25;
const AT_HWCAP2: u64 = 26;
const AT_EXECFN: u64 = 31;

/// Bytes of a cache block on POWER9 and POWER10.
const CACHE_BLOCK: u64 = 128;

/// What both processors can: 64-bit, vectors, floating point, decimal floating point, VSX,
/// ISA 2.06, hardware threads, coherent instruction cache, little-endian, the common performance
/// events.
const FEATURES: u64 = 0xdc00_65c2;
/// What both can since ISA 2.07: DSCR, `isel`, TAR, cryptography, ISA 3.0, 128-bit floats, `darn`.
/// Not among them: transactional memory, event-based branches, and `scv`, which the kernel does not
/// serve.
const FEATURES_2: u64 = 0xaee0_0000;
/// ISA 3.1 and its matrix unit.
const FEATURES_2_POWER10: u64 = 0x0006_0000;

/// What the program may know of its processor: name and both words of features.
fn processor(hardware: Hardware) -> (&'static str, u64, u64) {
    const POWER9: u64 = 0x4e;
    match hardware.processor_version >> 16 {
        POWER9 => ("power9", FEATURES, FEATURES_2),
        _ => ("power10", FEATURES, FEATURES_2 | FEATURES_2_POWER10),
    }
}

/// Bytes that grow downwards from the stack's end.
struct Top {
    at: u64,
}

impl Top {
    fn text(&mut self, linux: &Linux, text: &[u8]) -> Result<u64, Errno> {
        self.at -= text.len() as u64 + 1;
        linux.write_bytes(self.at, text)?;
        linux.write_bytes(self.at + text.len() as u64, &[0])?;
        Ok(self.at)
    }

    fn texts(&mut self, linux: &Linux, texts: &[Vec<u8>]) -> Result<Vec<u64>, Errno> {
        texts.iter().map(|text| self.text(linux, text)).collect()
    }
}

/// Fills the stack below `end`; returns the stack pointer.
pub(crate) fn build(
    linux: &Linux,
    end: u64,
    program: &Loaded,
    path: &[u8],
    arguments: &[Vec<u8>],
    environment: &[Vec<u8>],
) -> Result<u64, Errno> {
    let (platform, features, features_2) = processor(linux.hardware);
    let mut top = Top { at: end - 16 };
    let path = top.text(linux, path)?;
    let environment = top.texts(linux, environment)?;
    let arguments = top.texts(linux, arguments)?;
    let platform = top.text(linux, platform.as_bytes())?;
    let mut random = [0; 16];
    linux.fill_random(&mut random);
    let random_at = (top.at - random.len() as u64) & !15;
    linux.write_bytes(random_at, &random)?;

    let (headers, header_size, header_count) = program.headers;
    let mut words = Vec::new();
    words.push(arguments.len() as u64);
    words.extend(arguments);
    words.push(0);
    words.extend(environment);
    words.push(0);
    for (kind, value) in [
        (AT_DCACHEBSIZE, CACHE_BLOCK),
        (AT_ICACHEBSIZE, CACHE_BLOCK),
        (AT_UCACHEBSIZE, 0),
        (AT_HWCAP, features),
        (AT_PAGESZ, PAGE_SIZE),
        (AT_CLKTCK, 100),
        (AT_PHDR, headers),
        (AT_PHENT, header_size),
        (AT_PHNUM, header_count),
        (AT_BASE, 0),
        (AT_FLAGS, 0),
        (AT_ENTRY, program.entry),
        (AT_UID, 0),
        (AT_EUID, 0),
        (AT_GID, 0),
        (AT_EGID, 0),
        (AT_SECURE, 0),
        (AT_RANDOM, random_at),
        (AT_HWCAP2, features_2),
        (AT_EXECFN, path),
        (AT_PLATFORM, platform),
        (AT_BASE_PLATFORM, platform),
        (AT_NULL, 0),
    ] {
        words.extend([kind, value]);
    }
    let pointer = (random_at - words.len() as u64 * 8) & !15;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    linux.write_bytes(pointer, &bytes)?;
    Ok(pointer)
}
