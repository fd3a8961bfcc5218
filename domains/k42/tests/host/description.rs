//! Descriptions as people write them, good and bad.

use k42::description::{Description, Kind, Model, Rights};

const MIB: u64 = 1 << 20;

/// Any file that is there does for a kernel: it is not read.
const GOOD: &str = r#"
[machine]
model = "powernv10"
processors = 2

[[domain]]
name = "one"
kind = "linux"
kernel = "Cargo.toml"
initrd = "Cargo.lock"
command-line = "quiet"
memory = "512M"
vcpus = 2

[[domain]]
name = "two"
kind = "k42"
kernel = "Cargo.toml"
root = "Cargo.toml"
program = "/bin/sh"
arguments = ["-c", "echo hi"]
memory = "1G"
weight = 64
"#;

fn parse(text: &str) -> Result<Description, String> {
    Description::parse("test", "test.toml", text).map_err(|problems| problems.to_string())
}

/// The one problem when `from` is `to` in the good description.
fn problem(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    parse(&GOOD.replacen(from, to, 1)).expect_err(to)
}

#[test]
fn a_good_description_says_all() {
    let description = parse(GOOD).unwrap();
    assert_eq!((description.model, description.processors), (Model::Powernv10, 2));
    assert_eq!(description.machine_memory(), 3 << 30);
    assert_eq!(description.first_console(), 0);
    let [one, two] = &description.domains[..] else { panic!("{description:?}") };
    assert_eq!((one.memory, one.vcpus, one.weight), (512 * MIB, 2, 256));
    let Kind::Linux { command_line, initrd } = &one.kind else { panic!("{one:?}") };
    assert_eq!(command_line, "console=hvc0 quiet");
    assert!(initrd.as_ref().unwrap().ends_with("Cargo.lock"));
    assert_eq!((two.memory, two.vcpus, two.weight), (1024 * MIB, 1, 64));
    let Kind::K42 { program, arguments, environment, .. } = &two.kind else { panic!("{two:?}") };
    assert_eq!((program.as_str(), arguments.len()), ("/bin/sh", 2));
    assert!(environment.iter().any(|word| word.starts_with("PATH=/bin")));

    assert_eq!(two.rights, Rights::empty(), "what is not given is not there");
    let given = GOOD.replace("weight = 64", "rights = [\"events\", \"lan\"]");
    assert_eq!(parse(&given).unwrap().domains[1].rights, Rights::EVENTS | Rights::LAN);

    let first = GOOD.replace("weight = 64", "console = \"first\"");
    assert_eq!(parse(&first).unwrap().first_console(), 1);
    let small = GOOD.replace("\"512M\"", "\"64M\"").replace("\"1G\"", "\"2M\"");
    assert_eq!(parse(&small).unwrap().machine_memory(), 2 << 30);
    let said = GOOD.replace("processors = 2", "memory = \"8G\"");
    assert_eq!(parse(&said).unwrap().machine_memory(), 8 << 30);
}

/// LANs are numbered in the order in which they are named first; the one without a name is 0.
#[test]
fn lans_have_numbers() {
    let mut text = String::from("[machine]\nmodel = \"powernv9\"\n");
    for (name, lan) in [("a", "x"), ("b", ""), ("c", "y"), ("d", "x"), ("e", "z")] {
        let lan = if lan.is_empty() { lan.into() } else { format!("lan = \"{lan}\"") };
        text += &format!(
            "[[domain]]\nname = \"{name}\"\nkind = \"bare\"\nkernel = \"Cargo.toml\"\n\
             memory = \"4M\"\nrights = [\"lan\"]\n{lan}\n"
        );
    }
    let description = parse(&text).unwrap();
    let numbers = description.domains.iter().map(|domain| description.lan_number(domain));
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 0, 2, 1, 3]);
}

