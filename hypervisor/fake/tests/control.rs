//! A controller and the domains it makes: from their creation to what is left of them.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_abi::xen::{ARCH_LAN, ARCH_LITTLE_ENDIAN, ARCH_PROCESSORS, VcpuGuestContext};
use hv_abi::{Rights, XEN_MARK};
use hv_core::{Frame, Next};
use hv_fake::{Board, Guest};
use k42_lib::vector;
use k42_measure::{Digest, Kind, Record};
use std::mem::offset_of;
use xen_sys::domctl::{self as op, CreateDomain, GetDomainInfo, VcpuContext};
use xen_sys::sysctl::{self, GetDomainInfoList, PhysicalInfo, ReadConsole};
use xen_sys::{errno, sched};

const SYSCTL: u64 = XEN_MARK | 35;
const DOMCTL: u64 = XEN_MARK | 36;
const DECLARE: u64 = XEN_MARK | 50;
/// Where the controller has its arguments, and what they point at.
const CALL: u64 = 0x2000;
const OWN: u64 = CALL + 16;
const BUFFER: u64 = 0x3000;

/// Domain 1 controls, domain 2 is another.
fn board() -> Board {
    let controller = Guest {
        rights: Rights::CONTROL | Rights::EVENTS | Rights::INPUT,
        ..Guest::new("controller", Personality::Xen)
    };
    let mut board = Board::new(64, 1, &[controller, Guest::new("other", Personality::Xen)]);
    board.dispatch(0);
    board
}

/// A domctl of the vCPU on processor 0, which is the controller's.
fn domctl(board: &mut Board, command: u32, domain: u16) -> i64 {
    let version = op::XEN_DOMCTL_INTERFACE_VERSION;
    board.poke(1, CALL, &(u64::from(command) | u64::from(version) << 32).to_le_bytes());
    board.poke(1, CALL + 8, &domain.to_le_bytes());
    board.hypercall(0, &[DOMCTL, CALL])
}

/// What `createdomain` is told.
#[derive(Clone, Copy)]
struct New {
    name: &'static str,
    rights: Rights,
    vcpus: u32,
    flags: u32,
    arch: u32,
    processors: u32,
    lan: u32,
}

const NEW: New = New {
    name: "child",
    rights: Rights::EVENTS,
    vcpus: 1,
    flags: 3,
    arch: ARCH_LITTLE_ENDIAN,
    processors: 0,
    lan: 0,
};

/// The new domain's number, or an error.
fn create(board: &mut Board, new: New, number: u16) -> Result<u16, i64> {
    board.poke(1, OWN, &[0; size_of::<CreateDomain>()]);
    let field = |offset: usize, bytes: &[u8]| board.poke(1, OWN + offset as u64, bytes);
    field(offset_of!(CreateDomain, ssidref), &new.rights.bits().to_le_bytes());
    field(offset_of!(CreateDomain, handle), new.name.as_bytes());
    field(offset_of!(CreateDomain, flags), &new.flags.to_le_bytes());
    field(offset_of!(CreateDomain, max_vcpus), &new.vcpus.to_le_bytes());
    field(offset_of!(CreateDomain, arch), &new.arch.to_le_bytes());
    field(offset_of!(CreateDomain, arch) + 4 * ARCH_PROCESSORS, &new.processors.to_le_bytes());
    field(offset_of!(CreateDomain, arch) + 4 * ARCH_LAN, &new.lan.to_le_bytes());
    match domctl(board, op::XEN_DOMCTL_CREATEDOMAIN, number) {
        0 => Ok(board.peek(1, CALL + 8) as u16),
        error => Err(error),
    }
}

/// Lets a vCPU of a domain start at 0x100, at once.
fn start(board: &mut Board, domain: u16, vcpu: u32) -> i64 {
    match set_context(board, domain, vcpu) {
        0 => domctl(board, op::XEN_DOMCTL_UNPAUSEDOMAIN, domain),
        error => error,
    }
}

/// Lets a vCPU of a domain start at 0x100 when the domain is unpaused.
fn set_context(board: &mut Board, domain: u16, vcpu: u32) -> i64 {
    board.poke(1, OWN + offset_of!(VcpuContext, vcpu) as u64, &vcpu.to_le_bytes());
    board.poke(1, OWN + offset_of!(VcpuContext, ctxt) as u64, &BUFFER.to_le_bytes());
    let context: Vec<u8> = [0x100u64, 0x8000, 0x77, VcpuGuestContext::LITTLE_ENDIAN]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect();
    board.poke(1, BUFFER, &context);
    domctl(board, op::XEN_DOMCTL_SETVCPUCONTEXT, domain)
}

