//! Debian on a disk (`make debian`), for `make stress`: what a person does with one, and what is
//! written is there after a crash.

use k42_tests::{Console, Ending, KERNEL_64K, KERNELS, Machine};
use libtest_mimic::Trial;
use std::process::Command;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let kernels = KERNELS.into_iter().chain([KERNEL_64K]);
    let tests = kernels.map(|kernel| {
        test(format!("stress::debian::{kernel}_works_and_outlives_a_crash"), move || works(kernel))
    });
    tests.collect()
}

const PROMPT: &str = "root@debian:~# ";

fn description(kernel: &str, disk: &str) -> String {
    let version = kernel.trim_start_matches("vmlinux-");
    format!(
        r#"
        [machine]
        model = "powernv9"
        processors = 2

        [[domain]]
        name = "storage"
        kind = "storage"
        memory = "8M"
        rights = ["events", "lan"]

        [[domain]]
        name = "debian"
        kind = "linux"
        kernel = "target/inputs/{kernel}"
        initrd = "target/inputs/linux-net-{version}.cpio"
        command-line = "quiet root=/dev/etherd/e0.0 ip=10.0.0.5:::255.255.255.0:debian::none"
        memory = "1G"
        vcpus = 2
        rights = ["console-input", "lan"]
        disks = ["{disk}"]
        "#
    )
}

fn log_in(console: &mut Console<'_>) -> anyhow::Result<()> {
    console.expect("^debian login: ")?;
    console.line("root");
    console.expect("^Password: ")?;
    console.line("k42");
    console.expect(PROMPT)?;
    Ok(())
}

/// A command that a shell there runs, and a line that it says.
fn says(console: &mut Console<'_>, command: &str, line: &str) -> anyhow::Result<()> {
    console.line(command);
    console.expect(line)?;
    console.expect(PROMPT)?;
    Ok(())
}

fn works(kernel: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = folder.path().join("debian.img");
    // Its holes stay holes.
    let image = k42::files::top().join("target/inputs/debian.img");
    let copied = Command::new("cp").arg("--sparse=always").args([&image, &disk]).status()?;
    anyhow::ensure!(copied.success(), "no {}: `make debian` makes it", image.display());
    let name = format!("debian-{kernel}");
    let text = description(kernel, &disk.to_string_lossy());

    let mut machine = Machine::boot_toml(&name, &text)?;
    let mut debian = machine.console("debian");
    log_in(&mut debian)?;
    // As README says of it.
    let own = if kernel == KERNELS[0] { "ip addr add 10.0.0.5/24 dev eth0; " } else { "" };
    let wait = "until ip -brief address | grep '10[.]0[.]0[.]5/24'; do sleep 1; done";
    says(&mut debian, &format!("{own}{wait}"), r" 10\.0\.0\.5/24 ")?;
    says(
        &mut debian,
        "apt-get -qq check && apt-get install -qq -y /opt/hello_*.deb",
        "Setting up",
    )?;
    says(&mut debian, "hello", "^Hello, world!$")?;
    says(&mut debian, "python3 -c 'print(6 * 7)'", "^42$")?;
    debian.line("echo 'int puts(const char *); int main(void) { puts(\"compiled\"); }' >hello.c");
    says(&mut debian, "gcc hello.c && ./a.out", "^compiled$")?;
    says(&mut debian, "systemctl is-system-running", "^running$")?;
    debian.line("sync; echo c >/proc/sysrq-trigger");
    let crash = debian.ended()?;
    anyhow::ensure!(crash != Ending::PowerOff, "sysrq did not crash it");
    drop(machine);

    let mut machine = Machine::boot_toml(&name, &text)?;
    let mut debian = machine.console("debian");
    log_in(&mut debian)?;
    says(&mut debian, "./a.out && hello", "^compiled$")?;
    says(&mut debian, "dpkg --verify && echo sound", "^sound$")?;
    debian.line("poweroff");
    debian.ends_with(&Ending::PowerOff)
}
