//! What an app has for its sessions, as opencode lists it: agents, models, commands.

use super::shape::{self, DEFAULT_AGENT};
use crate::{
    app::App,
    error::ApiResult,
    grants::{Allowed, InApp, action::may},
    http::Json,
    models::{ModelId, catalog},
    prices,
    registry::{Description, PluginKind, resolve},
    sessions::commands::store as commands,
    tenants::configure,
};
use axum::extract::State;
use serde_json::{Map, Value, json};

/// What a client is to go by: which model where none is named, and whether sessions are shared.
pub async fn config(State(app): State<App>, allowed: Allowed<may::SessionsRead>) -> ApiResult<Json<Value>> {
    let (tenant, _providers) = configure::read(&app, &allowed).await?;
    let share = if tenant.session_sharing { "manual" } else { "disabled" };
    let mut config = json!({ "share": share, "autoupdate": false, "snapshot": false });
    if let Some(model) = tenant.default_model {
        config["model"] = json!(model);
    }
    Ok(Json(config))
}

/// The app's agents, first the one that answers where none is named.
pub async fn agents(State(app): State<App>, allowed: Allowed<may::AgentsRead>) -> ApiResult<Json<Value>> {
    let mut usable = resolve::usable(&app, &allowed, PluginKind::Agent).await?;
    usable.sort_by(|a, b| a.name.name.cmp(&b.name.name));
    let agent = |name: &str, description: &str| {
        json!({ "name": name, "description": description, "mode": "primary", "native": name == DEFAULT_AGENT,
            "permission": [], "options": {} })
    };
    // Also where the app does without: then the model answers as it is.
    let mut agents = vec![agent(DEFAULT_AGENT, "answers where no other agent is named")];
    for plugin in usable.iter().filter(|plugin| plugin.name.name != DEFAULT_AGENT) {
        let (description, model) = match &plugin.description {
            Description::Markdown(text) => (text.description.as_str(), text.model.as_deref()),
            Description::Agent { description } => (description.as_str(), None),
            Description::Tools { .. } => ("", None),
        };
        let mut shown = agent(&plugin.name.name, description);
        if let Some((provider, model)) = model.and_then(|model| model.split_once('/')) {
            shown["model"] = json!({ "providerID": provider, "modelID": model });
        }
        agents.push(shown);
    }
    Ok(Json(Value::Array(agents)))
}

/// The providers the app can name, with their models.
pub async fn config_providers(
    State(app): State<App>,
    allowed: Allowed<may::ModelsRead>,
) -> ApiResult<Json<Value>> {
    let (providers, default) = providers(&app, &allowed).await?;
    Ok(Json(json!({ "providers": providers, "default": default })))
}

/// The same, all of them connected.
pub async fn provider(State(app): State<App>, allowed: Allowed<may::ModelsRead>) -> ApiResult<Json<Value>> {
    let (providers, default) = providers(&app, &allowed).await?;
    let connected: Vec<Value> = providers.iter().map(|provider| provider["id"].clone()).collect();
    Ok(Json(json!({ "all": providers, "default": default, "connected": connected })))
}

/// Providers with their models, and of each the model to begin with.
async fn providers(app: &App, proof: &impl InApp) -> sqlx::Result<(Vec<Value>, Map<String, Value>)> {
    let models = catalog::list(app, proof).await?;
    let ids: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
    let prices = prices::of_models(app, proof, &ids).await?;
    let (tenant, _providers) = configure::read(app, proof).await?;
    let (mut providers, mut default) = (Map::new(), Map::new());
    for model in &models {
        let Ok(ModelId { provider: Some(provider), model: name }) = ModelId::parse(&model.id) else {
            continue;
        };
        let of = providers.entry(provider.clone()).or_insert_with(|| {
            json!({ "id": provider, "name": provider, "source": "config", "env": [], "options": {}, "models": {} })
        });
        of["models"][&name] = shown(&provider, &name, model, prices.get(&model.id));
        if tenant.default_model.as_ref() == Some(&model.id) || !default.contains_key(&provider) {
            default.insert(provider, json!(name));
        }
    }
    Ok((providers.into_iter().map(|(_, provider)| provider).collect(), default))
}

/// A model. What is not known of it is said to be there: a request tells.
fn shown(provider: &str, name: &str, model: &catalog::Model, price: Option<&Value>) -> Value {
    let cost = |name: &str| {
        let micro_usd = price.and_then(|price| price[name].as_i64()).unwrap_or_default();
        shape::dollars(micro_usd)
    };
    let media =
        |image: bool| json!({ "text": true, "audio": false, "image": image, "video": false, "pdf": false });
    json!({
        "id": name,
        "providerID": provider,
        "api": { "id": name, "url": "", "npm": "" },
        "name": name,
        "capabilities": { "temperature": true, "reasoning": true, "attachment": true, "toolcall": true,
            "input": media(true), "output": media(false), "interleaved": false },
        "cost": { "input": cost("input_micro_usd_per_mtok"), "output": cost("output_micro_usd_per_mtok"),
            "cache": { "read": cost("cached_input_micro_usd_per_mtok"),
                "write": cost("cache_write_micro_usd_per_mtok") } },
        // 0: not known.
        "limit": { "context": model.context.unwrap_or_default(), "output": model.output.unwrap_or_default() },
        "status": "active",
        "options": {},
        "headers": {},
        "release_date": "",
    })
}

/// The app's commands.
pub async fn list_commands(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let shown = commands::list(&mut tx).await?.into_iter().map(|command| {
        let mut shown = json!({ "name": command.name, "description": command.description, "source": "command",
            "template": command.template, "hints": hints(&command.template) });
        if let Some(agent) = command.agent {
            shown["agent"] = json!(agent);
        }
        if let Some(model) = command.model {
            shown["model"] = json!(model);
        }
        shown
    });
    Ok(Json(shown.collect()))
}

/// What a template wants filled in.
fn hints(template: &str) -> Vec<String> {
    let places = (1..=9).map(|n| format!("${n}")).chain(["$ARGUMENTS".to_owned()]);
    places.filter(|place| template.contains(place.as_str())).collect()
}
