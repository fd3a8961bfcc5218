//! A hypervisor that is built without PAPR's personality: what it says to those who want it. What
//! it does for K42's domains, the tests beside this one hold, of which most run here too:
//! `cargo test --package hv-fake --no-default-features`.
#![cfg(not(feature = "papr"))]
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::common::{LAN_UNIT, code};
use hv_abi::xen::{ARCH_LITTLE_ENDIAN, ARCH_PAPR};
use hv_abi::{PaprCall, Rights, XEN_MARK};
use hv_fake::{Board, Guest};
use xen_sys::domctl::{self, CreateDomain};
use xen_sys::errno;
use xen_sys::plain::{Field, Plain};

#[test]
fn its_calls_are_unknown_ones() {
    let mut board = Board::new(64, 1, &[Guest::new("k42", Personality::Xen)]);
    board.dispatch(0);
    for token in PaprCall::ROWS.iter().map(|row| row.number).chain([0x1000, 3]) {
        assert_eq!(board.hypercall(0, &[token]), code::FUNCTION, "{token:#x}");
    }
    assert!(!board.said(0).contains("refused"), "{}", board.said(0));
    // Those that both personalities have are there.
    assert_eq!(board.hypercall(0, &[0x37c, 0x1d, 0x10000, 0, 4]), code::SUCCESS);
    assert_eq!(board.hypercall(0, &[0x104, LAN_UNIT, 0]), code::SUCCESS);
}

#[test]
fn its_domains_are_not_started() {
    let k42 = Guest::new("k42", Personality::Xen);
    let free = |guests: &[Guest]| {
        let board = Board::new(64, 1, guests);
        (board.hv.free_frames(), board.said(0))
    };
    let (alone, _) = free(&[k42.clone()]);
    let (beside, said) = free(&[k42, Guest::new("linux", Personality::Papr)]);
    let why = "domain linux is not started: the hypervisor is built without its personality";
    assert!(said.contains(why), "{said}");
    assert_eq!(alone, beside, "nothing of it is left");
}

#[test]
fn a_controller_makes_none() {
    let rights = Rights::CONTROL;
    let controller = Guest { rights, ..Guest::new("controller", Personality::Xen) };
    let mut board = Board::new(64, 1, &[controller]);
    board.dispatch(0);
    for (arch, answer) in [(ARCH_PAPR, -i64::from(errno::EINVAL)), (ARCH_LITTLE_ENDIAN, 0)] {
        let mut new = CreateDomain::take(&mut &[0; size_of::<CreateDomain>()][..]);
        (new.max_vcpus, new.arch[0], new.handle[0]) = (1, arch, b'x');
        let words = [domctl::XEN_DOMCTL_CREATEDOMAIN, domctl::XEN_DOMCTL_INTERFACE_VERSION, 2, 0];
        board.poke(1, 0x2000, &words.map(u32::to_le_bytes).concat());
        board.poke(1, 0x2010, new.bytes().as_ref());
        assert_eq!(board.hypercall(0, &[XEN_MARK | 36, 0x2000]), answer);
    }
}
