//! ELF executables of the Power architecture, as lists of segments.

use elf::ElfBytes;
use elf::abi::{EM_PPC64, ET_DYN, ET_EXEC, PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;

/// An executable: where it begins and what is in its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// The virtual address of its first instruction.
    pub entry: u64,
    /// What is loaded, in the file's order; none is empty.
    pub segments: Vec<Segment<'a>>,
}

/// A part of an executable's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Where the program sees it.
    pub virtual_address: u64,
    /// Where the file says that it is loaded, for programs that start in real mode.
    pub physical_address: u64,
    /// How many bytes it has in memory; those beyond the data are zero.
    pub memory_size: u64,
    /// Its first bytes.
    pub data: &'a [u8],
    /// Whether the program writes to it.
    pub writable: bool,
    /// Whether it holds instructions.
    pub executable: bool,
}

/// Why a file is not an executable that a domain can start from.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Not ELF, or a damaged one.
    #[error("not an ELF file ({0})")]
    Parse(#[from] elf::ParseError),
    /// For another machine.
    #[error("not a 64-bit Power executable")]
    OtherMachine,
    /// Nothing to load.
    #[error("nothing in it is to be loaded")]
    Empty,
    /// A segment's data is larger than its memory, or its memory beyond the last address.
    #[error("the segment at {0:#x} is broken")]
    Segment(u64),
}

impl<'a> Image<'a> {
    /// Reads an ELF file.
    pub fn parse(file: &'a [u8]) -> Result<Image<'a>, ImageError> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
        let header = elf.ehdr;
        let executable = matches!(header.e_type, ET_EXEC | ET_DYN);
        if header.class != Class::ELF64 || header.e_machine != EM_PPC64 || !executable {
            return Err(ImageError::OtherMachine);
        }
        let mut segments = Vec::new();
        for part in elf.segments().into_iter().flatten() {
            if part.p_type != PT_LOAD || part.p_memsz == 0 {
                continue;
            }
            let broken = ImageError::Segment(part.p_vaddr);
            let fits = |address: u64| address.checked_add(part.p_memsz).is_some();
            if part.p_filesz > part.p_memsz || !fits(part.p_vaddr) || !fits(part.p_paddr) {
                return Err(broken);
            }
            segments.push(Segment {
                virtual_address: part.p_vaddr,
                physical_address: part.p_paddr,
                memory_size: part.p_memsz,
                data: elf.segment_data(&part).map_err(|_| broken)?,
                writable: part.p_flags & PF_W != 0,
                executable: part.p_flags & PF_X != 0,
            });
        }
        if segments.is_empty() {
            return Err(ImageError::Empty);
        }
        Ok(Image { entry: header.e_entry, segments })
    }

    /// Where the program's first instruction is loaded, when `place` says where a segment is.
    pub fn entry_at(&self, place: impl Fn(&Segment<'a>) -> u64) -> Result<u64, ImageError> {
        self.segments
            .iter()
            .find(|s| (s.virtual_address..s.virtual_address + s.memory_size).contains(&self.entry))
            .map(|s| place(s) + (self.entry - s.virtual_address))
            .ok_or(ImageError::Segment(self.entry))
    }
}
