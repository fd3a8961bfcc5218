//! `make mutate`: breaks a copy of the tree in one listed place after another, runs the host's tests
//! of the hypervisor, of clustered objects and of the kernel's heap on it and then the models
//! (`tests/models`), and fails when all pass.
//! `make mutate ONLY="words"` takes the mutations whose file or description has one of the words.
#![forbid(unsafe_code)]

use anyhow::{Context, bail, ensure};
use k42_mutations::{Mutation, list, root};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The packages whose tests have to notice.
const PACKAGES: [&str; 10] = [
    "hv-fake",
    "hv-core",
    "hv-abi",
    "k42-lib",
    "guest-kernel",
    "k42-alloc",
    "k42-object",
    "k42-object-macros",
    "boot-archive",
    "k42-wire",
];
/// The models' workspace, and how many schedules they try here: as many as notice all that is listed.
const MODELS: &str = "tests/models/Cargo.toml";
const SCHEDULES: &str = "300";
/// What makes a round short: no debug information, and the tests run ten times as fast with little
/// optimisation; all that they check, they still check.
const PROFILE: [(&str, &str); 2] =
    [("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_DEV_OPT_LEVEL", "1")];
/// A test program that takes longer hangs, and that is noticed too: this much, and ten times what it
/// took when nothing was broken.
const HANG: Duration = Duration::from_secs(10);
/// What the first of its runs may take.
const FIRST: Duration = Duration::from_secs(120);

fn main() -> anyhow::Result<()> {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let named = |m: &Mutation, word: &String| m.file.contains(word) || m.breaks.contains(word);
    let wanted = |m: &Mutation| only.is_empty() || only.iter().any(|word| named(m, word));
    let mutations: Vec<Mutation> = list()?.into_iter().filter(wanted).collect();
    ensure!(!mutations.is_empty(), "no mutation has {only:?} in its file or description");
    let tree = copy_tree()?;
    let mut order = Order::default();
    if let Some(failure) = run_tests(&tree, &mut order)? {
        bail!("nothing is broken yet and {failure} fails: mend that first");
    }
    let mut survived = 0;
    for mutation in &mutations {
        let place = tree.join(&mutation.file);
        let whole = fs::read_to_string(&place)?;
        fs::write(&place, mutation.apply(&tree)?)?;
        let outcome = run_tests(&tree, &mut order);
        fs::write(&place, whole)?;
        survived += usize::from(!matches!(outcome, Ok(Some(_))));
        let by = match outcome {
            Ok(Some(test)) => format!("noticed by {test}"),
            Ok(None) => "SURVIVED".into(),
            Err(error) => format!("NOT TRIED: {error:#}"),
        };
        println!("{}: {}: {by}", mutation.file, mutation.breaks);
    }
    println!("{} mutations, {survived} survived", mutations.len());
    ensure!(survived == 0, "what no test notices can be lost: write the test");
    Ok(())
}

/// Copies the workspace to where it can be broken.
fn copy_tree() -> anyhow::Result<PathBuf> {
    let tree = root().join("target/mutations/tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    copy(root(), &tree)?;
    Ok(tree)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.is_dir() {
            if name != "target" && name != ".git" {
                copy(&path, &to.join(name))?;
            }
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Which test programs come first: the one that noticed last, then those that took least.
#[derive(Default)]
struct Order {
    noticed: PathBuf,
    took: BTreeMap<PathBuf, Duration>,
}

/// Builds and runs the tests; the first that fails, if one does.
fn run_tests(tree: &Path, order: &mut Order) -> anyhow::Result<Option<String>> {
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    for arguments in [packages.collect(), vec!["--manifest-path", MODELS]] {
        let mut programs = build(tree, &arguments)?;
        programs.sort_by_key(|(_, program)| {
            (*program != order.noticed, order.took.get(program).copied())
        });
        for (name, program) in programs {
            let began = Instant::now();
            let most = order.took.get(&program).map_or(FIRST, |took| HANG + *took * 10);
            if let Some(test) = run(tree, &program, most)? {
                order.noticed = program;
                return Ok(Some(format!("{name}::{test}")));
            }
            order.took.entry(program).or_insert_with(|| began.elapsed());
        }
    }
    Ok(None)
}

/// The test programs, with their names.
fn build(tree: &Path, arguments: &[&str]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--quiet", "--offline", "--no-run", "--message-format=json"]);
    cargo.args(arguments).current_dir(tree);
    cargo.env("CARGO_TARGET_DIR", root().join("target/mutations/target"));
    cargo.envs(PROFILE);
    // What a mutation leaves unused is no error here.
    cargo.env("RUSTFLAGS", "--cap-lints=allow").stderr(Stdio::inherit());
    let output = cargo.output().context("cargo")?;
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        if let Some(text) = message["message"]["rendered"].as_str() {
            eprint!("{text}");
        }
        if let Some(program) = message["executable"].as_str() {
            let name = message["target"]["name"].as_str().unwrap_or_default();
            found.push((name.to_owned(), program.into()));
        }
    }
    ensure!(output.status.success() && !found.is_empty(), "does not build");
    Ok(found)
}

/// Runs one test program; the first of its tests that fails, or that it took longer than it may.
fn run(tree: &Path, program: &Path, most: Duration) -> anyhow::Result<Option<String>> {
    let log = root().join("target/mutations/log");
    let mut child = Command::new(program)
        .current_dir(tree)
        // The same cases each time: what is noticed today is noticed tomorrow.
        .envs([("PROPTEST_RNG_SEED", "1"), ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")])
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .env("SCHEDULES", SCHEDULES)
        .stdout(fs::File::create(&log)?)
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + most;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(Some("a test that hangs".into()));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    if status.success() {
        return Ok(None);
    }
    let said = fs::read_to_string(&log)?;
    let failed = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.into());
    Ok(Some(said.lines().find_map(failed).unwrap_or_else(|| "a test that aborts".into())))
}
