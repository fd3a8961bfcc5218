//! Domains built from made-up kernels: what is where in their memory, and what their trees say.

mod elf;

use boot_archive::write::Domain;
use boot_archive::{Machine, Personality};
use domain_builder::k42::{Application, K42};
use domain_builder::linux::{Linux, RTAS_FUNCTIONS};
use domain_builder::{BuildError, Disk, Guest, Plan, Rights, build};
use elf::Part;
use fdt::Fdt;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const TOP: u64 = 0xc000_0000_0000_0000;

fn plan(guest: Guest) -> Plan {
    let name = "test".into();
    Plan {
        number: 3,
        name,
        memory_size: 64 * MIB,
        vcpus: 1,
        weight: 256,
        scheduling: domain_builder::Scheduling::default(),
        rights: Rights::INPUT,
        lan: 0,
        guest,
    }
}

fn linux() -> Linux {
    let kernel = elf::file(TOP, &[Part(TOP, 0, 5 * MIB, b"vmlinux", 7)]);
    Linux {
        kernel: kernel.into(),
        initrd: Some(vec![7u8; 300_000].into()),
        command_line: "console=hvc0 quiet".into(),
    }
}

fn k42() -> K42 {
    // Text and data share a page of 64 KiB, as in a real kernel.
    let kernel = elf::file(
        TOP + 0x100,
        &[Part(TOP, 0, 0x3000, b"text", 5), Part(TOP + 0x4000, 0x4000, 2 * MIB, b"data", 6)],
    );
    let library = elf::file(
        0x10_0000_1010,
        &[
            Part(0x10_0000_1000, 0, 0x800, &[1; 0x800], 5),
            Part(0x10_0002_2340, 0, 0x9000, &[2; 0x20], 6),
        ],
    );
    let application = Application {
        system_library: library.into(),
        root: vec![9u8; 100].into(),
        program: "/bin/busybox".into(),
        arguments: vec!["ls".into(), "-l".into()],
        environment: vec!["PATH=/bin".into(), "HOME=/".into()],
    };
    K42 {
        kernel: kernel.into(),
        personality: Personality::Xen,
        bootargs: "trace".into(),
        application: Some(application),
        archive: None,
        disks: Vec::new(),
    }
}

/// The domain's memory as it is when it starts.
fn memory(domain: &Domain) -> Vec<u8> {
    let mut memory = vec![0; domain.memory_size as usize];
    for load in &domain.loads {
        let start = load.guest_address as usize;
        memory[start..start + load.data.len()].copy_from_slice(&load.data);
    }
    memory
}

/// The value of a property as bytes.
fn value<'a>(tree: &Fdt<'a>, node: &str, name: &str) -> &'a [u8] {
    let node = tree.find_node(node).unwrap_or_else(|| panic!("no {node}"));
    node.property(name).unwrap_or_else(|| panic!("no {name}")).value
}

fn cell(tree: &Fdt<'_>, node: &str, name: &str) -> u32 {
    u32::from_be_bytes(value(tree, node, name).try_into().unwrap())
}

fn number(tree: &Fdt<'_>, node: &str, name: &str) -> u64 {
    u64::from_be_bytes(value(tree, node, name).try_into().unwrap())
}

#[test]
fn a_controller_finds_its_archive() {
    let archive: std::sync::Arc<[u8]> = b"an archive"[..].into();
    let guest = K42 { application: None, archive: Some(archive.clone()), ..k42() };
    let domain = build(Machine::Powernv10, &plan(Guest::K42(guest))).unwrap();
    let memory = memory(&domain);
    let tree = Fdt::new(&memory[domain.device_tree as usize..]).unwrap();
    let number = |name| u64::from_be_bytes(value(&tree, "/chosen", name).try_into().unwrap());
    let (start, end) = (number("linux,initrd-start"), number("linux,initrd-end"));
    assert_eq!(memory[start as usize..end as usize], archive[..]);
    assert!(tree.memory_reservations().any(|r| r.address() as u64 <= start && r.size() > 0));
}

