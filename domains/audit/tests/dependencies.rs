//! Dependencies point one way (docs/architecture.md).
#![allow(missing_docs)]

use k42_audit::crates::{features, graph, named_by_hypervisor, reach};
use k42_audit::specification::budget;

#[test]
fn dependencies_point_one_way() {
    let graph = graph().unwrap();
    // (who, whom it must never reach)
    let rules: &[(&str, &[&str])] = &[
        ("k42-lib", &["hv-abi", "hv-core", "kernel-abi", "guest-kernel", "k42-wire"]),
        ("hv-abi", &["hv-core", "hv-power", "hv-powernv", "hv-nested", "hv-fake"]),
        ("hv-core", &["hv-power", "hv-fake", "guest-kernel", "domain-builder"]),
        ("hv-power", &["hv-powernv", "hv-nested", "hv-fake", "guest-kernel", "domain-builder"]),
        ("hv-powernv", &["hv-nested", "hv-fake", "guest-kernel", "domain-builder"]),
        ("hv-nested", &["hv-powernv", "hv-fake", "guest-kernel", "domain-builder"]),
        ("kernel-abi", &["hv-core", "guest-kernel"]),
        ("k42-alloc", &["k42-lib", "hv-abi", "kernel-abi", "guest-kernel", "libos"]),
        ("k42-object", &["hv-abi", "kernel-abi", "guest-kernel", "libos"]),
        ("k42-object-macros", &["k42-object", "k42-lib", "kernel-abi", "guest-kernel"]),
        ("guest-kernel", &["hv-core", "hv-powernv", "libos", "linux-syscalls"]),
        ("guest-kernel-image", &["hv-core", "hv-powernv", "libos", "linux-syscalls"]),
        ("libos", &["hv-core", "guest-kernel", "linux-syscalls"]),
        ("linux-syscalls", &["hv-core", "guest-kernel"]),
        ("domain-builder", &["hv-core", "hv-powernv", "guest-kernel"]),
        ("k42-audit", &["hv-core", "hv-powernv", "guest-kernel", "domain-builder"]),
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
    let graph = graph().unwrap();
    for who in graph.keys() {
        let reached = reach(&graph, who);
        for tests in ["k42-tests", "ktest-guest", "hv-fake"] {
            assert!(!reached.contains(tests) || who == "k42-tests", "{who} depends on {tests}");
        }
        // What judges the code is no part of it: the host tool calls the audit, and tests do.
        let may_audit = ["k42", "k42-tests"].contains(&who.as_str());
        assert!(!reached.contains("k42-audit") || may_audit, "{who} depends on k42-audit");
    }
}

#[test]
fn the_hypervisor_has_few_external_crates() {
    let named = named_by_hypervisor().unwrap();
    let most = budget("hypervisor-external-crates").unwrap();
    assert!(named.image.contains("spin") && named.image.len() as u64 <= most, "{:?}", named.image);
    // The writer of boot archives has no way into an image.
    let most = budget("hypervisor-host-only-crates").unwrap();
    let host_only = &named.host_only;
    assert!(host_only.contains("vm-fdt") && host_only.len() as u64 <= most, "{host_only:?}");
}

#[test]
fn what_only_tests_and_the_host_need_is_in_no_image() {
    let elsewhere = ["walker", "boot-archive feature \"write\"", "k42-wire feature \"host\""];
    for image in ["hypervisor", "hypervisor-nested"] {
        let features = features(image).unwrap();
        assert!(features.iter().any(|line| line.starts_with("hv-core v")), "{features:?}");
        for feature in elsewhere {
            assert!(!features.iter().any(|line| line.contains(feature)), "{features:?}");
        }
    }
}
