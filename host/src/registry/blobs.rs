//! Bytes by their SHA-256, in an object store: a directory now, a bucket later.
//!
//! Content-addressed: writing what is there already changes nothing, and what
//! comes back is checked against its name.

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, path::Path as Key};
use sha2::{Digest, Sha256};
use std::{path::Path, sync::Arc};

/// Where plugins' bytes are kept.
#[derive(Clone, Debug)]
pub struct Blobs(Arc<dyn ObjectStore>);

/// Why bytes could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The directory cannot be used.
    #[error("the blob directory {0} cannot be used: {1}")]
    Open(String, String),
    /// The store failed.
    #[error("the object store failed")]
    Store(#[from] object_store::Error),
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
        std::fs::create_dir_all(dir).map_err(|cause| failed(&cause))?;
        let store = LocalFileSystem::new_with_prefix(dir).map_err(|cause| failed(&cause))?.with_fsync(true);
        Ok(Blobs(Arc::new(store)))
    }

    /// Keeps bytes; answers with their digest, in lower-case hex.
    ///
    /// # Errors
    /// The store's.
    pub async fn put(&self, bytes: Bytes) -> Result<String, BlobError> {
        let sha256 = hex::encode(Sha256::digest(&bytes));
        self.0.put(&key(&sha256), PutPayload::from_bytes(bytes)).await?;
        Ok(sha256)
    }

    /// The bytes of this digest.
    ///
    /// # Errors
    /// Where they are not there, or damaged.
    pub async fn get(&self, sha256: &str) -> Result<Bytes, BlobError> {
        let bytes = self.0.get(&key(sha256)).await?.bytes().await?;
        if hex::encode(Sha256::digest(&bytes)) != sha256 {
            return Err(BlobError::Damaged(sha256.to_owned()));
        }
        Ok(bytes)
    }

    /// Whether the store answers.
    pub async fn is_reachable(&self) -> bool {
        match self.0.head(&key("0")).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => true,
            Err(_) => false,
        }
    }
}

fn key(sha256: &str) -> Key {
    Key::from(format!("sha256/{}/{sha256}", sha256.get(..2).unwrap_or("0")))
}
