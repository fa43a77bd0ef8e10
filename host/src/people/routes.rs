//! `/v1/auth/…`, `/v1/me…`.

use super::{
    account::{self, AccountError, Change, Theme},
    invitations,
    login::{self, LoginError, SignedIn},
    magic::{self, MagicError},
    members,
    password::{self, HashError},
    signup::{self, SignupError, Wanted},
    store,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, AsMyself, CredentialKind, action::may, cookie},
    http::{Json, NoContent, Page, Paged, Params, RequestContext, body},
    limits::{JSON_BYTES_MAX, MAIL_CODE_LIFE},
    tenants::routes::is_email,
};
use axum::{
    Extension,
    extract::{Request, State},
    response::IntoResponse,
};
use http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

/// `POST /v1/auth/signup`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signup {
    /// Where to write to, and what to sign in with.
    email: String,
    /// What to sign in with; without one a code is mailed, as `POST /v1/auth/magic` does.
    password: Option<String>,
    /// How they are called; who has no password says so when they have signed in.
    name: Option<String>,
}

/// How somebody signs up.
enum SigningUp {
    WithPassword(Wanted),
    WithCode { email: String },
}

impl Signup {
    fn check(self) -> ApiResult<SigningUp> {
        let mut wrong = vec![];
        if !is_email(self.email.trim()) {
            wrong.push(FieldError::new("/email", "expected an e-mail address"));
        }
        let Some(password) = self.password.map(SecretString::from) else {
            if self.name.is_some() {
                let text = "without a password nothing is kept yet; sign in with the code, then PATCH /v1/me";
                wrong.push(FieldError::new("/name", text));
            }
            return if wrong.is_empty() {
                Ok(SigningUp::WithCode { email: self.email })
            } else {
                Err(ApiError::invalid(wrong))
            };
        };
        wrong.extend(password::check("/password", &password));
        let name = self.name.unwrap_or_default();
        wrong.extend(account::check_name(&name));
        if wrong.is_empty() {
            Ok(SigningUp::WithPassword(Wanted { email: self.email, password, name }))
        } else {
            Err(ApiError::invalid(wrong))
        }
    }
}

/// Makes an account, where the operator allows it. The answer is the same where the address has one.
pub async fn signup(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> ApiResult<impl IntoResponse> {
    if !app.config.allow_self_registration {
        return Err(ApiError::not_found("resource"));
    }
    let headers = request.headers().clone();
    let wanted = body::fit::<Signup>(body::read_json(request, JSON_BYTES_MAX).await?)?.check()?;
    cookie::check_origin(&headers)?;
    app.rate_limits.registration(context.ip)?;
    let next = match wanted {
        SigningUp::WithPassword(wanted) => {
            signup::signup(&app, context, wanted).await?;
            "sign in with POST /v1/auth/login"
        }
        SigningUp::WithCode { email } => {
            mail_code(&app, context, &email)?;
            "sign in with POST /v1/auth/magic/verify and the code that was mailed"
        }
    };
    Ok((StatusCode::ACCEPTED, Json(json!({ "next": next }))))
}

/// `POST /v1/auth/login`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    email: String,
    password: String,
}

/// Signs somebody in; the session's token is in the cookie of this answer and nowhere else.
pub async fn login(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    Json(body): Json<Login>,
) -> ApiResult<impl IntoResponse> {
    // Also a sign-in can be forged: into an account of the attacker's.
    cookie::check_origin(&headers)?;
    let password = SecretString::from(body.password);
    let signed_in = sign_in(&app, context, &headers, &body.email, password).await?;
    described(&app, &signed_in).await
}

/// Counts the attempt, and signs somebody in with a password.
///
/// # Errors
/// 401, 429, or 503 where too many wait.
pub(super) async fn sign_in(
    app: &App,
    context: RequestContext,
    headers: &HeaderMap,
    email: &str,
    password: SecretString,
) -> ApiResult<SignedIn> {
    app.rate_limits.login(context.ip, super::hashed_email(app, email))?;
    Ok(login::login(app, context, email, password, user_agent(headers)).await?)
}

/// `POST /v1/auth/magic`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskForCode {
    /// Where to send it.
    email: String,
}

