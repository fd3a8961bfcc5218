//! `k42 attest` against the log of the real hypervisor on the fake machine: it agrees, and names
//! whatever is changed.

use boot_archive::write::{Domain, write};
use boot_archive::{Archive, Console, Machine, Personality};
use hv_core::Hypervisor;
use hv_fake::{Fake, IMAGE};
use k42::attest::{compare, parts, read_log};
use k42::compile::build;
use k42::description::{Description, DomainDescription, Kind, Rights};
use k42_measure::Kind as Measured;
use k42_wire::{Decoder, Item};

use crate::tool::Tree;

/// Two domains of the made-up tree.
fn description(tree: &Tree) -> Description {
    let domain = |name: &str, kind| DomainDescription {
        name: name.into(),
        memory: 4 << 20,
        vcpus: 1,
        weight: 256,
        scheduling: boot_archive::Scheduling::default(),
        rights: Rights::INPUT,
        lan: None,
        started_by: None,
        disks: Vec::new(),
        console_first: false,
        kernel: tree.path("target/images/guest-kernel"),
        kind,
    };
    Description {
        name: "made-up".into(),
        model: Machine::Powernv9,
        processors: 1,
        memory: None,
        trace: false,
        domains: vec![
            domain("one", Kind::Bare { personality: Personality::Xen, bootargs: "first".into() }),
            domain("two", Kind::Bare { personality: Personality::Xen, bootargs: "second".into() }),
        ],
    }
}

/// What the hypervisor says when it starts these.
fn log(domains: &[Domain]) -> String {
    let bytes = write(Machine::Powernv9, Console::Framed, false, domains).unwrap();
    let hypervisor = Box::new(Hypervisor::new(Fake::new(64)));
    hypervisor.init(hypervisor.machine.frames(), 1, 0, 0);
    hypervisor.start_all(&Archive::parse(&bytes).unwrap(), IMAGE, &mut [], format_args!("test"));
    let mut decoder = Decoder::new();
    let output = hypervisor.machine.state().output.clone();
    let said = output.iter().filter_map(|byte| match decoder.push(*byte) {
        Some(Item::Data(channel, byte)) if channel.number() == 0 => Some(byte),
        _ => None,
    });
    String::from_utf8(said.collect()).unwrap()
}

/// What differs when `change` is made after a run.
fn after(change: impl FnOnce(&mut Description, &mut Vec<Domain>)) -> Vec<String> {
    let tree = Tree::new();
    let mut description = description(&tree);
    let ran = log(&build(&description, Console::Framed).unwrap());
    let mut domains = Vec::new();
    change(&mut description, &mut domains);
    if domains.is_empty() {
        domains = build(&description, Console::Framed).unwrap();
    }
    compare(&parts(IMAGE, &domains, &[]), &read_log(&ran).unwrap())
}

#[test]
fn what_ran_is_what_the_files_give() {
    assert_eq!(after(|_, _| {}), [""; 0]);
}

#[test]
fn whatever_is_changed_is_named() {
    let kernel = after(|description, domains| {
        *domains = build(description, Console::Framed).unwrap();
        let load = domains[1].loads.iter_mut().find(|load| load.what == "the guest kernel");
        let load = load.unwrap();
        let mut bytes = load.data.to_vec();
        bytes[2] ^= 1;
        load.data = bytes.into();
    });
    assert_eq!(kernel, ["domain 2 (two): the guest kernel differs: its bytes are others"]);

    let words = |domain: &mut DomainDescription, words: &str| {
        domain.kind = Kind::Bare { personality: Personality::Xen, bootargs: words.into() };
    };
    let command_line = after(|description, _| words(&mut description.domains[0], "other"));
    assert_eq!(command_line, ["domain 1 (one): the device tree differs: its bytes are others"]);
    let longer = after(|description, _| words(&mut description.domains[0], "quite another"));
    assert_eq!(longer.len(), 1);
    assert!(longer[0].starts_with("domain 1 (one): the device tree differs: "), "{longer:?}");

    let rights = after(|description, _| description.domains[1].rights |= Rights::CONTROL);
    let want = "domain 2 (two): the rights differs: it ran with basic console translation input; \
                the files give basic console translation control input";
    assert_eq!(rights, [want]);

    let memory = 4 << 20;
    let starts = "entry 0x0 argument 0x10000 little true";
    let shares: [(fn(&mut DomainDescription), _); 5] = [
        (|one| one.weight = 7, "weight 7 cap 0 reserved 0/0 processors 0xffffffff"),
        (|one| one.scheduling.cap = 25, "weight 256 cap 25 reserved 0/0 processors 0xffffffff"),
        (|one| one.scheduling.processors = 1, "weight 256 cap 0 reserved 0/0 processors 0x1"),
        (
            |one| one.scheduling.reserved = Some((10_240, 512_000)),
            "weight 256 cap 0 reserved 10240/512000 processors 0xffffffff",
        ),
        (|_| (), ""),
    ];
    for (change, share) in shares {
        let told = after(|description, _| change(&mut description.domains[0]));
        let want = format!(
            "domain 1 (one): the start differs: the files give \"{starts} memory {memory} {share}\""
        );
        assert_eq!(told, if share.is_empty() { vec![] } else { vec![want] });
    }

    let entry = after(|description, domains| {
        *domains = build(description, Console::Framed).unwrap();
        domains[0].entry += 4;
    });
    assert_eq!(entry.len(), 1);
    assert!(entry[0].starts_with("domain 1 (one): the start differs: "), "{entry:?}");
}

