//! `k42 audit`, of this source tree: tables here, and the same as a page.

use std::process::{Command, Stdio};

#[test]
fn what_is_printed_is_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("audit.html");
    let mut command = Command::new(env!("CARGO_BIN_EXE_k42"));
    let output = command.arg("audit").arg("--html").arg(&page).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(&page).unwrap();
    for word in ["hypervisor-rust-lines", "h_put_term_char", "arrayvec", "powernv_exit", ".vectors"]
    {
        assert!(said.contains(word) && page.contains(word), "{word}");
    }
}

#[test]
fn a_reader_may_have_seen_enough() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_k42"));
    command.arg("audit").arg("--html").arg(folder.path().join("audit.html"));
    let mut audit = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(audit.stdout.take());
    let output = audit.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_page_that_cannot_be_written_is_an_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_k42"));
    let output = command.args(["audit", "--html", "/nowhere/at/all.html"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/at/all.html"));
}