/// Each names file, line, field and a way to mend it.
#[test]
fn every_fault_has_its_words() {
    for (from, to, words) in [
        (
            "kind = \"linux\"",
            "kind = \"windows\"",
            "test.toml:8: domain \"one\": kind: there is no kind \"windows\"; write \"linux\", \"k42\", \"controller\", \"storage\" or \"bare\"",
        ),
        (
            "weight = 64",
            "wieght = 64",
            "test.toml:23: domain \"two\": wieght: there is no such field here; there are name, kind, kernel, memory, vcpus, weight, cap, processors, reserved, rights, lan, started-by, disks, console, program, arguments, environment, root, bootargs",
        ),
        (
            "vcpus = 2",
            "program = \"x\"",
            "test.toml:13: domain \"one\": program: there is no such field here; there are name, kind, kernel, memory, vcpus, weight, cap, processors, reserved, rights, lan, started-by, disks, console, initrd, command-line",
        ),
        (
            "\"512M\"",
            "512",
            "test.toml:12: domain \"one\": memory: an integer cannot stand here; write for example `memory = \"512M\"`",
        ),
        (
            "\"512M\"",
            "\"512\"",
            "test.toml:12: domain \"one\": memory: not an amount of memory; write a whole number of MiB or GiB, such as \"512M\" or \"1G\"",
        ),
        (
            "\"512M\"",
            "\"513M\"",
            "test.toml:12: domain \"one\": memory: not a multiple of 2 MiB; the next is \"514M\"",
        ),
        (
            "\"512M\"",
            "\"0M\"",
            "test.toml:12: domain \"one\": memory: not a multiple of 2 MiB; the next is \"2M\"",
        ),
        (
            "memory = \"512M\"",
            "",
            "test.toml:6: domain \"one\": memory: is missing; add a line such as `memory = \"512M\"`",
        ),
        (
            "vcpus = 2",
            "vcpus = 0",
            "test.toml:13: domain \"one\": vcpus: 0 would never run; write at least 1",
        ),
        ("vcpus = 2", "vcpus = 33", "test.toml:13: domain \"one\": vcpus: a domain has 1 to 32"),
        (
            "vcpus = 2",
            "vcpus = -1",
            "test.toml:13: domain \"one\": vcpus: -1 is out of range; write for example `vcpus = 1`",
        ),
        ("weight = 64", "vcpus = 33", "test.toml:23: domain \"two\": vcpus: a domain has 1 to 32"),
        (
            "weight = 64",
            "weight = 0",
            "test.toml:23: domain \"two\": weight: 0 would never run; write at least 1",
        ),
        (
            "weight = 64",
            "started-by = \"one\"",
            "test.toml:23: domain \"two\": started-by: there is no domain \"one\" of kind \"controller\" above this one",
        ),
        (
            "weight = 64",
            "rights = [\"everything\"]",
            "test.toml:23: domain \"two\": rights: there is no right \"everything\"; there are \"console-input\", \"events\", \"grants\", \"lan\", \"reserved-time\", \"control\"",
        ),
        (
            "weight = 64",
            "lan = \"office\"",
            "test.toml:23: domain \"two\": lan: it needs a right to a port; write `rights = [\"lan\"]`",
        ),
        (
            "weight = 64",
            "rights = [\"lan\"]\nlan = \"Head Office\"",
            "test.toml:24: domain \"two\": lan: use 1 to 24 of the letters a to z, digits and `-`",
        ),
        (
            "weight = 64",
            "rights = [\"lan\"]\nlan = 1",
            "test.toml:24: domain \"two\": lan: an integer cannot stand here; write for example `lan = \"office\"`",
        ),
        (
            "name = \"two\"",
            "name = \"one\"",
            "test.toml:16: domain number 2: name: there is a domain \"one\" already; choose another name",
        ),
        (
            "name = \"two\"",
            "name = \"Two\"",
            "test.toml:16: domain number 2: name: use 1 to 24 of the letters a to z, digits and `-`",
        ),
        (
            "name = \"two\"",
            "name = \"firmware\"",
            "test.toml:16: domain number 2: name: \"firmware\" is the name of another log; choose another",
        ),
        (
            "kernel = \"Cargo.toml\"",
            "kernel = \"target/inputs/vmlinux-2.4\"",
            "test.toml:9: domain \"one\": kernel: there is no file target/inputs/vmlinux-2.4; `make setup` fetches it",
        ),
        (
            "kernel = \"Cargo.toml\"",
            "kernel = \"target/images/nothing\"",
            "test.toml:9: domain \"one\": kernel: there is no file target/images/nothing; `make build` makes it",
        ),
        (
            "kernel = \"Cargo.toml\"",
            "kernel = \"nothing\"",
            "test.toml:9: domain \"one\": kernel: there is no file nothing; paths count from the top of the source tree",
        ),
        (
            "kernel = \"Cargo.toml\"",
            "",
            "test.toml:6: domain \"one\": kernel: is missing; add a line such as `kernel = \"target/inputs/vmlinux-6.12\"`",
        ),
        (
            "program = \"/bin/sh\"",
            "",
            "test.toml:15: domain \"two\": program: is missing; add a line such as `program = \"/bin/sh\"`",
        ),
        (
            "arguments = [\"-c\", \"echo hi\"]",
            "arguments = \"-c\"",
            "test.toml:21: domain \"two\": arguments: a string cannot stand here; write for example `arguments = [\"-l\", \"/\"]`",
        ),
        (
            "weight = 64",
            "environment = [\"PATH\"]",
            "test.toml:23: domain \"two\": environment: \"PATH\" has no value; write \"PATH=value\"",
        ),
        (
            "weight = 64",
            "bootargs = \"a\\u0000b\"",
            "test.toml:23: domain \"two\": bootargs: a NUL cannot stand here; remove the \\u0000",
        ),
        (
            "weight = 64",
            "console = \"second\"",
            "test.toml:23: domain \"two\": console: write \"first\", or leave the line out",
        ),
        (
            "powernv10",
            "pseries",
            "test.toml:3: machine: model: there is no such machine; there are \"powernv9\", \"powernv10\", \"pseries9\", \"pseries10\"",
        ),
        (
            "model = \"powernv10\"",
            "",
            "test.toml:2: machine: model: is missing; add a line such as `model = \"powernv9\"`",
        ),
        (
            "processors = 2",
            "trace = \"all\"",
            "test.toml:4: machine: trace: a string cannot stand here; write for example `trace = true`",
        ),
        (
            "processors = 2",
            "processors = 99",
            "test.toml:4: machine: processors: 99 is none of 1 to 8",
        ),
        (
            "processors = 2",
            "memory = \"1G\"",
            "test.toml:4: machine: memory: too small: the domains, the hypervisor and the firmware need 1856M together; leave the line out for what is needed",
        ),
        (
            "processors = 2",
            "cores = 2",
            "test.toml:4: machine: cores: there is no such field here; there are model, processors, memory, trace",
        ),
    ] {
        assert_eq!(problem(from, to), words);
    }
}

