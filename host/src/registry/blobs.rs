//! Bytes by their SHA-256, in an object store: a directory now, a bucket later.
//!
//! Content-addressed: writing what is there already changes nothing, and what
//! comes back is checked against its name.

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use futures_util::{Stream, StreamExt};
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, path::Path as Key,
};
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

/// The folder of all of them.
const FOLDER: &str = "sha256";
/// How often all are looked through, for what nothing refers to and to count them.
const LOOKED_THROUGH_EVERY: Duration = Duration::hours(1);
/// How old a file must be that a write began and did not end: far older than any write is.
const UNFINISHED_AGE: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Where plugins' bytes are kept. How long, `kept` says.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The same, for what an object store does not show.
    dir: PathBuf,
    /// When all were looked through here, in seconds.
    looked_through_at: Arc<AtomicI64>,
}

/// Why bytes could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The directory cannot be used.
    #[error("the blob directory {0} cannot be used: {1}")]
    Open(String, String),
    /// The store failed.
    #[error("the object store failed")]
    Store(#[from] Error),
    /// What is stored is not what its name says.
    #[error("blob {0} is damaged")]
    Damaged(String),
}

impl Blobs {
    /// Keeps them in a directory, made if it is not there.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn in_directory(dir: &Path) -> Result<Blobs, BlobError> {
        let failed =
            |cause: &dyn std::fmt::Display| BlobError::Open(dir.display().to_string(), cause.to_string());
        fs::create_dir_all(dir).map_err(|cause| failed(&cause))?;
        let store = LocalFileSystem::new_with_prefix(dir).map_err(|cause| failed(&cause))?.with_fsync(true);
        Ok(Blobs { store: Arc::new(store), dir: dir.join(FOLDER), looked_through_at: Arc::default() })
    }

    /// Writes the bytes of this digest, also where they are there: whole, or not at all. Through `kept::put` alone.
    pub(super) async fn put(&self, sha256: &str, bytes: Bytes) -> Result<(), BlobError> {
        self.store.put(&key(sha256), PutPayload::from_bytes(bytes)).await?;
        Ok(())
    }

    /// The bytes of this digest.
    ///
    /// # Errors
    /// Where they are not there, or damaged.
    pub async fn get(&self, sha256: &str) -> Result<Bytes, BlobError> {
        let bytes = self.store.get(&key(sha256)).await?.bytes().await?;
        if digest(&bytes) != sha256 {
            return Err(BlobError::Damaged(sha256.to_owned()));
        }
        Ok(bytes)
    }

    /// Removes the bytes of this digest; how many they were, if they were there.
    pub(super) async fn remove(&self, sha256: &str) -> Result<Option<u64>, BlobError> {
        let key = key(sha256);
        let found = match self.store.head(&key).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(cause) => return Err(cause.into()),
        };
        match self.store.delete(&key).await {
            Ok(()) => Ok(Some(found.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }

    /// All digests, each with how many bytes it is of.
    pub(super) fn list(&self) -> impl Stream<Item = Result<(String, u64), BlobError>> + Send + use<> {
        let all = self.store.list(Some(&Key::from(FOLDER)));
        all.filter_map(async |found| match found {
            Ok(object) => Some(Ok((object.location.filename()?.to_owned(), object.size))),
            Err(cause) => Some(Err(cause.into())),
        })
    }

    /// Removes what writes left that were broken off, by a kill or a full disk: an object store does not show it. How
    /// many files that were.
    pub(super) async fn remove_unfinished(&self) -> io::Result<u64> {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || remove_unfinished(&dir)).await.map_err(io::Error::other)?
    }

    /// Whether it is time to look all of them through.
    pub(super) fn are_to_be_looked_through(&self, now: DateTime<Utc>) -> bool {
        let last = self.looked_through_at.load(Ordering::Relaxed);
        now.timestamp() >= last.saturating_add(LOOKED_THROUGH_EVERY.num_seconds())
    }

    /// They were.
    pub(super) fn were_looked_through(&self, now: DateTime<Utc>) {
        self.looked_through_at.store(now.timestamp(), Ordering::Relaxed);
    }

    /// Whether the store answers.
    pub async fn is_reachable(&self) -> bool {
        match self.store.head(&key("0")).await {
            Ok(_) | Err(Error::NotFound { .. }) => true,
            Err(_) => false,
        }
    }
}

/// What bytes are stored under: their SHA-256, in lower-case hex.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn key(sha256: &str) -> Key {
    Key::from(format!("{FOLDER}/{}/{sha256}", sha256.get(..2).unwrap_or("0")))
}

#[expect(clippy::disallowed_methods, reason = "compared with times that the file system sets")]
fn remove_unfinished(dir: &Path) -> io::Result<u64> {
    let now = SystemTime::now();
    let is_old = |file: &fs::Metadata| {
        file.modified().is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > UNFINISHED_AGE))
    };
    let mut removed = 0;
    let folders = match fs::read_dir(dir) {
        Ok(folders) => folders,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(cause) => return Err(cause),
    };
    for folder in folders {
        for file in fs::read_dir(folder?.path())? {
            let file = file?;
            // A digest has none; `LocalFileSystem` puts one and a number behind it until the file is whole.
            let is_part = file.file_name().to_string_lossy().contains('#');
            if is_part && file.metadata().is_ok_and(|file| is_old(&file)) {
                fs::remove_file(file.path())?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_broken_write_left_goes_when_it_is_old_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_directory(dir.path()).unwrap();
        assert_eq!(blobs.remove_unfinished().await.unwrap(), 0, "nothing is there yet");
        let sha256 = digest(b"bytes");
        blobs.put(&sha256, Bytes::from_static(b"bytes")).await.unwrap();
        let whole = dir.path().join(key(&sha256).as_ref());
        let part = |number: u8| PathBuf::from(format!("{}#{number}", whole.display()));
        #[expect(clippy::disallowed_methods, reason = "compared with times that the file system sets")]
        let old = SystemTime::now() - 2 * UNFINISHED_AGE;
        for file in [whole.clone(), part(1), part(2)] {
            let file = fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
            file.set_modified(old).unwrap();
        }
        fs::write(part(2), b"by").unwrap();
        assert_eq!(blobs.remove_unfinished().await.unwrap(), 1);
        assert!(!part(1).exists() && part(2).exists(), "somebody writes it");
        assert_eq!(blobs.get(&sha256).await.unwrap(), "bytes");
        let listed: Vec<_> = blobs.list().map(Result::unwrap).collect().await;
        assert_eq!(listed, [(sha256.clone(), 5)]);
        assert_eq!(blobs.remove(&sha256).await.unwrap(), Some(5));
        assert_eq!(blobs.remove(&sha256).await.unwrap(), None);
    }
}