/// A `scheduler_op` of the controller's: which scheduler, what, and its words.
fn scheduler(board: &mut Board, domain: u16, words: [u32; 5]) -> i64 {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    board.poke(1, OWN, &bytes);
    domctl(board, op::XEN_DOMCTL_SCHEDULER_OP, domain)
}

/// Declares what a record has.
fn declare(board: &mut Board, domain: u64, record: &Record) -> i64 {
    board.poke(1, BUFFER, &record.bytes()[8..]);
    board.hypercall(0, &[DECLARE, domain, BUFFER])
}

/// Gives a domain its first 2 MiB.
fn give_memory(board: &mut Board, domain: u16) {
    board.poke(1, OWN, &2048u64.to_le_bytes());
    assert_eq!(domctl(board, op::XEN_DOMCTL_MAX_MEM, domain), 0);
    let populate = xen_sys::memory::XENMEM_POPULATE_PHYSMAP;
    assert_eq!(memory_op(board, populate, domain, 9, 0), 1);
}

/// The flags of `getdomaininfo`.
fn flags(board: &mut Board, domain: u16) -> Result<u32, i64> {
    match domctl(board, op::XEN_DOMCTL_GETDOMAININFO, domain) {
        0 => Ok((board.peek(1, OWN + offset_of!(GetDomainInfo, flags) as u64)) as u32),
        error => Err(error),
    }
}

fn physical_info(board: &mut Board, field: usize) -> u64 {
    let version = u64::from(sysctl::XEN_SYSCTL_INTERFACE_VERSION) << 32;
    let command = u64::from(sysctl::XEN_SYSCTL_PHYSINFO);
    board.poke(1, CALL, &(command | version).to_le_bytes());
    assert_eq!(board.hypercall(0, &[SYSCTL, CALL]), 0);
    board.peek(1, CALL + 8 + field as u64)
}

/// Gives the processor to the vCPU of another domain than the controller.
fn switch(board: &mut Board, vcpu: usize) {
    while board.processors[0].vcpu().map(|v| v.index()) != Some(vcpu) {
        board.hv.machine.state().now += 1 << 24;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    }
}

fn errno(number: i32) -> i64 {
    -i64::from(number)
}

#[test]
fn a_domain_comes_and_goes_and_nothing_is_left() {
    let mut board = board();
    let free = board.hv.free_frames();
    for _ in 0..200 {
        let number = create(&mut board, NEW, 0).unwrap();
        assert_eq!(number, 3, "the number is free again");
        assert_eq!(start(&mut board, number, 0), 0);
        assert_eq!(flags(&mut board, number).unwrap() & op::XEN_DOMINF_DYING, 0);
        assert_eq!(domctl(&mut board, op::XEN_DOMCTL_DESTROYDOMAIN, number), 0);
        assert_eq!(flags(&mut board, number), Err(errno(errno::ESRCH)));
        assert_eq!(board.hv.free_frames(), free);
    }
    assert!(board.said(0).contains("domain 3 (child): ended: destroyed"));
}

