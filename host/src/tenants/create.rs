//! Creating an app: the row, its providers, its first token, its database workspace, the audit row: all or nothing.

use super::{Aliases, AppRow, origins, providers, providers::ProviderInput, slug, store};
use crate::{
    app::App,
    db_proxy::provision::{ProvisionError, Workspace, provision},
    error::FieldError,
    grants::{Caller, CredentialKind, Scopes, audit, issue},
    secrets::envelope::SealError,
    tenants::ServiceTx,
};
use secrecy::SecretString;
use std::collections::BTreeMap;

/// What an app starts with.
#[derive(Default)]
pub struct NewApp {
    /// Its slug.
    pub slug: String,
    /// For people.
    pub name: String,
    /// Whom to write to.
    pub contact_email: Option<String>,
    /// Its providers.
    pub providers: BTreeMap<String, ProviderInput>,
    /// `provider/model`.
    pub default_model: Option<String>,
    /// Its own names for models.
    pub model_aliases: Aliases,
    /// The predefined tools it wants; none: all.
    pub predefined_tools: Option<Vec<String>>,
    /// The predefined agents it wants; none: all.
    pub predefined_agents: Option<Vec<String>>,
    /// Whether its sessions may be shown to whoever has a link.
    pub session_sharing: bool,
    /// For how many days its sessions' artifacts are kept, where that is shorter than the installation's time.
    pub artifact_retention_days: Option<i32>,
    /// The keys one of which must have signed what is uploaded to it; none: nobody has to.
    pub trusted_keys: Vec<String>,
    /// The origins whose pages may call it from a browser; `*` alone: all.
    pub cors_origins: Vec<String>,
}

/// An app just made.
pub struct Created {
    /// The app.
    pub app: AppRow,
    /// Its providers.
    pub providers: Vec<providers::ProviderRow>,
    /// Its first token, shown this once.
    pub token: SecretString,
}

/// Why there is no app.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Fields are wrong.
    #[error("the app's configuration is wrong")]
    Invalid(Vec<FieldError>),
    /// The slug is taken.
    #[error("the id `{0}` is taken; choose another")]
    Taken(String),
    /// A provider's key.
    #[error("a provider's key could not be sealed")]
    Seal(#[from] SealError),
    /// Its database.
    #[error(transparent)]
    Workspace(#[from] ProvisionError),
    /// The database.
    #[error("the app could not be stored")]
    Db(#[from] sqlx::Error),
}

/// Creates an app, with its first token.
///
/// # Errors
/// [`CreateError`]; nothing was written then.
pub(crate) async fn create(app: &App, by: &Caller, new: NewApp) -> Result<Created, CreateError> {
    let mut tx = app.service_tx().await?;
    let (row, providers) = create_in(app, &mut tx, by, new).await?;
    let first = issue::Making {
        kind: CredentialKind::TenantToken,
        name: "first token",
        scopes: Scopes::app(),
        expires_at: None,
        created_by: None,
    };
    let issued = issue::insert(app, tx.conn(), row.app_id, &row.slug, first).await?;
    tx.commit().await?;
    Ok(Created { app: row, providers, token: issued.token })
}

/// Creates an app that has no token yet, in somebody's transaction.
///
/// # Errors
/// [`CreateError`]; where it is [`CreateError::Taken`] the transaction may go on.
pub(crate) async fn create_in(
    app: &App,
    tx: &mut ServiceTx,
    by: &Caller,
    new: NewApp,
) -> Result<(AppRow, Vec<providers::ProviderRow>), CreateError> {
    let mut wrong = super::configure::check(
        app,
        &new.name,
        &new.providers,
        new.default_model.as_deref(),
        &new.model_aliases,
        &new.predefined(),
        new.artifact_retention_days,
    );
    wrong.extend(super::configure::check_keys(&new.trusted_keys));
    wrong.extend(origins::check(&new.cors_origins));
    if let Err(message) = slug::check(&new.slug) {
        wrong.insert(0, FieldError::new("/id", message));
    }
    if !wrong.is_empty() {
        return Err(CreateError::Invalid(wrong));
    }
    let row = AppRow {
        app_id: app.new_id(),
        slug: new.slug,
        name: new.name,
        status: "active".to_owned(),
        default_model: new.default_model,
        model_aliases: new.model_aliases,
        predefined_tools: new.predefined_tools,
        predefined_agents: new.predefined_agents,
        session_sharing: new.session_sharing,
        artifact_retention_days: new.artifact_retention_days,
        trusted_keys: new.trusted_keys,
        cors_origins: new.cors_origins,
        created_at: app.now(),
        updated_at: app.now(),
    };
    if !store::insert_app(tx.conn(), &row, new.contact_email.as_deref()).await? {
        return Err(CreateError::Taken(row.slug));
    }
    for (id, input) in &new.providers {
        store::insert_provider(tx.conn(), row.app_id, &providers::seal(app, id, input)?).await?;
    }
    let providers = store::list_providers(tx.conn(), row.app_id).await?;
    provision(app, tx, &Workspace::named(row.app_id, &row.slug)).await?;
    let entry = audit::Entry::ok("apps.create", format!("app/{}", row.slug))
        .change(None, Some(&row.describe(&providers)));
    audit::write_platform(app, tx, by, Some(row.app_id), entry).await?;
    Ok((row, providers))
}

impl NewApp {
    fn predefined(&self) -> super::configure::Predefined<'_> {
        super::configure::Predefined {
            tools: self.predefined_tools.as_deref(),
            agents: self.predefined_agents.as_deref(),
        }
    }
}

/// How many suffixes are tried when a derived slug is taken.
const SUFFIXES_TRIED: u32 = 20;

/// The slugs to try for a name a person gave, the derived one first.
fn slugs(app: &App, name: &str) -> impl Iterator<Item = String> {
    let base = slug::derive(name);
    (0..SUFFIXES_TRIED).map(move |attempt| match attempt {
        0 => base.clone(),
        // Random beyond the first few, so that many of one name do not try in a row.
        1..5 => format!("{base}-{}", attempt + 1),
        _ => format!("{base}-{}", u16::from_be_bytes(app.entropy.bytes::<2>())),
    })
}

/// Creates an app for somebody who has only a name: the slug is derived, a
/// number appended where it is taken (row M234).
///
/// # Errors
/// [`CreateError`]
pub(crate) async fn register(
    app: &App,
    by: &Caller,
    name: &str,
    email: Option<String>,
) -> Result<Created, CreateError> {
    let mut last = CreateError::Taken(slug::derive(name));
    for slug in slugs(app, name) {
        let new = NewApp { slug, name: name.to_owned(), contact_email: email.clone(), ..NewApp::default() };
        match create(app, by, new).await {
            Err(error @ CreateError::Taken(_)) => last = error,
            done => return done,
        }
    }
    Err(last)
}

/// The same in somebody's transaction, and without a token: a person's own app.
///
/// # Errors
/// [`CreateError`]
pub(crate) async fn personal(
    app: &App,
    tx: &mut ServiceTx,
    by: &Caller,
    name: &str,
) -> Result<AppRow, CreateError> {
    let mut last = CreateError::Taken(slug::derive(name));
    for slug in slugs(app, name) {
        let new = NewApp { slug, name: name.to_owned(), ..NewApp::default() };
        match create_in(app, tx, by, new).await {
            Err(error @ CreateError::Taken(_)) => last = error,
            Err(error) => return Err(error),
            Ok((row, _providers)) => return Ok(row),
        }
    }
    Err(last)
}
