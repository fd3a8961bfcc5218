//! The files of the root file system image, as a tree. Nothing in it ever changes.

use crate::cpio::{self, Broken, Entry};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Type bits of a mode.
pub const TYPE_MASK: u32 = 0o170_000;
/// A directory.
pub const DIRECTORY: u32 = 0o040_000;
/// A symbolic link.
pub const SYMBOLIC_LINK: u32 = 0o120_000;
/// A regular file.
pub const REGULAR: u32 = 0o100_000;
/// A character device.
pub const CHARACTER: u32 = 0o020_000;

/// How many symbolic links a path may lead through, as in Linux.
const MAX_LINKS: usize = 40;
/// The longest name of a directory's entry, in bytes.
const MAX_NAME: usize = 255;

/// A file, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// Its inode number.
    pub const fn inode(self) -> u64 {
        self.0 as u64 + 1
    }
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Names of other files.
    Directory(Directory<'a>),
    /// Bytes.
    Regular(&'a [u8]),
    /// A path.
    SymbolicLink(&'a [u8]),
    /// Nothing of its own: a device, by major and minor number, or a pipe or a socket.
    Special(u32, u32),
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory<'a> {
    /// The directory it is in; the root's is the root.
    pub parent: NodeId,
    /// Its entries, by name.
    pub entries: BTreeMap<&'a [u8], NodeId>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// What it holds.
    pub content: Content<'a>,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Number of names; a directory's are those in its parent, in itself and in its children.
    pub links: u32,
    /// Time of the last change, in seconds since 1970.
    pub modified: u32,
}

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// There is no such name.
    NotFound,
    /// What should be a directory is none.
    NotDirectory,
    /// Too many symbolic links.
    Loop,
    /// A name is too long.
    NameTooLong,
}

/// The tree.
#[derive(Clone, Debug)]
pub struct Files<'a> {
    nodes: Vec<Node<'a>>,
    /// The latest time of change in the image, in seconds since 1970.
    newest: u32,
}

impl<'a> Files<'a> {
    /// The root directory.
    pub const ROOT: NodeId = NodeId(0);

    /// An empty tree.
    pub fn empty() -> Self {
        let mut files = Files { nodes: Vec::new(), newest: 0 };
        files.push(directory(Self::ROOT));
        files
    }

    /// The tree of an archive.
    ///
    /// # Errors
    /// [`Broken`] when the archive is.
    pub fn read(image: &'a [u8]) -> Result<Self, Broken> {
        let mut files = Self::empty();
        let mut linked = BTreeMap::new();
        for entry in cpio::entries(image) {
            let entry = entry?;
            files.newest = files.newest.max(entry.modified);
            files.add(&entry, &mut linked);
        }
        Ok(files)
    }

    /// The latest time of change in the image, in seconds since 1970.
    pub const fn newest(&self) -> u32 {
        self.newest
    }

    /// A file.
    pub fn node(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }

    /// Makes sure that a character device has a name, for what an image does not bring.
    pub fn provide_device(&mut self, path: &'a [u8], major: u32, minor: u32) {
        let (parent, name) = self.make_parent(path);
        if let Content::Directory(directory) = &self.node(parent).content
            && !directory.entries.contains_key(name)
        {
            let content = Content::Special(major, minor);
            let mode = CHARACTER | 0o666;
            let node = self.push(Node { content, mode, links: 1, ..directory_of_image() });
            self.insert(parent, name, node);
        }
    }

