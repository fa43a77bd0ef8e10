//! Which models an app can name.
//!
//! A provider is asked for its list, and the answer remembered for a while; one
//! that does not answer contributes the app's default model alone.

use super::{Kind, ModelId, demo, mock, providers};
use crate::{
    app::App,
    grants::InApp,
    sources,
    tenants::{
        self, configure,
        providers::{OpenProvider, user_of},
    },
};
use futures_util::future::join_all;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use uuid::Uuid;

/// How long a provider's list is believed.
const LIST_LIFE: chrono::Duration = chrono::Duration::minutes(5);
/// How long a provider may take to give its list.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest list taken.
const LIST_BYTES_MAX: usize = 1 << 20;
/// How long a provider that gave no list is not asked again.
const FAILURE_LIFE: chrono::Duration = chrono::Duration::seconds(30);
/// Models taken of one provider's list: the longest known has some hundreds.
const LIST_MODELS_MAX: usize = 2000;
/// Lists remembered at once; those past their life go first.
const LISTS_REMEMBERED_MAX: usize = 500;

/// One model, as OpenAI lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Model {
    /// `provider/model`.
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// When it was made, as far as its provider says.
    pub created: i64,
    /// The provider.
    pub owned_by: String,
    /// What else it may be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// What it is for, as far as somebody said; not in OpenAI's list.
    #[serde(skip)]
    pub kind: Option<String>,
    /// Tokens it can have before it, as far as somebody said; not in OpenAI's list.
    #[serde(skip)]
    pub context: Option<i64>,
    /// Tokens its longest reply has, as far as somebody said; not in OpenAI's list.
    #[serde(skip)]
    pub output: Option<i64>,
}

/// One model, as its provider lists it.
pub(crate) struct Listing {
    /// The provider's own name for it.
    pub(crate) id: String,
    created: i64,
}

type Lists = HashMap<Key, Remembered>;
/// Whose list it is: the app's or its user's, of which provider.
type Key = (Uuid, Option<Uuid>, String);

#[derive(Clone)]
struct Remembered {
    until: chrono::DateTime<chrono::Utc>,
    models: Arc<[Model]>,
}

/// Lists remembered by this process.
#[derive(Default)]
pub struct Catalog(Mutex<Lists>);

/// Whether this is a full model id, `provider/model`.
pub fn is_full_id(text: &str) -> bool {
    ModelId::parse(text).is_ok_and(|id| id.provider.is_some())
}

/// Every model the app can name, by id: those of its own providers, and those of the platform that it may use and that
/// none of its own providers is asked for.
///
/// # Errors
/// The database's.
pub async fn list(app: &App, proof: &impl InApp) -> sqlx::Result<Vec<Model>> {
    let (row, configured) = configure::read(app, proof).await?;
    let user_id = user_of(proof);
    let asked = configured.iter().map(|provider| of_provider(app, (row.app_id, user_id), &provider.provider));
    let lists = join_all(asked).await;
    let mut models: Vec<Model> = lists.iter().flat_map(|list| list.iter().cloned()).collect();
    if app.config.demo_provider {
        models.extend(demo::MODELS.iter().map(|model| chatting(demo::PROVIDER, model)));
    }
    if app.config.mock_provider {
        models.extend(mock::MODELS.iter().map(|model| chatting(mock::PROVIDER, model)));
    }
    let of_own = |provider: &str| configured.iter().any(|own| own.provider == provider);
    let offered = sources::offered(app, row.app_id).await?;
    models.extend(offered.into_iter().filter(|model| !of_own(&model.provider)).map(|model| {
        let of_provider = described(&model.provider, &model.model, 0);
        Model {
            alias: model.alias,
            kind: Some(model.kind),
            context: model.context_tokens,
            output: model.output_tokens,
            ..of_provider
        }
    }));
    if let Some((provider, model)) = row.default_model.as_deref().and_then(|id| id.split_once('/')) {
        models.push(described(provider, model, 0));
    }
    models.sort_by(|a, b| {
        // Of one that is listed twice, the one that more is known of.
        let known = |model: &Model| (model.alias.is_some(), model.kind.is_some(), model.created);
        a.id.cmp(&b.id).then(known(b).cmp(&known(a)))
    });
    models.dedup_by(|a, b| a.id == b.id);
    Ok(models)
}

/// Whether a provider of this name is built in, and so nobody's to configure.
pub fn is_built_in(provider: &str) -> bool {
    [demo::PROVIDER, mock::PROVIDER].contains(&provider)
}

fn described(provider: &str, model: &str, created: i64) -> Model {
    let id = format!("{provider}/{model}");
    Model {
        id,
        object: "model",
        created,
        owned_by: provider.to_owned(),
        alias: None,
        kind: None,
        context: None,
        output: None,
    }
}

