//! The archive as its two users see it: what is written is read back, and no damage brings the
//! reader down.

use std::sync::Arc;

use boot_archive::write::{Blob, Domain, WriteError, write};
use boot_archive::{
    Archive, ArchiveError, Console, Disk, IndexFault, MEMORY_GRANULE, Machine, PAYLOAD_ALIGNMENT,
    Personality, Place,
};
use proptest::prelude::*;

fn domain(number: u16, name: &str) -> Domain {
    Domain {
        number,
        name: name.into(),
        personality: Personality::Papr,
        memory_size: 4 * MEMORY_GRANULE,
        vcpus: 1,
        weight: 256,
        scheduling: boot_archive::Scheduling { cap: 50, processors: 3, reserved: Some((1, 2)) },
        rights: 0,
        lan: 0,
        entry: 0x100,
        device_tree: 0x20_0000,
        little_endian: false,
        loads: vec![Blob { what: "", guest_address: 0x1000, data: Arc::from(&b"kernel"[..]) }],
        disks: vec![Disk { number: 1, guest_address: 1 << 40, size: MEMORY_GRANULE }],
    }
}

fn blob() -> impl Strategy<Value = Blob> {
    let data = prop::collection::vec(any::<u8>(), 0..5000).prop_map(Arc::from);
    (0u64..MEMORY_GRANULE / 2, data).prop_map(|(guest_address, data)| Blob {
        what: "",
        guest_address,
        data,
    })
}

prop_compose! {
    fn domains()(parts in prop::collection::vec(
        (any::<bool>(), 1u64..64, 1u32..9, 1u16..1000, 0u64..MEMORY_GRANULE, any::<bool>(),
         prop::collection::vec(blob(), 0..4), prop::collection::vec(21u32..40, 0..3)), 0..5)) -> Vec<Domain> {
        parts.into_iter().enumerate().map(|(i, (xen, granules, vcpus, weight, entry, little, loads, disks))| Domain {
            number: i as u16 * 7 + 1,
            name: format!("domain-{i}"),
            personality: if xen { Personality::Xen } else { Personality::Papr },
            memory_size: granules * MEMORY_GRANULE,
            vcpus,
            weight,
            scheduling: boot_archive::Scheduling { cap: weight % 101, ..Default::default() },
            rights: u32::from(weight % 7),
            lan: weight % 63,
            entry,
            device_tree: entry / 2,
            little_endian: little,
            loads,
            disks: (1..).zip(disks).map(|(n, bits)| Disk {
                number: n, guest_address: u64::from(n) << 40, size: 1 << bits,
            }).collect(),
        }).collect()
    }
}

/// Reads all there is in an archive, as the hypervisor would.
fn read_all(bytes: &[u8]) -> Result<(Machine, Console, Vec<Domain>), ArchiveError> {
    let archive = Archive::parse(bytes)?;
    let mut domains = Vec::new();
    for image in archive.domains() {
        let image = image?;
        let (loads, disks) = (image.loads(), image.disks().collect());
        domains.push(Domain {
            number: image.number,
            name: image.name.into(),
            personality: image.personality,
            memory_size: image.memory_size,
            vcpus: image.vcpus,
            weight: image.weight,
            scheduling: image.scheduling,
            rights: image.rights,
            lan: image.lan,
            entry: image.entry,
            device_tree: image.device_tree,
            little_endian: image.little_endian,
            loads: loads
                .map(|l| Blob { what: "", guest_address: l.guest_address, data: l.data.into() })
                .collect(),
            disks,
        });
    }
    Ok((archive.machine(), archive.console(), domains))
}

