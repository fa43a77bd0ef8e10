//! How much an app or a caller may, and whose word is taken for where a caller without a credential is.

use super::{
    Config,
    reader::Reader,
    shown::{self, Line},
};
use crate::{
    db_proxy::limits::{APP_BYTES, APP_TABLES},
    limits::REQUESTS_PER_MINUTE,
};
use std::net::IpAddr;

pub(super) struct Limits {
    pub(super) trusted_proxies: Vec<IpAddr>,
    pub(super) database_bytes_max: u64,
    pub(super) database_tables_max: u32,
    pub(super) rate_limit_per_minute: u32,
}

impl Limits {
    pub(super) fn read(vars: &mut Reader) -> Limits {
        let number = "a number above 0";
        Limits {
            trusted_proxies: vars.parsed("TRUSTED_PROXIES", vec![], "IP addresses, comma-separated", |v| {
                v.split(',').map(|ip| ip.trim().parse().ok()).collect()
            }),
            database_bytes_max: vars.above_zero(
                "OPG_DATABASE_BYTES_PER_APP",
                APP_BYTES,
                "a number of bytes above 0",
            ),
            database_tables_max: vars.above_zero("OPG_DATABASE_TABLES_PER_APP", APP_TABLES, number),
            rate_limit_per_minute: vars.above_zero("OPG_RATE_LIMIT_PER_MINUTE", REQUESTS_PER_MINUTE, number),
        }
    }
}

pub(super) fn describe(config: &Config) -> Vec<Line> {
    vec![
        ("TRUSTED_PROXIES", shown::list(&config.trusted_proxies)),
        ("OPG_DATABASE_BYTES_PER_APP", config.database_bytes_max.to_string()),
        ("OPG_DATABASE_TABLES_PER_APP", config.database_tables_max.to_string()),
        ("OPG_RATE_LIMIT_PER_MINUTE", config.rate_limit_per_minute.to_string()),
    ]
}
