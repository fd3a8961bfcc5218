//! The root file system's image: a cpio archive of the `newc` kind, as Linux takes its initramfs.
//!
//! An entry is a header of ASCII hexadecimal numbers, a name and the file's bytes, each padded to
//! four bytes; an entry named `TRAILER!!!` is the last one.

/// Bytes of a header: a magic number and thirteen fields of eight digits.
const HEADER: usize = 110;
const MAGIC: &[u8] = b"070701";
const TRAILER: &[u8] = b"TRAILER!!!";

/// A file, directory or other thing in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path, as the archive has it.
    pub name: &'a [u8],
    /// Its inode number: entries with the same one are one file.
    pub inode: u32,
    /// Type and permissions, as in Linux's `st_mode`.
    pub mode: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Number of names.
    pub links: u32,
    /// Time of the last change, in seconds since 1970.
    pub modified: u32,
    /// Major and minor number of the device that a special file stands for.
    pub device: (u32, u32),
    /// Its bytes; a symbolic link's target.
    pub data: &'a [u8],
}

/// The image is not an archive from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Offset of the bad entry, in bytes.
    pub offset: usize,
}

/// The entries of an archive.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    image: &'a [u8],
    /// `None` after the last one.
    offset: Option<usize>,
}

/// Reads an archive.
pub fn entries(image: &[u8]) -> Entries<'_> {
    Entries { image, offset: (!image.is_empty()).then_some(0) }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset.take()?;
        match read(self.image, offset) {
            Some((entry, _)) if entry.name == TRAILER => None,
            Some((entry, next)) => {
                self.offset = Some(next);
                Some(Ok(entry))
            }
            None => Some(Err(Broken { offset })),
        }
    }
}

/// The entry at `offset`, and where the next one is.
fn read(image: &[u8], offset: usize) -> Option<(Entry<'_>, usize)> {
    let header = image.get(offset..offset.checked_add(HEADER)?)?;
    let digits = header.strip_prefix(MAGIC)?;
    let mut fields = [0; 13];
    for (field, digits) in fields.iter_mut().zip(digits.chunks_exact(8)) {
        *field = u32::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    let [inode, mode, user, group, links, modified, size, _, _, major, minor, name_size, _] =
        fields;
    let name_at = offset + HEADER;
    let name_end = name_at.checked_add(name_size as usize)?;
    let name = image.get(name_at..name_end)?.strip_suffix(b"\0")?;
    let data_at = name_end.checked_next_multiple_of(4)?;
    let data_end = data_at.checked_add(size as usize)?;
    let data = image.get(data_at..data_end)?;
    let device = (major, minor);
    let entry = Entry { name, inode, mode, user, group, links, modified, device, data };
    Some((entry, data_end.checked_next_multiple_of(4)?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Adds an entry to an archive.
    pub(crate) fn append(
        image: &mut Vec<u8>,
        inode: u32,
        mode: u32,
        links: u32,
        name: &str,
        data: &[u8],
    ) {
        let fields = [
            inode,
            mode,
            0,
            0,
            links,
            1_700_000_000,
            data.len() as u32,
            0,
            0,
            1,
            3,
            name.len() as u32 + 1,
            0,
        ];
        image.extend_from_slice(MAGIC);
        for field in fields {
            image.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        image.extend_from_slice(name.as_bytes());
        image.push(0);
        image.resize(image.len().next_multiple_of(4), 0);
        image.extend_from_slice(data);
        image.resize(image.len().next_multiple_of(4), 0);
    }

    /// Ends an archive.
    pub(crate) fn finish(image: &mut Vec<u8>) {
        append(image, 0, 0, 1, "TRAILER!!!", b"");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(files in prop::collection::vec(("[a-z/]{1,20}", prop::collection::vec(any::<u8>(), 0..50)), 0..10)) {
            let mut image = Vec::new();
            for (name, data) in &files {
                append(&mut image, 1, 0o100_644, 1, name, data);
            }
            finish(&mut image);
            image.extend_from_slice(&[0; 512]);
            let read: Vec<_> = entries(&image).map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), files.len());
            for (entry, (name, data)) in read.iter().zip(&files) {
                prop_assert_eq!(entry.name, name.as_bytes());
                prop_assert_eq!(entry.data, &data[..]);
                prop_assert_eq!(entry.modified, 1_700_000_000);
            }
        }

        /// Whatever the bytes: an end or an error, and no panic.
        #[test]
        fn damage_is_an_error(cut in 0usize..400, at in 0usize..300, byte: u8) {
            let mut image = Vec::new();
            append(&mut image, 1, 0o100_644, 1, "some/file", b"with bytes");
            append(&mut image, 2, 0o100_644, 1, "other", b"with more");
            finish(&mut image);
            image.truncate(cut.min(image.len()));
            if let Some(place) = image.get_mut(at) {
                *place = byte;
            }
            prop_assert!(entries(&image).count() <= 4);
        }
    }
}