    /// The file that `path` leads to from directory `base`; `follow`s a symbolic link at its end.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn find(&self, base: NodeId, path: &[u8], follow: bool) -> Result<NodeId, PathError> {
        let mut links = 0;
        self.walk(base, path, follow, &mut links)
    }

    /// The path from the root to a directory.
    pub fn path(&self, directory: NodeId) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = directory;
        while let Content::Directory(Directory { parent, .. }) = &self.node(at).content
            && at != Self::ROOT
        {
            if let Content::Directory(above) = &self.node(*parent).content {
                names
                    .extend(above.entries.iter().find(|(_, id)| **id == at).map(|(name, _)| *name));
            }
            at = *parent;
        }
        names.reverse();
        let mut path = b"/".to_vec();
        path.extend(names.join(&b'/'));
        path
    }

    fn walk(
        &self,
        base: NodeId,
        path: &[u8],
        follow: bool,
        links: &mut usize,
    ) -> Result<NodeId, PathError> {
        if path.is_empty() {
            return Err(PathError::NotFound);
        }
        let mut at = if path.starts_with(b"/") { Self::ROOT } else { base };
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let Content::Directory(directory) = &self.node(at).content else {
                return Err(PathError::NotDirectory);
            };
            let next = match name {
                b"." => at,
                b".." => directory.parent,
                _ if name.len() > MAX_NAME => return Err(PathError::NameTooLong),
                _ => *directory.entries.get(name).ok_or(PathError::NotFound)?,
            };
            let last = names.peek().is_none() && !path.ends_with(b"/");
            at = match self.node(next).content {
                Content::SymbolicLink(target) if !last || follow => {
                    *links += 1;
                    if *links > MAX_LINKS {
                        return Err(PathError::Loop);
                    }
                    self.walk(at, target, true, links)?
                }
                _ => next,
            };
        }
        if path.ends_with(b"/") && !matches!(self.node(at).content, Content::Directory(_)) {
            return Err(PathError::NotDirectory);
        }
        Ok(at)
    }

    fn add(&mut self, entry: &Entry<'a>, linked: &mut BTreeMap<u32, NodeId>) {
        let (parent, name) = self.make_parent(entry.name);
        let (major, minor) = entry.device;
        let content = match entry.mode & TYPE_MASK {
            DIRECTORY => return self.add_directory(parent, name, entry),
            REGULAR => Content::Regular(entry.data),
            SYMBOLIC_LINK => Content::SymbolicLink(entry.data),
            _ => Content::Special(major, minor),
        };
        if name.is_empty() {
            return; // only a directory can be the root
        }
        let several_names = entry.links > 1;
        if let Some(&node) = linked.get(&entry.inode).filter(|_| several_names) {
            // The bytes come with the last of a file's names.
            if !entry.data.is_empty() {
                self.nodes[node.0 as usize].content = content;
            }
            self.insert(parent, name, node);
            return;
        }
        let node = self.push(node_of(entry, content));
        if several_names {
            linked.insert(entry.inode, node);
        }
        self.insert(parent, name, node);
    }

    /// A directory may have been made already, for what it holds.
    fn add_directory(&mut self, parent: NodeId, name: &'a [u8], entry: &Entry<'a>) {
        let at = if name.is_empty() { parent } else { self.subdirectory(parent, name) };
        let node = &mut self.nodes[at.0 as usize];
        let links = node.links;
        *node = Node { links, ..node_of(entry, node.content.clone()) };
    }

    /// The directory that `path` is in, made if it has to be, and the last name of the path.
    fn make_parent(&mut self, path: &'a [u8]) -> (NodeId, &'a [u8]) {
        let mut names =
            path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
        let mut parent = Self::ROOT;
        let mut name = names.next().unwrap_or(b"");
        for next in names {
            parent = self.subdirectory(parent, name);
            name = next;
        }
        (parent, name)
    }

    fn subdirectory(&mut self, parent: NodeId, name: &'a [u8]) -> NodeId {
        if let Content::Directory(directory) = &self.node(parent).content
            && let Some(id) = directory.entries.get(name)
            && matches!(self.node(*id).content, Content::Directory(_))
        {
            return *id;
        }
        let id = self.push(directory(parent));
        self.insert(parent, name, id);
        self.nodes[parent.0 as usize].links += 1;
        id
    }

    fn insert(&mut self, parent: NodeId, name: &'a [u8], node: NodeId) {
        if let Content::Directory(directory) = &mut self.nodes[parent.0 as usize].content {
            directory.entries.insert(name, node);
        }
    }

    fn push(&mut self, node: Node<'a>) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(node);
        id
    }
}

fn node_of<'a>(entry: &Entry<'a>, content: Content<'a>) -> Node<'a> {
    let Entry { mode, user, group, links, modified, .. } = *entry;
    Node { content, mode, user, group, links, modified }
}

fn directory<'a>(parent: NodeId) -> Node<'a> {
    let entries = BTreeMap::new();
    Node { content: Content::Directory(Directory { parent, entries }), ..directory_of_image() }
}

/// What is not in the image belongs to root.
fn directory_of_image<'a>() -> Node<'a> {
    let content = Content::Regular(b"");
    Node { content, mode: DIRECTORY | 0o755, user: 0, group: 0, links: 2, modified: 0 }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