#[test]
#[cfg(feature = "papr")]
fn what_is_told_is_what_is_made() {
    let mut board = board();
    let new =
        New { name: "wide", vcpus: 3, arch: hv_abi::xen::ARCH_PAPR, rights: Rights::INPUT, ..NEW };
    assert_eq!(create(&mut board, new, 9), Ok(9));
    assert_eq!(create(&mut board, new, 9), Err(errno(errno::EEXIST)));
    assert_eq!(flags(&mut board, 9), Ok(op::XEN_DOMINF_PAUSED));
    let field = |offset: usize| board.peek(1, OWN + offset as u64);
    assert_eq!(field(0) as u16, 9);
    assert_eq!(field(offset_of!(GetDomainInfo, max_vcpu_id)) as u32, 2);
    assert_eq!(field(offset_of!(GetDomainInfo, nr_online_vcpus)) as u32, 0);
    let rights = field(offset_of!(GetDomainInfo, ssidref)) as u32;
    assert_eq!(Rights::from_bits(rights), Some(Rights::PAPR | Rights::INPUT));
    assert_eq!(field(offset_of!(GetDomainInfo, handle)).to_le_bytes(), *b"wide\0\0\0\0");

    assert_eq!(start(&mut board, 9, 0), 0);
    let noted = board.hv.machine.state().started[&2];
    assert_eq!((noted.entry.value(), noted.argument, noted.partition.0), (0x100, 0x77, 9));
    assert_eq!(start(&mut board, 9, 0), errno(errno::EBUSY), "it runs");
    assert_eq!(start(&mut board, 9, 3), errno(errno::ENOENT));

    let mut frame = Frame { nip: 0x4242, msr: k42_lib::msr::LE, ..Frame::default() };
    (frame.gpr[1], frame.gpr[3]) = (0x7000, 0x55);
    board.hv.machine.state().registers.insert(2, frame);
    board.poke(1, OWN, &0u64.to_le_bytes());
    board.poke(1, OWN + 8, &BUFFER.to_le_bytes());
    assert_eq!(domctl(&mut board, op::XEN_DOMCTL_GETVCPUCONTEXT, 9), 0);
    let told: Vec<u64> = (0..4).map(|n| board.peek(1, BUFFER + 8 * n)).collect();
    assert_eq!(told, [0x4242, 0x7000, 0x55, VcpuGuestContext::LITTLE_ENDIAN]);
    board.poke(1, OWN, &1u64.to_le_bytes());
    let result = domctl(&mut board, op::XEN_DOMCTL_GETVCPUCONTEXT, 9);
    assert_eq!(result, errno(errno::EBUSY), "a processor has its registers, or nobody");

    board.poke(1, OWN, &3u32.to_le_bytes());
    assert_eq!(domctl(&mut board, op::XEN_DOMCTL_MAX_VCPUS, 9), 0);
    board.poke(1, OWN, &4u32.to_le_bytes());
    assert_eq!(domctl(&mut board, op::XEN_DOMCTL_MAX_VCPUS, 9), errno(errno::EINVAL));
}

#[test]
fn what_makes_no_sense_makes_no_domain() {
    let mut board = board();
    let free = board.hv.free_frames();
    let wrong = [
        (New { name: "", ..NEW }, errno::EINVAL),
        (New { name: "Loud", ..NEW }, errno::EINVAL),
        (New { flags: 4, ..NEW }, errno::EINVAL),
        (New { arch: 4, ..NEW }, errno::EINVAL),
        (New { vcpus: 0, ..NEW }, errno::EINVAL),
        (New { vcpus: 33, ..NEW }, errno::EINVAL),
        (New { vcpus: u32::MAX, ..NEW }, errno::EINVAL),
        (New { processors: 0b10, ..NEW }, errno::EINVAL), // there is one alone
        (New { rights: Rights::PLATFORM, ..NEW }, errno::EINVAL),
        (New { rights: Rights::LAN, ..NEW }, errno::EPERM),
        (New { lan: 63, ..NEW }, errno::EINVAL),
        (New { lan: 1 << 16, ..NEW }, errno::EINVAL),
    ];
    for (new, error) in wrong {
        assert_eq!(create(&mut board, new, 0), Err(errno(error)), "{} {:?}", new.name, new.rights);
    }
    assert_eq!(create(&mut board, NEW, 63), Err(errno(errno::EINVAL)));
    assert_eq!(create(&mut board, NEW, 1), Err(errno(errno::EEXIST)));
    assert!(board.said(0).contains("domain 1 (controller): refused: domctl: gives a right"));
    assert_eq!(board.hv.free_frames(), free);

    for command in [op::XEN_DOMCTL_DESTROYDOMAIN, op::XEN_DOMCTL_GETDOMAININFO] {
        for number in [0, 3, 62, 63, 0x7ff0, u16::MAX] {
            assert_eq!(domctl(&mut board, command, number), errno(errno::ESRCH), "{number}");
        }
    }
    assert_eq!(domctl(&mut board, op::XEN_DOMCTL_DESTROYDOMAIN, 1), errno(errno::EINVAL));
    assert_eq!(domctl(&mut board, 999, 2), errno(errno::ENOSYS));
    board.poke(1, CALL + 4, &[0; 4]);
    assert_eq!(board.hypercall(0, &[DOMCTL, CALL]), errno(errno::EACCES));
    assert_eq!(board.hypercall(0, &[DOMCTL, 1 << 40]), errno(errno::EFAULT));
}

