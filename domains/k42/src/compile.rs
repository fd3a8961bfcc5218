//! From a description to a boot archive: reads the files and has the domains built.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use boot_archive::Console;
use domain_builder::{File, Guest, Plan, k42, linux};

use crate::description::{Description, DomainDescription, Kind};
use crate::files;
use crate::program::Root;

/// The most that QEMU loads as an initial file system, which is how the archive arrives.
const MAX_ARCHIVE: usize = 128 << 20;

/// The boot archive of this machine.
pub fn compile(description: &Description, console: Console) -> anyhow::Result<Vec<u8>> {
    let mut store = Store::default();
    let mut domains = Vec::new();
    for (number, domain) in (1..).zip(&description.domains) {
        let context = || format!("domain \"{}\"", domain.name);
        let plan = plan(number, domain, &mut store).with_context(context)?;
        domains.push(domain_builder::build(description.model, &plan).with_context(context)?);
    }
    let archive = boot_archive::write::write(description.model, console, &domains)?;
    ensure!(
        archive.len() <= MAX_ARCHIVE,
        "the boot archive has {} MiB and can have {}: use smaller files or the same for more domains",
        archive.len() >> 20,
        MAX_ARCHIVE >> 20
    );
    Ok(archive)
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

fn plan(number: u16, domain: &DomainDescription, store: &mut Store) -> anyhow::Result<Plan> {
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
                bootargs: bootargs.clone(),
                application: Some(k42::Application {
                    system_library: store.read(&files::top().join(files::LINUX_COMPAT))?,
                    root: file.clone(),
                    program: found.with_context(name)?,
                    arguments: std::iter::once(program).chain(arguments).cloned().collect(),
                    environment: environment.clone(),
                }),
            })
        }
        Kind::Bare { bootargs } => {
            Guest::K42(k42::K42 { kernel, bootargs: bootargs.clone(), application: None })
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
        guest,
    })
}
