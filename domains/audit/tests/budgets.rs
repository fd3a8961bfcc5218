//! The hypervisor stays small enough to audit: SPECIFICATION.md's budgets hold.
#![allow(missing_docs)]

use k42_audit::{HYPERVISOR, crate_counts, hypervisor, images, root, specification::budget};

#[test]
fn rust_in_hypervisor_mode() {
    let papr = k42_audit::count::papr().unwrap().code;
    assert!(papr as u64 <= budget("papr-rust-lines").unwrap(), "PAPR: {papr} lines");
    for (image, code, _) in images().unwrap() {
        let (most, code) = (budget("hypervisor-rust-lines").unwrap(), code.code - papr);
        assert!(code > 3000 && code as u64 <= most, "{image}: {code} lines");
    }
}

#[test]
fn assembly_in_hypervisor_mode() {
    let budget = budget("hypervisor-assembly-lines").unwrap();
    for (image, _, asm) in images().unwrap() {
        assert!(asm.code as u64 <= budget, "{image}: {} lines", asm.code);
    }
}

#[test]
fn unsafe_blocks_are_few_and_each_has_its_reason() {
    let (code, _) = hypervisor().unwrap();
    let most = budget("hypervisor-unsafe").unwrap();
    assert!(code.unsafes as u64 <= most, "{} of {most}", code.unsafes);
    assert!(code.reasons >= code.unsafes, "{} unsafe, {} reasons", code.unsafes, code.reasons);
}

#[test]
fn unsafe_is_where_it_must_be_and_nowhere_else() {
    for folder in HYPERVISOR {
        let (code, _) = crate_counts(folder).unwrap();
        let allowed = k42_audit::UNSAFE_ALLOWED.contains(&folder);
        assert!(allowed || code.unsafes == 0, "{folder} has {} unsafe", code.unsafes);
    }
    // What has no need of unsafe code forbids it.
    let main = ["hypervisor/image", "hypervisor/image-nested", "domains/k42"];
    for folder in k42_audit::members().unwrap() {
        if k42_audit::UNSAFE_ALLOWED.contains(&folder.as_str()) || main.contains(&folder.as_str()) {
            continue;
        }
        let lib = root().join(&folder).join("src/lib.rs");
        let source = std::fs::read_to_string(&lib).unwrap_or_default();
        assert!(source.contains("#![forbid(unsafe_code)]"), "{folder}/src/lib.rs");
    }
}
