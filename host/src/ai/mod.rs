//! The raw gateway: an app's models by themselves, under `/v1/ai` (row C14).
//!
//! What `/v1/chat/completions` and its like are without agents, tools of the app and sessions ([`relay`]), and what
//! models do besides text: pictures ([`draw`]), speech ([`speak`]), transcripts ([`transcribe`]), judgements
//! ([`moderate`]). Every call is metered and held against budgets like any other.
//!
//! Rules:
//! - a request that wants an agent or a session is refused, not answered without;
//! - a picture is stored and named, unless it is small and was asked for inside the answer: [`files`];
//! - a provider that does not offer what is asked is 404 `capability_unavailable`;
//! - a picture may be asked for as a task ([`crate::tasks`]), and then has an address of its own in any case.
//!
//! Deliberately absent: uploads.

pub mod draw;
pub mod files;
pub mod moderate;
pub mod relay;
pub mod routes;
pub mod speak;
mod store;
pub mod transcribe;

use crate::{
    app::App,
    chat::send::{self, ChatError},
    grants::{Allowed, action::may},
    models::{ModelId, gateway::Origin},
    tenants::configure,
};

/// The provider and the model of an id, as the app resolves it.
async fn resolve(
    app: &App,
    allowed: &Allowed<may::AiInvoke>,
    id: &ModelId,
) -> Result<(String, String), ChatError> {
    let tenant = configure::known(app, allowed).await?;
    send::full_id(app, allowed, id, tenant.default_model.as_deref()).await
}

/// What a call belongs to, where the client names its end user.
fn origin(end_user: Option<&str>) -> Origin {
    Origin { end_user: end_user.map(str::to_owned), ..Origin::default() }
}
