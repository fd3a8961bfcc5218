//! Calls of PAPR's: the logical LAN, whose buffers and queues lie in junk that other calls write
//! to, and those that this domain has no right to.

use super::{Attacker, Call};
use hv_abi::Number;
use hv_abi::common::LAN_UNIT;

/// A port's address in the form that the hypervisor gives, without the domain's number.
const MAC: u64 = 0x524b_3432_0000;

fn call<const N: usize>(token: u64, arguments: [u64; N]) -> Call {
    Call::new(Number::Token(token).encode(), arguments)
}

impl Attacker {
    /// Storage as the logical LAN's calls name it, of some length: right, too long, or no storage.
    fn buffer(&mut self, lengths: &[u64]) -> u64 {
        let at = match self.random.below(16) {
            0 => self.ground.nowhere(&mut self.random),
            1 => self.ground.extent(&mut self.random),
            2 => self.ground.window(&mut self.random),
            3 => self.ground.junk_page(&mut self.random) + 1,
            _ => self.ground.junk_page(&mut self.random),
        };
        let length = match self.random.below(16) {
            0 => self.random.of(&[0, 1, 0xff_ffff]),
            _ => self.random.of(lengths),
        };
        let valid = u64::from(!self.random.one_in(16)) << 63;
        valid | length << 32 | at.min(0xffff_f000)
    }

    fn mac(&mut self) -> u64 {
        let any = self.random.next() >> 16;
        self.random.of(&[MAC | self.peer, MAC | self.peer, MAC | self.own, MAC | 3, !0 >> 16, any])
    }

    /// A call of the logical LAN.
    pub(super) fn lan(&mut self) -> Call {
        let unit = if self.random.one_in(16) { self.random.below(4) } else { LAN_UNIT };
        match self.random.below(16) {
            0 | 1 => {
                let list = self.buffer(&[0]);
                let queue = self.buffer(&[16, 64, 256, 4096]);
                let own = if self.random.one_in(4) { self.mac() } else { MAC | self.own };
                call(0x114, [unit, list & 0xffff_ffff, queue, list & 0xffff_ffff, own])
            }
            2 => call(0x118, [unit]),
            3..=6 => call(0x11c, [unit, self.buffer(&[64, 128, 1600, 9240])]),
            7..=12 => self.send(unit),
            13 => call(0x104, [unit, self.random.below(3)]),
            14 => {
                let own = if self.random.one_in(2) { self.mac() } else { MAC | self.own };
                call(0x14c, [unit, own])
            }
            _ => call(0x130, [unit, self.random.next() & 0xf_0003, self.mac()]),
        }
    }

    fn send(&mut self, unit: u64) -> Call {
        let to = self.mac();
        let from = if self.random.one_in(8) { self.mac() } else { MAC | self.own };
        let at = self.ground.frame(&mut self.random, to, from);
        let length = self.random.of(&[14, 60, 64, 120, 1514, 9216, 9217]);
        let first = 1 << 63 | length << 32 | at;
        let mut arguments = [unit, first, 0, 0, 0, 0, 0, 0];
        let parts = if self.random.one_in(4) { self.random.below(6) as usize } else { 0 };
        for part in arguments.iter_mut().skip(2).take(parts) {
            *part = self.buffer(&[1, 20, 1500]);
        }
        arguments[7] = if self.random.one_in(8) { self.random.below(70) } else { 0 };
        call(0x120, arguments)
    }

    /// What Linux calls. Only the first vCPU can take an interrupt, so it alone enables them.
    pub(super) fn platform(&mut self) -> Call {
        let small = [self.random.below(4), self.random.below(4), self.random.below(4)];
        match self.random.below(8) {
            0 if self.number == 0 => call(0xe0, []),
            1 => {
                let resource = self.random.of(&[0, 1, 2, 3, 5, u64::MAX]);
                call(0x31c, [self.random.below(4), resource, self.random.next(), 0])
            }
            2 => {
                let base = self.ground.answer(&mut self.random);
                call(0x37c, [self.random.below(32), base, self.random.below(3), 0])
            }
            3 => call(0x54, [self.random.below(2)]),
            4 => call(0x58, [0, self.random.of(&[0, 17, u64::MAX]), 0, 0]),
            5 => call(0xf000, [self.ground.answer(&mut self.random)]),
            6 => {
                let token = self.random.of(&[0x64, 0x68, 0x6c, 0x70, 0x74, 0xe4, 0xe8]);
                call(token, small)
            }
            // Numbers of nothing: LPAR calls that there are not, and Xen's that there are not.
            _ => {
                let xen = Number::Xen(56 + self.random.below(0xff00)).encode();
                let papr = 0x400 + self.random.below(0x100) * 4;
                let any = self.random.next() >> 1 | 1;
                let number = self.random.of(&[xen, papr, any]);
                Call::new(number, small)
            }
        }
    }
}
