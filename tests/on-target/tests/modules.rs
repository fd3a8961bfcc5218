//! Linux with the modules of its kernel, and programs of Debian's that need libraries.

use k42_tests::{Ending, KERNEL_64K, KERNELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let kernels = KERNELS.into_iter().chain([KERNEL_64K]);
    let fit = |kernel| test(format!("modules::fit_{kernel}"), move || fit(kernel));
    kernels.map(fit).collect()
}

/// A file with an ext4 on it takes what is written and keeps it: the modules for that load, with the
/// one that the kernel asks for by itself, a processor's own way to do checksums.
fn fit(kernel: &str) -> anyhow::Result<()> {
    let domains = vec![describe::linux_with_modules("linux", kernel, "quiet")];
    let name = format!("modules-{kernel}");
    let mut machine = Machine::boot(&describe::machine(&name, Model::Powernv9, domains))?;
    let mut linux = machine.console("linux");
    linux.expect("^linux:~# ")?;
    linux.line("modprobe -a loop ext4 ibmveth aoe; cut -d ' ' -f 1 /proc/modules | sort | xargs");
    linux.expect(r"^aoe crc16 (crc32c_vpmsum )?ext4 ibmveth jbd2 loop mbcache$")?;
    linux.line("dd if=/dev/zero of=/image bs=1M count=16 && mkfs.ext4 -q /image && mkdir /mounted");
    linux.line("mount -o loop /image /mounted && cp /data/numbers /mounted && umount /mounted");
    linux.line("grep -c crc32c /proc/modules; e2fsck -f -n /image && echo sound");
    linux.expect("^[12]$")?;
    linux.expect("^sound$")?;
    linux.line("mount -o loop,ro /image /mounted; cmp /data/numbers /mounted/numbers && echo same");
    linux.expect("^same$")?;
    linux.line("poweroff");
    linux.ends_with(&Ending::PowerOff)?;
    machine.wait_end()
}