#[test]
fn linux_finds_all_it_needs() {
    for (machine, features) in [(Machine::Powernv9, 68), (Machine::Powernv10, 76)] {
        let guest = linux();
        let domain =
            build(machine, &Plan { vcpus: 2, ..plan(Guest::Linux(guest.clone())) }).unwrap();
        let memory = memory(&domain);
        assert_eq!((domain.entry, domain.number, domain.vcpus), (0, 3, 2));
        assert_eq!((domain.personality, domain.little_endian), (Personality::Papr, false));
        assert_eq!(&memory[..7], b"vmlinux");
        assert!(domain.device_tree >= 5 * MIB && domain.device_tree.is_multiple_of(8));

        let tree = Fdt::new(&memory[domain.device_tree as usize..]).unwrap();
        assert_eq!(value(&tree, "/", "device_type"), b"chrp\0");
        assert_eq!(value(&tree, "/memory", "reg")[8..], (64 * MIB).to_be_bytes());
        assert_eq!(value(&tree, "/chosen", "bootargs"), b"console=hvc0 quiet\0");
        let start = number(&tree, "/chosen", "linux,initrd-start") as usize;
        let end = number(&tree, "/chosen", "linux,initrd-end") as usize;
        assert_eq!(memory[start..end], guest.initrd.unwrap()[..]);
        let vector = value(&tree, "/chosen", "ibm,architecture-vec-5");
        assert_eq!((vector[0x18], vector[0x1a], vector[0x17]), (0x40, 0x40, 0));

        let cpus: Vec<_> = tree.find_node("/cpus").unwrap().children().collect();
        assert_eq!(cpus.len(), 2);
        for (number, cpu) in cpus.iter().enumerate() {
            let server = cpu.property("ibm,ppc-interrupt-server#s").unwrap().as_usize();
            assert_eq!(server, Some(number));
            let pa_features = cpu.property("ibm,pa-features").unwrap().value;
            assert_eq!(pa_features.len(), features);
            assert_eq!(usize::from(pa_features[0]) + 2, features);
            // Little-endian and radix translation are there, transactional memory is not.
            assert_eq!((pa_features[2 + 5] & 0x80, pa_features[2 + 40]), (0x80, 0x80));
            assert_eq!(pa_features[2 + 22], 0);
            let sizes = cpu.property("ibm,processor-radix-AP-encodings").unwrap().value;
            assert_eq!(sizes[8..12], 0x2000_0015u32.to_be_bytes());
        }

        let rtas = cell(&tree, "/rtas", "linux,rtas-base");
        assert_eq!(cell(&tree, "/rtas", "linux,rtas-entry"), rtas);
        assert_eq!(memory[rtas as usize..][..4], 0x7c64_1b78u32.to_be_bytes());
        let reserved: Vec<_> =
            tree.memory_reservations().map(|r| (r.address() as u64, r.size() as u64)).collect();
        assert_eq!(reserved, [(rtas.into(), 4096)]);
        for (name, token) in RTAS_FUNCTIONS {
            assert_eq!(cell(&tree, "/rtas", name), token);
        }
        assert_eq!(cell(&tree, "/vdevice/vty@30000000", "reg"), 0x3000_0000);
        let vty = tree.find_node("/vdevice/vty@30000000").unwrap();
        assert_eq!(vty.property("interrupts").unwrap().value, [0, 0, 0x10, 0, 0, 0, 0, 0]);
        assert!(tree.find_node("/vdevice/l-lan@30000002").is_none(), "it has no right to one");
        // boot_cpuid_phys is the first processor's number.
        assert_eq!(memory[domain.device_tree as usize + 28..][..4], [0; 4]);
    }
}

