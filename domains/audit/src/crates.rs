//! The workspace's packages and what they take from outside, as cargo tells it.

use crate::count::files;
use crate::source::lines;
use crate::table::{Table, number};
use crate::unsafes::words;
use crate::{root, specification};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Linux of the images' processor: cargo knows no target of ours, and for what the crates ask
/// about (not Windows, not a host's architecture) it is the same.
const TARGET: &str = "powerpc64le-unknown-linux-gnu";

/// Packages of the workspace with what each depends on; development dependencies left out.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// A package that is not of the workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, from Cargo.lock.
    pub version: String,
}

/// A line of an external crate that says `unsafe`.
pub struct Use {
    /// Crate, version and file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
}

/// What cargo prints.
fn cargo(arguments: &[&str]) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(cargo).args(arguments).current_dir(root()).output().context("cargo")?;
    ensure!(output.status.success(), "cargo: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Directions of the workspace's packages.
pub fn graph() -> anyhow::Result<Graph> {
    read_graph(&cargo(&["metadata", "--format-version", "1", "--no-deps"])?)
}

fn read_graph(metadata: &str) -> anyhow::Result<Graph> {
    let metadata: Value = serde_json::from_str(metadata)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages = array(&metadata["packages"]).into_iter().map(|package| {
        let dependencies = array(&package["dependencies"]).into_iter();
        let kept = dependencies.filter(|d| d["kind"].is_null()).map(|d| text(&d["name"]));
        (text(&package["name"]), kept.collect())
    });
    Ok(packages.collect())
}

/// Everything `package` depends on, however indirectly.
pub fn reach(graph: &Graph, package: &str) -> BTreeSet<String> {
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

/// The external crates that the hypervisor's own name: what SPECIFICATION.md has budgets for.
pub struct Named {
    /// Those in its image.
    pub image: BTreeSet<String>,
    /// Those that only its parts for the host need, such as the writer of boot archives.
    pub host_only: BTreeSet<String>,
}

/// Which external crates the hypervisor's own name.
pub fn named_by_hypervisor() -> anyhow::Result<Named> {
    Ok(split(&graph()?, &in_image()?))
}

fn split(graph: &Graph, image: &BTreeSet<Package>) -> Named {
    let external = reach(graph, "hypervisor").into_iter().filter(|name| !graph.contains_key(name));
    let is_in_image = |name: &String| image.iter().any(|package| package.name == *name);
    let (image, host_only) = external.partition(is_in_image);
    Named { image, host_only }
}

/// The external packages in the hypervisor's image, those that others bring included.
pub fn in_image() -> anyhow::Result<BTreeSet<Package>> {
    let arguments = "tree --locked --package hypervisor --edges normal --prefix none --target";
    let arguments: Vec<&str> = arguments.split(' ').chain([TARGET, "--format", "{p}"]).collect();
    Ok(read_tree(&cargo(&arguments)?))
}

/// The features of the workspace's packages that an image is built with, as `package feature "name"`.
pub fn features(image: &str) -> anyhow::Result<BTreeSet<String>> {
    let arguments = "tree --locked --edges normal,features --prefix none --target";
    let arguments: Vec<&str> = arguments.split(' ').chain([TARGET, "--package", image]).collect();
    Ok(cargo(&arguments)?.lines().map(str::to_owned).collect())
}

/// Packages in what `cargo tree` prints: `name vVERSION`, and the folder of those of the workspace.
fn read_tree(tree: &str) -> BTreeSet<Package> {
    let external = tree.lines().filter(|line| !line.contains("(/"));
    let package = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        Some(Package { name, version: words.next()?.strip_prefix('v')?.to_owned() })
    };
    external.filter_map(package).collect()
}

/// Where cargo has the sources of each package.
fn sources() -> anyhow::Result<BTreeMap<Package, PathBuf>> {
    let arguments = "metadata --locked --format-version 1 --filter-platform";
    read_sources(&cargo(&arguments.split(' ').chain([TARGET]).collect::<Vec<_>>())?)
}

fn read_sources(metadata: &str) -> anyhow::Result<BTreeMap<Package, PathBuf>> {
    let metadata: Value = serde_json::from_str(metadata)?;
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().context("no packages")? {
        let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
        let folder = Path::new(&text("manifest_path")).parent().context("no folder")?.to_owned();
        found.insert(Package { name: text("name"), version: text("version") }, folder);
    }
    Ok(found)
}

/// Lines of `source` with code that says `unsafe`.
pub fn unsafe_lines(source: &str) -> Vec<usize> {
    let lines = lines(source).into_iter().enumerate();
    lines
        .filter(|(_, line)| !words(&line.code, "unsafe").is_empty())
        .map(|(at, _)| at + 1)
        .collect()
}

/// The table of external crates, and that of their unsafe lines.
pub(crate) fn tables() -> anyhow::Result<[Table; 2]> {
    let columns = ["crate", "version", "named by us", "code", "unsafe lines"];
    let mut table = Table::new("crates", "External crates in the hypervisor's image", &columns);
    let named = named_by_hypervisor()?;
    let host_only: Vec<String> = named.host_only.into_iter().collect();
    table.note = format!(
        "Lines of all that the crate has, tests in its files left out; the image has what it \
         calls. Not named by us is what another crate brings. Named, but for the host only and in \
         no image: {}.",
        host_only.join(", ")
    );
    let mut listing =
        Table::new("crates-unsafe", "Lines of external crates that say unsafe", &["place", "text"]);
    listing.page_only = true;
    let sources = sources()?;
    for package in in_image()? {
        let folder = sources.get(&package).with_context(|| format!("no {}", package.name))?;
        let (mut code, mut unsafes) = (0, 0);
        for path in files(&folder.join("src"), "rs")? {
            let source = std::fs::read_to_string(&path)?;
            code += crate::rust(&source, false).code;
            let file = path.strip_prefix(folder)?.display();
            for line in unsafe_lines(&source) {
                unsafes += 1;
                let text = source.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
                let place = format!("{} {} {file}:{line}", package.name, package.version);
                listing.row([place, text]);
            }
        }
        let ours = if named.image.contains(&package.name) { "yes" } else { "no" };
        let Package { name, version } = package;
        table.row([name, version, ours.into(), number(code as u64), number(unsafes)]);
    }
    Ok([table, listing])
}

/// Holds the numbers of crates against their budgets.
pub(crate) fn measured() -> anyhow::Result<[specification::Measured; 2]> {
    let Named { image, host_only } = named_by_hypervisor()?;
    Ok([
        ("hypervisor-external-crates", image.len() as u64),
        ("hypervisor-host-only-crates", host_only.len() as u64),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_read() {
        let tree = "hypervisor v0.1.0 (/a/hypervisor/image)\nspin v0.12.3\nhv-core v0.1.0 (/a) (*)\n\
                    fdt v0.1.5\nfdt v0.1.5 (*)\n\n";
        let read: Vec<_> = read_tree(tree).into_iter().map(|p| p.name + " " + &p.version).collect();
        assert_eq!(read, ["fdt 0.1.5", "spin 0.12.3"]);
    }

    #[test]
    fn metadata_is_read() {
        let metadata = r#"{"packages": [
            {"name": "a", "version": "1.0.0", "manifest_path": "/p/a/Cargo.toml", "dependencies": [
                {"name": "b", "kind": null}, {"name": "c", "kind": "dev"}]},
            {"name": "b", "version": "2.0.0", "manifest_path": "/p/b/Cargo.toml", "dependencies": [
                {"name": "d", "kind": null}]}]}"#;
        let graph = read_graph(metadata).unwrap();
        assert_eq!(reach(&graph, "a"), ["b", "d"].map(str::to_owned).into());
        let b = Package { name: "b".into(), version: "2.0.0".into() };
        assert_eq!(read_sources(metadata).unwrap()[&b], Path::new("/p/b"));
        assert!(read_sources("{}").is_err() && read_graph("nothing").is_err());
    }

    #[test]
    fn a_crate_that_is_in_no_image_is_the_hosts() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let graph: Graph = [
            ("hypervisor".to_owned(), set(&["archive", "spin"])),
            ("archive".to_owned(), set(&["fdt", "writer"])),
            ("tool".to_owned(), set(&["clap"])),
        ]
        .into();
        let package = |name: &str| Package { name: name.into(), version: "1.0.0".into() };
        let named = split(&graph, &["fdt", "spin", "brought"].map(package).into());
        assert_eq!(named.image, set(&["fdt", "spin"]));
        assert_eq!(named.host_only, set(&["writer"]));
    }

    #[test]
    fn lines_that_say_unsafe_are_code() {
        let source =
            "// unsafe\n#![forbid(unsafe_code)]\nunsafe { a(\"unsafe\") }\nunsafe fn b();\n";
        assert_eq!(unsafe_lines(source), [3, 4]);
    }
}