#[test]
fn the_files_structure_is_checked() {
    let starts = |text: &str, words: &str| {
        let problem = parse(text).unwrap_err();
        assert!(problem.starts_with(words), "{problem}");
    };
    starts("[machine\n", "test.toml:1: not TOML: ");
    starts("", "test.toml:1: machine: is missing; begin one with a line `[machine]`");
    starts("machine = 1\n", "test.toml:1: machine: is not a table; write a line `[machine]`");
    let machine = "[machine]\nmodel = \"powernv9\"\n";
    starts(machine, "test.toml:1: domain: is missing; begin one with a line `[[domain]]`");
    starts(
        &format!("{machine}[domain]\nname = \"x\"\n"),
        "test.toml:3: domain: is not a list of tables; begin each domain with `[[domain]]`",
    );
    starts(&format!("{machine}[domains]\n"), "test.toml:1: domain: is missing");
}

#[test]
fn all_faults_are_told_at_once() {
    let bad = GOOD.replace("powernv10", "pseries").replace("512M", "1K").replace("weight", "wait");
    let problems = parse(&bad).unwrap_err();
    let lines: Vec<_> = problems.lines().map(|line| line.split(':').nth(1).unwrap()).collect();
    assert_eq!(lines, ["3", "12", "23"]);
}

/// The descriptions that we ship; the files they name are not all there before `make build`.
#[test]
fn shipped_descriptions_are_good() {
    let folder = k42::files::top().join("domains");
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        if let Err(error) = Description::load(&file) {
            let error = error.to_string();
            let missing = |line: &str| line.contains("there is no file target/");
            assert!(error.lines().all(missing), "{error}");
        }
    }
}

#[test]
fn a_controller_gives_only_what_it_has() {
    const CONTROLLED: &str = r#"
[machine]
model = "powernv9"

[[domain]]
name = "keeper"
kind = "controller"
kernel = "Cargo.toml"
memory = "64M"
rights = ["control", "events"]

[[domain]]
name = "kept"
kind = "bare"
kernel = "Cargo.toml"
memory = "4M"
rights = ["events"]
started-by = "keeper"
"#;
    let description = parse(CONTROLLED).unwrap();
    assert_eq!(description.domains[1].started_by.as_deref(), Some("keeper"));
    let wrong = |from, to| parse(&CONTROLLED.replace(from, to)).unwrap_err();
    let problem = wrong("rights = [\"control\", \"events\"]", "");
    assert!(problem.contains("kind: a controller needs a right; write"), "{problem}");
    let problem = wrong("rights = [\"events\"]", "rights = [\"lan\"]");
    assert!(problem.contains("\"kept\": rights: its controller cannot give"), "{problem}");
    let problem = wrong("\"kept\"", "\"kept-by-the-keeper\"");
    assert!(problem.contains("name: a controller's domain has at most 16 letters"), "{problem}");
    let last = "started-by = \"keeper\"";
    let heavy = format!("{last}\nweight = 65536");
    let problem = wrong(last, &heavy);
    assert!(problem.contains("weight: 65536 is too much; write at most 65535"), "{problem}");
    let reserved = format!("{last}\nreserved = {{ budget = \"2ms\", period = \"10ms\" }}");
    let problem = wrong(last, &reserved);
    assert!(problem.contains("reserved: what a controller starts needs a right"), "{problem}");
}

