//! Where artifacts are: an object store, a directory now, a bucket later.

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, path::Path as Key,
};
use std::{path::Path, sync::Arc};

/// The artifacts of this installation, each session's in a folder of its own.
#[derive(Clone, Debug)]
pub struct Files(Arc<dyn ObjectStore>);

impl Files {
    /// Keeps them in a directory, made if it is not there.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn in_directory(dir: &Path) -> Result<Files, Error> {
        std::fs::create_dir_all(dir)
            .map_err(|cause| Error::Generic { store: "artifacts", source: Box::new(cause) })?;
        Ok(Files(Arc::new(
            LocalFileSystem::new_with_prefix(dir)?.with_fsync(true).with_automatic_cleanup(true),
        )))
    }

    pub(super) async fn put(&self, path: &str, bytes: Bytes) -> Result<(), Error> {
        self.0.put(&Key::from(path), PutPayload::from_bytes(bytes)).await.map(drop)
    }

    /// None where it is not there.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Bytes>, Error> {
        match self.0.get(&Key::from(path)).await {
            Ok(found) => found.bytes().await.map(Some),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// What is not there is removed.
    pub(super) async fn remove(&self, path: &str) -> Result<(), Error> {
        match self.0.delete(&Key::from(path)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(cause) => Err(cause),
        }
    }

    /// Removes all in a folder.
    pub(super) async fn remove_all(&self, folder: &str) -> Result<(), Error> {
        let found: Vec<_> = self.0.list(Some(&Key::from(folder))).try_collect().await?;
        for object in found {
            self.remove(object.location.as_ref()).await?;
        }
        Ok(())
    }

    /// The folders there are.
    pub(super) async fn folders(&self) -> Result<Vec<String>, Error> {
        let listed = self.0.list_with_delimiter(None).await?;
        Ok(listed.common_prefixes.iter().map(|key| key.as_ref().to_owned()).collect())
    }
}
