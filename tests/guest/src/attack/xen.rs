//! Calls of Xen's, as whoever knows the interface would make them to break it.

use super::ground::{self, PAGE, Use};
use super::{Attacker, Call};
use hv_abi::Number;
use xen_sys::{event_channel as events, grant_table as grants, hvm, memory, xen};

/// Numbers that are no count.
const HUGE: [u64; 5] = [17, 65, u32::MAX as u64, 1 << 61, u64::MAX];
/// An address that never leads anywhere: for arguments that would end the attacker.
pub(super) const NEVER: u64 = u64::MAX - 3;

pub(super) fn call<const N: usize>(number: u64, arguments: [u64; N]) -> Call {
    Call::new(Number::Xen(number).encode(), arguments)
}

impl Attacker {
    /// A domain: the peer more often than others, and many that there are not.
    pub(super) fn domain(&mut self) -> u64 {
        let any = self.random.next() & 0xffff;
        let own = xen::DOMID_SELF.into();
        self.random.of(&[self.peer, self.peer, self.peer, self.peer, own, self.own, 3, 0, 64, any])
    }

    /// The domain itself, or sometimes not.
    pub(super) fn own_domain(&mut self) -> u64 {
        if self.random.one_in(8) { self.domain() } else { xen::DOMID_SELF.into() }
    }

    /// Few ports, so that all meet at them.
    pub(super) fn port(&mut self) -> u64 {
        match self.random.below(32) {
            0 => self.random.of(&[0, 255, 256, 4095, 4096, u32::MAX as u64]),
            _ => 1 + self.random.below(20),
        }
    }

    /// A vCPU of the domain's, or none of it.
    pub(super) fn vcpu(&mut self) -> u64 {
        self.random.of(&[0, 0, 0, 1, 1, 1, 2, u32::MAX as u64])
    }

    /// An argument at the place of this use.
    pub(super) fn argument(&mut self, of: Use, words: &[u64]) -> u64 {
        self.ground.argument(&mut self.random, of, words)
    }

    pub(super) fn answer(&mut self) -> u64 {
        self.ground.answer(&mut self.random)
    }

    /// An event channel is made, connected, used or closed.
    pub(super) fn events(&mut self) -> Call {
        use events::*;
        let commands = [
            EVTCHNOP_SEND,
            EVTCHNOP_SEND,
            EVTCHNOP_SEND,
            EVTCHNOP_SEND,
            EVTCHNOP_CLOSE,
            EVTCHNOP_CLOSE,
            EVTCHNOP_CLOSE,
            EVTCHNOP_ALLOC_UNBOUND,
            EVTCHNOP_ALLOC_UNBOUND,
            EVTCHNOP_BIND_INTERDOMAIN,
            EVTCHNOP_BIND_INTERDOMAIN,
            EVTCHNOP_BIND_INTERDOMAIN,
            EVTCHNOP_BIND_VIRQ,
            EVTCHNOP_BIND_IPI,
            EVTCHNOP_BIND_VCPU,
            EVTCHNOP_UNMASK,
            EVTCHNOP_STATUS,
            2,
        ];
        let command = self.random.of(&commands);
        let words = match command {
            EVTCHNOP_ALLOC_UNBOUND => [self.own_domain() | self.domain() << 16, 0, 0],
            EVTCHNOP_BIND_INTERDOMAIN => [self.domain() | self.port() << 32, 0, 0],
            EVTCHNOP_BIND_VIRQ => [self.random.below(20) | self.vcpu() << 32, 0, 0],
            EVTCHNOP_BIND_IPI => [self.vcpu(), 0, 0],
            EVTCHNOP_BIND_VCPU => [self.port() | self.vcpu() << 32, 0, 0],
            EVTCHNOP_STATUS => [self.own_domain() | self.port() << 32, 0, 0],
            _ => [self.port(), 0, 0],
        };
        // Nothing that is read there can end the attacker: it may as well be another's page.
        let at = match self.random.one_in(32) {
            true => self.ground.window(&mut self.random),
            false => self.argument(Use::Events, &words),
        };
        call(xen::HYPERVISOR_EVENT_CHANNEL_OP, [command.into(), at])
    }

    /// A page is lent, or what was lent is not any more; then somebody's page is mapped, unmapped or
    /// copied.
    pub(super) fn grants(&mut self) -> Call {
        if self.random.one_in(2) {
            let flags = match self.random.below(8) {
                0 => self.random.next() & 0xffff,
                1 => 0,
                2 | 3 => (grants::GTF_PERMIT_ACCESS | grants::GTF_READONLY).into(),
                _ => grants::GTF_PERMIT_ACCESS.into(),
            };
            let page = self.ground.page(&mut self.random);
            let (reference, domain) = (self.reference(), self.domain());
            self.ground.grant(reference, page, domain << 16 | flags);
        }
        let command = self.random.below(16);
        match command {
            0..=4 => self.map(),
            5..=8 => self.unmap(),
            9..=13 => self.copy(),
            _ => {
                let own = self.own_domain();
                let at = self.argument(Use::Grants, &[own, 0, 0]);
                let command = self.random.of(&[
                    grants::GNTTABOP_QUERY_SIZE,
                    grants::GNTTABOP_SET_VERSION,
                    grants::GNTTABOP_GET_VERSION,
                    3,
                ]);
                self.grant_call(command, at)
            }
        }
    }

