//! A machine's memory: a file that QEMU has it in, and others may read and write.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The memory.
#[derive(Debug)]
pub struct Memory {
    file: File,
}

impl Memory {
    /// Opens it.
    pub fn open(path: &Path) -> io::Result<Memory> {
        Ok(Memory { file: OpenOptions::new().read(true).write(true).open(path)? })
    }

    /// Its size in bytes, as far as it is there yet.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Words from `at` on; fewer where it ends.
    pub fn words(&self, at: u64, count: usize) -> io::Result<Vec<u64>> {
        let mut bytes = vec![0; count * 8];
        let mut read = 0;
        while read < bytes.len() {
            match self.file.read_at(&mut bytes[read..], at + read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        let (words, _) = bytes[..read].as_chunks();
        Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }

    /// One word; 0 where there is no memory.
    pub fn word(&self, at: u64) -> io::Result<u64> {
        Ok(self.words(at, 1)?.first().copied().unwrap_or(0))
    }

    /// Stores bytes.
    pub fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }
}
