//! Where artifacts go besides the data directory. Values are not said where they are wrong: a key may be in one.

use super::{
    reader::Reader,
    shown::{self, Line},
};
use crate::sessions::artifacts::{BucketConfig, parse_bucket_url};

/// What servers take that know no regions, and Amazon's first.
const REGION: &str = "us-east-1";

pub(super) fn read(vars: &mut Reader, production: bool) -> Option<BucketConfig> {
    let url = vars.get("ARTIFACTS_URL")?;
    let place = parse_bucket_url(url.trim());
    if place.is_none() {
        vars.wrong("ARTIFACTS_URL", "expected `s3://bucket` or `s3://bucket/prefix`");
    }
    let endpoint = vars.server("ARTIFACTS_S3_ENDPOINT", "https://s3.example.com", production);
    let region = vars.get("ARTIFACTS_S3_REGION").unwrap_or_else(|| REGION.to_owned());
    let access_key_id = vars.needed_secret("ARTIFACTS_S3_ACCESS_KEY_ID", "ARTIFACTS_URL");
    let secret_access_key = vars.needed_secret("ARTIFACTS_S3_SECRET_ACCESS_KEY", "ARTIFACTS_URL");
    let (bucket, prefix) = place?;
    Some(BucketConfig {
        bucket,
        prefix,
        endpoint,
        region,
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
    })
}

pub(super) fn describe(bucket: Option<&BucketConfig>) -> Vec<Line> {
    let url = bucket.map_or_else(|| "(DATA_DIR/artifacts)".to_owned(), BucketConfig::url);
    vec![
        ("ARTIFACTS_URL", url),
        ("ARTIFACTS_S3_ENDPOINT", shown::value(bucket.and_then(|bucket| bucket.endpoint.as_ref()))),
        ("ARTIFACTS_S3_REGION", shown::value(bucket.map(|bucket| &bucket.region))),
        ("ARTIFACTS_S3_ACCESS_KEY_ID", shown::secret(bucket.is_some())),
        ("ARTIFACTS_S3_SECRET_ACCESS_KEY", shown::secret(bucket.is_some())),
    ]
}