    fn grant_call(&mut self, command: u32, at: u64) -> Call {
        let count = match self.random.below(16) {
            0 => self.random.of(&HUGE),
            1 => 64,
            2 | 3 => self.random.below(5),
            _ => 1,
        };
        call(xen::HYPERVISOR_GRANT_TABLE_OP, [command.into(), at, count])
    }

    /// Few entries, so that all meet at them.
    fn reference(&mut self) -> u64 {
        if self.random.one_in(32) {
            return self.random.of(&[3071, 3072, 0x3fff, u32::MAX as u64]);
        }
        self.random.below(10)
    }

    fn map(&mut self) -> Call {
        let mut words = [0; 12];
        let mut first = 0;
        for element in words.chunks_exact_mut(4) {
            let at = match self.random.below(32) {
                0 => self.ground.extent(&mut self.random),
                1 => self.ground.junk_page(&mut self.random),
                2 => self.ground.nowhere(&mut self.random),
                3 => self.ground.window(&mut self.random) + 8,
                _ => self.ground.window(&mut self.random),
            };
            let flags = match self.random.below(16) {
                0 => self.random.next() & 0xff,
                1..=5 => (grants::GNTMAP_HOST_MAP | grants::GNTMAP_READONLY).into(),
                _ => grants::GNTMAP_HOST_MAP.into(),
            };
            element.copy_from_slice(&[at, flags | self.reference() << 32, self.domain(), 0]);
            first = if first == 0 { at } else { first };
        }
        let at = self.argument(Use::Grants, &words);
        let mut call = self.grant_call(grants::GNTTABOP_MAP_GRANT_REF, at);
        if self.ground.holds(at, 32) {
            call.mapped = Some((at, first));
        }
        call
    }

    fn unmap(&mut self) -> Call {
        let mut words = [0; 9];
        for element in words.chunks_exact_mut(3) {
            let window = self.ground.window(&mut self.random);
            let handle = match self.random.below(8) {
                0 => self.random.of(&[1023, 1024, u32::MAX as u64]),
                1 => self.random.below(24),
                _ => ground::handle(window),
            };
            element.copy_from_slice(&[window, 0, handle]);
        }
        let at = self.argument(Use::Grants, &words);
        self.grant_call(grants::GNTTABOP_UNMAP_GRANT_REF, at)
    }

    /// Copies: both ends may be one page, or overlap in it.
    fn copy(&mut self) -> Call {
        let mut words = [0; 10];
        for element in words.chunks_exact_mut(5) {
            let offset = |attacker: &mut Attacker| match attacker.random.below(8) {
                0 => attacker.random.next() & 0xffff,
                1 => PAGE - attacker.random.below(16),
                _ => attacker.random.below(64),
            };
            let near =
                [self.ground.page(&mut self.random) / PAGE, self.own_domain() | offset(self) << 16];
            let far = [self.reference(), self.domain() | offset(self) << 16];
            let write = self.random.one_in(2);
            let flags = match (self.random.one_in(16), write) {
                (true, _) => self.random.next() & 0xffff,
                (false, true) => grants::GNTCOPY_DEST_GREF.into(),
                (false, false) => grants::GNTCOPY_SOURCE_GREF.into(),
            };
            let length = match self.random.below(8) {
                0 => self.random.next() & 0xffff,
                1 => PAGE,
                _ => self.random.below(256),
            };
            let (from, to) = if write { (near, far) } else { (far, near) };
            element.copy_from_slice(&[from[0], from[1], to[0], to[1], length | flags << 16]);
        }
        let at = self.argument(Use::Grants, &words);
        self.grant_call(grants::GNTTABOP_COPY, at)
    }

