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
    let mut tests = Vec::new();
    for model in [Model::Powernv9, Model::Powernv10, Model::Pseries9] {
        let name = |what: &str| format!("disks::{}::{what}", model.name());
        let outlives = move || outlives(model);
        tests.push(test(name("what_is_written_outlives_its_machine"), outlives));
    }
    for (model, version) in [(Model::Powernv9, "6.12"), (Model::Pseries9, "6.1")] {
        let name = format!("disks::{}::linux_{version}_has_its_file_system_again", model.name());
        tests.push(test(name, move || file_system(model, version)));
    }
    tests
}

/// What the shell of a Linux prompts with.
const PROMPT: &str = r"^linux:~# ";
/// Loads the drivers and waits for the disk.
const ATTACH: &str = "modprobe ibmveth; ip link set eth0 mtu 9000; ip link set eth0 up; modprobe aoe; \
    until [ -b /dev/etherd/e0.0 ]; do echo >/dev/etherd/discover; sleep 1; done; echo attached $((1))";
/// Makes a file system and a file that is on the disk for certain, and goes on writing others.
const FILL: &str = "mkfs.ext4 -q /dev/etherd/e0.0; mkdir /d; mount -t ext4 /dev/etherd/e0.0 /d && \
    head -c 5000000 /dev/urandom >/d/kept; sync; md5sum /d/kept; \
    (n=0; while :; do n=$((n + 1)); head -c 300000 /dev/urandom >/d/$((n % 20)); done) & \
    sleep 2; echo busy $((1))";
/// Mends the file system as Linux does when it starts, and looks at the file.
const LOOK: &str = "e2fsck -f -p /dev/etherd/e0.0; echo mended $?; mkdir /d; \
    mount -t ext4 /dev/etherd/e0.0 /d && md5sum /d/kept";

/// A Linux with a disk, in this file, that is attached.
fn linux(model: Model, version: &str, file: &Path) -> anyhow::Result<Machine> {
    let linux = describe::linux_net("linux", version);
    let linux = DomainDescription { disks: vec![file.into()], ..linux };
    let domains = vec![describe::storage("storage"), linux];
    let mut machine = Machine::boot(&describe::machine(
        &format!("disks-{}-{version}", model.name()),
        model,
        domains,
    ))?;
    let mut console = machine.console("linux");
    console.expect(PROMPT)?;
    console.line(ATTACH);
    console.expect("^attached 1$")?;
    Ok(machine)
}

/// A machine is killed while its Linux writes to its disk: the next one's mends the file system, and
/// finds what was there for certain.
fn file_system(model: Model, version: &str) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    file.as_file().set_len(64 << 20)?;
    let mut machine = linux(model, version, file.path())?;
    let mut console = machine.console("linux");
    console.line(FILL);
    let sum = console.expect("^([0-9a-f]{32})  /d/kept$")?;
    console.expect("^busy 1$")?;
    drop(machine);
    let mut machine = linux(model, version, file.path())?;
    let mut console = machine.console("linux");
    console.line(LOOK);
    let status = console.expect("^mended ([0-9]+)$")?;
    anyhow::ensure!(["0", "1"].contains(&status.as_str()), "e2fsck: {}", console.said());
    let again = console.expect("^([0-9a-f]{32})  /d/kept$")?;
    anyhow::ensure!(again == sum, "{again} is there, {sum} was written");
    Ok(())
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
