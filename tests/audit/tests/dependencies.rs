//! Dependencies point one way (docs/architecture.md).
#![allow(missing_docs)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Packages of the workspace with what each depends on; development dependencies left out.
fn graph() -> (Graph, BTreeSet<String>) {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(k42_audit::root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut graph = Graph::new();
    for package in metadata["packages"].as_array().unwrap() {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let kept = dependencies.filter(|d| d["kind"].is_null()).map(|d| text(&d["name"]));
        graph.insert(text(&package["name"]), kept.collect());
    }
    let members = graph.keys().cloned().collect();
    (graph, members)
}

/// Everything `package` depends on, however indirectly.
fn reach(graph: &Graph, package: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![package.to_owned()];
    while let Some(next) = todo.pop() {
        for dependency in graph.get(&next).into_iter().flatten() {
            if seen.insert(dependency.clone()) {
                todo.push(dependency.clone());
            }
        }
    }
    seen
}

#[test]
fn dependencies_point_one_way() {
    let (graph, _) = graph();
    // (who, whom it must never reach)
    let rules: &[(&str, &[&str])] = &[
        ("k42-lib", &["hv-abi", "hv-core", "kernel-abi", "guest-kernel", "k42-wire"]),
        ("hv-abi", &["hv-core", "hv-powernv", "hv-fake"]),
        ("hv-core", &["hv-powernv", "hv-fake", "guest-kernel", "domain-builder"]),
        ("hv-powernv", &["hv-fake", "guest-kernel", "domain-builder"]),
        ("kernel-abi", &["hv-core", "guest-kernel"]),
        ("guest-kernel", &["hv-core", "hv-powernv", "libos", "linux-syscalls"]),
        ("guest-kernel-image", &["hv-core", "hv-powernv", "libos", "linux-syscalls"]),
        ("libos", &["hv-core", "guest-kernel", "linux-syscalls"]),
        ("linux-syscalls", &["hv-core", "guest-kernel"]),
        ("domain-builder", &["hv-core", "hv-powernv", "guest-kernel"]),
    ];
    for (who, never) in rules {
        assert!(graph.contains_key(*who), "there is no package {who}: mend this test");
        let reached = reach(&graph, who);
        for whom in *never {
            assert!(graph.contains_key(*whom), "there is no package {whom}: mend this test");
            assert!(!reached.contains(*whom), "{who} depends on {whom}");
        }
    }
}

#[test]
fn nothing_depends_on_tests() {
    let (graph, members) = graph();
    for who in members {
        let reached = reach(&graph, &who);
        for tests in ["k42-tests", "ktest-guest", "k42-audit", "hv-fake"] {
            assert!(!reached.contains(tests) || who == "k42-tests", "{who} depends on {tests}");
        }
    }
}

#[test]
fn the_hypervisor_has_few_external_crates() {
    let (graph, members) = graph();
    let external: BTreeSet<String> =
        reach(&graph, "hypervisor").into_iter().filter(|name| !members.contains(name)).collect();
    let most = k42_audit::specification::budget("hypervisor-external-crates").unwrap();
    assert!(external.len() as u64 <= most, "{external:?}");
}