/// A `memory_op` of the controller's on another domain's memory, with one extent.
fn memory_op(board: &mut Board, command: u32, domain: u16, order: u32, page: u64) -> i64 {
    board.poke(1, BUFFER, &page.to_le_bytes());
    board.poke(1, CALL, &BUFFER.to_le_bytes());
    board.poke(1, CALL + 8, &1u64.to_le_bytes());
    board.poke(1, CALL + 16, &u64::from(order).to_le_bytes());
    board.poke(1, CALL + 24, &u64::from(domain).to_le_bytes());
    board.hypercall(0, &[XEN_MARK | 12, command.into(), CALL])
}

#[test]
fn a_domain_has_the_memory_that_its_controller_gives_it() {
    use xen_sys::memory::{XENMEM_DECREASE_RESERVATION, XENMEM_POPULATE_PHYSMAP};
    let mut board = board();
    let free = board.hv.free_frames();
    let number = create(&mut board, NEW, 0).unwrap();
    let populate = |board: &mut Board, order, page| {
        memory_op(board, XENMEM_POPULATE_PHYSMAP, number, order, page)
    };
    assert_eq!(populate(&mut board, 9, 0), errno(errno::ENOMEM), "it may have none yet");
    board.poke(1, OWN, &(2048u64 + 64).to_le_bytes());
    assert_eq!(domctl(&mut board, op::XEN_DOMCTL_MAX_MEM, number), 0);
    assert_eq!(populate(&mut board, 9, 0), 1);
    assert_eq!(populate(&mut board, 4, 512), 1);
    assert_eq!(populate(&mut board, 4, 528), errno(errno::ENOMEM), "more than it may have");
    flags(&mut board, number).unwrap();
    let pages = |offset: usize| board.peek(1, OWN + offset as u64);
    assert_eq!(pages(offset_of!(GetDomainInfo, tot_pages)), 528);
    assert_eq!(pages(offset_of!(GetDomainInfo, max_pages)), 528);
    assert!(board.hv.machine.guest_byte(number, k42_lib::GuestAddr::new(0x20_ffff)).is_some());
    assert_eq!(memory_op(&mut board, XENMEM_DECREASE_RESERVATION, number, 4, 512), 1);
    assert!(board.hv.machine.guest_byte(number, k42_lib::GuestAddr::new(0x20_ffff)).is_none());
    assert_eq!(domctl(&mut board, op::XEN_DOMCTL_DESTROYDOMAIN, number), 0);
    assert_eq!(board.hv.free_frames(), free);
}

#[test]
fn who_does_not_control_is_refused() {
    let mut board = board();
    switch(&mut board, 1);
    for call in [DOMCTL, SYSCTL, DECLARE] {
        assert_eq!(board.hypercall(0, &[call, CALL]), errno(errno::EPERM));
    }
}

#[test]
fn an_end_is_kept_until_its_creator_has_seen_it() {
    let mut board = board();
    let free = board.hv.free_frames();
    let number = create(&mut board, NEW, 0).unwrap();
    assert_eq!(start(&mut board, number, 0), 0);
    switch(&mut board, 2);
    board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    switch(&mut board, 0);
    assert_eq!(board.hv.free_frames(), free, "what it had is free at once");
    let reason = op::XEN_DOMINF_SHUTDOWN | sched::SHUTDOWN_CRASH << 16;
    assert_eq!(flags(&mut board, number), Ok(reason));
    assert_eq!(create(&mut board, NEW, number), Err(errno(errno::EEXIST)));
    assert_eq!(create(&mut board, NEW, 0), Ok(number + 1), "the number is not given again");
    assert_eq!(domctl(&mut board, op::XEN_DOMCTL_DESTROYDOMAIN, number), 0);
    assert_eq!(domctl(&mut board, op::XEN_DOMCTL_DESTROYDOMAIN, number), errno(errno::ESRCH));
    assert_eq!(create(&mut board, NEW, number), Ok(number));
}