/// A built-in model.
fn chatting(provider: &str, model: &str) -> Model {
    Model { kind: Some("chat".to_owned()), ..described(provider, model, 0) }
}

async fn of_provider(app: &App, (app_id, user_id): (Uuid, Option<Uuid>), provider: &str) -> Arc<[Model]> {
    let key = (app_id, user_id, provider.to_owned());
    let now = app.now();
    {
        let lists = app.model_catalog.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lists.get(&key).filter(|known| now < known.until) {
            return known.models.clone();
        }
    }
    let remembered = match ask(app, (app_id, user_id), provider).await {
        Ok(models) => Remembered { until: now + LIST_LIFE, models: models.into() },
        Err(cause) => {
            tracing::warn!(provider, cause, "a provider did not list its models");
            Remembered { until: now + FAILURE_LIFE, models: Arc::default() }
        }
    };
    let models = remembered.models.clone();
    let mut lists = app.model_catalog.0.lock().unwrap_or_else(PoisonError::into_inner);
    if lists.len() >= LISTS_REMEMBERED_MAX {
        lists.retain(|_, known| now < known.until);
    }
    if lists.len() < LISTS_REMEMBERED_MAX {
        lists.insert(key, remembered);
    }
    models
}

/// A list as OpenAI and Anthropic give it (`data`), or as Google does (`models`).
#[derive(Deserialize)]
struct Listed {
    #[serde(alias = "models")]
    data: Vec<ListedModel>,
}

#[derive(Deserialize)]
struct ListedModel {
    #[serde(alias = "name")]
    id: String,
    #[serde(default)]
    created: Option<i64>,
    /// Anthropic's word for `created`.
    #[serde(default)]
    created_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Google lists models that answer otherwise, too.
    #[serde(default, rename = "supportedGenerationMethods")]
    methods: Option<Vec<String>>,
}

impl ListedModel {
    fn answers(&self) -> bool {
        let known = ["generateContent", "embedContent"];
        self.methods.as_ref().is_none_or(|methods| methods.iter().any(|name| known.contains(&name.as_str())))
    }

    fn listing(self) -> Listing {
        let id = self.id.strip_prefix("models/").unwrap_or(&self.id).to_owned();
        let created = self.created.or_else(|| Some(self.created_at?.timestamp()));
        Listing { id, created: created.unwrap_or_default() }
    }
}

async fn ask(
    app: &App,
    (app_id, user_id): (Uuid, Option<Uuid>),
    provider: &str,
) -> Result<Vec<Model>, String> {
    let open = tenants::providers::open(app, app_id, user_id, provider).await;
    let open = open.map_err(|cause| cause.to_string())?;
    let (open, _whose) = open.ok_or("it is not configured any more")?;
    let listed = fetch(app, &open).await?;
    let known = listed.iter().map(|model| described(provider, &model.id, model.created));
    Ok(known.filter(|model| is_full_id(&model.id)).collect())
}

/// Asks a provider for its models.
///
/// # Errors
/// Why there are none, in words without its address.
pub(crate) async fn fetch(app: &App, open: &OpenProvider) -> Result<Vec<Listing>, String> {
    let mut url = providers::endpoint(&open.base_url, &["models"]).ok_or("its address has no paths")?;
    // Both give a first page of a few otherwise; no provider has more than this of models.
    url.set_query(match open.kind {
        Kind::Anthropic => Some("limit=1000"),
        Kind::Google => Some("pageSize=1000"),
        Kind::OpenaiCompatible | Kind::OpenaiResponses => None,
    });
    let none = SecretString::default();
    let headers = open
        .kind
        .headers(open.api_key.as_ref().unwrap_or(&none))
        .map_err(|_| "its key fits into no header")?;
    if open.proxy.is_some() {
        app.model_egress.judge_resolved(&url).await.map_err(|_| "its address may not be reached")?;
    }
    let request = open.client(app)?.get(url).headers(headers).timeout(LIST_TIMEOUT);
    let answer = request.send().await.map_err(|cause| cause.without_url().to_string())?;
    if !answer.status().is_success() {
        return Err(format!("it answered {}", answer.status()));
    }
    let mut body = Vec::new();
    let mut answer = answer;
    while let Some(chunk) = answer.chunk().await.map_err(|cause| cause.without_url().to_string())? {
        body.extend_from_slice(&chunk);
        if body.len() > LIST_BYTES_MAX {
            return Err("its list is too long".to_owned());
        }
    }
    let listed: Listed = serde_json::from_slice(&body).map_err(|_| "its list could not be read")?;
    let known = listed.data.into_iter().filter(ListedModel::answers).map(ListedModel::listing);
    Ok(known.take(LIST_MODELS_MAX).collect())
}
