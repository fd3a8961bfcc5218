//! A description's disks, and the domain that serves them.

use std::path::PathBuf;

use super::fields::Fields;
use super::read::{DOMAIN, list};
use super::{Description, Kind, Rights};
use crate::{disks, files};

/// What a domain needs that serves disks.
pub(super) const SERVER: Rights = Rights::EVENTS.union(Rights::LAN);

/// A storage domain: there is one, which the hypervisor starts.
pub(super) fn storage(fields: &Fields<'_, '_>, before: &Description) -> Option<Kind> {
    fields.only(&DOMAIN);
    let other = before.domains.iter().find(|domain| domain.kind == Kind::Storage);
    if let Some(other) = other {
        let text = format!("domain \"{}\" serves all disks; remove one of them", other.name);
        fields.wrong("kind", text);
    }
    for (field, why) in [
        ("started-by", "disks are given away at boot alone; leave the line out"),
        ("disks", "it has those of all others; leave the line out"),
    ] {
        if fields.value(field).is_some() {
            fields.wrong(field, why);
        }
    }
    Some(Kind::Storage)
}

/// The files that are a domain's disks.
pub(super) fn read(
    fields: &Fields<'_, '_>,
    rights: Option<Rights>,
    before: &Description,
) -> Option<Vec<PathBuf>> {
    let paths = list(fields, "disks", "[\"linux.img\"]", Vec::new)?;
    let found: Vec<PathBuf> = paths.iter().map(|path| files::top().join(path)).collect();
    let there = disks::files(before).count();
    if there + found.len() > disks::MOST {
        fields.wrong("disks", format!("a machine has at most {} disks", disks::MOST));
        return None;
    }
    if !found.is_empty() && rights.is_some_and(|rights| !rights.contains(Rights::LAN)) {
        fields.wrong("disks", "they are reached over the logical LAN; name the right \"lan\"");
    }
    for (n, path) in found.iter().enumerate() {
        if let Err(problem) = disks::bytes(path) {
            fields.wrong("disks", problem);
            return None;
        }
        let own = found.iter().take(n).map(PathBuf::as_path);
        let same = |other: &std::path::Path| other.canonicalize().ok() == path.canonicalize().ok();
        if disks::files(before).chain(own).any(same) {
            let text = format!("{} is a disk already; give each a file of its own", path.display());
            fields.wrong("disks", text);
            return None;
        }
    }
    Some(found)
}

/// Disks need a domain that serves them.
pub(super) fn served(fields: &[Fields<'_, '_>], description: &Description) {
    let server = description.domains.iter().find(|domain| domain.kind == Kind::Storage);
    for (fields, domain) in fields.iter().zip(&description.domains) {
        match server {
            _ if domain.disks.is_empty() => {}
            None => {
                fields.wrong("disks", "nobody serves them; add a domain of `kind = \"storage\"`");
            }
            Some(server) if server.lan != domain.lan => {
                let text = format!("\"{}\" serves them on another LAN; name the same", server.name);
                fields.wrong("disks", text);
            }
            Some(_) => {}
        }
    }
}