#[test]
fn domains_in_another_order_and_too_few_or_many_are_named() {
    let order = after(|description, _| description.domains.swap(0, 1));
    let want = [
        "domain 1 (two): the log has domain 2 (one) in its place",
        "domain 2 (one): the log has domain 1 (two) in its place",
    ];
    assert_eq!(order, want);
    let fewer = after(|description, _| {
        description.domains.pop();
    });
    assert_eq!(fewer, ["domain 2: it started, and is not in the description"]);
    let more = after(|description, _| {
        let mut third = description.domains[0].clone();
        third.name = "three".into();
        description.domains.push(third);
    });
    assert_eq!(more, ["domain 3 (three): it is not in the log: it did not start"]);
}

#[test]
fn what_a_controller_loads_is_declared() {
    let tree = Tree::new();
    let mut domains = build(&description(&tree), Console::Framed).unwrap();
    let mut records = read_log(&log(&domains)).unwrap();
    // As if a controller had started the second.
    let second = records.iter_mut().filter(|record| record.domain == 2);
    second.filter(|record| record.kind == Measured::Load).for_each(|record| {
        record.kind = Measured::Declared;
    });
    let mut started = domains.split_off(1);
    assert_eq!(compare(&parts(IMAGE, &domains, &started), &records), [""; 0]);
    let what = started[0].loads[0].what;
    started[0].loads[0].data = [1; 7].into();
    let told = compare(&parts(IMAGE, &domains, &started), &records);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with(&format!("domain 2 (two): {what} differs: ")), "{told:?}");
    assert!(told[0].ends_with("the files give 7"), "{told:?}");
    // What was not declared, and what was besides.
    records.retain(|record| record.kind != Measured::Declared);
    let told = compare(&parts(IMAGE, &domains, &started), &records);
    assert_eq!(told.len(), started[0].loads.iter().filter(|load| !load.data.is_empty()).count());
    assert!(told.iter().all(|line| line.ends_with(" is not in the log")), "{told:?}");
}

#[test]
fn another_hypervisor_is_named() {
    let tree = Tree::new();
    let domains = build(&description(&tree), Console::Framed).unwrap();
    let records = read_log(&log(&domains)).unwrap();
    let mut image = IMAGE.to_vec();
    image[0] ^= 1;
    let differs = compare(&parts(&image, &domains, &[]), &records);
    assert_eq!(differs, ["hypervisor: its image differs: its bytes are others"]);
}

#[test]
fn a_log_that_was_changed_is_found_out() {
    let tree = Tree::new();
    let whole = log(&build(&description(&tree), Console::Framed).unwrap());
    let lines: Vec<&str> = whole.lines().collect();
    let measured: Vec<usize> =
        (0..lines.len()).filter(|&n| lines[n].starts_with("measured: ")).collect();
    assert_eq!(measured.len(), 11);
    let read = |lines: &[&str]| read_log(&lines.join("\n")).map_err(|error| error.to_string());
    assert_eq!(read(&lines).unwrap().len(), 11);
    for pair in measured.windows(2) {
        let mut swapped = lines.clone();
        swapped.swap(pair[0], pair[1]);
        assert!(read(&swapped).unwrap_err().contains("does not follow"));
        let mut without = lines.clone();
        without.remove(pair[0]);
        assert!(read(&without).unwrap_err().contains("does not follow"));
        let other = lines[pair[0]].replacen(" bytes", "0 bytes", 1);
        let mut changed = lines.clone();
        changed[pair[0]] = &other;
        assert!(read(&changed).unwrap_err().contains("does not follow"));
        changed[pair[0]] = "measured: nonsense";
        assert!(read(&changed).unwrap_err().contains("is none: nonsense"));
    }
}

#[test]
fn the_command_tells_by_its_status() {
    let tree = Tree::new();
    let text = "[machine]\nmodel = \"powernv9\"\n[[domain]]\nname = \"one\"\nkind = \"bare\"\n\
                kernel = \"target/images/guest-kernel\"\nmemory = \"2M\"\n";
    tree.write("one.toml", text.as_bytes());
    let output = tree.k42(&["attest", "one.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("hypervisor.log: boot the machine first"), "{said}");
}
