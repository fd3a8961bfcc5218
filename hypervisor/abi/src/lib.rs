//! The hypercalls of the two personalities, each in one table, and those that both have in a third:
//! number, name, typed arguments, the right it needs and a line of documentation. A table makes the
//! decoder, the guest-side stubs ([`guest`]), the names in messages and the rows a manual page is
//! printed from ([`rows`]).
//!
//! Used verbatim by both sides: `hypervisor/core` decodes, `guest-kernel/arch` calls. There is no
//! logic here. Xen's own numbers and structures are in `hypervisor/xen-sys`.
#![no_std]
#![forbid(unsafe_code)]

pub mod common;
pub mod guest;
pub mod papr;
pub mod rights;
pub mod rows;
pub mod table;
pub mod xen;

pub use common::CommonCall;
pub use guest::Trap;
pub use papr::PaprCall;
pub use rights::Rights;
pub use rows::Row;
pub use table::Argument;
pub use xen::XenCall;

/// A call of either personality, as r3 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Xen hypercall with this number.
    Xen(u64),
    /// A call with this token, as PAPR numbers them: one that both have, or PAPR's own.
    Token(u64),
}

/// The most vCPUs of one domain.
pub const MAX_DOMAIN_VCPUS: usize = 32;

/// r3 with these bits set is a Xen hypercall: the convention of Xen on Power.
pub const XEN_MARK: u64 = 0xffff_ffff_ffff_0000;

impl Number {
    /// Which personality's call r3 means.
    pub const fn decode(r3: u64) -> Number {
        if r3 & XEN_MARK == XEN_MARK { Number::Xen(r3 & !XEN_MARK) } else { Number::Token(r3) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use k42_lib::GuestAddr;

    /// A trap that hands the registers straight to the decoder.
    #[derive(Default)]
    struct Loop {
        r3: Cell<u64>,
        arguments: Cell<[u64; table::MAX_ARGUMENTS]>,
    }

    impl Trap for Loop {
        fn hypercall(
            &self,
            r3: u64,
            arguments: [u64; table::MAX_ARGUMENTS],
        ) -> [u64; table::MAX_ARGUMENTS + 1] {
            self.r3.set(r3);
            self.arguments.set(arguments);
            [0; table::MAX_ARGUMENTS + 1]
        }
    }

    #[test]
    fn what_a_stub_sends_the_decoder_reads() {
        let trap = Loop::default();
        xen::stub::console_io(&trap, 1, 7, GuestAddr::new(0x1000));
        let Number::Xen(number) = Number::decode(trap.r3.get()) else { panic!("not Xen's") };
        let call = XenCall::decode(number, &trap.arguments.get());
        let want = XenCall::ConsoleIo { command: 1, count: 7, buffer: GuestAddr::new(0x1000) };
        assert_eq!(call, Some(want));

        papr::stub::h_put_term_char(&trap, 1, 2, 3, 4);
        assert_eq!(Number::decode(trap.r3.get()), Number::Token(0x58));
        let call = PaprCall::decode(0x58, &trap.arguments.get());
        assert_eq!(call, Some(PaprCall::PutTermChar { unit: 1, count: 2, high: 3, low: 4 }));
    }

    #[test]
    fn tables_are_sorted_named_and_documented() {
        for rows in [XenCall::ROWS, CommonCall::ROWS, PaprCall::ROWS] {
            assert!(rows.windows(2).all(|pair| pair[0].number < pair[1].number));
            for row in rows {
                assert!(!row.doc.trim().is_empty() && !row.right.is_empty(), "{}", row.name);
                assert!(row.arguments.len() <= table::MAX_ARGUMENTS);
            }
        }
        let tokens = || CommonCall::ROWS.iter().chain(PaprCall::ROWS).map(|row| row.number);
        assert!(tokens().all(|token| token % 4 == 0), "tokens are multiples of 4");
        let twice = |token: &u64| tokens().filter(|other| other == token).count() != 1;
        assert_eq!(tokens().find(twice), None, "it is in one table alone");
    }

    #[test]
    fn an_unknown_number_is_no_call() {
        assert_eq!(XenCall::decode(999, &[0; 9]), None);
        assert_eq!(CommonCall::decode(3, &[0; 9]), None);
        assert_eq!(PaprCall::decode(3, &[0; 9]), None);
    }
}
