//! `/v1/agents`

use crate::{
    app::App,
    error::ApiResult,
    grants::{Allowed, action::may},
    http::Json,
    registry::{Description, PluginKind, resolve},
};
use axum::extract::State;
use serde_json::{Value, json};

/// Lists the agents that may be named in a prompt or a chat request (rows M010, M277).
pub async fn list(State(app): State<App>, allowed: Allowed<may::AgentsRead>) -> ApiResult<Json<Value>> {
    let mut usable = resolve::usable(&app, &allowed, PluginKind::Agent).await?;
    usable.sort_by(|a, b| a.name.name.cmp(&b.name.name));
    let shown = usable.iter().map(|agent| {
        let (kind, description, model) = match &agent.description {
            Description::Markdown(text) => ("markdown", json!(text.description), text.model.as_deref()),
            Description::Agent { description } => ("component", json!(description), None),
            Description::Tools { .. } => ("component", Value::Null, None),
        };
        json!({
            "name": agent.name.name,
            "kind": kind,
            "description": description,
            "model": model,
            "predefined": agent.is_predefined(),
            "version": agent.version,
        })
    });
    Ok(Json(json!({ "data": shown.collect::<Vec<_>>() })))
}