#[test]
fn a_linux_with_the_right_finds_its_port() {
    let plan = Plan { rights: Rights::LAN, number: 60, ..plan(Guest::Linux(linux())) };
    let domain = build(Machine::Powernv9, &plan).unwrap();
    let memory = memory(&domain);
    let tree = Fdt::new(&memory[domain.device_tree as usize..]).unwrap();
    let port = "/vdevice/l-lan@30000002";
    assert_eq!(value(&tree, port, "compatible"), b"IBM,l-lan\0");
    assert_eq!(value(&tree, port, "device_type"), b"network\0");
    assert_eq!(value(&tree, port, "local-mac-address"), b"RK42\0\x3c");
    assert_eq!(cell(&tree, port, "reg"), 0x3000_0002);
    assert_eq!(cell(&tree, port, "ibm,mac-address-filters"), 0);
    let window: Vec<u8> =
        [0x3000_0002u32, 0, 0, 0, 128 << 20].iter().flat_map(|cell| cell.to_be_bytes()).collect();
    assert_eq!(value(&tree, port, "ibm,my-dma-window"), window);
    assert_eq!(value(&tree, port, "interrupts"), [0, 0, 0x10, 1, 0, 0, 0, 0]);
    let functions = value(&tree, "/rtas", "ibm,hypertas-functions");
    for wanted in ["hcall-vio", "hcall-lLAN", "hcall-tce", "hcall-multi-tce"] {
        assert!(
            functions.split(|byte| *byte == 0).any(|name| name == wanted.as_bytes()),
            "{wanted}"
        );
    }
}

#[test]
fn k42_finds_all_it_needs() {
    let guest = k42();
    let domain = build(Machine::Powernv9, &plan(Guest::K42(guest.clone()))).unwrap();
    let memory = memory(&domain);
    assert_eq!(domain.entry, 0x100);
    assert_eq!((domain.personality, domain.little_endian), (Personality::Xen, true));
    assert_eq!((&memory[..4], &memory[0x4000..0x4004]), (&b"text"[..], &b"data"[..]));

    let tree = Fdt::new(&memory[domain.device_tree as usize..]).unwrap();
    assert_eq!(value(&tree, "/hypervisor", "compatible"), b"xen,xen\0");
    assert_eq!(value(&tree, "/chosen", "bootargs"), b"trace\0");
    assert_eq!(value(&tree, "/chosen", "k42,program"), b"/bin/busybox\0");
    assert_eq!(value(&tree, "/chosen", "k42,arguments"), b"ls\0-l\0");
    assert_eq!(value(&tree, "/chosen", "k42,environment"), b"PATH=/bin\0HOME=/\0");
    assert_eq!(cell(&tree, "/cpus/cpu@0", "timebase-frequency"), 512_000_000);
    let root = number(&tree, "/chosen", "linux,initrd-start");
    assert_eq!(number(&tree, "/chosen", "linux,initrd-end"), root + 100);
    assert!(root.is_multiple_of(64 << 10));
    assert_eq!(memory[root as usize..][..100], [9; 100]);

    assert_eq!(number(&tree, "/chosen/system-library", "entry"), 0x10_0000_1010);
    let expected =
        [(0x10_0000_1000, 0x800, 0x800, 1, false), (0x10_0002_2340, 0x9000, 0x20, 2, true)];
    for (index, (address, memory_size, data_size, byte, writable)) in
        expected.into_iter().enumerate()
    {
        let node = format!("/chosen/system-library/segment@{index}");
        assert_eq!(number(&tree, &node, "address"), address);
        assert_eq!(number(&tree, &node, "memory-size"), memory_size);
        assert_eq!(number(&tree, &node, "data-size"), data_size);
        let data = number(&tree, &node, "data");
        assert_eq!(data % (64 << 10), address % (64 << 10));
        assert_eq!(memory[data as usize..][..data_size as usize], vec![byte; data_size as usize]);
        let node = tree.find_node(&node).unwrap();
        assert_eq!(node.property("writable").is_some(), writable);
        assert_eq!(node.property("executable").is_some(), !writable);
    }

    // Every load is reserved, and nothing is reserved twice.
    let reserved: Vec<_> =
        tree.memory_reservations().map(|r| (r.address() as u64, r.size() as u64)).collect();
    assert!(reserved.is_sorted_by(|a, b| a.0 + a.1 <= b.0));
    for load in &domain.loads {
        let (start, end) = (load.guest_address, load.guest_address + load.data.len() as u64);
        assert!(reserved.iter().any(|(s, size)| *s <= start && end <= s + size), "{start:#x}");
    }
}