/// Mails a code to sign in with. The answer is the same where the address has no account.
pub async fn ask_for_code(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    Json(body): Json<AskForCode>,
) -> ApiResult<impl IntoResponse> {
    cookie::check_origin(&headers)?;
    mail_code(&app, context, &body.email)?;
    let next = "sign in with POST /v1/auth/magic/verify and the code, if the address can have one";
    let answer = json!({ "next": next, "expires_in": MAIL_CODE_LIFE.as_secs() });
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// Counts the request, and mails a code to an address that can have one.
///
/// # Errors
/// 409 where there is no mail server, 422 for what is no address, 429.
pub(super) fn mail_code(app: &App, context: RequestContext, email: &str) -> ApiResult<()> {
    sends_mail(app)?;
    if !is_email(email.trim()) {
        return Err(ApiError::invalid(vec![FieldError::new("/email", "expected an e-mail address")]));
    }
    app.rate_limits.mail_code(context.ip, super::hashed_email(app, email))?;
    magic::ask(app, context, email.to_owned());
    Ok(())
}

fn sends_mail(app: &App) -> ApiResult<()> {
    let text = "this server sends no mail; use a password, or have its operator set SMTP_URL and SMTP_FROM";
    if app.mailer.is_some() { Ok(()) } else { Err(ApiError::conflict("no_mail", text)) }
}

/// `POST /v1/auth/magic/verify`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInWithCode {
    email: String,
    /// The code that was mailed there.
    code: String,
}

/// Signs somebody in with a code that was mailed to them.
pub async fn magic_login(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    Json(body): Json<SignInWithCode>,
) -> ApiResult<impl IntoResponse> {
    cookie::check_origin(&headers)?;
    let signed_in = sign_in_with_code(&app, context, &headers, &body.email, &body.code).await?;
    described(&app, &signed_in).await
}

/// Counts the attempt, and signs somebody in with a code.
///
/// # Errors
/// 401, 409 where there is no mail server, 429.
pub(super) async fn sign_in_with_code(
    app: &App,
    context: RequestContext,
    headers: &HeaderMap,
    email: &str,
    code: &str,
) -> ApiResult<SignedIn> {
    sends_mail(app)?;
    app.rate_limits.login(context.ip, super::hashed_email(app, email))?;
    Ok(magic::sign_in(app, context, email, code, user_agent(headers)).await?)
}

/// A browser's name for itself.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok())
}

/// Who signed in, and the cookie.
pub(super) async fn described(app: &App, signed_in: &SignedIn) -> ApiResult<impl IntoResponse + use<>> {
    let answer = json!({
        "user": super::describe(app, signed_in.user_id).await?,
        "session_id": signed_in.credential_id,
        "csrf_token": cookie::csrf_token(app, signed_in.credential_id),
        "expires_at": signed_in.expires_at,
    });
    let cookie = cookie::set(app, signed_in.token.expose_secret(), login::session_life());
    Ok(([(header::SET_COOKIE, cookie)], Json(answer)))
}

/// Ends the credential that calls, and what belongs to the same sign-in.
pub async fn logout(State(app): State<App>, allowed: Allowed<may::Logout>) -> ApiResult<impl IntoResponse> {
    login::logout(&app, &allowed).await?;
    Ok(([(header::SET_COOKIE, cookie::clear(&app))], NoContent))
}

/// Shows the caller's account.
pub async fn get_me(State(app): State<App>, allowed: Allowed<may::MeRead>) -> ApiResult<Json<Value>> {
    Ok(Json(describe_me(&app, &allowed).await?))
}

/// `PATCH /v1/me`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchMe {
    /// How they are called, 200 characters at the most.
    name: Option<String>,
    /// A language tag.
    locale: Option<String>,
    /// `system`, `light` or `dark`.
    theme: Option<Theme>,
}

/// Changes the caller's profile; what is left out stays.
pub async fn patch_me(
    State(app): State<App>,
    allowed: Allowed<may::MeWrite>,
    Json(body): Json<PatchMe>,
) -> ApiResult<Json<Value>> {
    let change = Change { name: body.name, locale: body.locale, theme: body.theme };
    account::change(&app, &allowed, change).await?;
    Ok(Json(describe_me(&app, &allowed).await?))
}

async fn describe_me(app: &App, allowed: &impl AsMyself) -> ApiResult<Value> {
    let (profile, apps) = account::read(app, allowed).await?;
    let identities = account::identities(app, allowed).await?;
    let passkeys = account::passkeys(app, allowed).await?;
    let invitations = invitations::mine(app, allowed).await?;
    let caller = allowed.credential();
    let session = caller.credential_id.filter(|_| caller.kind == CredentialKind::ConsoleSession);
    Ok(json!({
        "id": profile.user_id,
        "email": profile.email,
        "name": profile.name,
        "locale": profile.locale,
        "theme": profile.theme,
        "created_at": profile.created_at,
        "email_proved_at": profile.email_proved_at,
        "apps": apps,
        "identities": identities,
        "passkeys": passkeys,
        "invitations": invitations,
        "session_id": session,
        "csrf_token": session.map(|id| cookie::csrf_token(app, id)),
    }))
}

