//! Uploading a plugin: examine the bytes, keep them, write the version down; the oldest versions go where that makes
//! too many.
//!
//! A version is active at once when it is the first and asks for nothing, or
//! when it says the same as one that passed and asks no more; otherwise it waits
//! for review, and what was active stays so: no model sees a text that nobody
//! looked at in the place of one that somebody did. Uploading the newest version again changes nothing.

use super::{
    Description, Format, PluginKind, PluginName, Requested,
    blobs::BlobError,
    compiling::NoTurn,
    is_name, kept, markdown, remake, seen,
    signature::{SignatureError, Signer},
    store,
};
use crate::{
    app::App,
    grants::{Allowed, AppRef, Capability, CapabilityKind, InApp, Permission, audit},
    http::etag::{Failed, Precondition},
    limits::{PLUGINS_PER_APP_MAX, TOOLS_PER_APP_MAX},
    sandbox::{CallError, Component, LoadError, Sandbox},
    tenants::TenantTx,
    tools,
    typescript::TypeScriptError,
};
use bytes::Bytes;
use http::HeaderValue;
use serde_json::json;
use uuid::Uuid;

/// What was uploaded.
pub struct Uploaded {
    /// The version it is now.
    pub version: store::VersionRow,
    /// Whether that version runs, or waits for review.
    pub active: bool,
    /// Whether the plugin is new.
    pub created: bool,
    /// How the plugin stands now.
    pub tag: HeaderValue,
}

/// What comes with the bytes of an upload.
pub struct With {
    /// Who signed them.
    pub signer: Signer,
    /// How the plugin must stand for it to change.
    pub only: Precondition,
}