/// A machine whose domain has a disk in each of these files.
fn disks(files: &[&std::path::Path]) -> String {
    let names: Vec<_> = files.iter().map(|file| format!("{:?}", file.display())).collect();
    format!(
        r#"
[machine]
model = "powernv9"

[[domain]]
name = "keeper"
kind = "storage"
kernel = "Cargo.toml"
memory = "8M"
rights = ["events", "lan"]

[[domain]]
name = "two"
kind = "linux"
kernel = "Cargo.toml"
memory = "512M"
rights = ["lan"]
disks = [{}]
"#,
        names.join(", ")
    )
}

#[test]
fn disks_are_files_that_somebody_serves() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(bytes).unwrap();
        path
    };
    let (one, two) = (file("one.img", 2 * MIB), file("two.img", 64 * MIB));
    let good = disks(&[&one, &two]);
    let description = parse(&good).unwrap();
    assert_eq!(description.domains[0].kind, Kind::Storage);
    let found = k42::disks::all(&description).unwrap();
    let seen: Vec<_> = found.iter().map(|d| (d.number, d.size, d.client, d.unit)).collect();
    assert_eq!(seen, [(0, 2 * MIB, 2, 0), (1, 64 * MIB, 2, 1)]);

    let wrong = |from: &str, to: &str| parse(&good.replacen(from, to, 1)).unwrap_err();
    let problem = wrong("rights = [\"lan\"]", "rights = []");
    assert!(problem.contains("test.toml:18: domain \"two\": disks: they are reached"), "{problem}");
    let problem = wrong("rights = [\"events\", \"lan\"]", "rights = [\"lan\"]");
    assert!(problem.contains("kind: it needs two rights; write `rights = ["), "{problem}");
    let problem = wrong("kind = \"storage\"", "kind = \"bare\"");
    assert!(problem.contains("disks: nobody serves them; add a domain of `kind ="), "{problem}");
    let problem = wrong("memory = \"8M\"", "memory = \"8M\"\nlan = \"disks\"");
    assert!(problem.contains("\"two\": disks: \"keeper\" serves them on another LAN"), "{problem}");
    let problem = wrong("memory = \"8M\"", "memory = \"8M\"\nstarted-by = \"x\"");
    assert!(problem.contains("started-by: disks are given away at boot alone"), "{problem}");
    let problem = wrong("kind = \"linux\"", "kind = \"storage\"");
    assert!(problem.contains("kind: domain \"keeper\" serves all disks; remove one"), "{problem}");
    assert!(problem.contains("disks: it has those of all others"), "{problem}");

    let problem = |files: &[&std::path::Path]| parse(&disks(files)).unwrap_err();
    let same = folder.path().join("../").join(folder.path().file_name().unwrap()).join("one.img");
    assert!(problem(&[&one, &same]).contains("one.img is a disk already; give each a file"));
    let nothing = folder.path().join("none.img");
    assert!(problem(&[&nothing]).contains("; `truncate --size 1G "));
    assert!(problem(&[folder.path()]).contains("is no file; `truncate"));
    let (odd, empty) = (file("odd.img", 100 * MIB), file("empty.img", 0));
    assert!(problem(&[&odd]).contains("no power of two from 2 MiB on; `truncate --size 128M"));
    assert!(problem(&[&empty]).contains("; `truncate --size 2M"));
    let many: Vec<_> = (0..9).map(|n| file(&format!("{n}.img"), 2 * MIB)).collect();
    let many: Vec<_> = many.iter().map(|path| path.as_path()).collect();
    assert!(parse(&disks(&many[..8])).is_ok());
    assert!(problem(&many).contains("disks: a machine has at most 8 disks"));
}

#[test]
fn a_disk_is_one_machines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.img");
    std::fs::File::create(&file).unwrap().set_len(2 * MIB).unwrap();
    let description = parse(&disks(&[&file])).unwrap();
    let held = k42::disks::hold(&description).unwrap();
    let error = k42::disks::hold(&description).unwrap_err().to_string();
    assert!(error.contains("one.img is another machine's that runs: end it first"), "{error}");
    drop(held);
    assert!(k42::disks::hold(&description).is_ok());
    std::fs::remove_file(&file).unwrap();
    assert!(k42::disks::hold(&description).is_err());
}
