//! The audit of this very repository: complete, and a page that a browser can read.
#![allow(missing_docs)]

use k42_audit::page::escape;
use k42_audit::report::{Report, audit, unsafe_sites};
use k42_audit::{files, members, root};

/// Counts unsafe code as simply as can be: lines with what such code looks like, up to the tests.
fn plain_count(source: &str) -> usize {
    let code = source.split("#[cfg(test)]\n").next().unwrap();
    let looks =
        ["unsafe {", "unsafe impl", "unsafe trait ", "unsafe fn ", "unsafe extern \"C\" fn "];
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    lines.filter(|line| looks.iter().any(|look| line.contains(look))).count()
}

#[test]
fn every_unsafe_block_is_listed_and_has_a_reason() {
    let sites: Vec<_> = unsafe_sites().unwrap().into_iter().flatten().collect();
    for site in &sites {
        assert!(site.reason.is_some(), "{}:{} gives no reason", site.file, site.line);
    }
    assert!(sites.len() > 80, "{} are not all", sites.len());
    for folder in members().unwrap() {
        // This crate speaks of unsafe code, in strings that the plain count does not know.
        for path in files(&root().join(&folder), "rs").unwrap() {
            let file = path.strip_prefix(root()).unwrap().to_str().unwrap();
            if folder == "domains/audit" || file.contains("/tests/") || file.ends_with("tests.rs") {
                continue;
            }
            let listed = sites.iter().filter(|site| site.file == file).count();
            let plain = plain_count(&std::fs::read_to_string(&path).unwrap());
            assert_eq!(listed, plain, "{file}");
        }
    }
    let audit = sites.iter().filter(|site| site.file.starts_with("domains/audit")).count();
    assert_eq!(audit, 0);
}

/// Every tag is closed, in order; returns how often each is opened.
fn balanced(html: &str) -> std::collections::BTreeMap<&str, usize> {
    let mut open = Vec::new();
    let mut seen = std::collections::BTreeMap::new();
    let body = html.strip_prefix("<!DOCTYPE html>").expect("a page of HTML");
    for piece in body.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').expect("a tag ends");
        let name = tag.split_whitespace().next().unwrap();
        if let Some(closed) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed));
        } else if name != "meta" {
            open.push(name);
            *seen.entry(name).or_default() += 1;
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    seen
}

fn check_page(report: &Report) {
    let html = report.page();
    let seen = balanced(&html);
    assert_eq!(seen["table"], report.tables.len());
    let rows: usize = report.tables.iter().map(|table| table.rows.len() + 1).sum();
    assert_eq!(seen["tr"], rows);
    for table in &report.tables {
        assert!(!table.rows.is_empty(), "{} is empty", table.title);
        assert!(html.contains(&format!("<h2 id=\"{}\">{}</h2>", table.id, escape(table.title))));
    }
    // Nothing from elsewhere.
    for outside in ["src=", "<link", "<script", "@import", "url(", "href=\"http"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn the_audit_holds_and_has_each_table() {
    let report = audit().unwrap();
    assert_eq!(report.wrong, [""; 0]);
    let tables: Vec<_> = report.tables.iter().map(|table| table.id).collect();
    let want = [
        "budgets",
        "lines",
        "unsafe",
        "unsafe-elsewhere",
        "xen",
        "common",
        "papr",
        "crates",
        "crates-unsafe",
        "sections",
        "symbols",
        "stack",
    ];
    assert_eq!(tables, want);
    check_page(&report);
    let text = report.to_string();
    for table in &report.tables {
        assert_eq!(text.contains(table.title), !table.page_only, "{}", table.title);
    }
}
