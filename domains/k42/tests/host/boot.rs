//! `k42 boot` with a stand-in for the machine: as a log, and at a terminal.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::tool::Tree;

const TWO: &str = r#"
[machine]
model = "powernv9"

[[domain]]
name = "one"
kind = "bare"
kernel = "target/images/guest-kernel"
memory = "2M"

[[domain]]
name = "two"
kind = "k42"
program = "cat"
memory = "64M"
console = "first"
"#;

fn tree() -> Tree {
    let tree = Tree::new();
    tree.write("two.toml", TWO.as_bytes());
    tree
}

#[test]
fn without_a_terminal_lines_have_names() {
    let tree = tree();
    let mut command = tree.k42(&["boot", "two.toml"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut to = child.stdin.take().unwrap();
    to.write_all(b"hello\noff\n").unwrap();
    let mut said = String::new();
    let mut out = child.stdout.take().unwrap();
    let mut byte = [0];
    while !said.contains("ended: power-off\n") {
        assert_eq!(out.read(&mut byte).unwrap(), 1, "{said}");
        said.push(byte[0].into());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for line in
        ["[one] ready\n", "[two] hello\n", "[hypervisor] domain 2 (two): ended: power-off\n"]
    {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert_eq!(tree.log("two", "two"), "ready\nhello\n");
    assert!(tree.log("two", "firmware").starts_with("firmware: hello"));
}

/// The tool at a terminal (`script` makes one): keys, and what is on the screen at the end.
fn at_terminal(tree: &Tree, file: &str, keys: &[(&str, &str)]) -> String {
    let boot = tree.k42(&["boot", file]);
    let mut words = vec![boot.get_program().to_string_lossy().into_owned()];
    words.extend(boot.get_args().map(|word| word.to_string_lossy().into_owned()));
    let line = format!("{}; echo \"status $?\"; stty -a", words.join(" "));
    // A tool that waits in vain ends, too.
    let mut command = Command::new("timeout");
    command.args(["60", "script", "-q", "-e", "-c", &line, "/dev/null"]);
    command.current_dir(boot.get_current_dir().unwrap());
    command.envs(boot.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut screen = String::new();
    let mut byte = [0];
    let mut seen = 0;
    for (wait_for, keys) in keys {
        while !screen[seen..].contains(wait_for) {
            assert_eq!(out.read(&mut byte).unwrap(), 1, "no {wait_for:?} on\n{screen}");
            screen.push(byte[0].into());
        }
        seen = screen.len();
        to.write_all(keys.as_bytes()).unwrap();
        to.flush().unwrap();
    }
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    child.wait().unwrap();
    screen + &String::from_utf8_lossy(&rest)
}

#[test]
fn at_a_terminal_consoles_are_switched() {
    let tree = tree();
    let screen = at_terminal(
        &tree,
        "two.toml",
        &[
            ("console 2: two", "abx\x7fc\r"),
            ("\r\nabc\r\n", "\x1dn"),
            ("console 1: one", "\x1dl"),
            ("two  ", "\x1dd"),
            ("vcpu 0: at c000000000000002 start+0x2\r\n", "\x1d?"),
            ("quit", "\x1d0\x1dd"),
            ("no domain runs here", "\x1d2"),
            // What it said is shown again.
            ("abc\r\n", "\x1dq"),
        ],
    );
    assert!(screen.contains("two: 2 domains, each with its own console"), "{screen}");
    assert!(screen.contains("[k42] quit: the machine is stopped"), "{screen}");
    assert!(tree.log("two", "one").ends_with("vcpu 0: at c000000000000002 start+0x2\n"));
    assert!(screen.contains("status 0"), "{screen}");
    // The terminal is as it was.
    assert!(screen.contains(" icanon") && screen.contains(" echo "), "{screen}");
}

#[test]
fn when_all_domains_have_ended_so_has_the_tool() {
    let tree = tree();
    let screen = at_terminal(
        &tree,
        "two.toml",
        &[
            ("ready", "off\r"),
            ("two: powered off", "\x1dn"),
            ("ready", "\x04"),
            ("one: exited with status 0", ""),
        ],
    );
    assert!(screen.contains("all domains have ended"), "{screen}");
    assert!(screen.contains("status 0") && screen.contains(" icanon"), "{screen}");
}

#[test]
fn a_machine_in_trouble_says_so() {
    let tree = tree();
    tree.write("stop.toml", TWO.replace("\"cat\"", "\"stop\"").as_bytes());
    let output = tree.k42(&["boot", "stop.toml"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the machine stopped before its domains had ended"), "{said}");
    assert!(said.contains("badly wrong"), "{said}");
}

#[test]
fn check_and_archive_need_no_machine() {
    let tree = tree();
    tree.write("bad.toml", TWO.replace("2M", "3M").as_bytes());
    let output = tree.k42(&["check", "two.toml", "bad.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "two.toml: good\n");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "bad.toml:9: domain \"one\": memory: not a multiple of 2 MiB; the next is \"4M\"\n"
    );
    assert!(tree.k42(&["archive", "two.toml", "-o", "out"]).status().unwrap().success());
    let bytes = std::fs::read(tree.path("out")).unwrap();
    let archive = boot_archive::Archive::parse(&bytes).unwrap();
    let names: Vec<_> = archive.domains().map(|domain| domain.unwrap().name).collect();
    assert_eq!(names, ["one", "two"]);
}
