//! A bucket that speaks S3, for artifacts.
//!
//! What it takes it takes within a bounded time. One that does not answer, or says no, is not asked again by those who
//! have something to do ([`Bucket::is_up`]): [`super::Files::bring`] finds out every now and then whether it is back.
//!
//! Deliberately absent: the environment's and the machine's own credentials (`AWS_…`, the metadata service). Whoever
//! may write there was named in the configuration.

use super::files::FilesError;
use crate::{
    egress::{Egress, EgressPolicy},
    limits::ARTIFACTS_BUCKET_TIME_MAX,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
    aws::AmazonS3Builder,
    client::{HttpClient, HttpConnector},
    path::Path as Key,
    prefix::PrefixStore,
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use url::Url;

/// How often a request is repeated: what is lost by a hiccup is worth a second's wait.
const RETRIES: usize = 2;
/// How much is said of what went wrong.
const SAID_BYTES_MAX: usize = 400;

/// Where a bucket is, and who may write there.
#[derive(Clone, Debug)]
pub struct BucketConfig {
    /// Its name.
    pub bucket: String,
    /// What all names in it begin with; may be empty.
    pub prefix: String,
    /// The server; none: Amazon's of the region.
    pub endpoint: Option<Url>,
    /// The region requests are signed for.
    pub region: String,
    /// Who.
    pub access_key_id: SecretString,
    /// And what they sign with.
    pub secret_access_key: SecretString,
}

impl BucketConfig {
    /// As it was configured: `s3://bucket/prefix`.
    pub fn url(&self) -> String {
        let between = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{between}{}", self.bucket, self.prefix)
    }
}

/// The bucket and the prefix of `s3://bucket/prefix`.
pub fn parse(url: &str) -> Option<(String, String)> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let (bucket, prefix) = match url.strip_prefix("s3://")?.split_once('/') {
        Some((bucket, prefix)) => (bucket, prefix.trim_end_matches('/')),
        None => (url.strip_prefix("s3://")?, ""),
    };
    let is_name = |name: &str| !name.is_empty() && !matches!(name, "." | "..") && name.chars().all(plain);
    let is_bucket = (3..=63).contains(&bucket.len()) && is_name(bucket);
    let is_prefix = prefix.is_empty() || (prefix.len() <= 200 && prefix.split('/').all(is_name));
    (is_bucket && is_prefix).then(|| (bucket.to_owned(), prefix.to_owned()))
}

/// A bucket.
pub(super) struct Bucket {
    store: Box<dyn ObjectStore>,
    /// What is never said, whatever a server says.
    hidden: [SecretString; 2],
    up: AtomicBool,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("up", &self.is_up()).finish_non_exhaustive()
    }
}

/// The way out that everything of ours takes: no proxy of the environment's, no redirects. An operator's bucket may be
/// at a private address.
#[derive(Debug)]
struct Connector(Egress);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.client().clone()))
    }
}

