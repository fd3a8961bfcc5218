//! Measurements: digests of what domains are started from, in a chain like that of a TPM's
//! registers.
//!
//! The hypervisor hashes what it loads before it first runs, appends a [`Record`] to its log and
//! extends two [`Digest`]s with it: the log's register and the domain's own. Whoever has the records
//! can compute the registers again, and one that is missing, changed or moved shows. Users:
//! `hypervisor/core` (`measure.rs`), `domains/k42` (`attest.rs`). Contract: docs/interfaces.md §6.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

/// BLAKE2b of 256 bits, what `b2sum --length 256` prints: 12 instructions a byte without vectors,
/// where SHA-256 takes 30.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// A register before its first record.
    pub const ZERO: Digest = Digest([0; 32]);

    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        let hash = blake2b_simd::Params::new().hash_length(32).hash(bytes);
        let mut digest = Digest::ZERO;
        digest.0.copy_from_slice(hash.as_bytes());
        digest
    }

    /// The register after a record: the digest of its value and of the record's digest.
    pub fn extend(&mut self, record: &Record) {
        *self = Digest::of([self.0, Digest::of(&record.bytes()).0].as_flattened());
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In one piece: a line of the log has two, and a formatter is slow.
        const HEX: [u8; 16] = *b"0123456789abcdef";
        let digits = self.0.map(|byte| [byte >> 4, byte & 15].map(|n| HEX[usize::from(n)]));
        f.write_str(core::str::from_utf8(digits.as_flattened()).unwrap_or_default())
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// The hypervisor's own code and constants; of no domain.
    Hypervisor = 1,
    /// What a domain is, as text. The first record of its making: its register begins anew.
    Description = 2,
    /// Its rights, a little-endian word.
    Rights = 3,
    /// Bytes that were copied into its memory.
    Load = 4,
    /// How a processor of its starts, as text.
    Start = 5,
    /// A digest that its controller declares of what it has put there itself.
    Declared = 6,
}

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The domain, 0 for the hypervisor.
    pub domain: u16,
    /// What it is.
    pub kind: Kind,
    /// Where the bytes were put: a guest real address, or 0.
    pub at: u64,
    /// How many bytes.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
}

impl Record {
    /// Bytes of a record in the log.
    pub const SIZE: usize = 56;

    /// The record as it lies in the log and is hashed, little-endian: domain (2 bytes), kind (2),
    /// zeros (4), address (8), size (8), digest (32).
    pub fn bytes(&self) -> [u8; Record::SIZE] {
        let mut bytes = [0; Record::SIZE];
        bytes[..2].copy_from_slice(&self.domain.to_le_bytes());
        bytes[2..4].copy_from_slice(&(self.kind as u16).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.at.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.size.to_le_bytes());
        bytes[24..].copy_from_slice(&self.digest.0);
        bytes
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { domain, kind, at, size, digest } = self;
        write!(f, "domain {domain} {kind:?} at {at:#x}, {size} bytes, {digest}")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    const ALL: [Kind; 6] = [
        Kind::Hypervisor,
        Kind::Description,
        Kind::Rights,
        Kind::Load,
        Kind::Start,
        Kind::Declared,
    ];

    fn any_record() -> impl Strategy<Value = Record> {
        let digest = any::<[u8; 32]>().prop_map(Digest);
        (any::<u16>(), 0..ALL.len(), any::<u64>(), any::<u64>(), digest).prop_map(
            |(domain, kind, at, size, digest)| Record { domain, kind: ALL[kind], at, size, digest },
        )
    }

    fn register(records: &[Record]) -> Digest {
        let mut register = Digest::ZERO;
        records.iter().for_each(|record| register.extend(record));
        register
    }

    /// `printf abc | b2sum -l 256`, and of nothing.
    #[test]
    fn digests_are_those_of_b2sum() {
        let known = [
            ("", "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"),
            ("abc", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"),
        ];
        for (bytes, digest) in known {
            assert_eq!(Digest::of(bytes.as_bytes()).to_string(), digest);
        }
    }

    proptest! {
        #[test]
        fn any_other_byte_gives_another_digest(mut bytes in prop::collection::vec(any::<u8>(), 1..500),
                                               at: prop::sample::Index, change in 1u8..) {
            let before = Digest::of(&bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert_ne!(Digest::of(&bytes), before);
        }

        /// A record that is changed, left out, added or moved shows in the register.
        #[test]
        fn the_register_vouches_for_every_record_and_their_order(
            records in prop::collection::vec(any_record(), 1..12), other in any_record(),
            at: prop::sample::Index, with: prop::sample::Index) {
            let before = register(&records);
            let (at, with) = (at.index(records.len()), with.index(records.len()));
            let changed = |change: fn(&mut Vec<Record>, usize, Record)| {
                let mut changed = records.clone();
                change(&mut changed, at, other);
                register(&changed)
            };
            prop_assert_ne!(changed(|records, at, other| records[at] = other), before);
            prop_assert_ne!(changed(|records, at, _| { records.remove(at); }), before);
            prop_assert_ne!(changed(|records, at, other| records.insert(at, other)), before);
            prop_assert_ne!(changed(|records, at, _| records[at].at ^= 1), before);
            let mut moved = records.clone();
            moved.swap(at, with);
            prop_assert_eq!(register(&moved) == before, moved == records);
        }

        /// Every byte of a record counts: no two records have the same bytes.
        #[test]
        fn records_differ_in_their_bytes(one in any_record(), other in any_record()) {
            prop_assert_eq!(one.bytes() == other.bytes(), one == other);
        }
    }
}
