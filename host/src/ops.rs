//! For whoever operates the process: `/healthz`, `/readyz`, `/version`, `/metrics`.

use crate::{
    app::App,
    error::{ApiError, ApiResult},
    http::Json,
};
use axum::extract::{ConnectInfo, State};
use http::{HeaderMap, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{net::SocketAddr, time::Duration};
use subtle::ConstantTimeEq;

/// How long the database may take to say that it is there.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// Alive: the process answers.
pub async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// Ready: everything a request needs is there (row M056). Whoever may read the metrics is told as well which walls
/// of the apps' database are up.
pub async fn readyz(
    State(app): State<App>,
    peer: Option<Peer>,
    headers: HeaderMap,
) -> (StatusCode, Json<Value>) {
    let database = tokio::time::timeout(READY_TIMEOUT, app.service_tx()).await.is_ok_and(|tx| tx.is_ok());
    let posture = tokio::time::timeout(READY_TIMEOUT, app.database.posture()).await.ok().and_then(Result::ok);
    let checks = json!({
        "database": database && app.server.is_alive(),
        "apps_database": posture.is_some(),
        "blobs": app.blobs.is_reachable().await,
        "sandbox": app.sandbox.is_healthy(),
        "accepting": !app.stopping.is_cancelled(),
    });
    let ready = checks.as_object().is_some_and(|checks| checks.values().all(|ok| *ok == json!(true)));
    let (status, word) =
        if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    let mut answer = json!({ "status": word, "version": env!("CARGO_PKG_VERSION"), "checks": checks });
    if may_look_inside(&app, peer.as_ref(), &headers) {
        answer["posture"] = json!(posture);
        // One that fails keeps nobody from anything: what should go there waits.
        if let Some(up) = app.artifacts.bucket_is_up() {
            answer["artifacts_bucket"] = json!(if up { "ok" } else { "failing" });
        }
    }
    (status, Json(answer))
}

/// What this is.
pub async fn version() -> Json<Value> {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("OPG_COMMIT"),
        "api_versions": ["v1"],
    }))
}

fn render(app: &App) -> String {
    let stats = app.sandbox.stats();
    app.metrics.gauge("opg_guest_calls_in_flight", stats.calls_in_flight as f64);
    app.metrics.gauge("opg_components_ready", stats.components_ready as f64);
    app.metrics.gauge("opg_database_connections", f64::from(app.pools.size()));
    if let Some(up) = app.artifacts.bucket_is_up() {
        app.metrics.gauge("opg_artifacts_bucket_up", f64::from(u8::from(up)));
    }
    app.metrics.gauge("opg_apps_database_connections", app.database.connections() as f64);
    app.metrics.render()
}

/// Prometheus text, to loopback or with the metrics token (row M057).
pub async fn metrics(
    State(app): State<App>,
    peer: Option<Peer>,
    headers: HeaderMap,
) -> ApiResult<([(header::HeaderName, &'static str); 1], String)> {
    if !may_look_inside(&app, peer.as_ref(), &headers) {
        return Err(ApiError::not_found("resource"));
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], render(&app)))
}

/// The address a request came from.
type Peer = axum::Extension<ConnectInfo<SocketAddr>>;

/// Whether a request comes from this machine, not through a proxy, or with the metrics token.
fn may_look_inside(app: &App, peer: Option<&Peer>, headers: &HeaderMap) -> bool {
    let local = peer.is_some_and(|peer| peer.0.0.ip().to_canonical().is_loopback())
        && !["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| headers.contains_key(*name));
    let with_token = app.config.metrics_token.as_ref().is_some_and(|token| {
        let sent = headers
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(crate::grants::credential::bearer);
        let hash = |text: &str| Sha256::digest(text.as_bytes());
        sent.is_some_and(|sent| hash(sent).ct_eq(&hash(token.expose_secret())).into())
    });
    local || with_token
}
