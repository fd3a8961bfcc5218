//! `k42 run` as a shell sees it, with a stand-in for the machine.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use crate::tool::Tree;

/// Runs to the end with this input.
fn feed(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut to, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || {
        // A program may end before it has read all.
        let _ = to.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into()
}

#[test]
fn output_is_the_programs_alone() {
    let tree = Tree::new();
    let output = feed(tree.k42(&["run", "--", "echo", "two", "words"]), b"");
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("two words\n".into(), "".into()));
    assert_eq!(output.status.code(), Some(0));
    // Nothing is left behind.
    assert_eq!(std::fs::read_dir(tree.path("target/run")).unwrap().count(), 0);
}

#[test]
fn input_passes_whole_whatever_its_length() {
    let tree = Tree::new();
    let lines: String = (0..30_000).map(|n| format!("line {n} \u{e4}\r\n")).collect();
    let input = [lines.as_bytes(), &[b'x'; 5000]].concat();
    let output = feed(tree.k42(&["run", "--", "cat", "42"]), &input);
    assert_eq!(text(&output.stderr), "");
    let expected = [b"ready\n", &input[..]].concat();
    assert!(output.stdout == expected, "{} bytes, not {}", output.stdout.len(), expected.len());
    assert_eq!(output.status.code(), Some(42));
}

#[test]
fn trouble_is_told_and_has_its_status() {
    let tree = Tree::new();
    let output = feed(tree.k42(&["run", "--", "crash"]), b"");
    assert_eq!(output.status.code(), Some(134));
    assert_eq!(text(&output.stderr), "k42: crashed: instruction storage at 0x40\n");

    let output = feed(tree.k42(&["run", "--", "stop"]), b"");
    assert_eq!(output.status.code(), Some(125));
    let said = text(&output.stderr);
    assert!(said.starts_with("k42: the machine stopped before the program had ended"), "{said}");
    assert!(said.contains("badly wrong"), "{said}");

    let output = feed(tree.k42(&["run", "--", "vi"]), b"");
    assert_eq!(output.status.code(), Some(125));
    let said = text(&output.stderr);
    assert!(said.contains("there is no program vi in PATH=/bin"), "{said}");

    std::fs::remove_file(tree.path("target/images/guest-kernel")).unwrap();
    let output = feed(tree.k42(&["run", "--", "echo"]), b"");
    assert_eq!(output.status.code(), Some(125));
    let said = text(&output.stderr);
    assert!(said.contains("target/images/guest-kernel"), "{said}");
    assert!(said.contains("`make build` makes it"), "{said}");
}

#[test]
fn without_a_reader_there_is_nothing_to_run_for() {
    let tree = Tree::new();
    let mut command = tree.k42(&["run", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(141));
}

#[test]
fn the_machine_ends_with_the_tool() {
    let tree = Tree::new();
    let mut command = tree.k42(&["run", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let machine = std::fs::read_to_string(children).unwrap();
    let machine = std::path::Path::new("/proc").join(machine.trim());
    assert!(machine.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // It is gone, or it is still being taken away.
    for _ in 0..500 {
        let state = std::fs::read_to_string(machine.join("stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the machine lives on");
}
