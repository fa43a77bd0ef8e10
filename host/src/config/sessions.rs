//! What sessions run on, how long they and what they leave are kept, and where that goes.

use super::{
    Config, bucket,
    reader::Reader,
    shown::{self, Line},
};
use crate::{
    limits::{ARTIFACTS_RETENTION, RUNNERS_PER_APP_MAX},
    sessions::{artifacts::BucketConfig, instances::Target},
};
use std::time::Duration;

/// A day: who comes back the next morning finds it.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);
const INSTANCE_IDLE_TTL: Duration = Duration::from_secs(15 * 60);

pub(super) struct Sessions {
    pub(super) ttl: Duration,
    pub(super) instance_idle_ttl: Duration,
    pub(super) artifacts_bucket: Option<BucketConfig>,
    pub(super) artifacts_retention: Duration,
    pub(super) targets: Vec<Target>,
    pub(super) runners_per_app: usize,
}

impl Sessions {
    pub(super) fn read(vars: &mut Reader, production: bool) -> Sessions {
        Sessions {
            ttl: vars.ttl("SESSION_TTL", TTL, "30m, 24h or 7d"),
            instance_idle_ttl: vars.ttl("INSTANCE_IDLE_TTL", INSTANCE_IDLE_TTL, "15m or 1h"),
            artifacts_bucket: bucket::read(vars, production),
            artifacts_retention: vars.ttl("ARTIFACTS_RETENTION", ARTIFACTS_RETENTION, "7d or 30d"),
            targets: vars.parsed(
                "SESSION_TARGETS",
                vec![Target::Wasm],
                "`wasm`, `process` or both, comma-separated",
                |v| v.split(',').map(|name| Target::parse(name.trim())).collect(),
            ),
            runners_per_app: vars.above_zero(
                "SESSION_RUNNERS_PER_APP",
                RUNNERS_PER_APP_MAX,
                "a number above 0",
            ),
        }
    }
}

pub(super) fn describe(config: &Config) -> Vec<Line> {
    [
        vec![
            ("SESSION_TTL", shown::minutes(config.session_ttl)),
            ("INSTANCE_IDLE_TTL", shown::minutes(config.instance_idle_ttl)),
        ],
        bucket::describe(config.artifacts_bucket.as_ref()),
        vec![
            ("ARTIFACTS_RETENTION", shown::minutes(config.artifacts_retention)),
            ("SESSION_TARGETS", shown::list(config.session_targets.iter().map(|target| target.name()))),
            ("SESSION_RUNNERS_PER_APP", config.session_runners_per_app.to_string()),
        ],
    ]
    .concat()
}
