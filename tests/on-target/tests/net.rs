//! Linux on logical LANs, by Debian's own driver (`ibmveth`): with each other, with a kernel of
//! ours, and when one of them goes.

use k42_tests::{DomainDescription, Ending, MODELS, Machine, Model, NESTED, describe};
use libtest_mimic::Trial;

use crate::test;

/// What the shell prompts with.
const PROMPT: &str = r"^linux:~# ";
/// The versions of the kernels that these tests have.
const OLD: &str = "6.1";
const NEW: &str = "6.12";
const LARGE_PAGES: &str = "6.12-64k";
/// A file of 100 MiB that has each of its MiB once, and a server of it.
const SERVE: &str = "head -c 1000000 /dev/urandom >/part; mkdir /www; \
    for i in $(seq 100); do echo $i; cat /part; head -c 48573 /part; done >/www/file; \
    httpd -h /www; md5sum /www/file";

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in [Model::Powernv9, Model::Pseries9] {
        let name = |what: &str| format!("net::{}::{what}", model.name());
        tests.push(test(name("a_file_goes_from_linux_to_linux"), move || transfer(model)));
    }
    tests.push(test("net::lans_are_apart", lans));
    tests.push(test("net::one_dies_while_it_receives", one_dies));
    tests
}

/// Those for `make stress`.
pub fn all() -> Vec<Trial> {
    let name = |model: Model| format!("stress::net::{}::four_on_a_lan", model.name());
    MODELS.into_iter().chain(NESTED).map(|model| test(name(model), move || four(model))).collect()
}

/// Loads the driver and gives the port the address 10.0.0.`n`.
fn up(machine: &mut Machine, name: &str, n: usize) -> anyhow::Result<()> {
    let mut linux = machine.console(name);
    linux.expect(PROMPT)?;
    linux.line(&format!(
        "modprobe ibmveth && ip addr add 10.0.0.{n}/24 dev eth0 && ip link set eth0 up && \
         echo address $((0)){n}"
    ));
    linux.expect(&format!("^address 0{n}$"))?;
    Ok(())
}

/// Pings 10.0.0.`n` three times; says how often that answered.
fn ping(machine: &mut Machine, name: &str, n: usize) -> anyhow::Result<String> {
    let mut linux = machine.console(name);
    linux.line(&format!("ping -q -c 3 -i 0.2 -W 1 10.0.0.{n}"));
    linux.expect("^3 packets transmitted, ([0-9]) packets received, ")
}

fn answers(machine: &mut Machine, name: &str, n: usize) -> anyhow::Result<()> {
    let answered = ping(machine, name, n)?;
    anyhow::ensure!(answered == "3", "{name} has {answered} of 3 answers of 10.0.0.{n}");
    Ok(())
}

/// Asks for the file of 10.0.0.`n`, and says its sum.
fn ask(machine: &mut Machine, name: &str, n: usize) {
    let command = format!("rm -f /file; wget -q -O /file http://10.0.0.{n}/file; md5sum /file");
    machine.console(name).line(&command);
}

/// The sum of the file that it has asked for.
fn received(machine: &mut Machine, name: &str) -> anyhow::Result<String> {
    machine.console(name).expect("^([0-9a-f]{32})  /file$")
}

/// Has the file of 10.0.0.1; its sum.
fn receive(machine: &mut Machine, name: &str) -> anyhow::Result<String> {
    ask(machine, name, 1);
    received(machine, name)
}

fn power_off(machine: &mut Machine, names: &[&str]) -> anyhow::Result<()> {
    for name in names {
        machine.console(name).line("poweroff");
    }
    names.iter().try_for_each(|name| machine.console(name).ends_with(&Ending::PowerOff))
}

/// A Linux on a LAN of that name.
fn station(name: &str, version: &str, lan: &str, mebibytes: u64) -> DomainDescription {
    let memory = mebibytes << 20;
    DomainDescription { memory, lan: Some(lan.into()), ..describe::linux_net(name, version) }
}

/// An old kernel and a new one with two vCPUs; one asks for a file of the other's, and has it whole.
fn transfer(model: Model) -> anyhow::Result<()> {
    let mut domains = vec![describe::linux_net("old", OLD), describe::linux_net("new", NEW)];
    domains[1].vcpus = 2;
    let mut description = describe::machine(&format!("net-{}", model.name()), model, domains);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    up(&mut machine, "old", 1)?;
    up(&mut machine, "new", 2)?;
    answers(&mut machine, "old", 2)?;
    answers(&mut machine, "new", 1)?;
    machine.console("old").line(SERVE);
    let sum = machine.console("old").expect("^([0-9a-f]{32})  /www/file$")?;
    let got = receive(&mut machine, "new")?;
    anyhow::ensure!(got == sum, "{got} was received, {sum} sent");
    // Both ways by a program that says how fast.
    machine.console("old").line("mkdir /tmp; iperf3 -s -D && echo serves $((0))");
    machine.console("old").expect("^serves 0$")?;
    for way in ["", "-R"] {
        let mut new = machine.console("new");
        new.line(&format!("mkdir -p /tmp; iperf3 -c 10.0.0.1 -n 16M {way}"));
        new.expect(r"bits/sec +receiver$")?;
        new.expect("^iperf Done.$")?;
    }
    power_off(&mut machine, &["old", "new"])?;
    machine.wait_end()
}