/// Why nothing was uploaded.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The name.
    #[error("a name is lower-case letters, digits and hyphens, 1 to 64 of them")]
    BadName,
    /// How the plugin stands.
    #[error("{0}")]
    Precondition(#[from] Failed),
    /// Who signed it.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// The component, or the Extism plugin.
    #[error("{0}")]
    BadComponent(#[from] LoadError),
    /// It is not the app's turn to have something compiled.
    #[error("{0}")]
    NoTurn(#[from] NoTurn),
    /// It is of the other kind.
    #[error("this component is {}; upload it under /v1/tenant/{}s/{{name}}", article(*found), found.name())]
    WrongKind {
        /// What it is.
        found: PluginKind,
    },
    /// `describe` did not work.
    #[error("`describe` failed: {0}")]
    Describe(CallError),
    /// What `describe` said.
    #[error("what `describe` says is wrong: {0}")]
    BadDescription(String),
    /// The markdown.
    #[error("{0}")]
    BadMarkdown(#[from] markdown::MarkdownError),
    /// The TypeScript.
    #[error("{0}")]
    BadTypeScript(#[from] TypeScriptError),
    /// The markdown names a tool that is not there.
    #[error("the agent names the tool `{0}`, which this app does not have; upload it first")]
    UnknownTool(String),
    /// Too many plugins.
    #[error("an app has at most {PLUGINS_PER_APP_MAX} of these; delete one first")]
    TooMany,
    /// Too many tools.
    #[error(
        "an app has at most {TOOLS_PER_APP_MAX} tools, and this plugin would make it {0}; delete some first"
    )]
    TooManyTools(i64),
    /// Its bytes may be gone again.
    #[error("the upload took too long to be written down; send it again")]
    TookTooLong,
    /// The bytes could not be kept.
    #[error("the upload could not be stored")]
    Blob(#[from] BlobError),
    /// The database.
    #[error("the upload could not be recorded")]
    Db(#[from] sqlx::Error),
}

fn article(kind: PluginKind) -> &'static str {
    match kind {
        PluginKind::Tool => "a tool",
        PluginKind::Agent => "an agent",
    }
}

/// What examination found.
pub struct Examined {
    /// It, ready to run.
    pub component: Component,
    /// What it says it is.
    pub description: Description,
    /// What it asks for.
    pub requested: Vec<Requested>,
}

/// Verifies, compiles and asks a component what it is, in the sandbox. Also for
/// an author's own machine, where it is the same question.
///
/// # Errors
/// [`UploadError`]
pub async fn examine(
    sandbox: &Sandbox,
    kind: PluginKind,
    name: &str,
    wasm: Bytes,
) -> Result<Examined, UploadError> {
    let component = sandbox.load(wasm).await?;
    let found = PluginKind::from(component.kind());
    if found != kind {
        return Err(UploadError::WrongKind { found });
    }
    let (description, asked) = match kind {
        PluginKind::Tool => {
            let mut described = sandbox.describe_tool(&component).await.map_err(UploadError::Describe)?;
            let asked: Vec<_> =
                described.iter_mut().flat_map(|tool| std::mem::take(&mut tool.capabilities)).collect();
            let tools: Vec<_> = described.into_iter().map(|tool| tool.definition).collect();
            tools::check_definitions(name, &tools).map_err(UploadError::BadDescription)?;
            (Description::Tools { tools }, asked)
        }
        PluginKind::Agent => {
            let described = sandbox.describe_agent(&component).await.map_err(UploadError::Describe)?;
            (Description::Agent { description: described.description }, described.capabilities)
        }
    };
    let mut requested: Vec<Requested> = vec![];
    for wish in asked {
        let kind = CapabilityKind::parse(&wish.kind).ok_or_else(|| {
            UploadError::BadDescription(format!(
                "`{}` is not a kind of capability: {}",
                wish.kind,
                CapabilityKind::names()
            ))
        })?;
        let capability = Capability::new(kind, wish.target).canonical();
        let capability = capability.map_err(|bad| UploadError::BadDescription(bad.to_string()))?;
        if wish.reason.trim().is_empty() {
            return Err(UploadError::BadDescription(format!("`{capability}` gives no reason")));
        }
        if !requested.iter().any(|r| r.capability == capability) {
            requested.push(Requested { capability, reason: wish.reason });
        }
    }
    Ok(Examined { component, description, requested })
}

/// Uploads a component, or the module of an Extism plugin, as the next version of a plugin.
///
/// # Errors
/// [`UploadError`]; nothing was changed then.
pub async fn component<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    (wasm, with): (Bytes, With),
) -> Result<Uploaded, UploadError> {
    check_name(plugin)?;
    let turn = app.compiling.take(allowed.app().app_id, app.now()).await?;
    let examined = examine(&app.sandbox, plugin.kind, &plugin.name, wasm.clone()).await?;
    drop(turn);
    let sha256 = kept::put::<UploadError>(app, allowed.app().app_id, wasm.clone()).await?;
    let new = New {
        format: if examined.component.is_extism() { Format::Extism } else { Format::Component },
        sha256,
        source_sha256: None,
        size_bytes: wasm.len(),
        description: examined.description,
        requested: examined.requested,
        with,
    };
    record(app, allowed, plugin, new).await
}

/// Uploads an Extism manifest with its module in it as the next version of a plugin: what is kept is the module, with
/// the manifest in it.
///
/// # Errors
/// [`UploadError`]; nothing was changed then.
pub async fn extism<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    (manifest, with): (Bytes, With),
) -> Result<Uploaded, UploadError> {
    check_name(plugin)?;
    let read = tokio::task::spawn_blocking(move || Sandbox::module_of_extism_manifest(&manifest));
    let module = read.await.map_err(|_| LoadError::Engine("it stopped unexpectedly".to_owned()))??;
    component(app, allowed, plugin, (Bytes::from(module), with)).await
}

/// Uploads a tool's TypeScript file as the next version of a plugin: the component made of it, and the file.
///
/// # Errors
/// [`UploadError`]; nothing was changed then.
pub async fn typescript<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    (source, with): (String, With),
) -> Result<Uploaded, UploadError> {
    check_name(plugin)?;
    let wasm = Bytes::from(app.typescript.component(&plugin.name, source.clone()).await?);
    let examined = examine(&app.sandbox, plugin.kind, &plugin.name, wasm.clone()).await?;
    let (app_id, size_bytes) = (allowed.app().app_id, source.len());
    let new = New {
        format: Format::TypeScript,
        sha256: kept::put::<UploadError>(app, app_id, wasm).await?,
        source_sha256: Some(kept::put::<UploadError>(app, app_id, Bytes::from(source)).await?),
        size_bytes,
        description: examined.description,
        requested: examined.requested,
        with,
    };
    record(app, allowed, plugin, new).await
}

