//! The loader: a static program (or a script, by its interpreter) from the root file system into the
//! program's part of the address space.

use crate::abi::{AT_FDCWD, PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE, page_up};
use crate::memory::ImageBytes;
use crate::process::STACK_SIZE;
use crate::{Errno, Linux, Start, stack};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use elf::ElfBytes;
use elf::abi::{EM_PPC64, ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_INTERP, PT_LOAD, PT_PHDR};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;
use libos::files::{Content, NodeId};

/// Where a position-independent program is put, as Linux does on 64-bit Power.
const POSITION_INDEPENDENT_BASE: u64 = 0x1_0000_0000;
/// First address after the stack.
const STACK_END: u64 = 0x7fff_ffff_0000;
/// How many scripts may be each other's interpreters.
const MAX_SCRIPTS: usize = 4;
/// The longest first line of a script, in bytes.
const MAX_SCRIPT_LINE: usize = 256;

/// A program that was found, and how it was asked for.
pub(crate) struct Found {
    /// The file of the ELF program.
    pub(crate) node: NodeId,
    /// Its path.
    pub(crate) path: Vec<u8>,
    bytes: &'static [u8],
    arguments: Vec<Vec<u8>>,
}

/// Where a program lies once it is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    pub(crate) entry: u64,
    /// Address, size and number of its program headers.
    pub(crate) headers: (u64, u64, u64),
    /// First address after it.
    end: u64,
}

/// Finds the program that `path` leads to, through the first lines of scripts.
pub(crate) fn find(
    linux: &Linux,
    path: &[u8],
    mut arguments: Vec<Vec<u8>>,
) -> Result<Found, Errno> {
    let mut path = path.to_vec();
    for _ in 0..MAX_SCRIPTS {
        let node = linux.find(AT_FDCWD, &path, true)?;
        let file = linux.files.node(node);
        let Content::Regular(bytes) = file.content else { return Err(Errno::EACCES) };
        if file.mode & 0o111 == 0 {
            return Err(Errno::EACCES);
        }
        let Some(line) = bytes.strip_prefix(b"#!") else {
            return Ok(Found { node, path, bytes, arguments });
        };
        let line = &line[..line.len().min(MAX_SCRIPT_LINE)];
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
        let space = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (interpreter, option) = (&line[..space], line[space..].trim_ascii());
        let mut list = vec![interpreter.to_vec()];
        list.extend((!option.is_empty()).then(|| option.to_vec()));
        list.push(path);
        list.extend(arguments.into_iter().skip(1));
        (path, arguments) = (interpreter.to_vec(), list);
    }
    Err(Errno::ELOOP)
}

/// Loads a program in place of whatever there is.
pub(crate) fn load(
    linux: &mut Linux,
    found: &Found,
    environment: &[Vec<u8>],
) -> Result<Start, Errno> {
    let program = Program::read(found.bytes)?;
    linux.unmap_everything();
    let at = linux.image_offset(found.bytes);
    for part in &program.parts {
        linux.map_at(part.range.clone(), part.protection, part.bytes_at(at), false)?;
    }
    let stack_range = STACK_END - STACK_SIZE..STACK_END;
    linux.map_at(stack_range, PROT_READ | PROT_WRITE, None, false)?;
    linux.set_break_start(program.loaded.end);
    let pointer = stack::build(
        linux,
        STACK_END,
        &program.loaded,
        &found.path,
        &found.arguments,
        environment,
    )?;
    Ok(Start { entry: program.loaded.entry, stack: pointer })
}

/// A loadable part of a program.
struct Part {
    /// The pages it takes.
    range: Range<u64>,
    protection: u64,
    /// Offset in the file of the first page's first byte, and how many bytes come from the file.
    file: (u64, u64),
}

impl Part {
    fn bytes_at(&self, file_at: u64) -> Option<ImageBytes> {
        let (offset, size) = self.file;
        (size != 0).then_some(ImageBytes { offset: file_at + offset, size })
    }
}

/// A program's file, read and found to be one that can run.
struct Program {
    parts: Vec<Part>,
    loaded: Loaded,
}

impl Program {
    fn read(bytes: &[u8]) -> Result<Program, Errno> {
        let broken = |_| Errno::ENOEXEC;
        let file = ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(broken)?;
        let header = &file.ehdr;
        /// ELF flags: version of the ABI.
        const ABI_MASK: u32 = 3;
        let ours = header.class == Class::ELF64
            && header.e_machine == EM_PPC64
            && header.e_flags & ABI_MASK != 1;
        let base = match header.e_type {
            ET_EXEC => 0,
            ET_DYN => POSITION_INDEPENDENT_BASE,
            _ => return Err(Errno::ENOEXEC),
        };
        let segments: Vec<ProgramHeader> = file.segments().ok_or(Errno::ENOEXEC)?.iter().collect();
        if !ours || segments.iter().any(|segment| segment.p_type == PT_INTERP) {
            return Err(Errno::ENOEXEC);
        }
        let loadable = segments.iter().filter(|s| s.p_type == PT_LOAD && s.p_memsz != 0);
        let parts = loadable.map(|s| part(s, base, bytes.len())).collect::<Result<Vec<_>, _>>()?;
        let end = parts.iter().map(|(_, end)| *end).max().ok_or(Errno::ENOEXEC)?;
        let headers_at = segments
            .iter()
            .find_map(|s| match s.p_type {
                PT_PHDR => Some(s.p_vaddr),
                PT_LOAD => {
                    let inside = header.e_phoff.checked_sub(s.p_offset)?;
                    (inside < s.p_filesz).then(|| s.p_vaddr.wrapping_add(inside))
                }
                _ => None,
            })
            .unwrap_or(0);
        let loaded = Loaded {
            entry: base.wrapping_add(header.e_entry),
            headers: (
                base.wrapping_add(headers_at),
                header.e_phentsize.into(),
                header.e_phnum.into(),
            ),
            end,
        };
        Ok(Program { parts: parts.into_iter().map(|(part, _)| part).collect(), loaded })
    }
}

/// What a segment takes, and its end.
fn part(segment: &ProgramHeader, base: u64, file_size: usize) -> Result<(Part, u64), Errno> {
    let start = base.checked_add(segment.p_vaddr).ok_or(Errno::ENOEXEC)?;
    let end = start.checked_add(segment.p_memsz).ok_or(Errno::ENOEXEC)?;
    let lead = start % PAGE_SIZE;
    let file_end = segment.p_offset.checked_add(segment.p_filesz).ok_or(Errno::ENOEXEC)?;
    if segment.p_filesz > segment.p_memsz || file_end > file_size as u64 {
        return Err(Errno::ENOEXEC);
    }
    let file = if segment.p_filesz == 0 {
        (0, 0)
    } else {
        let offset = segment.p_offset.checked_sub(lead).ok_or(Errno::ENOEXEC)?;
        (offset, segment.p_filesz + lead)
    };
    let mut protection = 0;
    for (flag, bit) in [(PF_R, PROT_READ), (PF_W, PROT_WRITE), (PF_X, PROT_EXEC)] {
        protection |= if segment.p_flags & flag != 0 { bit } else { 0 };
    }
    let range = start - lead..page_up(end).ok_or(Errno::ENOEXEC)?;
    Ok((Part { range, protection, file }, end))
}
