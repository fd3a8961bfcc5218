//! What the walker reads of grants: the mappings that a domain has noted, and how often its entries
//! are in use.

use super::{ENTRIES, MAPPINGS, Mapping, offset};
use crate::domain::Domain;
use crate::machine::{Machine, Storage};
use k42_lib::RealAddr;

/// Bytes that are read at once.
const PART: usize = 1024;

/// Calls `each` with every mapping that the domain has noted, and what that adds to its entry's uses.
pub(crate) fn mappings(
    machine: &impl Machine,
    domain: &Domain,
    each: &mut dyn FnMut(Mapping, u64),
) {
    let Some(shared) = domain.shared else { return };
    let words = u64::from(MAPPINGS);
    for_each_word(machine, shared.offset(offset::MAPPINGS), words, &mut |word| {
        if let Some(mapping) = Mapping::decode(word) {
            each(mapping, mapping.one_use());
        }
    });
}

/// How often all entries of the domain's table are in use; in the upper half, how often to be
/// written.
pub(crate) fn uses(machine: &impl Machine, domain: &Domain) -> u64 {
    let Some(shared) = domain.shared else { return 0 };
    let mut sum: u64 = 0;
    let words = u64::from(ENTRIES);
    for_each_word(machine, shared.offset(offset::USES), words, &mut |word| {
        sum = sum.saturating_add(word);
    });
    sum
}

fn for_each_word(machine: &impl Machine, at: RealAddr, words: u64, each: &mut dyn FnMut(u64)) {
    for start in (0..words.saturating_mul(8)).step_by(PART) {
        let mut part = [0; PART];
        machine.read(at.offset(start), &mut part);
        for word in part.as_chunks().0 {
            // As `Machine::store_entry` puts them.
            each(u64::from_be_bytes(*word));
        }
    }
}
