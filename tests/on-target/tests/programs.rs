//! The same unmodified program says the same in a K42 domain and under Linux.
//!
//! One Linux runs all commands in turn, between marks; each command then runs in a K42 domain of
//! its own. Only what should be equal is compared: not the kernel's name and release, and not the
//! folders that Linux itself fills (/dev, /proc).

use std::io::Cursor;

use k42::machine::Options;
use k42::run::{Job, run_with};
use k42_tests::{Ending, KERNELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

/// Commands of busybox's shell; each has to give the same output and exit status.
const COMMANDS: &[(&str, &str)] = &[
    ("uname", "uname -s -m"),
    ("ls_root", "ls -l / | grep -v -e proc -e sys -e dev"),
    ("ls_etc", "ls -la /etc"),
    ("cat", "cat /data/text"),
    ("cat_missing", "cat /no/such/file"),
    ("echo", "echo -e 'one\\ttwo' three"),
    ("wc", "wc /data/text /data/numbers /data/bytes /data/empty"),
    ("sha256sum", "sha256sum /data/text /data/numbers /data/bytes /data/empty"),
    ("md5sum", "md5sum /data/bytes"),
    ("head", "head -n 5 /data/numbers"),
    ("tail", "tail -c 100 /data/numbers"),
    ("sort", "sort -r /data/text"),
    ("grep", "grep -n 77 /data/numbers"),
    ("sed", "sed -n '10,20s/1/one/p' /data/numbers"),
    ("od", "od -A x -t x1 -N 256 /data/bytes"),
    ("arithmetic", "i=0; while [ $i -lt 20 ]; do i=$((i * 2 + 1)); echo $i; done"),
    ("case", "for w in a b c; do case $w in b) echo found;; *) echo no $w;; esac; done"),
    ("read", "while read a b; do echo \"$b $a\"; done < /data/text"),
    ("printf", "printf '%5d|%-8s|%x\\n' 42 text 255"),
    ("exit_status", "exit 42"),
    ("false", "false"),
    ("not_found", "no-such-program"),
];

pub fn tests() -> Vec<Trial> {
    vec![test("programs::same_as_linux", same_as_linux)]
}

/// What a command printed, and its status.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    output: String,
    status: u8,
}

fn same_as_linux() -> anyhow::Result<()> {
    let linux = under_linux()?;
    let mut wrong = String::new();
    for ((name, command), want) in COMMANDS.iter().zip(linux) {
        let got = under_k42(command)?;
        println!("  {name}: {}", if got == want { "same" } else { "differs" });
        if got != want {
            wrong += &format!("{name}: {command}\n  Linux: {want:?}\n  K42:   {got:?}\n");
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{wrong}");
    Ok(())
}

fn under_linux() -> anyhow::Result<Vec<Outcome>> {
    let domain = describe::linux("linux", KERNELS[1], "quiet rootfstype=ramfs");
    let mut machine = Machine::boot(&describe::machine("programs", Model::Powernv9, vec![domain]))?;
    let mut linux = machine.console("linux");
    linux.expect("^linux:~# ")?;
    linux.line("stty -echo; PS1=; cd /");
    let mut outcomes = Vec::new();
    for (name, command) in COMMANDS {
        let script = command.replace('\'', "'\\''");
        linux.line(&format!("echo 'begin {name}'; sh -c '{script}' 2>&1; echo; echo \"end {name} $?\""));
        let _ = linux.expect(&format!("^begin {name}$"))?;
        let text = linux.expect(&format!(r"(?s)\n(.*?)\nend {name} \d+$"))?;
        outcomes.push(Outcome { output: text, status: 0 });
    }
    let said = linux.said().to_owned();
    for (outcome, (name, _)) in outcomes.iter_mut().zip(COMMANDS) {
        let status = said.split(&format!("\nend {name} ")).nth(1).unwrap_or_default();
        outcome.status = status.lines().next().unwrap_or_default().trim().parse()?;
    }
    linux.line("poweroff");
    linux.ends_with(&Ending::PowerOff)?;
    machine.wait_end()?;
    Ok(outcomes)
}

fn under_k42(command: &str) -> anyhow::Result<Outcome> {
    let job = Job {
        words: ["sh", "-c", &format!("exec 2>&1; {command}")].map(String::from).to_vec(),
        root: None,
        model: Model::Powernv9,
        memory: 64 << 20,
        environment: Vec::new(),
        bootargs: String::new(),
        verbose: false,
    };
    let mut output = Vec::new();
    let status = run_with(&job, &Options::default(), Cursor::new(Vec::new()), &mut output)?;
    Ok(Outcome { output: String::from_utf8_lossy(&output).into_owned(), status })
}