/// Uploads a markdown agent as the next version of a plugin.
///
/// # Errors
/// [`UploadError`]; nothing was changed then.
pub async fn markdown<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    (text, with): (&str, With),
) -> Result<Uploaded, UploadError> {
    check_name(plugin)?;
    let agent = markdown::parse(text)?;
    if let Some(tools) = &agent.tools {
        let catalog = tools::catalog::load(app, allowed).await?;
        if let Some(missing) = tools.named().into_iter().find(|name| !catalog.knows(name)) {
            return Err(UploadError::UnknownTool(missing.to_owned()));
        }
    }
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let sha256 = kept::put::<UploadError>(app, allowed.app().app_id, bytes).await?;
    let new = New {
        format: Format::Markdown,
        sha256,
        source_sha256: None,
        size_bytes: text.len(),
        description: Description::Markdown(agent),
        requested: vec![],
        with,
    };
    record(app, allowed, plugin, new).await
}

pub(super) fn check_name(plugin: &PluginName) -> Result<(), UploadError> {
    if is_name(&plugin.name) { Ok(()) } else { Err(UploadError::BadName) }
}

struct New {
    format: Format,
    sha256: String,
    source_sha256: Option<String>,
    size_bytes: usize,
    description: Description,
    requested: Vec<Requested>,
    with: With,
}

impl New {
    fn digests(&self) -> Vec<String> {
        [Some(&self.sha256), self.source_sha256.as_ref()].into_iter().flatten().cloned().collect()
    }
}

async fn record<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    new: New,
) -> Result<Uploaded, UploadError> {
    let mut tx = app.tenant_tx(allowed).await?;
    store::lock(tx.conn(), allowed.app().app_id).await?;
    // Compiling takes a while: the keys may be others by now.
    new.with.signer.check(&store::trusted_keys(&mut tx).await?)?;
    seen::check(&mut tx, plugin, &new.with.only).await??;
    if !kept::hold(tx.conn(), allowed.app().app_id, new.digests(), app.now()).await? {
        return Err(UploadError::TookTooLong);
    }
    let (row, created) = match store::find(&mut tx, plugin).await? {
        Some(row) => (row, false),
        None => (insert_plugin(app, &mut tx, allowed, plugin).await?, true),
    };
    let newest = store::newest_version(&mut tx, row.plugin_id).await?;
    if let Some(same) = &newest
        && is_the_same(app, &mut tx, row.plugin_id, same, &new).await?
    {
        let (active, version) = (row.active_version == Some(same.version), same.clone());
        keep_build(app, &mut tx, allowed, (row.plugin_id, version.version), &new).await?;
        let tag = seen::tag(&mut tx, plugin).await?;
        tx.commit().await?;
        return Ok(Uploaded { active, version, created: false, tag });
    }
    let tools = i64::try_from(new.description.tools().len()).unwrap_or(i64::MAX);
    let tools = store::count_tools_beside(&mut tx, row.plugin_id).await?.saturating_add(tools);
    if tools > TOOLS_PER_APP_MAX {
        return Err(UploadError::TooManyTools(tools));
    }
    let version = store::VersionRow {
        version: newest.map_or(1, |version| version.version + 1),
        format: new.format.name().to_owned(),
        sha256: new.sha256.clone(),
        source_sha256: new.source_sha256.clone(),
        size_bytes: i64::try_from(new.size_bytes).unwrap_or(i64::MAX),
        description: sqlx::types::Json(new.description.clone()),
        requested: sqlx::types::Json(new.requested.clone()),
        uploaded_at: app.now(),
        passed: false,
        signed_by: new.with.signer.key().map(str::to_owned),
    };
    let by = allowed.caller().credential_id;
    store::insert_version(&mut tx, row.plugin_id, allowed.app().app_id, &version, by).await?;
    keep_build(app, &mut tx, allowed, (row.plugin_id, version.version), &new).await?;
    let active = has_nothing_new(&mut tx, row.plugin_id, &version).await?;
    if active {
        let which = (row.plugin_id, version.version);
        let passed_by = store::PassedBy::NothingNew;
        store::insert_review(&mut tx, which, allowed.app().app_id, passed_by, None, app.now()).await?;
        store::activate(&mut tx, row.plugin_id, version.version, app.now()).await?;
    }
    let removed = kept::trim(tx.conn(), (row.plugin_id, allowed.app().app_id), app.now()).await?;
    let entry = audit::Entry::ok(A::ACTION.name(), plugin.to_string()).detail(
        json!({ "version": version.version, "sha256": version.sha256, "signed_by": version.signed_by, "status": if active { "active" } else { "pending_review" } }),
    );
    audit::write(app, &mut tx, allowed, entry).await?;
    let tag = seen::tag(&mut tx, plugin).await?;
    tx.commit().await?;
    app.metrics.versions_removed(removed);
    Ok(Uploaded { version, active, created, tag })
}

