//! Which PostgreSQL: the control plane's, the apps', or one of our own. Their URLs hold passwords.

use super::{
    Config,
    reader::Reader,
    shown::{self, Line},
};
use secrecy::SecretString;
use std::path::PathBuf;

pub(super) struct Database {
    pub(super) control_url: Option<SecretString>,
    pub(super) apps_url: Option<SecretString>,
    pub(super) postgres_bin: Option<PathBuf>,
}

impl Database {
    pub(super) fn read(vars: &Reader) -> Database {
        Database {
            control_url: vars.secret("DATABASE_URL"),
            apps_url: vars.secret("DATABASE_APPS_URL"),
            postgres_bin: vars.path("OPG_POSTGRES_BIN"),
        }
    }
}

pub(super) fn describe(config: &Config) -> Vec<Line> {
    let control = if config.database_url.is_some() { "(set)" } else { "(embedded PostgreSQL)" };
    vec![
        ("DATABASE_URL", control.to_owned()),
        ("DATABASE_APPS_URL", shown::secret(config.apps_database_url.is_some())),
        ("OPG_POSTGRES_BIN", shown::path(config.postgres_bin.as_deref())),
    ]
}
