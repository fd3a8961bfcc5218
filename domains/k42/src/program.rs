//! Which file of a root file system a program's name means, before anything is started.
//!
//! The guest is given the file itself, links followed; what the program sees as its name stays as
//! it was typed, which is how busybox knows what to be.

use std::collections::HashMap;

use anyhow::{Context, bail, ensure};

const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// How many links a name may lead over, as in Linux.
const MAX_LINKS: usize = 40;

/// The files of a root file system: modes by path, and where links lead.
pub struct Root {
    files: HashMap<String, (u32, String)>,
}

impl Root {
    /// Reads a cpio archive of the "newc" format.
    pub fn parse(mut archive: &[u8]) -> anyhow::Result<Root> {
        if archive.starts_with(&[0x1f, 0x8b]) {
            bail!("it is compressed; a K42 domain's root file system is a plain cpio archive");
        }
        let mut files = HashMap::new();
        loop {
            let mut reader = cpio::newc::Reader::new(archive).context("it is no cpio archive")?;
            let entry = reader.entry();
            if entry.is_trailer() {
                return Ok(Root { files });
            }
            let (name, mode) = (normal(entry.name()), entry.mode());
            let mut target = String::new();
            if mode & TYPE == LINK {
                std::io::Read::read_to_string(&mut reader, &mut target)?;
            }
            files.insert(name, (mode, target));
            archive = reader.finish()?;
        }
    }

    /// The path of the file that `program` means, for a program with this environment.
    pub fn find(&self, program: &str, environment: &[String]) -> anyhow::Result<String> {
        ensure!(!program.is_empty(), "a program's name is not empty");
        if program.contains('/') {
            return self.executable(program);
        }
        let path = environment.iter().find_map(|word| word.strip_prefix("PATH=")).unwrap_or("");
        let places = path.split(':').map(|folder| format!("{folder}/{program}"));
        let found = places.into_iter().find(|place| self.resolve(place).is_some());
        match found {
            Some(place) => self.executable(&place),
            None => bail!("there is no program {program} in PATH={path}"),
        }
    }

    fn executable(&self, path: &str) -> anyhow::Result<String> {
        let (file, mode) = self.resolve(path).with_context(|| format!("there is no {path}"))?;
        ensure!(mode & TYPE == REGULAR, "{path} is no plain file");
        ensure!(mode & 0o111 != 0, "{path} is not executable");
        Ok(format!("/{file}"))
    }

    /// The path without links that `path` leads to, and its mode.
    fn resolve(&self, path: &str) -> Option<(String, u32)> {
        let mut links = 0;
        let mut done = String::new();
        let mut mode = DIRECTORY;
        let mut left: Vec<String> = path.rsplit('/').map(String::from).collect();
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.truncate(done.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let here = if done.is_empty() { part } else { format!("{done}/{part}") };
            let target;
            (mode, target) = self.files.get(&here).map(|(mode, target)| (*mode, target))?;
            if mode & TYPE != LINK {
                done = here;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            if target.starts_with('/') {
                done.clear();
            }
            left.extend(target.rsplit('/').map(String::from));
        }
        Some((done, mode))
    }
}

/// A name as the archive may have it, without `./` or `/` before it.
fn normal(name: &str) -> String {
    name.trim_start_matches("./").trim_start_matches('/').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, u32, &str)]) -> Root {
        let mut archive = Vec::new();
        for (name, mode, data) in files {
            let entry = cpio::newc::Builder::new(name).mode(*mode);
            let mut writer = entry.write(&mut archive, data.len() as u32);
            std::io::Write::write_all(&mut writer, data.as_bytes()).unwrap();
            writer.finish().unwrap();
        }
        cpio::newc::trailer(&mut archive).unwrap();
        Root::parse(&archive).unwrap()
    }

    #[test]
    fn names_lead_to_files() {
        let root = root(&[
            ("./bin", LINK | 0o777, "usr/bin"),
            ("usr", DIRECTORY | 0o755, ""),
            ("usr/bin", DIRECTORY | 0o755, ""),
            ("usr/bin/busybox", REGULAR | 0o755, "program"),
            ("usr/bin/ls", LINK | 0o777, "busybox"),
            ("usr/bin/up", LINK | 0o777, "../bin/../../bin/ls"),
            ("usr/bin/loop", LINK | 0o777, "/bin/loop"),
            ("etc", DIRECTORY | 0o755, ""),
            ("etc/motd", REGULAR | 0o644, "hello"),
        ]);
        let environment = ["HOME=/".to_string(), "PATH=/sbin:/bin".to_string()];
        let find = |name| root.find(name, &environment).map_err(|error| error.to_string());
        for name in ["ls", "/bin/ls", "usr/bin/ls", "up", "//usr/./bin/../bin/busybox"] {
            assert_eq!(find(name), Ok("/usr/bin/busybox".into()), "{name}");
        }
        assert_eq!(find("cat"), Err("there is no program cat in PATH=/sbin:/bin".into()));
        assert_eq!(find("/cat"), Err("there is no /cat".into()));
        assert_eq!(find("/bin/loop"), Err("there is no /bin/loop".into()));
        assert_eq!(find("/etc"), Err("/etc is no plain file".into()));
        assert_eq!(find("/etc/motd"), Err("/etc/motd is not executable".into()));
        assert!(find("").is_err());
    }

    #[test]
    fn other_files_are_no_archives() {
        assert!(Root::parse(b"#!/bin/sh\n").is_err());
        assert!(Root::parse(&[0x1f, 0x8b, 8, 0]).is_err());
    }
}
