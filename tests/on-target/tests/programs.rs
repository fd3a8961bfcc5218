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

/// Programs with their arguments; each has to give the same output and exit status.
const COMMANDS: &[&[&str]] = &[
    &["uname", "-s", "-m", "-o"],
    &["ls", "-l", "/etc", "/data"],
    &["ls", "-la", "/bin"],
    &["ls", "-1", "/"],
    &["cat", "/data/text"],
    &["cat", "/no/such/file"],
    &["echo", "-e", "one\\ttwo", "three"],
    &["wc", "/data/text", "/data/numbers", "/data/bytes", "/data/empty"],
    &["sha256sum", "/data/text", "/data/numbers", "/data/bytes", "/data/empty"],
    &["md5sum", "/data/bytes"],
    &["head", "-n", "5", "/data/numbers"],
    &["tail", "-c", "100", "/data/numbers"],
    &["sort", "-r", "/data/text"],
    &["grep", "-n", "77", "/data/numbers"],
    &["sed", "-n", "10,20s/1/one/p", "/data/numbers"],
    &["od", "-A", "x", "-t", "x1", "-N", "256", "/data/bytes"],
    &["stat", "-c", "%A %h %u %g %s %n", "/data/text", "/bin/sh", "/etc"],
    &["readlink", "/bin/sh"],
    &["sh", "-c", "i=0; while [ $i -lt 20 ]; do i=$((i * 2 + 1)); echo $i; done"],
    &["sh", "-c", "for w in a b c; do case $w in b) echo found;; *) echo no $w;; esac; done"],
    &["sh", "-c", "while read a b; do echo \"$b $a\"; done < /data/text"],
    &["sh", "-c", "printf \"%5d|%-8s|%x\\n\" 42 text 255"],
    &["sh", "-c", "exit 42"],
    &["sh", "-c", "no-such-program"],
    &["sh", "-c", "test -f /data/text && echo file; test -d /etc && echo folder; cd /etc; pwd"],
    &["sh", "-c", "echo x > /dev/null && echo written"],
    &["false"],
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
    for (words, want) in COMMANDS.iter().zip(linux) {
        let got = under_k42(words)?;
        if got != want {
            wrong += &format!("{words:?}\n  Linux: {want:?}\n  K42:   {got:?}\n");
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
    for words in COMMANDS {
        let quoted: Vec<String> =
            words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
        linux.line(&format!("echo [begin]; {} 2>&1; echo \"[end $?]\"", quoted.join(" ")));
        linux.expect(r"^\[begin\]\n")?;
        let all = linux.expect(r"(?s).*?\[end \d+\]\n")?;
        let (output, status) = all.rsplit_once("[end ").unwrap_or_default();
        let status = status.trim_end().trim_end_matches(']').parse()?;
        outcomes.push(Outcome { output: output.into(), status });
    }
    linux.line("poweroff");
    linux.ends_with(&Ending::PowerOff)?;
    machine.wait_end()?;
    Ok(outcomes)
}

fn under_k42(words: &[&str]) -> anyhow::Result<Outcome> {
    let job = Job {
        words: words.iter().map(|word| (*word).into()).collect(),
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
