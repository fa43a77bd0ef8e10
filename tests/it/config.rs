//! The binary's configuration as an operator meets it: through the environment.

use opg_host::config::{Config, Environment};
use std::time::Duration;

fn read(vars: &[(&str, &str)]) -> Result<Config, String> {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_vars(vars).map_err(|errors| errors.to_string())
}

const TOKENS: (&str, &str) = ("ADMIN_TOKENS", "admin_secret");

#[test]
fn m249_every_variable_has_its_default_and_an_opg_spelling_that_wins() {
    let config = read(&[TOKENS]).unwrap();
    assert_eq!((config.port, config.allow_self_registration), (3000, false));
    assert_eq!(config.session_ttl, Duration::from_secs(24 * 60 * 60));
    assert_eq!(config.environment, Environment::Development);
    assert!(config.bind.is_loopback(), "nobody else, unless told");
    assert!(!config.allow_private_upstreams && !config.allow_private_guest_http && config.demo_provider);
    assert_eq!(config.cache_dir, config.data_dir.join("cache"));
    let config = read(&[
        ("OPG_ADMIN_TOKENS", "other"),
        TOKENS,
        ("OPG_DATA_DIR", "/a"),
        ("DATA_DIR", "/b"),
        ("OPG_ALLOW_SELF_REGISTRATION", "true"),
        ("OPG_SESSION_TTL", "7d"),
        ("OPG_PREDEFINED_DIR", "/p"),
    ])
    .unwrap();
    assert_eq!(config.data_dir, std::path::PathBuf::from("/a"));
    assert_eq!(config.predefined_dir, Some("/p".into()));
    assert!(config.allow_self_registration);
    assert_eq!(config.session_ttl, Duration::from_secs(7 * 24 * 60 * 60));
    let production = read(&[("OPG_ENV", "production"), ("ADMIN_TOKENS", &"a".repeat(32))]).unwrap();
    assert!(!production.demo_provider && !production.mock_provider);
}

#[test]
fn m247_a_session_ttl_has_a_unit() {
    for good in ["30m", "24h", "7d", "1m"] {
        assert!(read(&[TOKENS, ("SESSION_TTL", good)]).is_ok(), "{good}");
    }
    for bad in ["0h", "1w", "-1d", "24", "h", "1 h", "1H", "367d", "1h1m"] {
        let error = read(&[TOKENS, ("SESSION_TTL", bad)]).unwrap_err();
        assert!(error.contains("SESSION_TTL") && error.contains("30m"), "{bad}: {error}");
    }
}

#[test]
fn m249_all_mistakes_come_at_once_and_no_secret_with_them() {
    let error = read(&[
        ("OPG_ENV", "staging"),
        ("BIND", "localhost"),
        ("PORT", "70000"),
        ("ALLOW_SELF_REGISTRATION", "maybe"),
        ("SESSION_TTL", "1w"),
        ("TRUSTED_PROXIES", "10.0.0.0/8"),
        ("OPG_RATE_LIMIT_PER_MINUTE", "0"),
        ("LOG_FORMAT", "xml"),
        ("ADMIN_TOKENS", "ocs_canary"),
    ])
    .unwrap_err();
    for name in [
        "OPG_ENV",
        "BIND",
        "PORT",
        "ALLOW_SELF_REGISTRATION",
        "SESSION_TTL",
        "TRUSTED_PROXIES",
        "OPG_RATE_LIMIT_PER_MINUTE",
        "LOG_FORMAT",
        "ADMIN_TOKENS",
    ] {
        assert!(error.contains(name), "{name}: {error}");
    }
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn m248_admin_tokens_are_required_and_long_in_production() {
    assert!(read(&[]).unwrap_err().contains("ADMIN_TOKENS"));
    assert!(read(&[("ADMIN_TOKENS", " , ,")]).unwrap_err().contains("ADMIN_TOKENS"));
    let short = "a".repeat(31);
    let long = "a".repeat(32);
    assert!(read(&[("OPG_ENV", "production"), ("ADMIN_TOKENS", &long)]).is_ok());
    for tokens in [short.clone(), format!("{long},{short}")] {
        let error = read(&[("OPG_ENV", "production"), ("ADMIN_TOKENS", &tokens)]).unwrap_err();
        assert!(error.contains("32 characters") && !error.contains(&short), "{error}");
    }
}

#[test]
fn a_variable_that_is_no_text_is_somebody_elses() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt, process::Command};
    // In a process of its own: the environment belongs to all threads.
    let it = std::env::current_exe().unwrap();
    let child = "config::reads_its_own_environment";
    let run = Command::new(it)
        .args(["--exact", child, "--ignored"])
        .env("ADMIN_TOKENS", "admin_secret")
        .env("SOMEBODY_ELSES", OsStr::from_bytes(b"\xff\xfe"))
        .env(OsStr::from_bytes(b"NO_TEXT_\xff"), "x")
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && out.contains("1 passed"), "{out}");
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn reads_its_own_environment() {
    assert_eq!(Config::from_env().unwrap().admin_tokens.len(), 1);
}