/// Small pages and large, as many kernels as a boot archive has room for, and twice as many vCPUs as
/// processors: each receives from the next while it sends to the one before, and all is whole.
fn four(model: Model) -> anyhow::Result<()> {
    const ALL: [(&str, &str); 4] = [("a", OLD), ("b", LARGE_PAGES), ("c", OLD), ("d", LARGE_PAGES)];
    let domains = ALL.map(|(name, version)| station(name, version, "office", 768));
    let mut description =
        describe::machine(&format!("net-four-{}", model.name()), model, domains.into());
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    for (n, (name, _)) in (1..).zip(ALL) {
        up(&mut machine, name, n)?;
        machine.console(name).line(SERVE);
    }
    let mut sums = Vec::new();
    for (name, _) in ALL {
        sums.push(machine.console(name).expect("^([0-9a-f]{32})  /www/file$")?);
    }
    sums.rotate_left(1);
    for ((name, _), next) in ALL.into_iter().zip([2, 3, 4, 1]) {
        ask(&mut machine, name, next);
    }
    for ((name, _), sum) in ALL.into_iter().zip(sums) {
        let got = received(&mut machine, name)?;
        anyhow::ensure!(got == sum, "{name}: {got} was received, {sum} sent");
    }
    power_off(&mut machine, &ALL.map(|(name, _)| name))?;
    machine.wait_end()
}

/// Three on one LAN hear each other and a kernel of ours; a fourth is on another and hears nobody.
fn lans() -> anyhow::Result<()> {
    const TOGETHER: [(&str, usize); 3] = [("a", 1), ("b", 2), ("c", 3)];
    let mut domains: Vec<_> = TOGETHER
        .into_iter()
        .map(|(name, n)| station(name, [NEW, OLD][n % 2], "office", 256))
        .collect();
    domains.push(station("apart", NEW, "home", 256));
    let mut ours = describe::bare("ours", "test=laninternet domain=5");
    ours.lan = Some("office".into());
    domains.push(ours);
    let mut description = describe::machine("lans", Model::Powernv9, domains);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    for (name, n) in TOGETHER.into_iter().chain([("apart", 4)]) {
        up(&mut machine, name, n)?;
    }
    for (name, own) in TOGETHER {
        for (_, n) in TOGETHER.into_iter().filter(|(_, n)| *n != own) {
            answers(&mut machine, name, n)?;
        }
    }
    for (name, n) in [("apart", 1), ("a", 4)] {
        let answered = ping(&mut machine, name, n)?;
        anyhow::ensure!(answered == "0", "{name} hears 10.0.0.{n}, which is on another LAN");
    }
    let mut ours = machine.console("ours");
    let verdict = ours.expect(r"^(ok|not ok) .*$")?;
    let answered = ours.said().contains("answered by 524b34320001\n");
    anyhow::ensure!(verdict == "ok" && answered, "ours says: {}", ours.said());
    power_off(&mut machine, &["a", "b", "c", "apart"])?;
    machine.wait_end()
}

/// A controller's Linux crashes in the middle of what it receives: who sends and who else receives
/// go on, and the controller finds all memory free again in the end.
fn one_dies() -> anyhow::Result<()> {
    let held = |name| DomainDescription {
        started_by: Some("keeper".into()),
        ..station(name, NEW, "office", 384)
    };
    let domains = vec![
        describe::controller("keeper", 128, ""),
        held("serves"),
        held("dies"),
        held("receives"),
    ];
    let mut description = describe::machine("net-dies", Model::Powernv9, domains);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    for (name, n) in [("serves", 1), ("dies", 2), ("receives", 3)] {
        up(&mut machine, name, n)?;
    }
    machine.console("serves").line(SERVE);
    let sum = machine.console("serves").expect("^([0-9a-f]{32})  /www/file$")?;
    machine.console("serves").line("nc -l -p 5000 </dev/zero & echo sends $((0))");
    machine.console("serves").expect("^sends 0$")?;
    // It has had a part, and more is on its way without an end.
    machine.console("dies").line(
        "tail -f /dev/null | nc 10.0.0.1 5000 | \
         { head -c 3000000 | wc -c; echo c >/proc/sysrq-trigger; }",
    );
    ask(&mut machine, "receives", 1);
    machine.console("dies").expect("^3000000$")?;
    let ending = machine.console("dies").ended()?;
    anyhow::ensure!(matches!(ending, Ending::Crash(_)), "it ended by {ending}");
    let got = received(&mut machine, "receives")?;
    anyhow::ensure!(got == sum, "{got} was received meanwhile, {sum} sent");
    let got = receive(&mut machine, "receives")?;
    anyhow::ensure!(got == sum, "{got} was received afterwards, {sum} sent");
    power_off(&mut machine, &["serves", "receives"])?;
    machine.console("keeper").expect(r"^3 starts, free pages: \d+ before, \d+ after$")?;
    machine.console("keeper").ends_with(&Ending::Exit(0))?;
    machine.wait_end()
}