/// `POST /v1/me/password`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The one of now, where there is one.
    current_password: Option<String>,
    /// The one from now on.
    new_password: String,
}

/// Changes the caller's password.
pub async fn change_password(
    State(app): State<App>,
    allowed: Allowed<may::MeWrite>,
    Json(body): Json<ChangePassword>,
) -> ApiResult<NoContent> {
    // Whoever took a session must not guess the password with it.
    app.rate_limits.password(app.pepper.derive("password of", allowed.me().as_bytes()))?;
    let (current, new) =
        (body.current_password.map(SecretString::from), SecretString::from(body.new_password));
    account::change_password(&app, &allowed, current, new).await?;
    Ok(NoContent)
}

/// Lists the caller's console sessions, newest first.
pub async fn list_sessions(
    State(app): State<App>,
    allowed: Allowed<may::MeRead>,
    page: Page,
) -> ApiResult<Json<Paged<impl serde::Serialize>>> {
    let mut tx = app.person_tx(&allowed).await?;
    let current = allowed.credential().credential_id;
    let rows = store::list_sessions(&mut tx, current, app.now(), page.after()?, page.fetch()).await?;
    Ok(Json(page.of(rows, |row| row.credential_id.to_string())))
}

/// A thing of the caller's, a member, or somebody, in a path.
#[derive(Deserialize)]
pub struct IdPath {
    pub(super) id: String,
}

/// Ends one of the caller's console sessions.
pub async fn delete_session(
    State(app): State<App>,
    allowed: Allowed<may::MeWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    account::end_session(&app, &allowed, &path.id).await?;
    Ok(NoContent)
}

/// Ends all of the caller's console sessions but this.
pub async fn delete_other_sessions(
    State(app): State<App>,
    allowed: Allowed<may::MeWrite>,
) -> ApiResult<NoContent> {
    account::end_other_sessions(&app, &allowed).await?;
    Ok(NoContent)
}

/// Unlinks one of the caller's accounts at other providers.
pub async fn unlink(
    State(app): State<App>,
    allowed: Allowed<may::MeWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    account::unlink(&app, &allowed, &path.id).await?;
    Ok(NoContent)
}

/// Takes the caller out of an app of theirs.
pub async fn leave_app(
    State(app): State<App>,
    allowed: Allowed<may::MeWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    members::leave(&app, &allowed, &path.id).await?;
    Ok(NoContent)
}

impl From<HashError> for ApiError {
    fn from(error: HashError) -> ApiError {
        match error {
            HashError::Busy => ApiError::unavailable(error.to_string()),
            HashError::Failed(cause) => ApiError::internal("a password could not be hashed", cause),
        }
    }
}

impl From<SignupError> for ApiError {
    fn from(error: SignupError) -> ApiError {
        match error {
            SignupError::Password(cause) => cause.into(),
            SignupError::App(cause) => cause.into(),
            SignupError::Db(cause) => cause.into(),
        }
    }
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> ApiError {
        match error {
            LoginError::Refused => {
                ApiError::new(StatusCode::UNAUTHORIZED, "login_refused", error.to_string())
            }
            LoginError::Password(cause) => cause.into(),
            LoginError::Db(cause) => cause.into(),
        }
    }
}

impl From<MagicError> for ApiError {
    fn from(error: MagicError) -> ApiError {
        match error {
            MagicError::Refused => ApiError::new(StatusCode::UNAUTHORIZED, "code_refused", error.to_string()),
            MagicError::TooMany(error) => error,
            MagicError::Signup(cause) => cause.into(),
            MagicError::Login(cause) => cause.into(),
            MagicError::Db(cause) => cause.into(),
        }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> ApiError {
        match error {
            AccountError::Invalid(fields) => ApiError::invalid(fields),
            AccountError::WrongPassword => ApiError::forbidden("wrong_password", error.to_string()),
            AccountError::NoSuchSession => ApiError::not_found("session"),
            AccountError::NoSuchIdentity => ApiError::not_found("identity"),
            AccountError::NoSuchPasskey => ApiError::not_found("passkey"),
            AccountError::LastWayIn => ApiError::conflict("last_way_in", error.to_string()),
            AccountError::Standing(cause) => cause.into(),
            AccountError::Password(cause) => cause.into(),
            AccountError::Db(cause) => cause.into(),
        }
    }
}
