//! QEMU as a child of this process, with the machine's serial line on its standard streams.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::Context;

use crate::description::{Model, Processor};

/// The machine that QEMU is to emulate.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which one.
    pub model: Model,
    /// How many processors it has.
    pub processors: u32,
    /// Its memory in bytes, a multiple of 1 MiB.
    pub memory: u64,
    /// The file that its memory is in, for others to read; nobody's if none.
    pub memory_file: Option<PathBuf>,
    /// A port for gdb to connect to; the machine then waits for it before its first instruction.
    pub gdb: Option<u16>,
    /// Its disks: files, and how many bytes each has.
    pub disks: Vec<(PathBuf, u64)>,
    /// More of QEMU's options, for tests and measurements.
    pub more: Vec<String>,
}

/// No devices but a serial line.
const DEVICES: [&str; 9] = [
    "-nodefaults",
    "-nographic",
    "-monitor",
    "none",
    "-serial",
    "stdio",
    "-no-reboot",
    "-net",
    "none",
];

/// The BMC is what bare metal's firmware powers the machine off with, and without it the firmware
/// waits for ever.
const BMC: [&str; 4] =
    ["-device", "ipmi-bmc-sim,id=bmc0", "-device", "isa-ipmi-bt,bmc=bmc0,irq=10"];

/// A partition that may have guests of its own, and a firmware that does nothing but load.
const NESTED: &str = "pseries,cap-nested-hv=on,x-vof=on";

/// A host bridge for the disks alone, and its root port. A partition has a bridge anyway.
const BRIDGE: [&str; 4] =
    ["-device", "pnv-phb,id=disks", "-device", "pnv-phb-root-port,id=disk-port,bus=disks"];

/// QEMU's command line. `K42_QEMU` in the environment names another program than the one in PATH.
///
/// `setpriv` has the system end QEMU when this process is gone, however it went.
pub fn command(settings: &Settings, hypervisor: &Path, archive: &Path) -> Command {
    let program = std::env::var_os("K42_QEMU").unwrap_or("qemu-system-ppc64".into());
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    match (settings.model.is_nested(), settings.model.processor()) {
        (true, Processor::Power9) => command.args(["-M", NESTED, "-cpu", "power9"]),
        (true, Processor::Power10) => command.args(["-M", NESTED, "-cpu", "power10"]),
        (false, _) => command.args(["-M", settings.model.name()]).args(BMC),
    };
    command.arg("-smp").arg(settings.processors.to_string());
    command.arg("-m").arg(format!("{}M", settings.memory >> 20));
    if let Some(path) = &settings.memory_file {
        let backend = memory("memory", settings.memory, path);
        command.arg("-object").arg(backend).args(["-machine", "memory-backend=memory"]);
    }
    command.args(DEVICES);
    command.arg("-kernel").arg(hypervisor).arg("-initrd").arg(archive);
    if let Some(port) = settings.gdb {
        command.arg("-gdb").arg(format!("tcp:127.0.0.1:{port}")).arg("-S");
    }
    let (bus, device) = if settings.model.is_nested() { ("pci.0", 1) } else { ("disk-port", 0) };
    if !settings.disks.is_empty() && !settings.model.is_nested() {
        command.args(BRIDGE);
    }
    for (number, (path, bytes)) in settings.disks.iter().enumerate() {
        command.arg("-object").arg(memory(&format!("disk{number}"), *bytes, path));
        let place = format!("bus={bus},addr={device}.{number},multifunction=on");
        command.arg("-device").arg(format!("ivshmem-plain,memdev=disk{number},{place}"));
    }
    command.args(&settings.more);
    command
}

/// Memory that is a file, as QEMU's option says it.
fn memory(name: &str, bytes: u64, path: &Path) -> String {
    let path = path.to_string_lossy().replace(',', ",,");
    format!("memory-backend-file,share=on,id={name},size={bytes},mem-path={path}")
}

/// A running QEMU, which ends with this value.
pub struct Qemu {
    child: Child,
}

impl Qemu {
    /// Starts it; what it complains of goes to `log`. Returns the machine's serial line, too.
    pub fn start(
        mut command: Command,
        log: File,
    ) -> anyhow::Result<(Qemu, ChildStdout, ChildStdin)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().context("cannot start QEMU (setpriv)")?;
        let streams = child.stdout.take().zip(child.stdin.take());
        let (output, input) = streams.context("QEMU has no streams")?;
        Ok((Qemu { child }, output, input))
    }

    /// Waits until QEMU has ended by itself.
    pub fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
