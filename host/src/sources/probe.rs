//! Asking a source which models it has.

use super::{
    MODELS_MAX, SetError,
    circuit::Turn,
    store::{self, SourceEnvelope},
    turns,
};
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, action::may, audit},
    models::{UpstreamError, UpstreamErrorKind, catalog},
    prices,
    tenants::providers::{OpenError, is_provider_id},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Instant;

/// What a source said.
#[derive(Serialize)]
pub struct Tested {
    ok: bool,
    latency_ms: u64,
    /// The names of its models.
    models: Vec<String>,
    /// Why it gave none.
    message: Option<String>,
}

/// Under which names a source's models become drafts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncInput {
    /// What stands before the `/` of their ids; the source's own id unless given.
    provider: Option<String>,
}

/// What became of a source's models.
#[derive(Serialize)]
pub struct Synced {
    /// Drafts that were made.
    created: Vec<String>,
    /// Models that were there already, and were left as they are.
    known: usize,
    /// Models whose names are none of ours.
    skipped: usize,
}

/// Asks a source for its models. Counts for its circuit: one that answers is asked again at once.
///
/// # Errors
/// [`SetError`]
pub(super) async fn test(app: &App, name: &str) -> Result<Tested, SetError> {
    let source = find(app, name).await?;
    let began = Instant::now();
    let listed = list(app, &source).await;
    let latency_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let tested = match listed {
        Ok(models) => {
            app.circuits.answered(source.source_id, Turn::Probe, app.now(), latency_ms);
            Tested { ok: true, latency_ms, models, message: None }
        }
        Err(SetError::NoList(message)) => {
            let error = UpstreamError::new(UpstreamErrorKind::Failed);
            app.circuits.failed(source.source_id, Turn::Usual, app.now(), latency_ms, &error);
            Tested { ok: false, latency_ms, models: vec![], message: Some(message) }
        }
        Err(other) => return Err(other),
    };
    Ok(tested)
}

/// Makes a draft of each model a source has and we do not: not offered to anybody until it has a price and is
/// enabled.
///
/// # Errors
/// [`SetError`]; nothing was made then.
pub(super) async fn sync(
    app: &App,
    allowed: &Allowed<may::AiModelsWrite>,
    name: &str,
    input: SyncInput,
) -> Result<Synced, SetError> {
    let provider = input.provider.as_deref().unwrap_or(name);
    if !is_provider_id(provider) || catalog::is_built_in(provider) {
        let message =
            "a provider id is lower-case letters, digits and hyphens, 40 at the most, and not `demo`";
        return Err(SetError::Invalid(vec![FieldError::new("/provider", message)]));
    }
    let source = find(app, name).await?;
    let listed = list(app, &source).await?;
    let usable = |model: &&String| prices::is_priced_id(&format!("{provider}/{model}"));
    let models: Vec<String> = listed.iter().filter(usable).cloned().collect();
    let skipped = listed.len() - models.len();

    let mut tx = app.service_tx().await?;
    let room = MODELS_MAX - store::count_models(&mut tx).await?;
    if i64::try_from(models.len()).unwrap_or(i64::MAX) > room {
        return Err(SetError::TooMany(MODELS_MAX));
    }
    let created = store::insert_drafts(&mut tx, provider, &models, source.source_id, app.now()).await?;
    let entry = audit::Entry::ok("ai_models.write", format!("source/{name}"))
        .detail(json!({ "drafts": created.len(), "provider": provider }));
    audit::write_platform(app, &mut tx, allowed.caller(), None, entry).await?;
    tx.commit().await?;
    let known = models.len() - created.len();
    let created = created.iter().map(|model| format!("{provider}/{model}")).collect();
    Ok(Synced { created, known, skipped })
}

async fn find(app: &App, name: &str) -> Result<SourceEnvelope, SetError> {
    let mut tx = app.service_tx().await?;
    store::find_envelope(&mut tx, name).await?.ok_or(SetError::NotFound("source"))
}

async fn list(app: &App, source: &SourceEnvelope) -> Result<Vec<String>, SetError> {
    let open = turns::open(app, source).map_err(|error| match error {
        OpenError::NoAddress => SetError::NoList("its address may not be reached".to_owned()),
        OpenError::Sealed => SetError::Sealed,
        OpenError::Db(cause) => SetError::Db(cause),
    })?;
    let models = catalog::fetch(app, &open).await.map_err(SetError::NoList)?;
    Ok(models.into_iter().map(|model| model.id).collect())
}
