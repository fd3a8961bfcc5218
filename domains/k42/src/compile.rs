//! From a description to a boot archive: reads the files and has the domains built.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use boot_archive::write::Domain;
use boot_archive::{Console, Personality};
use domain_builder::{Disk, File, Guest, Plan, k42, linux};

use crate::description::{Description, DomainDescription, Kind};
use crate::program::Root;
use crate::{disks, files};

/// The most that QEMU loads as an initial file system, which is how the archive arrives.
const MAX_ARCHIVE: usize = 128 << 20;

/// The domains of this machine that start at boot, built from their files.
pub fn build(description: &Description, console: Console) -> anyhow::Result<Vec<Domain>> {
    domains(description, console, None, &mut Store::default())
}

/// The domains of this machine that controllers start, built from their files.
pub fn build_started(description: &Description, console: Console) -> anyhow::Result<Vec<Domain>> {
    let mut started = Vec::new();
    let mut store = Store::default();
    for controller in &description.domains {
        started.extend(domains(description, console, Some(&controller.name), &mut store)?);
    }
    Ok(started)
}

/// The boot archive of this machine.
pub fn compile(description: &Description, console: Console) -> anyhow::Result<Vec<u8>> {
    let domains = build(description, console)?;
    let archive =
        boot_archive::write::write(description.model, console, description.trace, &domains)?;
    ensure!(
        archive.len() <= MAX_ARCHIVE,
        "the boot archive has {} MiB and can have {}: use smaller files or the same for more domains",
        archive.len() >> 20,
        MAX_ARCHIVE >> 20
    );
    Ok(archive)
}

/// The domains that this controller starts, or the hypervisor at boot.
fn domains(
    description: &Description,
    console: Console,
    starter: Option<&str>,
    store: &mut Store,
) -> anyhow::Result<Vec<Domain>> {
    let mut found = Vec::new();
    for (number, domain) in (1..).zip(&description.domains) {
        if domain.started_by.as_deref() != starter {
            continue;
        }
        let context = || format!("domain \"{}\"", domain.name);
        let held = match domain.kind {
            Kind::Controller { .. } => {
                let held = domains(description, console, Some(&domain.name), store)?;
                Some(boot_archive::write::write(description.model, console, false, &held)?.into())
            }
            _ => None,
        };
        let disks = match domain.kind {
            Kind::Storage => disks::all(description)?,
            _ => Vec::new(),
        };
        let numbers = (number, description.lan_number(domain));
        let plan = plan(numbers, domain, (held, disks), store).with_context(context)?;
        found.push(domain_builder::build(description.model, &plan).with_context(context)?);
    }
    Ok(found)
}

/// Files read so far: domains share kernels.
#[derive(Default)]
struct Store {
    files: HashMap<PathBuf, File>,
}

impl Store {
    fn read(&mut self, path: &Path) -> anyhow::Result<File> {
        if let Some(file) = self.files.get(path) {
            return Ok(file.clone());
        }
        let file: File = std::fs::read(path)
            .map_err(|error| {
                let shown = path.strip_prefix(files::top()).unwrap_or(path).to_string_lossy();
                anyhow::anyhow!("{shown}: {error}; {}", files::remedy(&shown))
            })?
            .into();
        self.files.insert(path.into(), file.clone());
        Ok(file)
    }
}

/// What the builder is told of a domain, by its own and its LAN's number, with what a controller is to
/// start and what a storage domain is to serve.
fn plan(
    (number, lan): (u16, u16),
    domain: &DomainDescription,
    (archive, disks): (Option<File>, Vec<Disk>),
    store: &mut Store,
) -> anyhow::Result<Plan> {
    let kernel = store.read(&domain.kernel)?;
    let guest = match &domain.kind {
        Kind::Linux { initrd, command_line } => Guest::Linux(linux::Linux {
            kernel,
            initrd: initrd.as_ref().map(|path| store.read(path)).transpose()?,
            command_line: command_line.clone(),
        }),
        Kind::K42 { root, program, arguments, environment, bootargs } => {
            let file = store.read(root)?;
            let name = || root.display().to_string();
            let found = Root::parse(&file).and_then(|files| files.find(program, environment));
            Guest::K42(k42::K42 {
                kernel,
                personality: Personality::Xen,
                bootargs: bootargs.clone(),
                archive: None,
                disks,
                application: Some(k42::Application {
                    system_library: store.read(&files::top().join(files::LINUX_COMPAT))?,
                    root: file.clone(),
                    program: found.with_context(name)?,
                    arguments: std::iter::once(program).chain(arguments).cloned().collect(),
                    environment: environment.clone(),
                }),
            })
        }
        Kind::Bare { personality, bootargs } => {
            Guest::K42(bare(kernel, *personality, bootargs, disks))
        }
        Kind::Storage => Guest::K42(bare(kernel, Personality::Xen, "", disks)),
        Kind::Controller { bootargs } => {
            Guest::K42(k42::K42 { archive, ..bare(kernel, Personality::Xen, bootargs, disks) })
        }
    };
    Ok(Plan {
        number,
        name: domain.name.clone(),
        memory_size: domain.memory,
        vcpus: domain.vcpus,
        weight: domain.weight,
        scheduling: domain.scheduling,
        rights: domain.rights,
        lan,
        guest,
    })
}

/// A kernel by itself.
fn bare(kernel: File, personality: Personality, bootargs: &str, disks: Vec<Disk>) -> k42::K42 {
    let bootargs = bootargs.into();
    k42::K42 { kernel, personality, bootargs, application: None, archive: None, disks }
}
