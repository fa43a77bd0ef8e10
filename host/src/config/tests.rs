//! What an operator writes, what is told where it is wrong, and that no secret is ever shown.

use super::*;
use crate::{limits::TOOL_TIME, people::oauth::Provider};
use secrecy::ExposeSecret;

fn read(vars: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let vars = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Config::from_vars(std::iter::once(("ADMIN_TOKENS".to_owned(), "admin_secret".to_owned())).chain(vars))
}

#[test]
fn m322_a_bucket_needs_a_url_and_keys_and_no_key_is_shown() {
    let keys = [("ARTIFACTS_S3_ACCESS_KEY_ID", "AKIA1"), ("ARTIFACTS_S3_SECRET_ACCESS_KEY", "s3cr3t")];
    let with = |more: &[(&str, &str)]| read(&[&keys[..], more].concat());
    assert!(with(&[]).unwrap().artifacts_bucket.is_none());
    let config =
        with(&[("ARTIFACTS_URL", "s3://opg/a"), ("OPG_ARTIFACTS_S3_ENDPOINT", "http://minio:9000")]).unwrap();
    let bucket = config.artifacts_bucket.as_ref().unwrap();
    assert_eq!((bucket.url().as_str(), bucket.region.as_str()), ("s3://opg/a", "us-east-1"));
    let shown = format!("{config:?} {:?}", config.describe());
    assert!(!shown.contains("AKIA1") && !shown.contains("s3cr3t"), "{shown}");
    for (vars, wrong) in [
        (&[("ARTIFACTS_URL", "https://s3cr3t@opg")][..], "ARTIFACTS_URL"),
        (&[("ARTIFACTS_URL", "s3://opg"), ("ARTIFACTS_S3_ENDPOINT", "https://k:s3cr3t@minio")], "ENDPOINT"),
        (
            &[
                ("ARTIFACTS_URL", "s3://opg"),
                ("ARTIFACTS_S3_ENDPOINT", "http://minio:9000"),
                ("OPG_ENV", "production"),
            ],
            "ENDPOINT",
        ),
        (&[("ARTIFACTS_URL", "s3://opg"), ("ARTIFACTS_S3_ACCESS_KEY_ID_FILE", "/x")], "not both"),
        (&[("ARTIFACTS_RETENTION", "0d")], "ARTIFACTS_RETENTION"),
    ] {
        let error = with(vars).unwrap_err().to_string();
        assert!(error.contains(wrong) && !error.contains("s3cr3t"), "{error}");
    }
    let missing = read(&[("ARTIFACTS_URL", "s3://opg")]).unwrap_err().to_string();
    assert!(missing.contains("ACCESS_KEY_ID: missing") && missing.contains("SECRET_ACCESS_KEY: missing"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, " s3cr3t\n").unwrap();
    let from_file = read(&[
        ("ARTIFACTS_URL", "s3://opg"),
        ("ARTIFACTS_S3_ACCESS_KEY_ID", "AKIA1"),
        ("ARTIFACTS_S3_SECRET_ACCESS_KEY_FILE", file.to_str().unwrap()),
    ]);
    let secret = from_file.unwrap().artifacts_bucket.unwrap().secret_access_key;
    assert_eq!(secret.expose_secret(), "s3cr3t");
}

#[test]
fn m071_a_mail_server_needs_a_sender_and_its_password_is_shown_nowhere() {
    assert!(read(&[("SMTP_FROM", "a@b.example")]).unwrap().mail.is_none());
    let config = read(&[("OPG_SMTP_URL", "smtps://u:canary@h"), ("SMTP_FROM", "OPG <a@b.example>")]).unwrap();
    assert_eq!(config.mail.as_ref().unwrap().host, "h");
    assert!(!format!("{config:?} {:?}", config.describe()).contains("canary"));
    for (url, from, wrong) in [
        ("smtps://u:canary@h", "", "SMTP_FROM: missing"),
        ("smtps://u:canary@h", "OPG", "SMTP_FROM"),
        ("https://u:canary@h", "a@b.example", "SMTP_URL"),
        ("smtp://u:canary@h?tls=none", "a@b.example", "SMTP_URL"),
    ] {
        let vars = [("SMTP_URL", url), ("SMTP_FROM", from), ("OPG_ENV", "production")];
        let error = read(&vars).unwrap_err().to_string();
        assert!(error.contains(wrong) && !error.contains("canary"), "{error}");
    }
}

#[test]
fn m073_a_provider_needs_an_id_and_a_secret_which_is_shown_nowhere() {
    assert!(read(&[("OAUTH_GITHUB_URL", "https://git.example")]).unwrap().oauth.is_empty());
    let id = ("OAUTH_GITHUB_CLIENT_ID", "Iv1.us");
    let secret = ("OPG_OAUTH_GITHUB_CLIENT_SECRET", "canary");
    let config = read(&[id, secret, ("BASE_URL", "https://opg.example:8443/")]).unwrap();
    assert_eq!((config.oauth.len(), config.oauth[0].provider), (1, Provider::GitHub));
    assert_eq!(config.base_url.as_deref(), Some("https://opg.example:8443"));
    assert!(!format!("{config:?} {:?}", config.describe()).contains("canary"));
    for (vars, wrong) in [
        (&[id][..], "OAUTH_GITHUB_CLIENT_SECRET: missing; OAUTH_GITHUB_CLIENT_ID needs it"),
        (&[secret], "OAUTH_GITHUB_CLIENT_ID: missing"),
        (&[("OAUTH_GITHUB_CLIENT_ID", "canary two"), secret], "OAUTH_GITHUB_CLIENT_ID: expected"),
        (&[id, secret, ("OAUTH_GITHUB_URL", "https://u:canary@git.example")], "OAUTH_GITHUB_URL"),
        (&[id, secret, ("OAUTH_GITHUB_URL", "http://git.example"), ("OPG_ENV", "production")], "_URL"),
        (&[("BASE_URL", "https://opg.example/path")], "BASE_URL"),
        (&[("BASE_URL", "opg.example")], "BASE_URL"),
    ] {
        let error = read(vars).unwrap_err().to_string();
        assert!(error.contains(wrong) && !error.contains("canary"), "{error}");
    }
}

#[test]
fn m247_a_session_ttl_is_a_number_and_a_unit() {
    for (text, seconds) in [("30m", 1800), ("24h", 86_400), ("7d", 604_800)] {
        assert_eq!(read(&[("SESSION_TTL", text)]).unwrap().session_ttl.as_secs(), seconds);
    }
    for text in ["0h", "1w", "-1d", "24", "h", "1.5h", "99999999999999999999d", "٣h"] {
        let errors = read(&[("SESSION_TTL", text)]).unwrap_err();
        assert!(errors.to_string().contains("SESSION_TTL"), "{text}: {errors}");
    }
}

#[test]
fn m324_sessions_run_on_what_the_operator_names_and_first_on_the_first() {
    assert_eq!(read(&[]).unwrap().session_targets, [Target::Wasm]);
    let both = read(&[("SESSION_TARGETS", "process, wasm")]).unwrap();
    assert_eq!(both.session_targets, [Target::Process, Target::Wasm]);
    assert_eq!(read(&[("SESSION_RUNNERS_PER_APP", "5")]).unwrap().session_runners_per_app, 5);
    assert!(read(&[("SESSION_RUNNERS_PER_APP", "0")]).is_err());
    for text in ["docker", "wasm,", ","] {
        let errors = read(&[("SESSION_TARGETS", text)]).unwrap_err().to_string();
        assert!(errors.contains("SESSION_TARGETS"), "{text}: {errors}");
    }
}

#[test]
fn m249_a_bad_flag_or_port_names_its_variable_and_all_come_at_once() {
    let errors = read(&[("PORT", "70000"), ("ALLOW_SELF_REGISTRATION", "maybe")]).unwrap_err().to_string();
    assert!(errors.contains("PORT") && errors.contains("ALLOW_SELF_REGISTRATION"), "{errors}");
    assert_eq!(read(&[("PORT", "1"), ("OPG_PORT", "2")]).unwrap().port, 2, "the OPG_ spelling wins");
}

#[test]
fn m248_admin_tokens_are_required_and_blanks_ignored() {
    let none: [(String, String); 0] = [];
    assert!(Config::from_vars(none).unwrap_err().to_string().contains("ADMIN_TOKENS"));
    let config = Config::from_vars([("ADMIN_TOKENS".into(), " a , ,b,".into())]).unwrap();
    assert_eq!(config.admin_tokens.len(), 2);
}

#[test]
fn m004_short_admin_tokens_do_not_boot_in_production() {
    let errors = read(&[("OPG_ENV", "production")]).unwrap_err().to_string();
    assert!(errors.contains("32 characters") && !errors.contains("admin_secret"), "{errors}");
}

#[test]
fn a_time_limit_is_a_number_of_milliseconds() {
    assert_eq!(read(&[]).unwrap().tool_time_limit, TOOL_TIME);
    let config = read(&[("OPG_TOOL_TIME_LIMIT_MS", "250"), ("OPG_AGENT_TIME_LIMIT_MS", "1000")]).unwrap();
    assert_eq!(config.tool_time_limit, Duration::from_millis(250));
    assert_eq!(config.agent_time_limit, Duration::from_secs(1));
    for text in ["0", "-1", "30s", "999999999999"] {
        let errors = read(&[("OPG_TOOL_TIME_LIMIT_MS", text)]).unwrap_err().to_string();
        assert!(errors.contains("OPG_TOOL_TIME_LIMIT_MS"), "{text}: {errors}");
    }
}

#[test]
fn a_literal_placeholder_counts_as_unset() {
    assert!(read(&[("DATABASE_URL", "${DATABASE_URL}")]).unwrap().database_url.is_none());
}

#[test]
fn traces_go_where_opentelemetrys_variables_say_and_nowhere_without_them() {
    assert!(read(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=b")]).unwrap().collector.is_none());
    let at = |vars: &[(&str, &str)]| read(vars).unwrap().collector.unwrap().url.to_string();
    let (all, traces) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    assert_eq!(at(&[(all, "http://localhost:4318")]), "http://localhost:4318/v1/traces");
    assert_eq!(at(&[(all, "https://o.example/otlp/")]), "https://o.example/otlp/v1/traces");
    assert_eq!(at(&[(all, "http://a:1"), (traces, "http://b:2/x")]), "http://b:2/x");
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20canary, x-scope = one");
    let config = read(&[(all, "http://u:canary@a:1"), headers]).unwrap();
    let collector = config.collector.clone().unwrap();
    assert_eq!(
        (collector.headers["authorization"].to_str().ok(), collector.headers.len()),
        (Some("Basic canary"), 2)
    );
    assert!(!format!("{:?} {config:?}", config.describe()).contains("canary"));
    for (name, value) in [
        (all, "localhost:4318"),
        (all, "grpc://localhost:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "canary"),
    ] {
        let errors = read(&[(name, value)]).unwrap_err().to_string();
        assert!(errors.contains(name) && !errors.contains("canary"), "{errors}");
    }
}

#[test]
fn the_description_shows_no_secret() {
    let config = read(&[("DATABASE_URL", "postgres://u:canary@h/d"), ("OPG_MASTER_KEY", "canary")]).unwrap();
    assert!(!format!("{:?} {config:?}", config.describe()).contains("canary"));
}
