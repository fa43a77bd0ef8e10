//! What a push sends: Git objects (blobs, trees, one commit) in a pack, each whole.

use crate::workspace::{
    Path, Space, WorkspaceError,
    space::{Entry, Kind},
};
use flate2::{Compression, write::ZlibEncoder};
use sha1::{Digest, Sha1};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
};

/// The name of an object.
pub(super) type Oid = [u8; 20];

/// What a pack calls kinds of objects.
#[derive(Clone, Copy)]
enum Kinds {
    Commit = 1,
    Tree = 2,
    Blob = 3,
}

impl Kinds {
    const fn name(self) -> &'static str {
        match self {
            Kinds::Commit => "commit",
            Kinds::Tree => "tree",
            Kinds::Blob => "blob",
        }
    }
}

/// Whose commit it is, and what it says.
pub(super) struct Commit<'a> {
    pub(super) parent: Option<Oid>,
    /// `Name <address>`
    pub(super) author: &'a str,
    /// Seconds since 1970.
    pub(super) at: i64,
    pub(super) message: &'a str,
}

/// A pack of everything in a workspace, and the commit's name.
pub(super) fn of(
    space: &Space,
    bytes_max: u64,
    commit: &Commit<'_>,
) -> Result<(Vec<u8>, Oid), WorkspaceError> {
    let entries = space.everything(&Path::default())?;
    let files: Vec<&Entry> =
        entries.iter().filter(|entry| entry.kind == Kind::File && is_sent(&entry.path)).collect();
    let bytes = files.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
    if bytes > bytes_max {
        return Err(WorkspaceError::TooMuch);
    }
    let mut pack = Pack::default();
    let mut root = Tree::default();
    for entry in files {
        let path = Path::parse_inside(&entry.path)?;
        let (file, _) = match space.read(&path) {
            Err(WorkspaceError::NotFound(_)) => continue,
            read => read?,
        };
        let mut contents = vec![];
        file.take(crate::limits::WORKSPACE_FILE_BYTES_MAX).read_to_end(&mut contents)?;
        let oid = pack.add(Kinds::Blob, &contents)?;
        root.put(&path, oid);
    }
    let tree = root.write(&mut pack)?;
    let mut text = format!("tree {}\n", hex::encode(tree));
    if let Some(parent) = commit.parent {
        text += &format!("parent {}\n", hex::encode(parent));
    }
    let who = format!("{} {} +0000", commit.author, commit.at);
    text += &format!("author {who}\ncommitter {who}\n\n{}\n", commit.message.trim_end());
    let oid = pack.add(Kinds::Commit, text.as_bytes())?;
    Ok((pack.finish(), oid))
}

/// A repository in a workspace is not part of what is pushed: no server takes a path with `.git` in it.
fn is_sent(path: &str) -> bool {
    !path.split('/').any(|name| name.eq_ignore_ascii_case(".git"))
}

#[derive(Default)]
struct Tree {
    files: BTreeMap<String, Oid>,
    trees: BTreeMap<String, Tree>,
}

impl Tree {
    fn put(&mut self, path: &Path, oid: Oid) {
        let (parent, name) = path.split();
        let mut at = self;
        for part in parent.names() {
            at = at.trees.entry(part.to_owned()).or_default();
        }
        at.files.insert(name.to_owned(), oid);
    }

    fn write(&self, pack: &mut Pack) -> io::Result<Oid> {
        // Git sorts a directory as if its name ended in `/`.
        let mut lines: Vec<(Vec<u8>, Vec<u8>)> = vec![];
        let mut line = |sorted: String, mode: &str, name: &str, oid: &Oid| {
            let mut bytes = format!("{mode} {name}\0").into_bytes();
            bytes.extend_from_slice(oid);
            lines.push((sorted.into_bytes(), bytes));
        };
        for (name, oid) in &self.files {
            line(name.clone(), "100644", name, oid);
        }
        for (name, tree) in &self.trees {
            let oid = tree.write(pack)?;
            line(format!("{name}/"), "40000", name, &oid);
        }
        lines.sort();
        pack.add(Kinds::Tree, &lines.into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<_>>())
    }
}

#[derive(Default)]
struct Pack {
    objects: Vec<u8>,
    count: u32,
    known: BTreeSet<Oid>,
}

impl Pack {
    fn add(&mut self, kind: Kinds, contents: &[u8]) -> io::Result<Oid> {
        let mut hash = Sha1::new();
        hash.update(format!("{} {}\0", kind.name(), contents.len()));
        hash.update(contents);
        let oid: Oid = hash.finalize().into();
        if !self.known.insert(oid) {
            return Ok(oid);
        }
        // Four bits of the length with the kind, then seven at a time, the lowest first.
        let mut left = contents.len();
        let mut byte = (kind as u8) << 4 | (left & 0x0f) as u8;
        left >>= 4;
        while left > 0 {
            self.objects.push(byte | 0x80);
            byte = (left & 0x7f) as u8;
            left >>= 7;
        }
        self.objects.push(byte);
        let mut packed = ZlibEncoder::new(&mut self.objects, Compression::fast());
        packed.write_all(contents)?;
        packed.finish()?;
        self.count += 1;
        Ok(oid)
    }

    fn finish(self) -> Vec<u8> {
        let mut pack = b"PACK\0\0\0\x02".to_vec();
        pack.extend_from_slice(&self.count.to_be_bytes());
        pack.extend_from_slice(&self.objects);
        let sum: Oid = Sha1::digest(&pack).into();
        pack.extend_from_slice(&sum);
        pack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_the_names_git_gives_them() {
        let mut pack = Pack::default();
        let blob = pack.add(Kinds::Blob, b"hello\n").unwrap();
        assert_eq!(hex::encode(blob), "ce013625030ba8dba906f756967f9e9ca394464a");
        pack.add(Kinds::Blob, b"hello\n").unwrap();
        assert_eq!(pack.count, 1, "the same is sent once");
        let mut tree = Tree::default();
        assert_eq!(hex::encode(tree.write(&mut pack).unwrap()), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        tree.put(&Path::parse("a").unwrap(), blob);
        assert_eq!(hex::encode(tree.write(&mut pack).unwrap()), "0976950c1fdbcb52435a433913017bf044b3a58f");
    }

    #[test]
    fn a_repository_inside_is_not_sent() {
        assert!(is_sent(".github/a") && is_sent("a.git/b"));
        assert!(!is_sent(".git/config") && !is_sent("sub/.GIT/hooks/x"));
    }
}
