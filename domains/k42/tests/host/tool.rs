//! A source tree with made-up images, and the host tool with a stand-in for QEMU in it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

#[path = "../../../builder/tests/elf/mod.rs"]
mod elf;

/// The made-up tree.
pub struct Tree {
    folder: TempDir,
}

impl Tree {
    pub fn new() -> Tree {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree { folder };
        let top = 0xc000_0000_0000_0000;
        let kernel = elf::file(top, &[elf::Part(top, 0, 0x1000, b"kernel", 7)]);
        let library = elf::file(0x1000, &[elf::Part(0x1000, 0, 0x1000, b"library", 5)]);
        tree.write("target/images/hypervisor", b"hypervisor");
        tree.write("target/images/guest-kernel", &with_symbol(kernel, b"start", top, 0x40));
        tree.write("target/images/linux-compat", &library);
        tree.write("target/inputs/root.cpio", &root(&["cat", "echo", "crash", "stop"]));
        tree
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    /// A log of machine `name`.
    pub fn log(&self, name: &str, console: &str) -> String {
        fs::read_to_string(self.path(&format!("target/run/{name}/{console}.log"))).unwrap()
    }

    /// The tool's command line.
    pub fn k42(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_k42"));
        command.args(arguments).current_dir(self.folder.path());
        command.env("K42_TOP", self.folder.path()).env("K42_QEMU", stand_in());
        command
    }
}

/// Where cargo has built the stand-in: beside this test.
fn stand_in() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let place = test.parent().unwrap().parent().unwrap().join("examples/stand-in");
    assert!(place.exists(), "no {}: `cargo test --test` builds no examples", place.display());
    place
}

/// The file with a symbol table of one function.
fn with_symbol(mut file: Vec<u8>, name: &[u8], start: u64, size: u64) -> Vec<u8> {
    let words =
        |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let symbols = file.len() as u64;
    file.extend(words(&[0, 0, 0]));
    file.extend(words(&[1 | 2 << 32 | 1 << 48, start, size])); // a function in section 1
    let names = file.len() as u64;
    file.extend([&[0], name, &[0]].concat());
    let sections = file.len() as u64;
    file.extend(words(&[0; 8]));
    // Name and kind, flags, address, place, length, link and information, alignment, entries.
    file.extend(words(&[2 << 32, 0, 0, symbols, 48, 2 | 1 << 32, 8, 24]));
    file.extend(words(&[3 << 32, 0, 0, names, name.len() as u64 + 2, 0, 1, 0]));
    file[40..48].copy_from_slice(&sections.to_le_bytes());
    file[60..62].copy_from_slice(&3u16.to_le_bytes());
    file
}

fn root(programs: &[&str]) -> Vec<u8> {
    let mut archive = Vec::new();
    cpio::newc::Builder::new("bin").mode(0o040_755).write(&mut archive, 0).finish().unwrap();
    for name in programs {
        let entry = cpio::newc::Builder::new(&format!("bin/{name}")).mode(0o100_755);
        entry.write(&mut archive, 0).finish().unwrap();
    }
    cpio::newc::trailer(&mut archive).unwrap();
    archive
}