proptest! {
    #[test]
    fn what_is_written_is_read(mut domains in domains(), ten: bool, plain: bool) {
        let machine = if ten { Machine::Powernv10 } else { Machine::Powernv9 };
        let console = if plain { Console::Plain } else { Console::Framed };
        let bytes = write(machine, console, false, &domains).unwrap();
        domains.iter_mut().for_each(|d| d.loads.retain(|load| !load.data.is_empty()));
        prop_assert_eq!(read_all(&bytes), Ok((machine, console, domains)));
    }

    /// Bytes changed anywhere in the index, or an archive cut short: an answer, never a panic.
    #[test]
    fn damage_is_survived(domains in domains(), cut: prop::sample::Index,
                          changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = write(Machine::Powernv9, Console::Framed, false, &domains).unwrap();
        let index = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
        let _ = read_all(&bytes[..cut.index(bytes.len())]);
        for (at, value) in changes {
            bytes[at.index(index)] = value;
            let _ = read_all(&bytes);
        }
    }

    /// The same where it hurts: whole words of the structure become tokens, sizes and offsets.
    #[test]
    fn damaged_words_are_survived(domains in domains(),
                                  changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
                                      0u32..12, Just(u32::MAX), Just(u32::MAX - 3), any::<u32>()]), 1..4)) {
        let mut bytes = write(Machine::Powernv9, Console::Framed, false, &domains).unwrap();
        let index = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
        for (at, value) in changes {
            let at = at.index(index / 4) * 4;
            bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
            let _ = read_all(&bytes);
        }
    }

    #[test]
    fn noise_is_no_archive(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read_all(&bytes).is_err());
    }
}

#[test]
fn equal_payload_is_stored_once_and_aligned() {
    let kernel: Arc<[u8]> = vec![7; 100_000].into();
    let mut domains = [domain(1, "one"), domain(2, "two")];
    for domain in &mut domains {
        domain.loads = vec![Blob { what: "", guest_address: 0, data: kernel.clone() }];
    }
    let bytes = write(Machine::Powernv9, Console::Framed, false, &domains).unwrap();
    assert_eq!(bytes.len() as u64, PAYLOAD_ALIGNMENT + 100_000);
    assert_eq!(read_all(&bytes).unwrap().2, domains);
}

