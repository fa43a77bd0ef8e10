//! Directories on the disk: what is in them, and nothing outside.

use super::{Entry, Kind};
use crate::{
    limits::WORKSPACE_FILES_MAX,
    workspace::{Amount, Path, WorkspaceError},
};
use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, File, OpenOptions};
use std::{
    io::{self, Read},
    ops::ControlFlow,
};

/// What a walk looks at before it gives up: a directory somebody filled behind our back is not waited for.
const LOOKED_AT_MAX: u64 = WORKSPACE_FILES_MAX * 2;
/// What is copied at once.
const PIECE_BYTES: usize = 64 << 10;

/// A directory of ours inside another, made if it is not there.
pub(in crate::workspace) fn subdirectory(dir: &Dir, name: &str) -> io::Result<Dir> {
    match dir.create_dir(name) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => dir.open_dir_nofollow(name),
    }
}

pub(in crate::workspace) fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

pub(in crate::workspace) fn open_to_read(dir: &Dir, name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No);
    dir.open_with(name, &options)
}

/// Copies a file into another directory, where a second name for it cannot be had.
pub(in crate::workspace) fn copy(from: &Dir, name: &str, to: &Dir, to_name: &str) -> io::Result<()> {
    let mut old = open_to_read(from, name)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).follow(FollowSymlinks::No);
    let mut new = to.open_with(to_name, &options)?;
    io::copy(&mut old, &mut new).map(drop)
}

pub(super) fn look(dir: &Dir, path: &Path, name: &str) -> io::Result<Option<Entry>> {
    match dir.symlink_metadata(name) {
        Ok(metadata) => Ok(Entry::of(path, &metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The names in a directory that are paths.
pub(super) fn children(dir: &Dir, path: &Path) -> Result<Vec<(String, Path)>, WorkspaceError> {
    let mut names = vec![];
    for (looked_at, entry) in dir.entries()?.enumerate() {
        if looked_at as u64 >= LOOKED_AT_MAX {
            return Err(WorkspaceError::TooMany);
        }
        let name = entry?.file_name();
        let child = name.to_str().and_then(|name| Some((name.to_owned(), path.child(name)?)));
        names.extend(child);
    }
    Ok(names)
}

/// Shows everything below a directory to `visit`, until that has enough.
pub(in crate::workspace) fn walk(
    dir: &Dir,
    path: &Path,
    visit: &mut dyn FnMut(&Dir, Entry) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, WorkspaceError> {
    let mut names = children(dir, path)?;
    names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    for (name, child) in names {
        let Some(entry) = look(dir, &child, &name)? else { continue };
        let is_directory = entry.kind == Kind::Directory;
        if visit(dir, entry).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if is_directory {
            match dir.open_dir_nofollow(&name) {
                Ok(inside) => {
                    if walk(&inside, &child, visit)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                // Gone meanwhile.
                Err(error) => absent_is_fine(error)?,
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// What is in a directory and below it. Where there is more than anybody may have, that much and no more.
pub(super) fn holding(dir: &Dir) -> Amount {
    let mut holds = Amount::default();
    let walked = walk(dir, &Path::default(), &mut |_, entry| {
        holds += entry.amount();
        if holds.files > LOOKED_AT_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if !matches!(walked, Ok(ControlFlow::Continue(()))) {
        // Too much to be counted, or it cannot be: full, either way.
        holds += Amount { bytes: 0, files: LOOKED_AT_MAX };
    }
    holds
}

/// Reads a file in pieces, for whoever sends it on.
pub(in crate::workspace) fn next_piece(file: &mut File, left: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES * 4)];
    let mut read = 0;
    while read < piece.len() {
        match file.read(&mut piece[read..])? {
            0 => break,
            count => read += count,
        }
    }
    piece.truncate(read);
    Ok(piece)
}
