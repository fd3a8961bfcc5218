//! What is in a built image: its instructions, sections and symbols, as binutils tells them.

use crate::table::{Table, number, short};
use anyhow::{Context, ensure};
use std::process::Command;

/// How many of the largest symbols the audit names.
const LARGEST: usize = 30;

/// A disassembled instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The function it is in.
    pub function: String,
    /// Its address.
    pub address: u64,
    /// Mnemonic and operands.
    pub text: String,
}

impl Instruction {
    /// Whether it names a floating-point or vector register: `f3`, `v3`, `vs35`.
    pub fn uses_vectors(&self) -> bool {
        let operands = self.text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest);
        operands.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
            let number = word.strip_prefix("vs").or_else(|| word.strip_prefix(['f', 'v']));
            number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
    }
}

/// A function, or what lies between two labels of assembly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its address.
    pub address: u64,
    /// Its name, as Rust writes it.
    pub name: String,
    /// Its instructions.
    pub instructions: Vec<Instruction>,
}

/// The instructions of an image in target/images.
pub fn disassemble(name: &str) -> anyhow::Result<Vec<Instruction>> {
    Ok(functions(name)?.into_iter().flat_map(|function| function.instructions).collect())
}

/// The functions of an image in target/images.
pub fn functions(name: &str) -> anyhow::Result<Vec<Function>> {
    let options = ["--disassemble", "--no-show-raw-insn", "--demangle", "-M", "power10"];
    Ok(read_listing(&binutils("objdump", &options, name)?))
}