/// Whether it is this version once more: the same bytes, signed by nobody else. Of a file other bytes are made for another
/// runtime; then what this host runs for the version, or would, if a reviewer would read the same.
async fn is_the_same(
    app: &App,
    tx: &mut TenantTx,
    plugin_id: Uuid,
    version: &store::VersionRow,
    new: &New,
) -> sqlx::Result<bool> {
    if new.with.signer.key().is_some_and(|key| version.signed_by.as_deref() != Some(key)) {
        return Ok(false);
    }
    if version.source_sha256 != new.source_sha256 || new.source_sha256.is_none() {
        return Ok(version.sha256 == new.sha256 && version.source_sha256 == new.source_sha256);
    }
    let runtime = app.typescript.runtime_sha256();
    let made = store::find_build(tx, (plugin_id, version.version), runtime).await?;
    Ok(match made {
        Some(made) => made.as_ref() == Some(&new.sha256),
        None => remake::says_and_asks_the_same(
            (&version.description, &version.requested),
            (&new.description, &new.requested),
        ),
    })
}

/// Remembers for which runtime a file's component was made.
async fn keep_build(
    app: &App,
    tx: &mut TenantTx,
    proof: &impl InApp,
    which: (Uuid, i32),
    new: &New,
) -> sqlx::Result<()> {
    if new.source_sha256.is_some() {
        let (runtime, made) = (app.typescript.runtime_sha256(), Ok(new.sha256.clone()));
        let app_id = proof.app().app_id;
        let build = store::Build { which, app_id, runtime, made, at: app.now() };
        store::keep_build(tx.conn(), &build).await?;
        kept::trim_builds(tx.conn(), which, app_id, app.now()).await?;
    }
    Ok(())
}

async fn insert_plugin(
    app: &App,
    tx: &mut TenantTx,
    proof: &impl InApp,
    plugin: &PluginName,
) -> Result<store::PluginRow, UploadError> {
    if store::count(tx, plugin.kind).await? >= PLUGINS_PER_APP_MAX {
        return Err(UploadError::TooMany);
    }
    Ok(store::insert(tx, app.new_id(), proof.app().app_id, plugin, app.now()).await?)
}

/// Whether a version passes without review: one that passed before said the same, and asked for all it asks for; or
/// none passed before, and it asks for nothing.
pub(super) async fn has_nothing_new(
    tx: &mut TenantTx,
    plugin_id: Uuid,
    version: &store::VersionRow,
) -> sqlx::Result<bool> {
    let passed = store::passed_versions(tx, plugin_id).await?;
    let first = passed.is_empty() && version.requested.is_empty();
    Ok(first
        || passed.iter().any(|old| {
            old.description.declares_the_same(&version.description)
                && version
                    .requested
                    .iter()
                    .all(|wish| old.requested.iter().any(|had| wish.capability.within(&had.capability)))
        }))
}
