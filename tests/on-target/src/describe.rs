//! Descriptions in a line or two, with what most tests want filled in.

use k42::description::{
    DomainDescription, Kind, Personality, Rights, Scheduling, default_environment,
};
use k42::files;

use crate::{Description, Model};

/// A machine with these domains.
pub fn machine(name: &str, model: Model, domains: Vec<DomainDescription>) -> Description {
    Description {
        name: format!("test-{name}"),
        model,
        processors: 1,
        memory: None,
        trace: false,
        domains,
    }
}

fn domain(name: &str, mebibytes: u64, kernel: &str, kind: Kind) -> DomainDescription {
    DomainDescription {
        name: name.into(),
        memory: mebibytes << 20,
        vcpus: 1,
        weight: 256,
        scheduling: Scheduling::default(),
        rights: Rights::INPUT,
        lan: None,
        started_by: None,
        disks: Vec::new(),
        console_first: false,
        kernel: files::top().join(kernel),
        kind,
    }
}

/// A Linux domain with Debian's kernel of that file name.
pub fn linux(name: &str, kernel: &str, command_line: &str) -> DomainDescription {
    let kernel = format!("target/inputs/{kernel}");
    let kind = Kind::Linux {
        initrd: Some(files::top().join("target/inputs/linux-initramfs.cpio")),
        command_line: format!("console=hvc0 {command_line}"),
    };
    domain(name, 512, &kernel, kind)
}

/// The same with the root file system that has this kernel's modules.
pub fn linux_with_modules(name: &str, kernel: &str, command_line: &str) -> DomainDescription {
    let version = kernel.trim_start_matches("vmlinux-");
    let initrd = Some(files::top().join(format!("target/inputs/linux-net-{version}.cpio")));
    let command_line = format!("console=hvc0 {command_line}");
    let domain = linux(name, kernel, "");
    DomainDescription { kind: Kind::Linux { initrd, command_line }, ..domain }
}

/// A Linux domain with Debian's kernel of that version, its modules, and a port of the LAN.
pub fn linux_net(name: &str, version: &str) -> DomainDescription {
    let domain = linux_with_modules(name, &format!("vmlinux-{version}"), "quiet");
    DomainDescription { rights: Rights::INPUT | Rights::LAN, ..domain }
}

/// A K42 domain with this program and its arguments.
pub fn k42(name: &str, words: &[&str]) -> DomainDescription {
    let mut words = words.iter().map(|word| (*word).into());
    let kind = Kind::K42 {
        root: files::top().join(files::ROOT),
        program: words.next().unwrap_or_default(),
        arguments: words.collect(),
        environment: default_environment(),
        bootargs: String::new(),
    };
    domain(name, 64, files::GUEST_KERNEL, kind)
}

/// A controller with memory for what it starts.
pub fn controller(name: &str, mebibytes: u64, bootargs: &str) -> DomainDescription {
    let kind = Kind::Controller { bootargs: bootargs.into() };
    let domain = domain(name, mebibytes, files::CONTROLLER, kind);
    let rights = Rights::CONTROL | Rights::INPUT | Rights::EVENTS | Rights::GRANTS | Rights::LAN;
    DomainDescription { rights, ..domain }
}

/// A domain that serves all others their disks.
pub fn storage(name: &str) -> DomainDescription {
    let rights = Rights::EVENTS | Rights::LAN;
    DomainDescription { rights, ..domain(name, 16, files::STORAGE, Kind::Storage) }
}

/// A kernel of ours by itself: the one of `tests/guest`, which does what its options say.
pub fn bare(name: &str, bootargs: &str) -> DomainDescription {
    by_itself(name, Personality::Xen, bootargs)
}

/// The same as a domain of PAPR's personality, as Linux is.
pub fn papr(name: &str, bootargs: &str) -> DomainDescription {
    by_itself(name, Personality::Papr, bootargs)
}

fn by_itself(name: &str, personality: Personality, bootargs: &str) -> DomainDescription {
    let kind = Kind::Bare { personality, bootargs: bootargs.into() };
    let domain = domain(name, 32, "target/images/ktest-guest", kind);
    let rights = Rights::INPUT | Rights::EVENTS | Rights::GRANTS | Rights::LAN;
    DomainDescription { rights, ..domain }
}

/// The same with so many microseconds of its own in every period, and no more.
pub fn reserved(name: &str, bootargs: &str, budget: u64, period: u64) -> DomainDescription {
    let reserved = Some((budget * 512, period * 512));
    let scheduling = Scheduling { reserved, ..Scheduling::default() };
    let domain = bare(name, bootargs);
    let rights = domain.rights | Rights::RESERVED;
    DomainDescription { rights, scheduling, weight: 0, ..domain }
}

/// A kernel of ours that never lets go of its processor.
pub fn busy(name: &str) -> DomainDescription {
    bare(name, "test=work from=0 to=1000000")
}
