//! Names for the addresses of a report (docs/interfaces.md §2): what functions a domain's kernel has,
//! and where, as its ELF file says.

use std::cell::OnceCell;
use std::fs;
use std::path::PathBuf;

use elf::ElfBytes;
use elf::abi::{SHF_EXECINSTR, STT_FUNC, STT_NOTYPE};
use elf::endian::LittleEndian;

/// Where Linux and K42 have their kernels: real mode ignores these bits.
const KERNEL: u64 = 0xc000_0000_0000_0000;

/// A function: where it begins, how long it is (0: nobody has said), its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    start: u64,
    size: u64,
    name: String,
}

/// The functions of some files, which are read when the first name is asked for.
#[derive(Debug, Default)]
pub struct Symbols {
    files: Vec<PathBuf>,
    functions: OnceCell<Vec<Function>>,
}

impl Symbols {
    /// Those of these files. One that has none, such as a stripped kernel, gives no names.
    pub fn of(files: Vec<PathBuf>) -> Symbols {
        Symbols { files, functions: OnceCell::new() }
    }

    /// The line of a report with the function beside its address, or nothing to add.
    pub fn beside(&self, line: &[u8]) -> Option<String> {
        let line = str::from_utf8(line).ok()?.strip_prefix("vcpu ")?;
        let address =
            line.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(": at ")?;
        let address = u64::from_str_radix(address, 16).ok().filter(|_| address.len() == 16)?;
        self.name(address)
    }

    /// `function+0xoffset`. In real mode a kernel's addresses may be without their highest bits.
    fn name(&self, address: u64) -> Option<String> {
        let functions = self.functions.get_or_init(|| self.read());
        [address, address | KERNEL].into_iter().find_map(|address| {
            let after = functions.partition_point(|function| function.start <= address);
            let function = functions.get(after.checked_sub(1)?)?;
            let offset = address - function.start;
            let inside = offset < function.size || function.size == 0;
            inside.then(|| format!("{}+{offset:#x}", function.name))
        })
    }

    fn read(&self) -> Vec<Function> {
        let mut functions: Vec<Function> = self
            .files
            .iter()
            .filter_map(|file| functions(&fs::read(file).ok()?))
            .flatten()
            .collect();
        // Of two at the same place the one whose size is known comes last, and is found.
        functions.sort();
        functions
    }
}

/// The functions in the symbol table of an ELF file.
fn functions(file: &[u8]) -> Option<Vec<Function>> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).ok()?;
    let (symbols, names) = elf.symbol_table().ok()??;
    let sections = elf.section_headers()?;
    let holds_code = |symbol: &elf::symbol::Symbol| {
        let section = sections.get(symbol.st_shndx.into());
        section.is_ok_and(|section| section.sh_flags & u64::from(SHF_EXECINSTR) != 0)
    };
    let function = |symbol: elf::symbol::Symbol| {
        // Labels of assembly have no type.
        let code = symbol.st_symtype() == STT_FUNC
            || symbol.st_symtype() == STT_NOTYPE && holds_code(&symbol);
        let here = !symbol.is_undefined();
        let name = names.get(symbol.st_name as usize).ok().filter(|name| !name.is_empty())?;
        let name = format!("{:#}", rustc_demangle::demangle(name));
        (code && here).then_some(Function { start: symbol.st_value, size: symbol.st_size, name })
    };
    Some(symbols.iter().filter_map(function).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols() -> Symbols {
        let function = |start, size, name: &str| Function { start, size, name: name.into() };
        let functions = vec![
            function(KERNEL + 0x100, 0, "vector"),
            function(KERNEL + 0x1000, 0x20, "first"),
            function(KERNEL + 0x1020, 8, "second"),
        ];
        Symbols { files: Vec::new(), functions: functions.into() }
    }

    #[test]
    fn addresses_have_names_in_functions_only() {
        for (address, name) in [
            (KERNEL + 0x101f, Some("first+0x1f")),
            (KERNEL + 0x1020, Some("second+0x0")),
            (KERNEL + 0x1028, None),
            (KERNEL + 0x200, Some("vector+0x100")),
            (0x1004, Some("first+0x4")), // in real mode
            (0x10, None),
            (u64::MAX, None),
        ] {
            assert_eq!(symbols().name(address).as_deref(), name, "{address:#x}");
        }
    }

    #[test]
    fn only_lines_of_reports_get_names() {
        let beside = |line: &str| symbols().beside(line.as_bytes());
        assert_eq!(beside("vcpu 12: at c000000000001001"), Some("first+0x1".into()));
        for line in ["vcpu 0: at 1001", "at c000000000001001", "vcpu 0: at c000000000001001 x", ""]
        {
            assert_eq!(beside(line), None, "{line}");
        }
        assert_eq!(symbols().beside(b"vcpu 0: at \xff"), None);
    }

    #[test]
    fn files_without_symbols_give_no_names() {
        let symbols = Symbols::of(vec!["/nowhere".into(), "Cargo.toml".into()]);
        assert_eq!(symbols.name(KERNEL), None);
    }
}
