//! What is in a built image: its instructions, as binutils disassembles them, and its size.

use anyhow::{Context, ensure};
use std::process::Command;

/// A disassembled instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The function it is in.
    pub function: String,
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

/// The instructions of an image in target/images.
pub fn disassemble(name: &str) -> anyhow::Result<Vec<Instruction>> {
    let path = super::root().join("target/images").join(name);
    ensure!(path.exists(), "target/images/{name} is not built: run `make build` first");
    let output = Command::new("powerpc64le-linux-gnu-objdump")
        .args(["--disassemble", "--no-show-raw-insn", "-M", "power10"])
        .arg(&path)
        .output()
        .context("powerpc64le-linux-gnu-objdump (binutils-powerpc64le-linux-gnu)")?;
    ensure!(output.status.success(), "objdump: {}", String::from_utf8_lossy(&output.stderr));
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Bytes of an image that are loaded: code, constants and initialised data.
pub fn loaded_bytes(name: &str) -> anyhow::Result<u64> {
    let path = super::root().join("target/images").join(name);
    let output = Command::new("powerpc64le-linux-gnu-size")
        .arg(&path)
        .output()
        .context("powerpc64le-linux-gnu-size (binutils-powerpc64le-linux-gnu)")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = text.lines().nth(1).with_context(|| format!("{}: no such image", path.display()))?;
    let columns: Vec<u64> = row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // text, data, bss, sum
    columns.get(..2).map(|sizes| sizes.iter().sum()).context("size printed no columns")
}

fn parse(listing: &str) -> Vec<Instruction> {
    let mut function = String::new();
    let mut found = Vec::new();
    for line in listing.lines() {
        let label = line.split_once('<').and_then(|(_, rest)| rest.strip_suffix(">:"));
        if let Some(label) = label {
            label.clone_into(&mut function);
        } else if let Some((_, text)) = line.split_once(":\t") {
            // What the assembler made of data: `.long 0x…`; bytes of big-endian code among it.
            let text = text.split('#').next().unwrap_or(text).trim().to_owned();
            found.push(Instruction { function: function.clone(), text });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_registers_are_told_from_others() {
        let uses =
            |text: &str| Instruction { function: String::new(), text: text.into() }.uses_vectors();
        assert!(
            uses("lfd     f0,16(r3)") && uses("stxvd2x vs63,r3,r5") && uses("vaddubm v1,v2,v3")
        );
        assert!(!uses("std     r14,112(r13)") && !uses("bl      20001360 <vsx_save>"));
        assert!(!uses("cmpld   cr7,r3,r4") && !uses("blr") && !uses("li      r3,-1"));
    }

    #[test]
    fn listings_are_read_by_function() {
        let listing = "0000000020001360 <vsx_save>:\n    20001360:\tli      r5,0\n    20001364:\tlfd f0,0(r3)\n";
        let read = parse(listing);
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].function, "vsx_save");
        assert!(read[1].uses_vectors());
    }
}