/// What `change` does to an otherwise good pair of domains makes this error.
fn refused(change: impl FnOnce(&mut [Domain; 2])) -> ArchiveError {
    let mut domains = [domain(1, "one"), domain(2, "two")];
    change(&mut domains);
    match write(Machine::Powernv9, Console::Framed, false, &domains) {
        Err(WriteError::Refused(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn every_value_is_checked() {
    let at = Place::Domain(2);
    assert_eq!(refused(|d| d[1].number = 0), ArchiveError::NotADomain);
    assert_eq!(refused(|d| d[1].number = 63), ArchiveError::NotADomain);
    assert_eq!(refused(|d| d[1].number = 1), ArchiveError::SameNumber(1));
    assert_eq!(refused(|d| d[1].name = "one".into()), ArchiveError::SameName(2));
    assert_eq!(refused(|d| d[1].name = "Two".into()), ArchiveError::BadValue(at, "name"));
    assert_eq!(refused(|d| d[1].name = "".into()), ArchiveError::BadValue(at, "name"));
    assert_eq!(refused(|d| d[1].name = "x".repeat(25)), ArchiveError::BadValue(at, "name"));
    assert_eq!(refused(|d| d[1].memory_size += 1), ArchiveError::BadValue(at, "memory-size"));
    assert_eq!(refused(|d| d[1].memory_size = 0), ArchiveError::BadValue(at, "memory-size"));
    assert_eq!(refused(|d| d[1].vcpus = 0), ArchiveError::BadValue(at, "vcpus"));
    assert_eq!(
        refused(|d| (d[1].weight, d[1].scheduling.reserved) = (0, None)),
        ArchiveError::BadValue(at, "weight")
    );
    assert_eq!(
        refused(|d| d[1].entry = d[1].memory_size),
        ArchiveError::OutsideMemory(at, "entry")
    );
    assert_eq!(
        refused(|d| d[1].device_tree = u64::MAX),
        ArchiveError::OutsideMemory(at, "device-tree")
    );
    let load = Place::Load(2, 0);
    for address in [4 * MEMORY_GRANULE - 5, u64::MAX] {
        assert_eq!(
            refused(|d| d[1].loads[0].guest_address = address),
            ArchiveError::OutsideMemory(load, "guest-address")
        );
    }
    let disk = Place::Disk(2, 1);
    for size in [0, 1 << 20, 3 << 20] {
        let error = refused(|d| d[1].disks[0].size = size);
        assert_eq!(error, ArchiveError::BadValue(disk, "size"));
    }
    for address in [0, (1 << 40) + 4096] {
        let error = refused(|d| d[1].disks[0].guest_address = address);
        assert_eq!(error, ArchiveError::BadValue(disk, "guest-address"));
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let bytes = write(Machine::Powernv9, Console::Framed, false, &[domain(1, "one")]).unwrap();
    assert_eq!(read_all(&[]), Err(ArchiveError::Index(IndexFault::NoHeader)));
    assert_eq!(read_all(&bytes[..100]), Err(ArchiveError::Index(IndexFault::Truncated)));
    assert_eq!(read_all(&bytes[1..]), Err(ArchiveError::Index(IndexFault::NoMagic)));
    let cut = read_all(&bytes[..bytes.len() - 1]).unwrap_err();
    assert_eq!(cut, ArchiveError::OutsideArchive(Place::Load(1, 0)));
    assert_eq!(cut.to_string(), "boot archive: domain 1, load 0: data is outside the archive");

    let at = bytes.windows(8).position(|w| w == b"powernv9").unwrap();
    let mut other = bytes.clone();
    other[at + 7] = b'8';
    let error = read_all(&other).unwrap_err();
    assert_eq!(error.to_string(), "boot archive: root node: bad value of machine");

    let at = bytes.windows(9).position(|w| w == b"archive-1").unwrap();
    let mut other = bytes.clone();
    other[at + 8] = b'2';
    assert_eq!(read_all(&other), Err(ArchiveError::OtherVersion));
}

/// A device tree of these words of structure; its strings are "p".
fn tree(structure: &[u32]) -> Vec<u8> {
    let size = structure.len() as u32 * 4;
    let total = 56 + size + 4;
    let header = [0xd00d_feed, total, 56, 56 + size, 40, 17, 16, 0, 2, size, 0, 0, 0, 0];
    let words = header.iter().chain(structure).flat_map(|word| word.to_be_bytes());
    words.chain(*b"p\0\0\0").collect()
}

#[test]
fn the_index_is_a_sound_tree_or_none() {
    const BEGIN: u32 = 1;
    const END_NODE: u32 = 2;
    const PROPERTY: u32 = 3;
    const END: u32 = 9;
    const NAME: u32 = u32::from_be_bytes(*b"n\0\0\0");
    let fault = |structure: &[u32]| match read_all(&tree(structure)) {
        Err(ArchiveError::Index(fault)) => Some(fault),
        _ => None,
    };
    assert_eq!(fault(&[BEGIN, 0, PROPERTY, 4, 0, 7, END_NODE, END]), None);
    assert_eq!(
        fault(&[BEGIN, 0, PROPERTY, 400, 0, 7, END_NODE, END]),
        Some(IndexFault::BadProperty)
    );
    assert_eq!(fault(&[BEGIN, 0, PROPERTY, 4, 9, 7, END_NODE, END]), Some(IndexFault::BadName));
    assert_eq!(fault(&[BEGIN, NAME, END_NODE, END]), Some(IndexFault::BadName));
    assert_eq!(fault(&[BEGIN, 0, BEGIN, 0, END_NODE, END_NODE, END]), Some(IndexFault::BadName));
    let deep = [BEGIN, 0, BEGIN, NAME, BEGIN, NAME];
    let close = [END_NODE, END_NODE, END_NODE, END];
    assert_eq!(fault(&[&deep[..], &close].concat()), None);
    let deeper = [&deep[..], &[BEGIN, NAME, END_NODE], &close].concat();
    assert_eq!(fault(&deeper), Some(IndexFault::TooDeep));
    let late = [BEGIN, 0, BEGIN, NAME, END_NODE, PROPERTY, 4, 0, 7, END_NODE, END];
    assert_eq!(fault(&late), Some(IndexFault::BadNesting));
}