impl Bucket {
    pub(super) fn new(config: &BucketConfig) -> Result<Bucket, FilesError> {
        let hidden = [config.access_key_id.clone(), config.secret_access_key.clone()];
        let set_up = |cause: &dyn fmt::Display| FilesError::Bucket(said(&hidden, cause));
        let egress = Egress::new(EgressPolicy { allow_private: true, ..EgressPolicy::default() })
            .map_err(|cause| set_up(&cause))?;
        let backoff = BackoffConfig { max_backoff: Duration::from_secs(1), ..BackoffConfig::default() };
        let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: ARTIFACTS_BUCKET_TIME_MAX };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(config.access_key_id.expose_secret())
            .with_secret_access_key(config.secret_access_key.expose_secret())
            .with_retry(retry)
            // One by one, as every server has it.
            .with_disable_bulk_delete(true)
            .with_http_connector(Connector(egress));
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
        }
        let store = builder.build().map_err(|cause| set_up(&cause))?;
        let store: Box<dyn ObjectStore> = match config.prefix.as_str() {
            "" => Box::new(store),
            prefix => Box::new(PrefixStore::new(store, prefix)),
        };
        Ok(Bucket { store, hidden, up: AtomicBool::new(true) })
    }

    /// Whether it answered when it was last asked.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// What it says; none where it says that there is no such thing.
    async fn ask<T>(
        &self,
        asked: impl Future<Output = object_store::Result<T>>,
    ) -> Result<Option<T>, FilesError> {
        let answer = match tokio::time::timeout(ARTIFACTS_BUCKET_TIME_MAX, asked).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(Error::NotFound { .. })) => None,
            Ok(Err(cause)) => return Err(self.fails(&cause)),
            Err(_) => return Err(self.fails(&"it takes too long")),
        };
        if !self.up.swap(true, Ordering::Relaxed) {
            tracing::info!("the bucket of artifacts answers again");
        }
        Ok(answer)
    }

    fn fails(&self, cause: &dyn fmt::Display) -> FilesError {
        let cause = said(&self.hidden, cause);
        if self.up.swap(false, Ordering::Relaxed) {
            tracing::error!(
                cause,
                "the bucket of artifacts fails; what is to be kept waits in DATA_DIR/artifacts"
            );
        }
        FilesError::Bucket(cause)
    }

    fn there<T>(&self, answer: Option<T>) -> Result<T, FilesError> {
        answer.ok_or_else(|| self.fails(&"there is no such bucket"))
    }

    /// Whether it answers, and lets us look.
    pub(super) async fn probe(&self) -> Result<(), FilesError> {
        let listed = self.ask(self.store.list(Some(&Key::from("probe"))).try_next()).await?;
        self.there(listed).map(drop)
    }

    pub(super) async fn put(&self, path: &str, bytes: Bytes) -> Result<(), FilesError> {
        let key = Key::from(path);
        let put = self.ask(self.store.put(&key, PutPayload::from_bytes(bytes))).await?;
        self.there(put).map(drop)
    }

    pub(super) async fn get(&self, path: &str) -> Result<Option<Bytes>, FilesError> {
        let key = Key::from(path);
        self.ask(async { self.store.get(&key).await?.bytes().await }).await
    }

    /// Removes an artifact; or all in a folder, whose name ends with a slash.
    pub(super) async fn remove(&self, path: &str) -> Result<(), FilesError> {
        let keys = match path.strip_suffix('/') {
            None => vec![Key::from(path)],
            Some(folder) => {
                let folder = Key::from(folder);
                let found = self.ask(self.store.list(Some(&folder)).try_collect::<Vec<_>>()).await?;
                found.unwrap_or_default().into_iter().map(|object| object.location).collect()
            }
        };
        for key in keys {
            self.ask(self.store.delete(&key)).await?;
        }
        Ok(())
    }

    /// Removes what was written before this.
    pub(super) async fn remove_older(&self, than: DateTime<Utc>) -> Result<(), FilesError> {
        let mut all = self.store.list(None);
        while let Some(Some(object)) = self.ask(all.try_next()).await? {
            if object.last_modified < than {
                self.ask(self.store.delete(&object.location)).await?;
            }
        }
        Ok(())
    }
}

/// A cause in a few words, and without what is secret.
fn said(hidden: &[SecretString], cause: &dyn fmt::Display) -> String {
    let mut said = cause.to_string();
    for secret in hidden {
        said = said.replace(secret.expose_secret(), "(hidden)");
    }
    said.truncate(said.floor_char_boundary(SAID_BYTES_MAX));
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_a_url() {
        let is = |url: &str, bucket: &str, prefix: &str| {
            assert_eq!(parse(url), Some((bucket.to_owned(), prefix.to_owned())), "{url}");
        };
        is("s3://opg", "opg", "");
        is("s3://opg/", "opg", "");
        is("s3://my.bucket/a/b-c/", "my.bucket", "a/b-c");
        for bad in [
            "",
            "opg",
            "s3://",
            "s3://ab",
            "s3:///a",
            "https://opg",
            "s3://k:s@opg",
            "s3://opg/../x",
            "s3://opg//x",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_a_server_says_is_shown_in_part_and_without_keys() {
        let hidden = [SecretString::from("AKIA1"), SecretString::from("s3cr3t")];
        let cause = format!("no AKIA1 with s3cr3t {}", "ä".repeat(500));
        let said = said(&hidden, &cause);
        assert!(said.starts_with("no (hidden) with (hidden) ä") && said.len() <= SAID_BYTES_MAX, "{said}");
    }
}