#[test]
fn a_kernel_by_itself_needs_no_application() {
    let guest = K42 { application: None, ..k42() };
    let domain = build(Machine::Powernv10, &plan(Guest::K42(guest))).unwrap();
    let memory = memory(&domain);
    let tree = Fdt::new(&memory[domain.device_tree as usize..]).unwrap();
    assert_eq!(value(&tree, "/chosen", "bootargs"), b"trace\0");
    assert!(tree.find_node("/chosen").unwrap().property("k42,program").is_none());
}

#[test]
fn what_cannot_be_built_is_said() {
    let fails = |plan: Plan| build(Machine::Powernv9, &plan).unwrap_err().to_string();
    let good = plan(Guest::Linux(linux()));
    assert_eq!(
        fails(Plan { memory_size: 3 * MIB, ..good.clone() }),
        "a domain's memory is a multiple of 2 MiB and not 0, this is 3145728 bytes"
    );
    assert!(matches!(
        build(Machine::Powernv9, &Plan { memory_size: 0, ..good.clone() }),
        Err(BuildError::MemorySize(0))
    ));
    assert_eq!(
        fails(Plan { memory_size: 4 * MIB, ..good.clone() }),
        "the domain's memory is 4194304 bytes, the Linux kernel ends at 0x500000: give the domain at least 6 MiB"
    );
    let guest = Linux { kernel: b"#!/bin/sh".to_vec().into(), ..linux() };
    assert!(fails(plan(Guest::Linux(guest))).starts_with("the Linux kernel: not an ELF file"));
    let mut other = elf::file(0, &[Part(0, 0, 4, b"text", 5)]);
    other[18] = 62; // x86-64
    let guest = Linux { kernel: other.into(), ..linux() };
    assert_eq!(fails(plan(Guest::Linux(guest))), "the Linux kernel: not a 64-bit Power executable");
    let guest = K42 { kernel: elf::file(0, &[]).into(), ..k42() };
    assert_eq!(fails(plan(Guest::K42(guest))), "the guest kernel: nothing in it is to be loaded");
    let lost = elf::file(TOP + 0x9999, &[Part(TOP, 0, 4, b"text", 5)]);
    let guest = K42 { kernel: lost.into(), ..k42() };
    assert_eq!(
        fails(plan(Guest::K42(guest))),
        "the guest kernel: the segment at 0xc000000000009999 is broken"
    );
}

proptest! {
    /// Whatever a file holds, building answers.
    #[test]
    fn no_file_brings_the_builder_down(at: prop::sample::Index, bytes in prop::collection::vec(any::<u8>(), 1..9)) {
        let good = linux();
        let mut kernel = good.kernel.to_vec();
        let at = at.index(kernel.len());
        let end = kernel.len().min(at + bytes.len());
        kernel[at..end].copy_from_slice(&bytes[..end - at]);
        let guest = Linux { kernel: kernel.into(), ..good };
        let _ = build(Machine::Powernv9, &plan(Guest::Linux(guest)));
    }
}

#[test]
fn a_storage_domain_is_told_of_its_disks() {
    let disk = |number, client, unit| Disk { number, size: (2 * MIB) << number, client, unit };
    let disks = vec![disk(0, 5, 0), disk(1, 5, 1), disk(2, 9, 0)];
    let guest = K42 { application: None, disks: disks.clone(), ..k42() };
    let domain = build(Machine::Powernv9, &plan(Guest::K42(guest))).unwrap();
    for (disk, place) in disks.iter().zip(&domain.disks) {
        assert_eq!((place.number, place.size), (disk.number, disk.size));
        assert!(place.guest_address >= domain.memory_size);
    }
    let memory = memory(&domain);
    let tree = Fdt::new(&memory[domain.device_tree as usize..]).unwrap();
    let number = |node: &str, name: &str| {
        value(&tree, node, name).iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
    };
    assert_eq!(number("/chosen/storage", "domain"), 3);
    let node = "/chosen/storage/disk@1";
    let names = ["address", "size", "client", "unit"];
    assert_eq!(names.map(|name| number(node, name)), [2 << 40, 4 * MIB, 5, 1]);
    assert!(
        build(Machine::Powernv9, &plan(Guest::K42(K42 { application: None, ..k42() })))
            .unwrap()
            .disks
            .is_empty()
    );
}
