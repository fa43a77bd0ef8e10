//! Whom the server is for, where it listens, and where it keeps what.

use super::{
    Config,
    reader::Reader,
    shown::{self, Line},
};
use std::{net::IpAddr, path::PathBuf};

/// Where this runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// On somebody's machine: `http` providers are fine, short admin tokens too.
    Development,
    /// For others.
    Production,
}

pub(super) struct Server {
    pub(super) environment: Environment,
    pub(super) bind: IpAddr,
    pub(super) port: u16,
    pub(super) data_dir: PathBuf,
    pub(super) cache_dir: PathBuf,
    pub(super) predefined_dir: Option<PathBuf>,
}

impl Server {
    pub(super) fn read(vars: &mut Reader) -> Server {
        let environment =
            vars.parsed("OPG_ENV", Environment::Development, "`development` or `production`", |v| match v {
                "development" | "dev" => Some(Environment::Development),
                "production" | "prod" => Some(Environment::Production),
                _ => None,
            });
        let address = "an IP address, such as 127.0.0.1 or 0.0.0.0";
        let data_dir = vars.path("DATA_DIR").unwrap_or_else(|| PathBuf::from("./data"));
        Server {
            environment,
            bind: vars.parsed("BIND", IpAddr::from([127, 0, 0, 1]), address, |v| v.parse().ok()),
            port: vars.parsed("PORT", 3000, "a port, 0 to 65535", |v| v.parse().ok()),
            cache_dir: vars.path("OPG_CACHE_DIR").unwrap_or_else(|| data_dir.join("cache")),
            data_dir,
            predefined_dir: vars.path("PREDEFINED_DIR"),
        }
    }
}

pub(super) fn describe(config: &Config) -> Vec<Line> {
    vec![
        ("OPG_ENV", format!("{:?}", config.environment).to_lowercase()),
        ("BIND", config.bind.to_string()),
        ("PORT", config.port.to_string()),
        ("DATA_DIR", config.data_dir.display().to_string()),
        ("OPG_CACHE_DIR", config.cache_dir.display().to_string()),
        ("PREDEFINED_DIR", shown::path(config.predefined_dir.as_deref())),
    ]
}