/// What a program of binutils prints of an image.
fn binutils(program: &str, options: &[&str], name: &str) -> anyhow::Result<String> {
    let path = super::root().join("target/images").join(name);
    ensure!(path.exists(), "target/images/{name} is not built: run `make build` first");
    let program = format!("powerpc64le-linux-gnu-{program}");
    let output = Command::new(&program)
        .args(options)
        .arg(&path)
        .output()
        .with_context(|| format!("{program} (binutils-powerpc64le-linux-gnu)"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Bytes of an image that are loaded: code, constants and initialised data.
pub fn loaded_bytes(name: &str) -> anyhow::Result<u64> {
    let text = binutils("size", &[], name)?;
    let row = text.lines().nth(1).context("size printed nothing")?;
    let columns: Vec<u64> = row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // text, data, bss, sum
    columns.get(..2).map(|sizes| sizes.iter().sum()).context("size printed no columns")
}

pub(crate) fn read_listing(listing: &str) -> Vec<Function> {
    let mut found: Vec<Function> = Vec::new();
    for line in listing.lines() {
        if let Some((address, rest)) = line.split_once(" <")
            && let Some(name) = rest.strip_suffix(">:")
            && let Ok(address) = u64::from_str_radix(address, 16)
        {
            found.push(Function { address, name: name.into(), instructions: Vec::new() });
        } else if let Some((address, text)) = line.split_once(":\t")
            && let Ok(address) = u64::from_str_radix(address.trim(), 16)
            && let Some(function) = found.last_mut()
        {
            // What the assembler made of data: `.long 0x…`; bytes of big-endian code among it.
            // A branch's target is named by its address; names may look like registers.
            let text = text.split('#').next().unwrap_or(text);
            let text = text.split(" <").next().unwrap_or(text).trim().to_owned();
            let function_name = function.name.clone();
            function.instructions.push(Instruction { function: function_name, address, text });
        }
    }
    found
}

/// A section that takes memory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Section {
    name: String,
    size: u64,
    address: u64,
    /// What binutils says of it, such as `LOAD, READONLY, CODE`.
    flags: String,
}

/// Sections in what `objdump --section-headers --wide` prints: number, name, size, address, load
/// address, place in the file, alignment, flags.
fn read_sections(listing: &str) -> Vec<Section> {
    let section = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [number, name, size, address, _, _, _, flags @ ..] = &words[..] else { return None };
        number.parse::<u32>().ok()?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let (size, address) = (hex(size)?, hex(address)?);
        let flags: Vec<&str> = flags.iter().map(|flag| flag.trim_end_matches(',')).collect();
        let flags = flags.contains(&"ALLOC").then(|| flags.join(" "))?;
        Some(Section { name: (*name).into(), size, address, flags })
    };
    listing.lines().filter_map(section).collect()
}

/// Symbols with their sizes in what `nm --print-size` prints: address, size, kind, name.
fn read_symbols(listing: &str) -> Vec<(u64, char, String)> {
    let symbol = |line: &str| {
        let mut words = line.splitn(4, ' ');
        let (_, size, kind, name) = (words.next()?, words.next()?, words.next()?, words.next()?);
        Some((u64::from_str_radix(size, 16).ok()?, kind.chars().next()?, name.to_owned()))
    };
    let mut found: Vec<_> = listing.lines().filter_map(symbol).collect();
    found.sort_by_key(|&(size, ..)| std::cmp::Reverse(size));
    found
}

/// The tables of an image's sections and of its largest symbols.
pub(crate) fn tables(name: &str) -> anyhow::Result<[Table; 2]> {
    let columns = ["section", "bytes", "address", "flags"];
    let mut sections = Table::new("sections", "Sections of the hypervisor's image", &columns);
    for section in read_sections(&binutils("objdump", &["--section-headers", "--wide"], name)?) {
        let Section { name, size, address, flags } = section;
        sections.row([name, number(size), format!("{address:#x}"), flags]);
    }
    let columns = ["bytes", "kind", "symbol"];
    let mut symbols = Table::new("symbols", "Largest symbols of the hypervisor's image", &columns);
    let all = read_symbols(&binutils("nm", &["--print-size", "--demangle"], name)?);
    symbols.note = format!("The {LARGEST} largest of {}.", all.len());
    for (size, kind, name) in all.into_iter().take(LARGEST) {
        let kind = match kind.to_ascii_lowercase() {
            't' => "code",
            'd' => "data",
            'r' => "constants",
            'b' => "zeros",
            _ => "other",
        };
        symbols.row([number(size), kind.into(), short(&name)]);
    }
    Ok([sections, symbols])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_registers_are_told_from_others() {
        let instruction =
            |text: &str| Instruction { function: String::new(), address: 0, text: text.into() };
        let uses = |text: &str| instruction(text).uses_vectors();
        assert!(
            uses("lfd     f0,16(r3)") && uses("stxvd2x vs63,r3,r5") && uses("vaddubm v1,v2,v3")
        );
        assert!(!uses("std     r14,112(r13)") && !uses("bl      20001360 <vsx_save>"));
        assert!(!uses("cmpld   cr7,r3,r4") && !uses("blr") && !uses("li      r3,-1"));
    }

    #[test]
    fn listings_are_read_by_function() {
        let listing = "\nimage:     file format elf64-powerpcle\n\n0000000020001360 <vsx_save>:\n    \
                       20001360:\tli      r5,0\n    20001364:\tlfd f0,0(r3)\n\n\
                       0000000020001370 <<a::B as c::D<f1>>::e>:\n    \
                       20001370:\tbl      20001378 <<a::B as c::D<f1>>::e+0x8>\n";
        let read = read_listing(listing);
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].name, "vsx_save");
        assert!(read[0].instructions[1].uses_vectors());
        assert_eq!(
            (read[1].address, read[1].name.as_str()),
            (0x2000_1370, "<a::B as c::D<f1>>::e")
        );
        assert_eq!(read[1].instructions[0].text, "bl      20001378");
        assert!(!read[1].instructions[0].uses_vectors());
    }

    #[test]
    fn sections_that_take_memory_are_read() {
        let listing = "Idx Name  Size      VMA               LMA               File off  Algn  Flags\n\
             0 .text    00014654  0000000020001360  0000000020001360  00001360  2**5  CONTENTS, ALLOC, LOAD, READONLY, CODE\n\
             1 .bss     00120000  0000000020080000  0000000020080000  0007dba8  2**16  ALLOC\n\
             2 .debug   00000759  0000000000000000  0000000000000000  0007dba8  2**0  CONTENTS, READONLY\n";
        let read = read_sections(listing);
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].name.as_str(), read[0].size), (".text", 0x14654));
        assert_eq!(read[0].flags, "CONTENTS ALLOC LOAD READONLY CODE");
        assert_eq!(read[1].address, 0x2008_0000);
    }

    #[test]
    fn symbols_are_read_largest_first() {
        let listing = "0000000020025008 0000000000000010 d a::B\n                 U c\n\
                       0000000020001360 0000000000000218 T <a::D as e::F>::g\n20000000 t h\n";
        let want = [(0x218, 'T', "<a::D as e::F>::g".to_owned()), (0x10, 'd', "a::B".to_owned())];
        assert_eq!(read_symbols(listing), want);
    }

    proptest::proptest! {
        #[test]
        fn no_listing_is_too_strange(text in "[0-9a-f<>: \t\n,]{0,200}") {
            read_listing(&text);
            read_sections(&text);
            read_symbols(&text);
        }
    }
}
