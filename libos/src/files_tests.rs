//! Paths through a small tree.

use super::*;
use crate::cpio::tests::{append, finish};

fn image() -> Vec<u8> {
    let mut image = Vec::new();
    append(&mut image, 1, 0o040_700, 2, ".", b"");
    append(&mut image, 2, 0o040_755, 2, "etc", b"");
    append(&mut image, 3, 0o100_644, 1, "etc/motd", b"welcome\n");
    append(&mut image, 4, 0o100_755, 2, "bin/busybox", b"");
    append(&mut image, 4, 0o100_755, 2, "bin/sh", b"program");
    append(&mut image, 5, 0o120_777, 1, "usr", b"./");
    append(&mut image, 6, 0o120_777, 1, "etc/up", b"../bin/sh");
    append(&mut image, 7, 0o120_777, 1, "loop", b"loop");
    append(&mut image, 8, 0o020_666, 1, "dev/null", b"");
    finish(&mut image);
    image
}

fn find(path: &str) -> Result<Vec<u8>, PathError> {
    let image = image();
    let files = Files::read(&image).unwrap();
    let etc = files.find(Files::ROOT, b"/etc", true).unwrap();
    let id = files.find(etc, path.as_bytes(), true)?;
    match files.node(id).content {
        Content::Regular(data) => Ok(data.to_vec()),
        Content::Directory(_) => Ok(files.path(id)),
        _ => Ok(b"?".to_vec()),
    }
}

#[test]
fn paths_lead_where_they_say() {
    assert_eq!(find("motd").unwrap(), b"welcome\n");
    assert_eq!(find("/etc//./motd").unwrap(), b"welcome\n");
    assert_eq!(find("../etc/../../etc").unwrap(), b"/etc");
    assert_eq!(find("/").unwrap(), b"/");
    assert_eq!(find("up").unwrap(), b"program");
    assert_eq!(find("/usr/usr/bin").unwrap(), b"/bin");
    assert_eq!(find("/usr").unwrap(), b"/");
}

#[test]
fn paths_to_nowhere_say_why() {
    assert_eq!(find("nothing"), Err(PathError::NotFound));
    assert_eq!(find(""), Err(PathError::NotFound));
    assert_eq!(find("motd/x"), Err(PathError::NotDirectory));
    assert_eq!(find("motd/"), Err(PathError::NotDirectory));
    assert_eq!(find("/loop"), Err(PathError::Loop));
    assert_eq!(find(&"x".repeat(256)), Err(PathError::NameTooLong));
}

#[test]
fn names_of_one_file_share_its_bytes() {
    assert_eq!(find("/bin/busybox").unwrap(), b"program");
    assert_eq!(find("/bin/sh").unwrap(), b"program");
}

#[test]
fn directories_count_their_children_and_links_can_be_seen() {
    let image = image();
    let mut files = Files::read(&image).unwrap();
    let root = files.node(Files::ROOT);
    assert_eq!((root.links, root.mode), (5, 0o040_700));
    let link = files.find(Files::ROOT, b"etc/up", false).unwrap();
    assert_eq!(files.node(link).content, Content::SymbolicLink(b"../bin/sh"));
    assert_eq!(files.newest(), 1_700_000_000);
    files.provide_device(b"dev/null", 9, 9);
    files.provide_device(b"dev/zero", 1, 5);
    let device = |path: &str| {
        let id = files.find(Files::ROOT, path.as_bytes(), true).unwrap();
        files.node(id).content.clone()
    };
    assert_eq!(device("/dev/null"), Content::Special(1, 3));
    assert_eq!(device("/dev/zero"), Content::Special(1, 5));
}
