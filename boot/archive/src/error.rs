//! What can be wrong with an archive. Every error says where and what, in words for its owner.

use core::fmt;

/// Where in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the root node.
    Root,
    /// In the domain of that number.
    Domain(u16),
    /// In the domain of the first number, in its load of the second, counted from 0.
    Load(u16, usize),
    /// In the domain of the first number, in its disk of the second.
    Disk(u16, u32),
}

/// How the index is not a sound device tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexFault {
    /// The archive is shorter than a device tree's header.
    NoHeader,
    /// It does not begin with a device tree's magic number.
    NoMagic,
    /// The header's size is beyond the end of the archive.
    Truncated,
    /// A block that the header names is not inside the index.
    BlockOutside,
    /// A node's or property's name is unterminated, not text, or outside its block.
    BadName,
    /// A property's value goes beyond its block.
    BadProperty,
    /// Nodes and properties do not nest as they must.
    BadNesting,
    /// Nodes nest deeper than an archive's do.
    TooDeep,
}

/// Why an archive, or one of its domains, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveError {
    /// The index is not a sound device tree.
    Index(IndexFault),
    /// The root's `compatible` is not this version's.
    OtherVersion,
    /// A node in the root is not `domain@NUMBER`, number in hexadecimal, 1 to 62.
    NotADomain,
    /// Two domains have this number.
    SameNumber(u16),
    /// The domain of this number has the name of another.
    SameName(u16),
    /// A property is not there.
    Missing(Place, &'static str),
    /// A property's value has the wrong size, or is not one of those it may have.
    BadValue(Place, &'static str),
    /// A load, the entry or the device tree is outside the domain's memory.
    OutsideMemory(Place, &'static str),
    /// A load's data is outside the archive.
    OutsideArchive(Place),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => write!(f, "root node"),
            Place::Domain(number) => write!(f, "domain {number}"),
            Place::Load(number, index) => write!(f, "domain {number}, load {index}"),
            Place::Disk(number, disk) => write!(f, "domain {number}, disk {disk}"),
        }
    }
}

impl fmt::Display for IndexFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IndexFault::NoHeader => "shorter than a device tree's header",
            IndexFault::NoMagic => "no device tree's magic number",
            IndexFault::Truncated => "the archive ends inside the index",
            IndexFault::BlockOutside => "a block is outside the index",
            IndexFault::BadName => "a name is not terminated text inside its block",
            IndexFault::BadProperty => "a property's value leaves its block",
            IndexFault::BadNesting => "nodes and properties do not nest",
            IndexFault::TooDeep => "nodes nest too deep",
        })
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot archive: ")?;
        match self {
            ArchiveError::Index(fault) => write!(f, "index: {fault}"),
            ArchiveError::OtherVersion => {
                write!(f, "root node: compatible is not {}", crate::COMPATIBLE)
            }
            ArchiveError::NotADomain => {
                write!(f, "a node is not domain@NUMBER with a number from 1 to 62 in hexadecimal")
            }
            ArchiveError::SameNumber(number) => write!(f, "domain {number} is there twice"),
            ArchiveError::SameName(number) => {
                write!(f, "domain {number} has the name of another domain")
            }
            ArchiveError::Missing(place, what) => write!(f, "{place}: no {what}"),
            ArchiveError::BadValue(place, what) => write!(f, "{place}: bad value of {what}"),
            ArchiveError::OutsideMemory(place, what) => {
                write!(f, "{place}: {what} is outside the domain's memory")
            }
            ArchiveError::OutsideArchive(place) => {
                write!(f, "{place}: data is outside the archive")
            }
        }
    }
}

impl core::error::Error for ArchiveError {}
