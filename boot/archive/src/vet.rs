//! One walk over the index that makes sure of all that the `fdt` crate takes for granted.
//!
//! That crate indexes and unwraps where a tree is broken. After this walk every block is inside the
//! archive, every name is terminated text, every value is inside its block, nodes nest properly, and
//! to the depth of an archive only (the crate recurses). `NOP` tokens are refused: the crate does
//! not pass them over everywhere, and the writer makes none.

use crate::error::IndexFault;

const MAGIC: u32 = 0xd00d_feed;
const HEADER: usize = 40;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const END: u32 = 9;
/// Root, domain, load.
const MAX_DEPTH: usize = 3;

/// Checks the index at the start of `archive`; returns its length in bytes.
pub(crate) fn vet(archive: &[u8]) -> Result<usize, IndexFault> {
    let header = archive.get(..HEADER).ok_or(IndexFault::NoHeader)?;
    let field = |n: usize| word(header, n * 4).map_or(0, |w| w as usize);
    if field(0) != MAGIC as usize {
        return Err(IndexFault::NoMagic);
    }
    let index = archive.get(..field(1)).ok_or(IndexFault::Truncated)?;
    let block = |start: usize, size: usize| {
        index.get(start..start.saturating_add(size)).ok_or(IndexFault::BlockOutside)
    };
    let structure = block(field(2), field(9))?;
    let strings = block(field(3), field(8))?;
    walk(structure, strings)?;
    Ok(index.len())
}

/// The grammar: `node = BEGIN_NODE name property* node* END_NODE`, and one root, without a name.
fn walk(structure: &[u8], strings: &[u8]) -> Result<(), IndexFault> {
    let mut at = 0;
    let mut depth = 0;
    // Whether a property may come: not any more once the node has had a child.
    let mut properties = false;
    loop {
        let token = word(structure, at).ok_or(IndexFault::BadNesting)?;
        at += 4;
        match token {
            BEGIN_NODE => {
                let name = text(structure.get(at..).unwrap_or_default())?;
                if (depth == 0) != name.is_empty() {
                    return Err(IndexFault::BadName);
                }
                at += (name.len() + 1).next_multiple_of(4);
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(IndexFault::TooDeep);
                }
                properties = true;
            }
            PROPERTY if properties => {
                let size = word(structure, at).ok_or(IndexFault::BadProperty)? as usize;
                let name = word(structure, at + 4).ok_or(IndexFault::BadProperty)? as usize;
                text(strings.get(name..).ok_or(IndexFault::BadName)?)?;
                let end = (at + 8).saturating_add(size);
                structure.get(at + 8..end).ok_or(IndexFault::BadProperty)?;
                at = end.next_multiple_of(4);
            }
            END_NODE if depth > 0 => {
                depth -= 1;
                properties = false;
                if depth == 0 {
                    return match word(structure, at) {
                        Some(END) => Ok(()),
                        _ => Err(IndexFault::BadNesting),
                    };
                }
            }
            _ => return Err(IndexFault::BadNesting),
        }
    }
}

/// The big-endian word at `at`.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

/// The text at the start of `bytes`, up to its NUL.
fn text(bytes: &[u8]) -> Result<&str, IndexFault> {
    core::ffi::CStr::from_bytes_until_nul(bytes)
        .ok()
        .and_then(|name| name.to_str().ok())
        .ok_or(IndexFault::BadName)
}
