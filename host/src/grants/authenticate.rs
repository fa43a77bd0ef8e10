//! From an `Authorization` or `x-api-key` header, or a session's cookie, to a [`Caller`].
//!
//! A token of unknown shape is refused without asking the database. Every
//! failure looks the same from outside: 401. A header counts before a cookie,
//! which a browser sends by itself.
//!
//! A person's credential acts in the app that the request names, by its path or
//! by `X-OPG-App`, else in the one app it was made for. That they are a member
//! of it is looked up with every request.

use super::{
    AppRef, Caller, CredentialKind, Role, Scopes, Standing, Surface, cookie,
    credential::{Token, basic_password, bearer},
    store::{self, FoundCredential, FoundPerson, Membership},
};
use crate::{
    app::App, error::ApiError, http::RequestContext, remembered::Version, router, tenants::ServiceTx,
    traces::TraceContext,
};
use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Duration, Utc};
use http::{HeaderMap, HeaderName, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// `last_used_at` is for people: a minute is exact enough, and saves a write for each request.
const LAST_USED_RESOLUTION: Duration = Duration::minutes(1);
/// How many are remembered as used lately before the list is started anew.
const LAST_USED_REMEMBERED_MAX: usize = 10_000;

/// What a caller reads whose credential could not be looked up.
pub const UNREACHABLE: &str = "credentials cannot be checked right now; try again";

/// What authentication found, in the extensions of every request.
#[derive(Clone, Debug)]
pub enum Credential {
    /// None was sent.
    Absent,
    /// What was sent is not valid.
    Invalid,
    /// A caller.
    Valid(Box<Caller>),
    /// The database could not be asked.
    Unreachable,
}

/// Where a request acted, in the extensions of its answer: for a layer outside this one. Only where the request has an
/// `Origin`.
#[derive(Clone, Debug)]
pub(crate) enum Acted {
    /// In this app, as of this version of it.
    In(AppRef, Option<Version>),
    /// In none that a credential says.
    Nowhere,
    /// Wherever a cookie said, which a browser sends by itself.
    ByCookie,
}

/// What authentication needs besides the database.
pub struct Authenticator {
    admin_token_hashes: Vec<[u8; 32]>,
    last_used: LastUsed,
}

/// What was used lately: credentials, or keys of providers.
#[derive(Default)]
pub struct LastUsed(Mutex<HashMap<(Uuid, i32), DateTime<Utc>>>);

impl Authenticator {
    /// Knows these admin tokens.
    pub fn new(admin_tokens: &[SecretString]) -> Authenticator {
        let hash = |token: &SecretString| Sha256::digest(token.expose_secret().as_bytes()).into();
        Authenticator {
            admin_token_hashes: admin_tokens.iter().map(hash).collect(),
            last_used: LastUsed::default(),
        }
    }

    /// Compares with every admin token, in a time that does not depend on which or how far.
    fn is_admin(&self, token: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let found = self
            .admin_token_hashes
            .iter()
            .fold(subtle::Choice::from(0), |found, known| found | known.ct_eq(&hash));
        found.into()
    }
}

impl LastUsed {
    /// Whether this use of a version of something is worth writing down.
    pub(crate) fn is_new_use(&self, id: (Uuid, i32), now: DateTime<Utc>) -> bool {
        let mut last_used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last_used.get(&id).is_some_and(|at| now - *at < LAST_USED_RESOLUTION) {
            return false;
        }
        if last_used.len() >= LAST_USED_REMEMBERED_MAX {
            last_used.clear();
        }
        last_used.insert(id, now);
        true
    }
}

/// Finds out who calls, and how often they may: a layer over every route.
pub async fn authenticate(State(app): State<App>, request: Request, next: Next) -> Response {
    let context = request.extensions().get::<RequestContext>().cloned();
    let ip = context.as_ref().and_then(|context| context.ip);
    // Nobody is asked on a public route: a monitor's own token must not count as a failure.
    let sent = if is_public(&request) { None } else { sent(&app, &request) };
    let found = match &sent {
        None => Credential::Absent,
        Some(sent) => identify(&app, sent, named_app(&request), context).await,
    };
    let acted = request.headers().contains_key(header::ORIGIN).then(|| acted(sent.as_ref(), &found));
    let mut response = admit(&app, found, ip, request, next).await;
    if let Some(acted) = acted {
        response.extensions_mut().insert(acted);
    }
    response
}

fn acted(sent: Option<&Sent>, found: &Credential) -> Acted {
    if sent.is_some_and(|sent| sent.surface == Surface::Console) {
        return Acted::ByCookie;
    }
    let Credential::Valid(caller) = found else { return Acted::Nowhere };
    caller.app().map_or(Acted::Nowhere, |app| Acted::In(app.clone(), caller.version))
}

/// Lets a request on, unless there are too many of its kind or nobody meant it.
async fn admit(
    app: &App,
    found: Credential,
    ip: Option<IpAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let allowed = match &found {
        Credential::Valid(caller) => {
            app.rate_limits.request(caller.credential_id, caller.app().map(|app| app.app_id))
        }
        Credential::Invalid => app.rate_limits.auth_failure(ip),
        Credential::Absent if is_runners(&request) => Ok(()),
        Credential::Absent => app.rate_limits.anonymous(ip),
        Credential::Unreachable => Ok(()),
    };
    if let Err(error) = allowed {
        return error.into_response();
    }
    // A browser sends its cookie with whatever any page asks for.
    if let Credential::Valid(caller) = &found
        && caller.surface == Surface::Console
        && let Err(error) = cookie::check_intent(app, caller, request.method(), request.headers())
    {
        return error.into_response();
    }
    let known = matches!(found, Credential::Valid(_));
    request.extensions_mut().insert(found);
    let mut response = next.run(request).await;
    if known {
        app.rate_limits.describe(response.headers_mut());
    }
    response
}

/// Who looks at a page, as the browser's cookie says; counted as every other request of theirs is. A page is shown to
/// whoever asks, and whatever else was sent counts for nothing there.
///
/// # Errors
/// 429, and 503 where the database does not answer.
pub(crate) async fn visitor(
    app: &App,
    context: &RequestContext,
    headers: &HeaderMap,
) -> Result<Option<Caller>, ApiError> {
    let Some(token) = cookie::read(app, headers) else { return Ok(None) };
    let sent = Sent { token, surface: Surface::Console };
    match identify(app, &sent, None, Some(context.clone())).await {
        Credential::Valid(caller) => {
            app.rate_limits.request(caller.credential_id, caller.app().map(|app| app.app_id))?;
            Ok(Some(*caller))
        }
        Credential::Invalid => app.rate_limits.auth_failure(context.ip).map(|()| None),
        Credential::Absent => Ok(None),
        Credential::Unreachable => Err(ApiError::unavailable(UNREACHABLE)),
    }
}

fn is_public(request: &Request) -> bool {
    let matched = request.extensions().get::<MatchedPath>();
    matched.is_some_and(|path| router::is_public(request.method(), path.as_str()))
}

fn is_runners(request: &Request) -> bool {
    request.extensions().get::<MatchedPath>().is_some_and(|path| router::is_runners(path.as_str()))
}

/// Where Anthropic's clients put their key.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Which app a person acts in, where the path does not say it.
pub const X_OPG_APP: HeaderName = HeaderName::from_static("x-opg-app");

/// A token, and by which door it came.
struct Sent {
    token: String,
    surface: Surface,
}

fn sent(app: &App, request: &Request) -> Option<Sent> {
    match token_of(request.headers()) {
        Some(token) => Some(Sent { token, surface: Surface::Rest }),
        None => cookie::read(app, request.headers()).map(|token| Sent { token, surface: Surface::Console }),
    }
}

/// The token that a header holds.
pub(crate) fn token_of(headers: &HeaderMap) -> Option<String> {
    let sent = |name| headers.get_all(name).iter();
    let with_scheme = sent(header::AUTHORIZATION).map(|value| (value, true));
    let mut all = with_scheme.chain(sent(X_API_KEY).map(|value| (value, false)));
    let (value, has_scheme) = all.next()?;
    if all.next().is_some() {
        // Which of two counts is what two programs on the way may disagree about.
        return Some(String::new());
    }
    if !has_scheme {
        return Some(value.to_str().unwrap_or_default().to_owned());
    }
    // A header that is no text is a credential that is not valid, not an absent one.
    let value = value.to_str().unwrap_or_default();
    Some(bearer(value).map(str::to_owned).or_else(|| basic_password(value)).unwrap_or_default())
}

/// The app a request names: by its path, else by `X-OPG-App`. What is no slug is nobody's.
pub(crate) fn named_app(request: &Request) -> Option<String> {
    let matched = request.extensions().get::<MatchedPath>();
    if let Some(place) = matched.and_then(|path| router::app_segment(path.as_str())) {
        return request.uri().path().split('/').nth(place).map(str::to_owned);
    }
    header_app(request.headers())
}

/// The app that `X-OPG-App` names.
pub(crate) fn header_app(headers: &HeaderMap) -> Option<String> {
    headers.get(X_OPG_APP).map(|value| value.to_str().unwrap_or_default().to_owned())
}

async fn identify(
    app: &App,
    sent: &Sent,
    named: Option<String>,
    context: Option<RequestContext>,
) -> Credential {
    let token = sent.token.as_str();
    let found = match Token::of(token) {
        Token::Unknown => Ok(None),
        Token::Other => Ok(app.authenticator.is_admin(token).then(operator)),
        Token::Tenant { .. } | Token::Dev => look_up(app, token).await,
        Token::Person => look_up_person(app, token, named.as_deref()).await,
    };
    match found {
        Err(cause) => {
            tracing::error!(%cause, "a credential could not be looked up");
            Credential::Unreachable
        }
        Ok(None) => Credential::Invalid,
        // A cookie holds a session and nothing else.
        Ok(Some(caller))
            if sent.surface == Surface::Console && caller.kind != CredentialKind::ConsoleSession =>
        {
            Credential::Invalid
        }
        Ok(Some(mut caller)) => {
            caller.surface = sent.surface;
            if let Some(context) = context {
                caller.ip = context.ip;
                caller.request_id = context.request_id;
                caller.trace = context.trace;
            }
            Credential::Valid(Box::new(caller))
        }
    }
}

fn operator() -> Caller {
    Caller {
        kind: CredentialKind::AdminToken,
        credential_id: None,
        user_id: None,
        standing: Standing::Operator,
        scopes: Scopes::all(),
        expires_at: None,
        surface: Surface::Rest,
        ip: None,
        request_id: String::new(),
        version: None,
        trace: None,
    }
}

/// The caller a credential is, as it stands now: for work that begins after its request has ended. None where it was
/// revoked or has ended, or its app was deleted.
///
/// # Errors
/// The database's.
pub(crate) async fn caller(
    app: &App,
    tx: &mut ServiceTx,
    credential_id: Option<Uuid>,
    app_id: Uuid,
    request_id: &str,
    trace: Option<TraceContext>,
) -> sqlx::Result<Option<Caller>> {
    let Some(credential_id) = credential_id else { return Ok(None) };
    let found = match store::find_by_id(tx, credential_id, app.now()).await? {
        Some(row) => of_row(row),
        None => match store::find_person_by_id(tx, credential_id, app.now()).await? {
            Some(row) => {
                let slug = store::slug_of(tx, app_id).await?;
                of_person(tx.conn(), row, slug.as_deref()).await?
            }
            None => None,
        },
    };
    // What was asked for in one app runs in no other.
    let found = found.filter(|caller| caller.app().is_some_and(|app| app.app_id == app_id));
    // It may go on for long.
    Ok(found.map(|caller| Caller { request_id: request_id.to_owned(), version: None, trace, ..caller }))
}

async fn look_up(app: &App, token: &str) -> sqlx::Result<Option<Caller>> {
    let now = app.now();
    let hash = app.pepper.hash(token);
    let mut asking = app.service_read().await?;
    let found = store::find_by_hash(asking.conn(), &hash, now).await?;
    asking.done();
    let Some(row) = found else { return Ok(None) };
    if app.authenticator.last_used.is_new_use((row.credential_id, 0), now) {
        let mut tx = app.service_tx().await?;
        store::touch(&mut tx, row.credential_id, now).await?;
        tx.commit().await?;
    }
    Ok(of_row(row))
}

fn of_row(row: FoundCredential) -> Option<Caller> {
    let version = row.version();
    Some(Caller {
        kind: CredentialKind::parse(&row.kind)?,
        credential_id: Some(row.credential_id),
        user_id: None,
        standing: Standing::App(AppRef {
            app_id: row.app_id,
            slug: row.slug,
            suspended: row.status == "suspended",
        }),
        scopes: Scopes::parse_known(&row.scopes),
        expires_at: row.expires_at,
        surface: Surface::Rest,
        ip: None,
        request_id: String::new(),
        version,
        trace: None,
    })
}

async fn look_up_person(app: &App, token: &str, named: Option<&str>) -> sqlx::Result<Option<Caller>> {
    let now = app.now();
    let mut asking = app.service_read().await?;
    let Some(row) = store::find_person(asking.conn(), &app.pepper.hash(token), now).await? else {
        asking.done();
        return Ok(None);
    };
    let credential_id = row.credential_id;
    let found = of_person(asking.conn(), row, named).await?;
    asking.done();
    if found.is_some() && app.authenticator.last_used.is_new_use((credential_id, 0), now) {
        let mut tx = app.service_tx().await?;
        store::touch(&mut tx, credential_id, now).await?;
        tx.commit().await?;
    }
    Ok(found)
}

/// A person's credential as a caller, in the app that is named, where they are a member of it.
async fn of_person(
    conn: &mut PgConnection,
    row: FoundPerson,
    named: Option<&str>,
) -> sqlx::Result<Option<Caller>> {
    let Some(kind) = CredentialKind::parse(&row.kind) else { return Ok(None) };
    let member = store::find_membership(conn, row.user_id, named, row.app_ids.as_deref()).await?;
    let scopes = Scopes::parse_known(&row.scopes);
    let role = member.as_ref().and_then(|member| Role::parse(&member.role));
    let version = member.as_ref().and_then(Membership::version);
    let (standing, scopes) = match (member, role) {
        (Some(member), Some(role)) => {
            let suspended = member.status == "suspended";
            let app = AppRef { app_id: member.app_id, slug: member.slug, suspended };
            (Standing::App(app), role.cap(scopes))
        }
        _ => (Standing::Person { named: named.is_some() }, scopes),
    };
    Ok(Some(Caller {
        kind,
        credential_id: Some(row.credential_id),
        user_id: Some(row.user_id),
        standing,
        scopes,
        expires_at: row.expires_at,
        surface: Surface::Rest,
        ip: None,
        request_id: String::new(),
        version,
        trace: None,
    }))
}