#[test]
fn a_creator_hears_of_the_end_of_its_domains_alone() {
    use xen_sys::{event_channel, memory, xen};
    const SHARED: u64 = 16 << 20;
    let mut board = board();
    let mut place = [0; 24];
    place[..2].copy_from_slice(&xen::DOMID_SELF.to_le_bytes());
    place[16..].copy_from_slice(&(SHARED >> 12).to_le_bytes());
    let map = memory::XENMEM_ADD_TO_PHYSMAP;
    assert_eq!(board.operate(1, xen::HYPERVISOR_MEMORY_OP, map, &place), 0);
    let virq: Vec<u8> = [xen::VIRQ_DOM_EXC, 0, 0].iter().flat_map(|w| w.to_le_bytes()).collect();
    let bind = event_channel::EVTCHNOP_BIND_VIRQ;
    assert_eq!(board.operate(1, xen::HYPERVISOR_EVENT_CHANNEL_OP, bind, &virq), 0);
    let port = board.peek(1, Board::ARGUMENT + 8) as u32;
    let told = |board: &Board| board.peek(1, SHARED + 48) >> port & 1 == 1;

    let number = create(&mut board, NEW, 0).unwrap();
    assert_eq!(start(&mut board, number, 0), 0);
    switch(&mut board, 1);
    board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    switch(&mut board, 0);
    assert!(!told(&board), "it has not created domain 2");
    assert_eq!(flags(&mut board, 2), Err(errno(errno::ESRCH)), "nor is anything kept for it");
    switch(&mut board, 2);
    board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    assert!(told(&board));
}

#[test]
fn who_has_a_dead_creators_number_has_not_created_its_domains() {
    let mut board = board();
    let number = create(&mut board, NEW, 0).unwrap();
    assert_eq!(start(&mut board, number, 0), 0);
    board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    let rights = Rights::CONTROL | Rights::EVENTS;
    board.start(1, &[Guest { rights, ..Guest::new("successor", Personality::Xen) }]);
    switch(&mut board, 2);
    board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    switch(&mut board, 0);
    assert_eq!(flags(&mut board, number), Err(errno(errno::ESRCH)), "it waits for nobody");
}

#[test]
fn a_new_domain_finds_no_translations_from_before_the_hypervisor() {
    let mut board = board();
    let page = k42_lib::GuestAddr::new(0x1_0000);
    let other = board.hv.machine.guest_translate(2, page).unwrap();
    board.hv.machine.leave_translation(3, page, other);
    let number = create(&mut board, NEW, 3).unwrap();
    give_memory(&mut board, number);
    assert_ne!(board.hv.machine.guest_translate(number, page), Some(other));
}

#[test]
fn the_end_of_a_creator_is_not_that_of_its_domains() {
    let mut board = board();
    for _ in 0..2 {
        let number = create(&mut board, NEW, 0).unwrap();
        assert_eq!(start(&mut board, number, 0), 0);
    }
    switch(&mut board, 2);
    board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    switch(&mut board, 0);
    // Domain 3 has ended unnoticed, domain 4 lives.
    let next = board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    assert!(matches!(next, Next::Switch(_)));
    switch(&mut board, 3);
    board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    let said = board.said(0);
    assert!(said.contains("domain 4 (child): crashed"), "{said}");
    // The other domain ends as well: nothing keeps the machine from going off, nothing is left.
    switch(&mut board, 1);
    assert!(hv_fake::powers_off(|| {
        board.exit(0, vector::HYPERVISOR_DATA_STORAGE, &mut Frame::default());
    }));
    assert_eq!(board.hv.free_frames(), board.free_at_start);
}

