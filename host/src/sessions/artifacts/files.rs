//! Where artifacts are: a directory of this host; or a bucket, with the directory for what it does not take.
//!
//! A bucket that fails fails nobody: what was to go there waits in the directory, is read from there, and is brought
//! to the bucket when it answers again ([`Files::bring`]).

use super::bucket::{Bucket, BucketConfig};
use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use futures_util::TryStreamExt;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, path::Path as Key,
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// How often everything is looked at for what is too old, besides what the database names.
const LOOKED_AT_EVERY: Duration = Duration::hours(1);

/// The artifacts of this installation, each session's in a folder of its own.
#[derive(Clone, Debug)]
pub struct Files {
    here: Arc<dyn ObjectStore>,
    bucket: Option<Arc<Bucket>>,
    /// When everything was last looked at, in seconds.
    looked_at: Arc<AtomicI64>,
}

/// Why artifacts could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The directory.
    #[error("the directory of artifacts failed: {0}")]
    Here(#[from] Error),
    /// The bucket, in words without its keys.
    #[error("the bucket of artifacts failed: {0}")]
    Bucket(String),
}

impl Files {
    /// Keeps them in a directory, made if it is not there; or in a bucket, and in the directory until that takes them.
    ///
    /// # Errors
    /// Where the directory cannot be written. A bucket is not asked yet.
    pub fn open(dir: &Path, bucket: Option<&BucketConfig>) -> Result<Files, FilesError> {
        std::fs::create_dir_all(dir)
            .map_err(|cause| Error::Generic { store: "artifacts", source: Box::new(cause) })?;
        let here = LocalFileSystem::new_with_prefix(dir)?.with_fsync(true).with_automatic_cleanup(true);
        let bucket = bucket.map(Bucket::new).transpose()?.map(Arc::new);
        Ok(Files { here: Arc::new(here), bucket, looked_at: Arc::default() })
    }

    /// Whether the bucket answered when it was last asked; none where there is none.
    pub fn bucket_is_up(&self) -> Option<bool> {
        self.bucket.as_ref().map(|bucket| bucket.is_up())
    }

    pub(super) async fn put(&self, path: &str, bytes: Bytes) -> Result<(), FilesError> {
        if let Some(bucket) = self.bucket.as_ref().filter(|bucket| bucket.is_up())
            && bucket.put(path, bytes.clone()).await.is_ok()
        {
            return Ok(());
        }
        self.here.put(&Key::from(path), PutPayload::from_bytes(bytes)).await?;
        Ok(())
    }

    /// None where it is not there.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Bytes>, FilesError> {
        match (self.get_here(&Key::from(path)).await?, &self.bucket) {
            (Some(found), _) => Ok(Some(found)),
            (None, Some(bucket)) => bucket.get(path).await,
            (None, None) => Ok(None),
        }
    }

    async fn get_here(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        match self.here.get(key).await {
            Ok(found) => found.bytes().await.map(Some),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Removes an artifact from this host and the bucket; or all in a folder, whose name ends with a slash. What is not
    /// there is removed.
    ///
    /// # Errors
    /// Where it is there still, also for a bucket that did not answer when it was last asked.
    pub(super) async fn remove(&self, path: &str) -> Result<(), FilesError> {
        self.remove_from_here(path).await?;
        match &self.bucket {
            Some(bucket) if bucket.is_up() => bucket.remove(path).await,
            Some(_) => Err(FilesError::Bucket("it does not answer".to_owned())),
            None => Ok(()),
        }
    }

    /// The same for this host alone, which nobody has to wait for.
    pub(super) async fn remove_from_here(&self, path: &str) -> Result<(), FilesError> {
        let Some(folder) = path.strip_suffix('/') else {
            return Ok(self.remove_here(&Key::from(path)).await?);
        };
        let found: Vec<_> = self.here.list(Some(&Key::from(folder))).try_collect().await?;
        for object in found {
            self.remove_here(&object.location).await?;
        }
        Ok(())
    }

    async fn remove_here(&self, key: &Key) -> Result<(), Error> {
        match self.here.delete(key).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(cause) => Err(cause),
        }
    }

    /// The folders there are on this host.
    pub(super) async fn folders_here(&self) -> Result<Vec<String>, FilesError> {
        let listed = self.here.list_with_delimiter(None).await?;
        Ok(listed.common_prefixes.iter().map(|key| key.as_ref().to_owned()).collect())
    }

    /// Brings what waits here to the bucket, as long as that takes it; how many were brought.
    ///
    /// # Errors
    /// The first that fails: the others are tried the next time.
    pub(super) async fn bring(&self) -> Result<u64, FilesError> {
        let Some(bucket) = &self.bucket else { return Ok(0) };
        bucket.probe().await?;
        let waiting: Vec<_> = self.here.list(None).try_collect().await?;
        let mut brought = 0;
        for object in waiting {
            // Gone meanwhile.
            let Some(bytes) = self.get_here(&object.location).await? else { continue };
            bucket.put(object.location.as_ref(), bytes).await?;
            self.remove_here(&object.location).await?;
            brought += 1;
        }
        Ok(brought)
    }

    /// Removes what was written before this: what nobody has an entry of any more, too. Looks once an hour.
    pub(super) async fn remove_older(
        &self,
        than: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), FilesError> {
        let last = self.looked_at.load(Ordering::Relaxed);
        if now.timestamp() < last.saturating_add(LOOKED_AT_EVERY.num_seconds()) {
            return Ok(());
        }
        let found: Vec<_> = self.here.list(None).try_collect().await?;
        for object in found.iter().filter(|object| object.last_modified < than) {
            self.remove_here(&object.location).await?;
        }
        if let Some(bucket) = &self.bucket {
            bucket.remove_older(than).await?;
        }
        self.looked_at.store(now.timestamp(), Ordering::Relaxed);
        Ok(())
    }
}
