//! Disks: what a domain has written is there when its machine has been killed, in the host's file and
//! for the next machine.

use k42_tests::{Description, DomainDescription, Ending, Machine, Model, describe};
use libtest_mimic::Trial;
use std::path::{Path, PathBuf};

use crate::test;

/// Two disks' bytes, and what is written to them.
const SIZES: [u64; 2] = [2 << 20, 4 << 20];
const SEEDS: [u64; 2] = [5, 90];

pub fn tests() -> Vec<Trial> {
    [Model::Powernv9, Model::Powernv10, Model::Pseries9]
        .into_iter()
        .map(|model| {
            let name = format!("disks::{}::what_is_written_outlives_its_machine", model.name());
            test(name, move || outlives(model))
        })
        .collect()
}

/// A domain that does something with its disk, in this file.
fn client(number: usize, files: &[PathBuf; 2], act: &str) -> DomainDescription {
    let options = format!(
        "test=disk domain={} sectors={} seed={} do={act}",
        number + 2,
        SIZES[number] / 512,
        SEEDS[number]
    );
    let domain = describe::bare(&format!("client-{number}"), &options);
    DomainDescription { disks: vec![files[number].clone()], ..domain }
}

fn description(model: Model, files: &[PathBuf; 2], acts: [&str; 2]) -> Description {
    let clients = [client(0, files, acts[0]), client(1, files, acts[1])];
    let domains = [describe::storage("storage")].into_iter().chain(clients).collect();
    describe::machine(&format!("disks-{}-{}", model.name(), acts[0]), model, domains)
}

/// Whether the file has all that was written to the disk.
fn written(number: usize, file: &Path) -> anyhow::Result<bool> {
    let bytes = std::fs::read(file)?;
    let wanted = (0..SIZES[number]).map(|at| (at / 512 + at + SEEDS[number]) as u8);
    Ok(bytes.into_iter().eq(wanted))
}

fn outlives(model: Model) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let files = ["one,two.img", "b.img"].map(|name| folder.path().join(name));
    for (file, size) in files.iter().zip(SIZES) {
        std::fs::File::create(file)?.set_len(size)?;
    }
    let mut machine = Machine::boot(&description(model, &files, ["write", "crash"]))?;
    let said = machine.console("client-0").expect("^(written|not ok .*)$")?;
    anyhow::ensure!(said == "written", "{said}");
    let crash = machine.console("client-1").ended()?;
    anyhow::ensure!(crash != Ending::Exit(1), "{}", machine.console("client-1").said());
    machine.console("storage").lives()?;
    let Err(second) = Machine::boot(&description(model, &files, ["read", "read"])) else {
        anyhow::bail!("two machines have one disk")
    };
    anyhow::ensure!(second.to_string().contains("is another machine's"), "{second}");
    drop(machine); // the emulator is killed
    for (number, file) in files.iter().enumerate() {
        anyhow::ensure!(written(number, file)?, "{} is not what was written", file.display());
    }
    let mut machine = Machine::boot(&description(model, &files, ["read", "read"]))?;
    for name in ["client-0", "client-1"] {
        let verdict = machine.console(name).expect(r"^(ok|not ok) .*$")?;
        anyhow::ensure!(verdict == "ok", "{name} says: {}", machine.console(name).said());
    }
    machine.console("storage").lives()
}