#[test]
fn the_machine_is_described() {
    let mut board = board();
    let free = board.hv.free_frames() as u64;
    assert_eq!(physical_info(&mut board, offset_of!(PhysicalInfo, free_pages)), free * 16);
    assert_eq!(physical_info(&mut board, offset_of!(PhysicalInfo, total_pages)), 1024 * 16);
    assert_eq!(physical_info(&mut board, offset_of!(PhysicalInfo, nr_cpus)) as u32, 1);

    create(&mut board, NEW, 7).unwrap();
    let size = size_of::<GetDomainInfo>() as u64;
    for (first, most, expected) in
        [(0u16, 10u32, vec![1, 2, 7]), (2, 10, vec![2, 7]), (0, 1, vec![1])]
    {
        let version = u64::from(sysctl::XEN_SYSCTL_INTERFACE_VERSION) << 32;
        let command = u64::from(sysctl::XEN_SYSCTL_GETDOMAININFOLIST);
        board.poke(1, CALL, &(command | version).to_le_bytes());
        let own = CALL + 8;
        let at = |offset: usize| own + offset as u64;
        board.poke(1, at(offset_of!(GetDomainInfoList, first_domain)), &first.to_le_bytes());
        board.poke(1, at(offset_of!(GetDomainInfoList, max_domains)), &most.to_le_bytes());
        board.poke(1, at(offset_of!(GetDomainInfoList, buffer)), &BUFFER.to_le_bytes());
        assert_eq!(board.hypercall(0, &[SYSCTL, CALL]), 0);
        let count = board.peek(1, at(offset_of!(GetDomainInfoList, num_domains))) as u32;
        let found: Vec<u16> =
            (0..u64::from(count)).map(|n| board.peek(1, BUFFER + n * size) as u16).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn the_hypervisors_words_can_be_read_again() {
    let mut board = board();
    let read = |board: &mut Board, incremental: u8, index: u32, room: u32| {
        let version = u64::from(sysctl::XEN_SYSCTL_INTERFACE_VERSION) << 32;
        let command = u64::from(sysctl::XEN_SYSCTL_READCONSOLE);
        board.poke(1, CALL, &(command | version).to_le_bytes());
        let at = |offset: usize| CALL + 8 + offset as u64;
        board.poke(1, at(0), &[0, incremental, 0, 0]);
        board.poke(1, at(offset_of!(ReadConsole, index)), &index.to_le_bytes());
        board.poke(1, at(offset_of!(ReadConsole, buffer)), &BUFFER.to_le_bytes());
        board.poke(1, at(offset_of!(ReadConsole, count)), &room.to_le_bytes());
        assert_eq!(board.hypercall(0, &[SYSCTL, CALL]), 0);
        let count = board.peek(1, at(offset_of!(ReadConsole, count))) as u32;
        let next = board.peek(1, at(offset_of!(ReadConsole, index))) as u32;
        let text: Vec<u8> = (0..u64::from(count))
            .map(|n| board.peek(1, (BUFFER + n) & !7).to_le_bytes()[(n % 8) as usize])
            .collect();
        (String::from_utf8(text).unwrap(), next)
    };
    let (whole, end) = read(&mut board, 0, 0, 4000);
    assert_eq!(whole, board.said(0));
    assert_eq!(read(&mut board, 1, end, 4000), (String::new(), end));
    let (part, next) = read(&mut board, 0, 0, 10);
    assert_eq!((part.as_str(), next), (&whole[..10], 10));
    assert_eq!(read(&mut board, 1, next, 4000), (whole[10..].to_owned(), end));
    // More than is kept: it begins where it can.
    for _ in 0..100 {
        board.hv.note(format_args!("{}", "x".repeat(100)));
    }
    let (_, end) = read(&mut board, 1, end, 1);
    assert!(end > 5000, "{end}");
}

#[test]
fn parameters_are_told_to_their_domain() {
    use xen_sys::hvm;
    const HVM_OP: u64 = XEN_MARK | 34;
    let mut board = board();
    let call = |board: &mut Board, from: u16, command: u32, to: u16, index: u32, value: u64| {
        let head = u64::from(to) | u64::from(index) << 32;
        board.poke(from, CALL, &head.to_le_bytes());
        board.poke(from, CALL + 8, &value.to_le_bytes());
        let result = board.hypercall(0, &[HVM_OP, command.into(), CALL]);
        (result, board.peek(from, CALL + 8))
    };
    let (set, get) = (hvm::HVMOP_SET_PARAM, hvm::HVMOP_GET_PARAM);
    let (ours, own) = (hvm::HVM_PARAM_STORE_PFN, xen_sys::xen::DOMID_SELF);
    assert_eq!(call(&mut board, 1, set, 2, ours, 0x1234).0, 0);
    assert_eq!(call(&mut board, 1, get, 2, ours, 0), (0, 0x1234));
    assert_eq!(call(&mut board, 1, get, own, ours, 7), (0, 0), "each domain has its own");
    assert_eq!(call(&mut board, 1, set, 2, 999, 0).0, errno(errno::EINVAL));
    assert_eq!(call(&mut board, 1, set, 9, ours, 0).0, errno(errno::ESRCH));
    assert_eq!(call(&mut board, 1, 99, 2, ours, 0).0, errno(errno::ENOSYS));
    switch(&mut board, 1);
    assert_eq!(call(&mut board, 2, get, own, ours, 0), (0, 0x1234));
    assert_eq!(call(&mut board, 2, get, 1, ours, 0).0, errno(errno::EPERM));
    assert_eq!(call(&mut board, 2, set, own, ours, 1).0, errno(errno::EPERM));
}

#[test]
fn a_paused_domain_waits() {
    let mut board = board();
    let number = create(&mut board, NEW, 0).unwrap();
    assert_eq!(set_context(&mut board, number, 0), 0);
    let runs = |board: &mut Board| {
        (0..20).any(|_| {
            board.hv.machine.state().now += 1 << 24;
            board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
            board.processors[0].vcpu().is_some_and(|vcpu| vcpu.index() == 2)
        })
    };
    assert!(!runs(&mut board), "it is made paused");
    switch(&mut board, 0);
    assert_eq!(domctl(&mut board, op::XEN_DOMCTL_UNPAUSEDOMAIN, number), 0);
    assert!(runs(&mut board));
    switch(&mut board, 0);
    assert_eq!(domctl(&mut board, op::XEN_DOMCTL_PAUSEDOMAIN, number), 0);
    assert_eq!(flags(&mut board, number).unwrap() & op::XEN_DOMINF_PAUSED, op::XEN_DOMINF_PAUSED);
    assert!(!runs(&mut board));
    switch(&mut board, 0);
    for command in [op::XEN_DOMCTL_PAUSEDOMAIN, op::XEN_DOMCTL_UNPAUSEDOMAIN] {
        assert_eq!(domctl(&mut board, command, 9), errno(errno::ESRCH));
        assert_eq!(domctl(&mut board, command, 1), errno(errno::EINVAL), "nobody stops himself");
    }
    // A paused domain can be ended.
    assert_eq!(domctl(&mut board, op::XEN_DOMCTL_DESTROYDOMAIN, number), 0);
    assert_eq!(flags(&mut board, number), Err(errno(errno::ESRCH)));
}

#[test]
fn a_controller_sets_shares_and_reservations() {
    let mut board = board();
    let number = create(&mut board, NEW, 0).unwrap();
    let (put, get) = (op::XEN_DOMCTL_SCHEDOP_PUTINFO, op::XEN_DOMCTL_SCHEDOP_GETINFO);
    let (share, reserve) = (op::XEN_SCHEDULER_CREDIT2, op::XEN_SCHEDULER_RTDS);
    assert_eq!(scheduler(&mut board, number, [share, put, 512 | 50 << 16, 0, 0]), 0);
    assert_eq!(scheduler(&mut board, number, [share, get, 0, 0, 0]), 0);
    assert_eq!(board.peek(1, OWN + 8) as u32, 512 | 50 << 16);
    let wrong = scheduler(&mut board, number, [share, put, 0, 0, 0]);
    assert_eq!(wrong, errno(errno::EINVAL), "a weight of 0 would never run");
    let refused = scheduler(&mut board, number, [reserve, put, 10_000, 2_000, 0]);
    assert_eq!(refused, errno(errno::EPERM), "it has no right to reserved time");
    assert_eq!(scheduler(&mut board, number, [99, get, 0, 0, 0]), errno(errno::EOPNOTSUPP));
    assert_eq!(scheduler(&mut board, 9, [share, get, 0, 0, 0]), errno(errno::ESRCH));

    let controller = Guest {
        rights: Rights::CONTROL | Rights::RESERVED,
        ..Guest::new("controller", Personality::Xen)
    };
    let mut board = Board::new(64, 1, &[controller]);
    board.dispatch(0);
    let number = create(&mut board, New { rights: Rights::RESERVED, ..NEW }, 0).unwrap();
    assert_eq!(scheduler(&mut board, number, [reserve, put, 10_000, 2_000, 0]), 0);
    assert_eq!(scheduler(&mut board, number, [reserve, get, 0, 0, 0]), 0);
    assert_eq!(board.peek(1, OWN + 8), 10_000 | 2_000 << 32);
    let full = scheduler(&mut board, number, [reserve, put, 10_000, 9_500, 0]);
    assert_eq!(full, errno(errno::EBUSY), "some of the processor is everybody's");
    assert_eq!(scheduler(&mut board, number, [reserve, put, 0, 0, 0]), 0);
}

/// A controller that may reserve time, on two processors.
fn wide_board() -> Board {
    let controller = Guest {
        rights: Rights::CONTROL | Rights::RESERVED,
        ..Guest::new("controller", Personality::Xen)
    };
    let mut board = Board::new(64, 2, &[controller]);
    board.dispatch(0);
    board
}

#[test]
fn a_created_domain_has_its_processors_and_its_reservation_there() {
    let mut board = wide_board();
    let reserve = [op::XEN_SCHEDULER_RTDS, op::XEN_DOMCTL_SCHEDOP_PUTINFO, 10_000, 6_000, 0];
    let new = New { rights: Rights::RESERVED, ..NEW };
    // Both on processor 1 by their word, where only one of them can have so much.
    for (number, outcome) in [(2, 0), (3, errno(errno::EBUSY))] {
        assert_eq!(create(&mut board, New { processors: 0b10, ..new }, number), Ok(number));
        assert_eq!(scheduler(&mut board, number, reserve), outcome);
    }
    // Those that may run anywhere begin there too. One that has started stays, another goes where
    // there is room.
    for number in [4, 6] {
        assert_eq!(create(&mut board, new, number), Ok(number));
    }
    assert_eq!(set_context(&mut board, 4, 0), 0);
    assert_eq!(scheduler(&mut board, 4, reserve), errno(errno::EBUSY));
    assert_eq!(scheduler(&mut board, 6, reserve), 0);
    assert_eq!(start(&mut board, 2, 0), 0);
    assert_eq!(board.look(1), Some(1));
}

#[test]
fn the_time_that_a_domain_had_is_told() {
    let mut board = board();
    let had = |board: &mut Board, domain| {
        flags(board, domain).unwrap();
        board.peek(1, OWN + offset_of!(GetDomainInfo, cpu_time) as u64)
    };
    let start = board.hv.machine.state().now;
    assert_eq!((had(&mut board, 1), had(&mut board, 2)), (0, 0));
    board.hv.machine.state().now += 64_000;
    assert_eq!((had(&mut board, 1), had(&mut board, 2)), (125_000, 0), "also what it has now");
    switch(&mut board, 1);
    switch(&mut board, 0);
    let both = had(&mut board, 1) + had(&mut board, 2);
    assert!(had(&mut board, 2) > 0);
    assert_eq!(both, (board.hv.machine.state().now - start) / 64 * 125, "it was never idle");
}

#[test]
fn a_domain_that_is_created_is_measured() {
    let text = |kind, text: &str| {
        let (size, digest) = (text.len() as u64, Digest::of(text.as_bytes()));
        Record { domain: 3, kind, at: 0, size, digest }
    };
    let rights = (Rights::XEN | Rights::EVENTS).bits().to_le_bytes();
    let expected = [
        text(Kind::Description, "child xen vcpus 1 little true lan 0"),
        Record { size: 4, digest: Digest::of(&rights), ..text(Kind::Rights, "") },
        Record { at: 0x20_0000, size: 5, ..text(Kind::Declared, "words") },
        text(
            Kind::Start,
            "entry 0x100 argument 0x77 little true memory 2097152 weight 512 cap 50 reserved 0/0 \
             processors 0x1",
        ),
    ];
    let mut board = board();
    let before = (0..).take_while(|&number| board.hv.record(number).is_some()).count() as u64;
    assert_eq!(declare(&mut board, 3, &expected[2]), errno(errno::ESRCH));
    assert_eq!(create(&mut board, New { processors: 1, ..NEW }, 0), Ok(3));
    give_memory(&mut board, 3);
    assert_eq!(declare(&mut board, 3, &expected[2]), 0);
    assert_eq!(scheduler(&mut board, 3, [op::XEN_SCHEDULER_CREDIT2, 0, 512 | 50 << 16, 0, 0]), 0);
    assert_eq!(set_context(&mut board, 3, 0), 0);
    assert_eq!(declare(&mut board, 3, &expected[2]), errno(errno::EBUSY), "it may run");
    for other in [1, 2] {
        assert_eq!(declare(&mut board, other, &expected[2]), errno(errno::EPERM), "not its own");
    }
    for none in [0, 4, 63, 1 << 16 | 3] {
        assert_eq!(declare(&mut board, none, &expected[2]), errno(errno::ESRCH));
    }
    assert_eq!(board.hypercall(0, &[DECLARE, 3, 1 << 40]), errno(errno::EFAULT));
    assert_eq!(board.hv.record(before + expected.len() as u64), None, "nothing else");
    for (number, record) in (before..).zip(&expected) {
        assert_eq!(board.hv.record(number), Some(record.bytes()), "{record}");
    }
}
