//! The logical LANs: one switch, and a port for every domain with the right, on the LAN that it was
//! made for. No frame goes from one LAN to another.
//!
//! Here is the switch: which ports a frame goes to. A port sends from its own address alone, so the
//! switch knows where each is and has nothing to learn: what is for one station reaches nobody else,
//! whether that listens or not. A port's buffers and queue are in [`port`], the calls in
//! `hypercall/lan.rs`.

pub mod port;

use crate::domain::{DomainId, MAX_DOMAINS};
use hv_abi::common::LAN_ADDRESS;

/// As many LANs as could have a port, and the first: their numbers are from 0.
pub const LANS: usize = MAX_DOMAINS + 1;

/// An Ethernet address: the low 48 bits, as PAPR passes it in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(u64);

impl Mac {
    const NONE: Mac = Mac(0);

    /// The address that is given to a domain's port: 52:4b:34:32:00 and its number.
    pub const fn of(id: DomainId) -> Mac {
        Mac(LAN_ADDRESS | id.number() as u64)
    }

    /// As it is in a register.
    pub const fn new(register: u64) -> Mac {
        Mac(register)
    }

    /// As it is in a frame's header.
    pub fn in_header(bytes: &[u8]) -> Mac {
        Mac(bytes.iter().fold(0, |mac, byte| mac << 8 | u64::from(*byte)))
    }

    /// Whether it means several stations.
    fn is_group(self) -> bool {
        self.0 >> 40 & 1 != 0
    }

    /// Whether it is one station's address, and not one that is given to a port.
    fn is_free(self) -> bool {
        let given = self.0 >> 8 == LAN_ADDRESS >> 8;
        self != Mac::NONE && self.0 >> 48 == 0 && !self.is_group() && !given
    }
}

/// The switch. Sets of ports have a bit for each domain's number.
pub struct Switch {
    /// The open ports of each LAN.
    pub(crate) open: [u64; LANS],
    /// Addresses that ports have taken instead of those given to them.
    taken: [Mac; MAX_DOMAINS + 1],
}

impl Switch {
    /// A switch with no port open.
    pub(crate) const fn new() -> Switch {
        Switch { open: [0; LANS], taken: [Mac::NONE; MAX_DOMAINS + 1] }
    }

    fn mac(&self, id: DomainId) -> Mac {
        let taken = self.taken.get(usize::from(id.number())).filter(|mac| **mac != Mac::NONE);
        taken.copied().unwrap_or(Mac::of(id))
    }

    /// Gives a port this address; `None` when it may be another port's, or nobody's.
    pub fn take(&mut self, id: DomainId, mac: Mac) -> Option<()> {
        let own = mac == Mac::of(id) || mac == self.mac(id);
        if own || mac.is_free() && !self.taken.contains(&mac) {
            *self.taken.get_mut(usize::from(id.number()))? = mac;
            return Some(());
        }
        None
    }

    /// Opens a port of that LAN.
    pub fn open(&mut self, id: DomainId, lan: u16) {
        if let Some(open) = self.open.get_mut(usize::from(lan)) {
            *open |= bit(id);
        }
    }

    /// Closes a port: nothing of it is left.
    pub fn close(&mut self, id: DomainId) {
        self.open.iter_mut().for_each(|open| *open &= !bit(id));
        if let Some(taken) = self.taken.get_mut(usize::from(id.number())) {
            *taken = Mac::NONE;
        }
    }

    /// The ports that a frame goes to, all of the sender's LAN: the one with its destination's address, or
    /// all for a group, as for a broadcast, never the sender's. `None` when the source is not the sender's
    /// own address.
    pub fn route(&self, from: DomainId, lan: u16, destination: Mac, source: Mac) -> Option<u64> {
        let open = self.open.get(usize::from(lan)).copied()?;
        let all = destination.is_group();
        let meant = |id: &DomainId| all || self.mac(*id) == destination;
        let ports = members(open & !bit(from)).filter(meant).fold(0, |set, id| set | bit(id));
        (source == self.mac(from)).then_some(ports)
    }
}

/// The set of one port.
pub(crate) fn bit(id: DomainId) -> u64 {
    1u64.checked_shl(id.number().into()).unwrap_or(0)
}

/// The ports of a set, in the order of their numbers.
pub fn members(set: u64) -> impl Iterator<Item = DomainId> {
    let numbers = set.trailing_zeros()..u64::BITS.saturating_sub(set.leading_zeros());
    let members = numbers.filter(move |n| set.checked_shr(*n).is_some_and(|rest| rest & 1 != 0));
    members.filter_map(|n| DomainId::new(u16::try_from(n).ok()?))
}
