//! The Region: a range of an address space, the file it shows and what may be done there.

use core::ops::Range;
use k42_lib::radix::Access;
use kernel_abi::{Error, PAGE_SIZE, protection};

/// An FCM of a process, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FcmId(pub u64);

/// What sort of region it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The program's: it may destroy it and change its protection.
    Default,
    /// The system's, there from the start: it stays as it is.
    Fixed,
    /// Refuses every access: what lies behind a stack.
    RedZone,
}

/// A region. Its place is the key under which the process keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Address of the first byte after it.
    pub end: u64,
    /// Its sort.
    pub kind: Kind,
    /// What may be done there.
    pub protection: Access,
    /// Whose bytes it shows.
    pub fcm: FcmId,
    /// Number of the FCM's page at the region's start.
    pub first_page: u64,
}

impl Region {
    /// The FCM's pages that the addresses `range`, within the region at `start`, show.
    pub fn pages(&self, start: u64, range: &Range<u64>) -> Range<u64> {
        let page = |address: u64| self.first_page + (address - start) / PAGE_SIZE;
        page(range.start)..page(range.end)
    }

    /// Whether an access of this sort is allowed.
    pub fn allows(&self, access: Access) -> bool {
        self.kind != Kind::RedZone && self.protection.contains(access)
    }
}

/// What the bits of a native call's `protection` mean for the processor, which has no stores
/// without loads.
///
/// # Errors
/// [`Error::Invalid`] for bits without meaning.
pub fn access(bits: u64) -> Result<Access, Error> {
    if bits & !(protection::READ | protection::WRITE | protection::EXECUTE) != 0 {
        return Err(Error::Invalid);
    }
    let mut access = Access::empty();
    access.set(Access::READ, bits & (protection::READ | protection::WRITE) != 0);
    access.set(Access::WRITE, bits & protection::WRITE != 0);
    access.set(Access::EXECUTE, bits & protection::EXECUTE != 0);
    Ok(access)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protections_are_the_processors() {
        assert_eq!(access(protection::NONE), Ok(Access::empty()));
        assert_eq!(access(protection::WRITE), Ok(Access::READ | Access::WRITE));
        assert_eq!(access(protection::EXECUTE), Ok(Access::EXECUTE));
        assert_eq!(access(8), Err(Error::Invalid));
    }

    #[test]
    fn a_region_knows_its_pages() {
        let region = Region {
            end: 0x5_0000,
            kind: Kind::Default,
            protection: Access::READ,
            fcm: FcmId(0),
            first_page: 10,
        };
        assert_eq!(region.pages(0x2_0000, &(0x3_0000..0x5_0000)), 11..13);
        assert!(!region.allows(Access::WRITE));
        assert!(!Region { kind: Kind::RedZone, ..region }.allows(Access::READ));
    }
}
