//! K42 domains: unmodified programs, as `cargo k42 run` runs them.

use std::io::Cursor;

use k42::machine::Options;
use k42::run::{Job, run_with};
use k42_tests::{Ending, MODELS, Machine, Model, describe};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in MODELS {
        let name = |what| format!("k42::{}::{what}", model.name());
        tests.push(test(name("output_and_exit_status"), move || output_and_exit_status(model)));
    }
    tests.push(test("k42::input_to_its_end", || input_to_its_end(Model::Powernv9)));
    tests.push(test("k42::on_8_vcpus", || on_8_vcpus(Model::Powernv9)));
    tests.push(test("k42::a_bug_of_any_vcpu_is_told", || a_bug_is_told(Model::Powernv9)));
    tests
}

/// Runs a program; its status and output.
fn run(model: Model, words: &[&str], input: &[u8]) -> anyhow::Result<(u8, Vec<u8>)> {
    let job = Job {
        words: words.iter().map(|word| (*word).into()).collect(),
        root: None,
        model,
        memory: 256 << 20,
        environment: Vec::new(),
        bootargs: String::new(),
        verbose: false,
    };
    let mut output = Vec::new();
    let status = run_with(&job, &Options::default(), Cursor::new(input.to_vec()), &mut output)?;
    Ok((status, output))
}

pub fn output_and_exit_status(model: Model) -> anyhow::Result<()> {
    let (status, output) = run(model, &["echo", "hello", "world"], b"")?;
    assert_eq!((status, String::from_utf8_lossy(&output).as_ref()), (0, "hello world\n"));
    let (status, output) = run(model, &["sh", "-c", "exit 7"], b"")?;
    assert_eq!((status, output), (7, Vec::new()));
    Ok(())
}

/// Every byte there is, and more of them than the buffers on the way hold together.
pub fn input_to_its_end(model: Model) -> anyhow::Result<()> {
    let lines: String = (0..300).map(|n| format!("line {n}\n")).collect();
    let input = [&(0..=255).collect::<Vec<u8>>()[..], lines.as_bytes()].concat();
    let (status, output) = run(model, &["cat"], &input)?;
    assert_eq!(status, 0);
    assert!(output == input, "{} bytes, not {}", output.len(), input.len());
    Ok(())
}

/// All vCPUs start, without a right, and the program does what it does on one.
fn on_8_vcpus(model: Model) -> anyhow::Result<()> {
    let mut domain = describe::k42("k42", &["sh", "-c", "echo hello; exit 7"]);
    domain.vcpus = 8;
    let mut description = describe::machine("k42-vcpus", model, vec![domain]);
    description.processors = 2;
    let mut machine = Machine::boot(&description)?;
    machine.console("k42").expect("^hello$")?;
    machine.console("k42").ends_with(&Ending::Exit(7))
}

/// A trap in the kernel is saved and told by the vCPU that it came on.
fn a_bug_is_told(model: Model) -> anyhow::Result<()> {
    let mut guest = describe::bare("guest", "test=bug vcpu=2");
    guest.vcpus = 3;
    let mut machine = Machine::boot(&describe::machine("k42-bug", model, vec![guest]))?;
    let mut guest = machine.console("guest");
    guest.expect("^kernel panic: interrupt 0x300 .*, fault address 0x1000000000, .*, vCPU 2$")?;
    guest.expect("^kernel panic: r12 ")?;
    let ending = guest.ended()?;
    anyhow::ensure!(matches!(ending, Ending::Crash(_)), "{ending}");
    Ok(())
}
