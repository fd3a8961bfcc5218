//! Pointers from the program. An address and a length give no access until the library's own record
//! of what it has mapped for the program says that the program has it too.

use crate::abi::{PAGE_SIZE, PROT_READ, PROT_WRITE};
use crate::{Errno, Linux};
use alloc::vec::Vec;

/// The longest path, with its final zero, in bytes.
const PATH_MAX: usize = 4096;

impl Linux {
    /// Loads bytes.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn read_bytes(&self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.memory.check(at, into.len() as u64, PROT_READ)?;
        self.system.load(at, into);
        Ok(())
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn write_bytes(&self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.memory.check(at, bytes.len() as u64, PROT_WRITE)?;
        self.system.store(at, bytes);
        Ok(())
    }

    /// Stores bytes, unless the pointer is null.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn write_optional(&self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        if at == 0 { Ok(()) } else { self.write_bytes(at, bytes) }
    }

    /// Loads doublewords.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn read_words<const N: usize>(&self, at: u64) -> Result<[u64; N], Errno> {
        let mut words = [0; N];
        for (word, at) in words.iter_mut().zip((0..).map(|n: u64| at.wrapping_add(8 * n))) {
            let mut bytes = [0; 8];
            self.read_bytes(at, &mut bytes)?;
            *word = u64::from_le_bytes(bytes);
        }
        Ok(words)
    }

    /// Loads a word.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn read_u32(&self, at: u64) -> Result<u32, Errno> {
        let mut bytes = [0; 4];
        self.read_bytes(at, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Loads bytes up to a zero, at most `limit` with it.
    ///
    /// # Errors
    /// `EFAULT`; `too_long` when there is no zero among them.
    pub fn read_text(&self, at: u64, limit: usize, too_long: Errno) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::new();
        while text.len() < limit {
            let from = at.wrapping_add(text.len() as u64);
            let page = (PAGE_SIZE - from % PAGE_SIZE) as usize;
            let old = text.len();
            text.resize(old + page.min(limit - old).min(256), 0);
            self.read_bytes(from, &mut text[old..])?;
            if let Some(end) = text[old..].iter().position(|byte| *byte == 0) {
                text.truncate(old + end);
                return Ok(text);
            }
        }
        Err(too_long)
    }

    /// Loads a path.
    ///
    /// # Errors
    /// `EFAULT`, `ENAMETOOLONG`.
    pub fn read_path(&self, at: u64) -> Result<Vec<u8>, Errno> {
        self.read_text(at, PATH_MAX, Errno::ENAMETOOLONG)
    }
}
