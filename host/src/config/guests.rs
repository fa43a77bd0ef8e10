//! What guests and models may: for how long, at which addresses, and which models there are without a provider.

use super::{Config, reader::Reader, shown::Line};
use crate::limits::{CALL_TIME_MAX, TOOL_TIME, TURN_TIME};
use std::time::Duration;

pub(super) struct Guests {
    pub(super) tool_time_limit: Duration,
    pub(super) agent_time_limit: Duration,
    pub(super) allow_private_upstreams: bool,
    pub(super) allow_private_http: bool,
    pub(super) demo_provider: bool,
    pub(super) mock_provider: bool,
}

impl Guests {
    pub(super) fn read(vars: &mut Reader, production: bool) -> Guests {
        Guests {
            tool_time_limit: time_limit(vars, "OPG_TOOL_TIME_LIMIT_MS", TOOL_TIME),
            agent_time_limit: time_limit(vars, "OPG_AGENT_TIME_LIMIT_MS", TURN_TIME),
            allow_private_upstreams: vars.flag("OPG_ALLOW_PRIVATE_UPSTREAMS", false),
            allow_private_http: vars.flag("OPG_ALLOW_PRIVATE_GUEST_HTTP", false),
            demo_provider: vars.flag("OPG_DEMO_PROVIDER", !production),
            mock_provider: vars.flag("OPG_MOCK_PROVIDER", !production),
        }
    }
}

fn time_limit(vars: &mut Reader, name: &str, default: Duration) -> Duration {
    let expected = format!("milliseconds, 1 to {}", CALL_TIME_MAX.as_millis());
    vars.parsed(name, default, &expected, |v| {
        let limit = Duration::from_millis(v.parse().ok()?);
        (limit > Duration::ZERO && limit <= CALL_TIME_MAX).then_some(limit)
    })
}

pub(super) fn describe(config: &Config) -> Vec<Line> {
    vec![
        ("OPG_TOOL_TIME_LIMIT_MS", config.tool_time_limit.as_millis().to_string()),
        ("OPG_AGENT_TIME_LIMIT_MS", config.agent_time_limit.as_millis().to_string()),
        ("OPG_ALLOW_PRIVATE_UPSTREAMS", config.allow_private_upstreams.to_string()),
        ("OPG_ALLOW_PRIVATE_GUEST_HTTP", config.allow_private_guest_http.to_string()),
        ("OPG_DEMO_PROVIDER", config.demo_provider.to_string()),
        ("OPG_MOCK_PROVIDER", config.mock_provider.to_string()),
    ]
}
