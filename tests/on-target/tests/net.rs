//! Linux on the logical LAN, by Debian's own driver (`ibmveth`): with each other, with a kernel of
//! ours, and when one of them goes.

use k42_tests::{Ending, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

/// What the shell prompts with.
const PROMPT: &str = r"^linux:~# ";
/// The versions of the kernels that these tests have.
const OLD: &str = "6.1";
const NEW: &str = "6.12";

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in [Model::Powernv9, Model::Pseries9] {
        let name = |what: &str| format!("net::{}::{what}", model.name());
        tests.push(test(name("linux_to_linux"), move || transfer(model, 24)));
    }
    tests
}

/// Long ones, for `make stress`.
pub fn long(model: Model) -> Vec<Trial> {
    let name = format!("stress::{}::a_hundred_megabytes_between_linux", model.name());
    vec![test(name, move || transfer(model, 100))]
}

/// Loads the driver and gives the port the address 10.0.0.`n`.
fn up(machine: &mut Machine, name: &str, n: usize) -> anyhow::Result<()> {
    let mut linux = machine.console(name);
    linux.expect(PROMPT)?;
    linux.line(&format!(
        "modprobe ibmveth && ip addr add 10.0.0.{n}/24 dev eth0 && ip link set eth0 up && \
         echo address $((n)){n}"
    ));
    linux.expect(&format!("^address 0{n}$"))?;
    Ok(())
}

/// Pings 10.0.0.`n`; all are answered.
fn ping(machine: &mut Machine, name: &str, n: usize) -> anyhow::Result<()> {
    let mut linux = machine.console(name);
    linux.line(&format!("ping -q -c 5 -i 0.2 10.0.0.{n}"));
    linux.expect("^5 packets transmitted, 5 packets received, 0% packet loss$")?;
    Ok(())
}

/// An old kernel and a new one with two vCPUs; one asks for a file of the other's, and has it whole.
fn transfer(model: Model, mebibytes: u32) -> anyhow::Result<()> {
    let mut domains = vec![describe::linux_net("old", OLD), describe::linux_net("new", NEW)];
    domains[1].vcpus = 2;
    let mut description = describe::machine(&format!("net-{}", model.name()), model, domains);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    up(&mut machine, "old", 1)?;
    up(&mut machine, "new", 2)?;
    ping(&mut machine, "old", 2)?;
    ping(&mut machine, "new", 1)?;
    let mut old = machine.console("old");
    old.line(&format!(
        "head -c 1000000 /dev/urandom >/part; mkdir /www; \
         for i in $(seq {mebibytes}); do echo $i; cat /part; head -c 48000 /part; done >/www/file; \
         httpd -h /www; md5sum /www/file"
    ));
    let sum = old.expect("^([0-9a-f]{32})  /www/file$")?;
    let mut new = machine.console("new");
    new.line("time wget -q -O /file http://10.0.0.1/file; md5sum /file");
    let got = new.expect("^([0-9a-f]{32})  /file$")?;
    anyhow::ensure!(got == sum, "{got} was received, {sum} sent");
    new.line("cat /proc/interrupts; ip -s link show eth0; dmesg | grep -i -e tce -e iommu -e veth");
    for name in ["old", "new"] {
        machine.console(name).line("poweroff");
        machine.console(name).ends_with(&Ending::PowerOff)?;
    }
    machine.wait_end()
}
