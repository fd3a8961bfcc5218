//! Linux of every size: little memory and much, one vCPU and more than there are processors, and
//! vCPUs that it takes out of service and puts back.

use k42_tests::{Ending, KERNEL_64K, KERNELS, MODELS, Machine, Model, NESTED, describe};
use libtest_mimic::Trial;

use crate::test;

/// What a test is of: the machine, the kernel, MiB of memory, and vCPUs.
type Size = (Model, &'static str, u64, u32);

/// Few of them, for every run; `make stress` has all values of the four with one another.
const SOME: [Size; 3] = [
    (Model::Powernv9, KERNELS[0], 256, 8),
    (Model::Powernv10, KERNELS[1], 8192, 1),
    (Model::Pseries9, KERNEL_64K, 256, 1),
];

/// Rounds of taking every vCPU but the first out of service.
const ROUNDS: u32 = 3;

pub fn tests() -> Vec<Trial> {
    SOME.into_iter().map(|size| trial("sizes", size)).collect()
}

/// Those for `make stress`.
pub fn all() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in MODELS.into_iter().chain(NESTED) {
        for kernel in KERNELS.into_iter().chain([KERNEL_64K]) {
            for mebibytes in [256, 8192] {
                let sizes = [1, 8].map(|vcpus| (model, kernel, mebibytes, vcpus));
                tests.extend(sizes.map(|size| trial("stress::sizes", size)));
            }
            let name = format!("stress::{}::{kernel}_vcpus_go_and_come", model.name());
            tests.push(test(name, move || go_and_come(model, kernel, 8, 2)));
        }
    }
    tests
}

fn trial(group: &str, size: Size) -> Trial {
    let (model, kernel, mebibytes, vcpus) = size;
    let name = format!("{group}::{}::{kernel}_{mebibytes}_MiB_{vcpus}_vcpus", model.name());
    test(name, move || works(size))
}

/// It finds what it was given, each vCPU works, and it makes use of most of the memory.
fn works((model, kernel, mebibytes, vcpus): Size) -> anyhow::Result<()> {
    let mut domain = describe::linux("linux", kernel, "quiet");
    domain.memory = mebibytes << 20;
    domain.vcpus = vcpus;
    let name = format!("size-{}-{kernel}-{mebibytes}-{vcpus}", model.name());
    let mut machine = Machine::boot(&describe::machine(&name, model, vec![domain]))?;
    let mut linux = machine.console("linux");
    linux.expect("^linux:~# ")?;
    linux.line("nproc; awk '/^MemTotal/ { print \"total\", $2, $3 }' /proc/meminfo");
    linux.expect(&format!("^{vcpus}$"))?;
    let total: u64 = linux.expect(r"^total (\d+) kB$")?.parse()?;
    let given = mebibytes << 10;
    anyhow::ensure!(total < given && total > given / 2, "{total} KiB of {given} KiB");
    linux.line(&format!(
        "for cpu in $(seq 0 {}); do taskset -c $cpu sha256sum /data/bytes & done; wait; echo all",
        vcpus - 1
    ));
    let mut sums = Vec::new();
    for _ in 0..vcpus {
        sums.push(linux.expect(r"([0-9a-f]{64})  /data/bytes")?);
    }
    anyhow::ensure!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
    linux.expect("^all$")?;
    linux.line("poweroff");
    linux.ends_with(&Ending::PowerOff)?;
    machine.wait_end()
}

/// Every vCPU but the first goes and comes back, again and again, and each then works. Linux can lock
/// itself up at that (docs/hypervisor.md, Nested); the reports then say so. (`papr.rs` has the
/// same in small, for every run.)
fn go_and_come(model: Model, kernel: &str, vcpus: u32, processors: u32) -> anyhow::Result<()> {
    let mut domain = describe::linux("linux", kernel, "quiet");
    domain.vcpus = vcpus;
    let name = format!("go-and-come-{}-{kernel}", model.name());
    let mut description = describe::machine(&name, model, vec![domain]);
    description.processors = processors;
    let mut machine = Machine::boot(&description)?;
    let mut linux = machine.console("linux");
    linux.expect("^linux:~# ")?;
    linux.line(&format!(
        "all() {{ for cpu in $(seq 1 {}); do echo $1 >/sys/devices/system/cpu/cpu$cpu/online; done; }}",
        vcpus - 1
    ));
    for _ in 0..ROUNDS {
        linux.line("all 0; echo $(nproc) of $(cat /sys/devices/system/cpu/online).");
        linux.expect(r"^1 of 0\.$")?;
        linux.line("all 1; echo $(nproc) of $(cat /sys/devices/system/cpu/online).");
        linux.expect(&format!(r"^{vcpus} of 0-{}\.$", vcpus - 1))?;
        linux.line(&format!("taskset -c {} sha256sum /data/empty", vcpus - 1));
        linux.expect("^e3b0c442[0-9a-f]{56}  /data/empty$")?;
    }
    linux.line("poweroff");
    linux.ends_with(&Ending::PowerOff)?;
    machine.wait_end()
}
