//! Taking files from a ZIP archive (row M026): all of them, or none.
//!
//! The archive is received whole, into a file without a name, because what is in it is written at its end. Its
//! directory is read first (`directory`), and refused for anything that is not plain: so nothing is unpacked that is
//! not going to be kept. Then each file is unpacked beside the workspace, counted byte by byte within the session's and
//! the app's limits, and no longer than it was said to be; and when all are there, they are moved to their places at
//! once.
//!
//! Deliberately absent: what an archive says of times, owners, permissions and links; passwords; archives in archives,
//! which are files like any other.

mod directory;

use super::{
    By, Change, Path, Space, WorkspaceError, reach,
    space::{Kind, Staged},
};
use crate::{
    app::App,
    limits::{WORKSPACE_BYTES_MAX, WORKSPACE_FILE_BYTES_MAX, WORKSPACE_FILES_MAX},
};
use cap_std::fs::File;
use directory::{Method, Packed};
use flate2::{Crc, read::DeflateDecoder};
use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    sync::Arc,
};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

/// What is unpacked at once, before others get their turn.
const STEP_BYTES: u64 = 8 << 20;
/// The same in files.
const STEP_FILES: usize = 500;
/// What is unpacked between two counts.
const PIECE_BYTES: usize = 64 << 10;

/// Why nothing was taken from an archive.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is none, or one of a kind that is not taken.
    #[error("{0}")]
    Bad(String),
    /// It is too large, or what is in it.
    #[error("{what}: {max} at the most")]
    TooLarge {
        /// What is.
        what: String,
        /// The most there may be.
        max: u64,
    },
    /// Others are being unpacked.
    #[error("another archive is being unpacked; try again when it is done")]
    Busy,
    /// The workspace.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

impl From<io::Error> for UnpackError {
    fn from(cause: io::Error) -> UnpackError {
        UnpackError::Workspace(cause.into())
    }
}

/// An archive as it comes.
pub(super) struct Incoming {
    space: Arc<Space>,
    file: File,
    bytes: u64,
    _turn: [OwnedSemaphorePermit; 2],
}

impl Incoming {
    /// Begins to receive one.
    ///
    /// # Errors
    /// [`UnpackError::Busy`], and the disk's.
    pub(super) async fn begin(app: &App, app_id: Uuid, space: &Arc<Space>) -> Result<Incoming, UnpackError> {
        let turn = app.workspaces.turn_to_unpack(app_id).ok_or(UnpackError::Busy)?;
        let space = space.clone();
        let begun = move || Ok(Incoming { file: space.scratch()?, space, bytes: 0, _turn: turn });
        Ok(reach::job(app, app_id, begun).await?)
    }

    /// Adds what came. None of it counts for the session: it is gone before long.
    ///
    /// # Errors
    /// Where it becomes too large, and the disk's.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), UnpackError> {
        self.bytes += piece.len() as u64;
        if self.bytes > WORKSPACE_BYTES_MAX {
            return Err(UnpackError::TooLarge {
                what: "the archive, in bytes".to_owned(),
                max: WORKSPACE_BYTES_MAX,
            });
        }
        Ok(self.file.write_all(piece)?)
    }

    /// Looks at what is in it, to be unpacked below a directory.
    ///
    /// # Errors
    /// [`UnpackError`]; nothing was unpacked.
    pub(super) fn open(mut self, below: &Path) -> Result<Unpacking, UnpackError> {
        let packed = directory::read(&mut self.file, self.bytes)?;
        let entries = directory::check(packed, self.bytes, below)?;
        Ok(Unpacking {
            from: self,
            directories: entries
                .iter()
                .filter(|(_, entry)| entry.kind == Kind::Directory)
                .map(|(path, _)| path.clone())
                .collect(),
            left: entries
                .into_iter()
                .filter(|(_, entry)| entry.kind == Kind::File)
                .collect::<Vec<_>>()
                .into_iter(),
            done: vec![],
        })
    }
}

/// An archive that is being unpacked.
pub(super) struct Unpacking {
    from: Incoming,
    directories: Vec<Path>,
    left: std::vec::IntoIter<(Path, Packed)>,
    done: Vec<(Path, Staged)>,
}

impl Unpacking {
    /// Unpacks some of the files; whether there are more.
    ///
    /// # Errors
    /// Where a file is not what it was said to be, and where there is no room.
    pub(super) fn step(&mut self) -> Result<bool, UnpackError> {
        let (mut bytes, mut files) = (0, 0);
        while bytes < STEP_BYTES && files < STEP_FILES {
            let Some((path, packed)) = self.left.next() else { return Ok(false) };
            let staged = unpack(&self.from.space, &mut self.from.file, &path, &packed)?;
            (bytes, files) = (bytes + packed.size, files + 1);
            self.done.push((path, staged));
        }
        Ok(true)
    }

    /// Moves everything to its place.
    ///
    /// # Errors
    /// [`UnpackError`]; nothing was changed.
    pub(super) fn place(self) -> Result<(Vec<Change>, Option<WorkspaceError>), UnpackError> {
        Ok(self.from.space.place_all(&self.directories, self.done, By::OUTSIDE)?)
    }
}

/// One file, whole: neither longer nor shorter than it was said to be, nor another.
fn unpack(
    space: &Arc<Space>,
    archive: &mut File,
    path: &Path,
    packed: &Packed,
) -> Result<Staged, UnpackError> {
    let mut staged = Staged::begin(space)?;
    archive.seek(SeekFrom::Start(packed.at))?;
    let raw = archive.take(packed.packed);
    let mut read: Box<dyn Read + '_> = match packed.method {
        Method::Stored => Box::new(raw),
        Method::Deflated => Box::new(DeflateDecoder::new(raw)),
    };
    let damaged = || UnpackError::Bad(format!("`{path}` in the archive is damaged"));
    let (mut piece, mut crc) = (vec![0; PIECE_BYTES], Crc::new());
    loop {
        let count = match read.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            // What cannot be unpacked; of the disk's own failures the next read of it tells.
            Err(_) => return Err(damaged()),
        };
        crc.update(&piece[..count]);
        if u64::from(crc.amount()) > packed.size {
            return Err(damaged());
        }
        staged.write(&piece[..count])?;
    }
    if u64::from(crc.amount()) != packed.size || crc.sum() != packed.crc {
        return Err(damaged());
    }
    staged.close();
    Ok(staged)
}

/// The most of everything there may be, in the words of an error.
fn too_many_entries() -> UnpackError {
    UnpackError::TooLarge { what: "entries of the archive".to_owned(), max: WORKSPACE_FILES_MAX }
}

fn too_large_a_file(path: &Path) -> UnpackError {
    UnpackError::TooLarge {
        what: format!("`{path}` in the archive, in bytes"),
        max: WORKSPACE_FILE_BYTES_MAX,
    }
}