    /// Memory comes and goes, by both vCPUs at once; pages are put beside it.
    pub(super) fn memory(&mut self) -> Call {
        use memory::*;
        let command = self.random.of(&[
            XENMEM_POPULATE_PHYSMAP,
            XENMEM_POPULATE_PHYSMAP,
            XENMEM_POPULATE_PHYSMAP,
            XENMEM_DECREASE_RESERVATION,
            XENMEM_DECREASE_RESERVATION,
            XENMEM_DECREASE_RESERVATION,
            XENMEM_INCREASE_RESERVATION,
            XENMEM_ADD_TO_PHYSMAP,
            XENMEM_ADD_TO_PHYSMAP,
            XENMEM_REMOVE_FROM_PHYSMAP,
            XENMEM_REMOVE_FROM_PHYSMAP,
            XENMEM_ADD_TO_PHYSMAP_BATCH,
            XENMEM_MEMORY_MAP,
            XENMEM_CURRENT_RESERVATION,
            XENMEM_MAXIMUM_RAM_PAGE,
            5,
        ]);
        let at = match command {
            XENMEM_POPULATE_PHYSMAP | XENMEM_DECREASE_RESERVATION | XENMEM_INCREASE_RESERVATION => {
                self.reservation()
            }
            XENMEM_ADD_TO_PHYSMAP => {
                let place = self.ground.window(&mut self.random) / PAGE;
                let space = self.random.of(&[0, 0, 1, 1, 1, 4, u32::MAX as u64]);
                let words = [self.own_domain() | space << 32, self.random.below(8), place];
                self.argument(Use::Map, &words)
            }
            XENMEM_REMOVE_FROM_PHYSMAP => {
                let words = [self.own_domain(), self.ground.window(&mut self.random) / PAGE];
                self.argument(Use::Map, &words)
            }
            XENMEM_ADD_TO_PHYSMAP_BATCH => self.batch(),
            XENMEM_MEMORY_MAP => {
                let words = [self.random.below(3), self.answer()];
                self.argument(Use::Size, &words)
            }
            _ => {
                let domain = self.own_domain();
                self.argument(Use::Size, &[domain])
            }
        };
        call(xen::HYPERVISOR_MEMORY_OP, [command.into(), at])
    }

    /// Extents that overlap, come twice, or are not aligned.
    fn reservation(&mut self) -> u64 {
        let mut extents = [0; 16];
        for place in &mut extents {
            *place = match self.random.below(16) {
                0 => self.ground.nowhere(&mut self.random) / PAGE,
                1 => self.ground.window(&mut self.random) / PAGE,
                _ => self.ground.extent(&mut self.random) / PAGE,
            };
        }
        let list = self.argument(Use::Extents, &extents);
        let count =
            if self.random.one_in(8) { self.random.of(&HUGE) } else { self.random.below(4) };
        let order = match self.random.below(16) {
            0 => self.random.of(&[0, 3, 10, 52, 64, u32::MAX as u64]),
            1 => 9,
            2 | 3 => 4 + self.random.below(4),
            _ => 4,
        };
        let domain = self.own_domain();
        self.argument(Use::Reservation, &[list, count, order, domain])
    }

    /// Pages, with the list of errors where the list of pages is, or elsewhere.
    fn batch(&mut self) -> u64 {
        let (mut indices, mut pages) = ([0; 8], [0; 8]);
        for (index, page) in indices.iter_mut().zip(&mut pages) {
            *index = self.random.below(8);
            *page = self.ground.window(&mut self.random) / PAGE;
        }
        let indices = self.argument(Use::Indices, &indices);
        let pages = self.argument(Use::Pages, &pages);
        let errors = if self.random.one_in(2) { indices } else { self.answer() };
        let space = self.random.of(&[0, 1, 1, 4]);
        let size = self.random.of(&[1, 2, 8, 64, 65, 0xffff]);
        let first = self.own_domain() | space << 16 | size << 32 | self.domain() << 48;
        self.argument(Use::Map, &[first, indices, pages, errors])
    }

    /// What is left, and what only a controller may.
    pub(super) fn others(&mut self) -> Call {
        match self.random.below(8) {
            0 => {
                let commands =
                    [hvm::HVMOP_GET_PARAM, hvm::HVMOP_GET_PARAM, hvm::HVMOP_SET_PARAM, 9];
                let words = [self.own_domain() | self.random.below(20) << 32, self.random.next()];
                let command = self.random.of(&commands);
                call(
                    xen::HYPERVISOR_HVM_OP,
                    [command.into(), self.argument(Use::Parameter, &words)],
                )
            }
            1 => call(xen::HYPERVISOR_XEN_VERSION, [self.random.below(12), self.answer()]),
            2 => call(48, [self.answer()]), // measurement
            3 => call(49, [self.random.below(4), self.answer()]), // measurement_log
            4 => {
                let count = self.random.of(&[0, 1, 128, u64::MAX]);
                let command = xen::CONSOLEIO_READ.into();
                call(xen::HYPERVISOR_CONSOLE_IO, [command, count, self.answer()])
            }
            5 => {
                let nowhere = [NEVER, 1 << 52];
                let command = self.random.below(4);
                call(xen::HYPERVISOR_CONSOLE_IO, [command, u64::MAX, self.random.of(&nowhere)])
            }
            6 => call(xen::HYPERVISOR_DOMCTL, [self.answer()]),
            _ => call(xen::HYPERVISOR_SYSCTL, [self.answer()]),
        }
    }
}
