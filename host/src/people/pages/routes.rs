//! `/login`, `/logout`, `/device…`.
//!
//! What is wrong is shown on the page it is wrong on, with the status that the API has for it.

use super::{
    decider::Decider,
    device as shown, frame,
    login::{self as entrance, Kept, Ways},
    onward::{self, Onward, see},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, Caller, Scopes, action::may, authenticate, cookie},
    http::{Form, RequestContext},
    limits::FORM_BYTES_MAX,
    people::{
        account, device,
        login::{self, SignedIn},
        oauth::Oauth,
        programs::Approval,
        routes, store,
    },
};
use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, Uri, header};
use secrecy::{ExposeSecret, SecretString};

/// Who is signed in, in the browser that asks.
pub(super) struct Visitor {
    caller: Caller,
    email: String,
    token: String,
}

impl Visitor {
    pub(super) async fn find(
        app: &App,
        context: &RequestContext,
        headers: &HeaderMap,
    ) -> ApiResult<Option<Visitor>> {
        let Some(caller) = authenticate::visitor(app, context, headers).await? else { return Ok(None) };
        let (Some(user_id), Some(credential_id)) = (caller.user_id, caller.credential_id) else {
            return Ok(None);
        };
        let person = store::find_person(&mut app.service_tx().await?, user_id).await?;
        let email = person.and_then(|person| person.email).unwrap_or_default();
        Ok(Some(Visitor { caller, email, token: cookie::csrf_token(app, credential_id) }))
    }

    pub(super) fn decider(&self) -> Decider<'_> {
        Decider { email: &self.email, token: &self.token }
    }

    pub(super) fn may_decide(&self) -> ApiResult<Allowed<may::DeviceDecide>> {
        Ok(Allowed::judge(Some(&self.caller), None)?)
    }
}

/// A page, or what there is instead of it.
pub(super) fn answer(made: ApiResult<Response>) -> Response {
    made.unwrap_or_else(|error| frame::trouble(&error))
}

pub(super) fn query(uri: &Uri) -> Form {
    Form::of(uri.query().unwrap_or_default().as_bytes())
}

/// `GET /login`
pub async fn get_login(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let onward = Onward::of(&query(&uri));
    answer(match Visitor::find(&app, &context, &headers).await {
        Ok(Some(_)) => Ok(see(&onward.path())),
        Ok(None) => Ok(ask_who(&app, &headers, &onward, "", None)),
        Err(error) => Err(error),
    })
}

/// The page to sign in, with what was wrong.
pub(super) fn ask_who(
    app: &App,
    headers: &HeaderMap,
    onward: &Onward,
    email: &str,
    error: Option<&ApiError>,
) -> Response {
    let (token, cookie) = cookie::form_token(app, headers);
    let kept = Kept { token: &token, onward, email };
    let providers = app.oauth.iter().flat_map(Oauth::offered).collect();
    let ways = Ways { mail: app.mailer.is_some(), providers };
    let mut page = onward.shown_on(entrance::sign_in(&kept, &ways, error));
    if let Some(cookie) = cookie {
        page.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    again(page, error)
}

fn ask_for_code(
    app: &App,
    headers: &HeaderMap,
    onward: &Onward,
    email: &str,
    error: Option<&ApiError>,
) -> Response {
    let (token, _) = cookie::form_token(app, headers);
    let page = entrance::type_code(&Kept { token: &token, onward, email }, error);
    again(onward.shown_on(page), error)
}

/// A page as it is, or with what was wrong.
pub(super) fn again(page: Response, error: Option<&ApiError>) -> Response {
    match error {
        Some(error) => frame::with_error(page, error),
        None => page,
    }
}

/// A form of whoever is not signed in, and where they were going, which is kept in it.
async fn entered(app: &App, request: Request) -> ApiResult<(HeaderMap, Form, Onward)> {
    let headers = request.headers().clone();
    let form = Form::read(request, FORM_BYTES_MAX).await?;
    cookie::check_form(app, None, &headers, &form)?;
    let onward = Onward::of(&form);
    Ok((headers, form, onward))
}

/// `POST /login`: signs somebody in, and goes on to where they were going.
pub async fn post_login(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    answer(sign_in(&app, context, request).await)
}

async fn sign_in(app: &App, context: RequestContext, request: Request) -> ApiResult<Response> {
    let (headers, form, onward) = entered(app, request).await?;
    let email = form.one("email").unwrap_or_default();
    let password = SecretString::from(form.one("password").unwrap_or_default());
    match routes::sign_in(app, context, &headers, email, password).await {
        Ok(signed_in) => Ok(begun_with(app, &signed_in, see(&onward.path()))),
        Err(error) => Ok(ask_who(app, &headers, &onward, email, Some(&error))),
    }
}

/// `POST /login/mail`: mails a code, and asks for it.
pub async fn post_mail(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    answer(mail(&app, context, request).await)
}

async fn mail(app: &App, context: RequestContext, request: Request) -> ApiResult<Response> {
    let (headers, form, onward) = entered(app, request).await?;
    let email = form.one("email").unwrap_or_default().trim();
    Ok(match routes::mail_code(app, context, email) {
        Ok(()) => ask_for_code(app, &headers, &onward, email, None),
        Err(error) => ask_who(app, &headers, &onward, email, Some(&error)),
    })
}

/// `POST /login/code`: signs somebody in with the code, and goes on to where they were going.
pub async fn post_code(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    answer(sign_in_with_code(&app, context, request).await)
}

async fn sign_in_with_code(app: &App, context: RequestContext, request: Request) -> ApiResult<Response> {
    let (headers, form, onward) = entered(app, request).await?;
    let email = form.one("email").unwrap_or_default();
    let code = form.one("code").unwrap_or_default();
    match routes::sign_in_with_code(app, context, &headers, email, code).await {
        Ok(signed_in) => Ok(begun_with(app, &signed_in, see(&onward.path()))),
        Err(error) => Ok(ask_for_code(app, &headers, &onward, email, Some(&error))),
    }
}

/// An answer that begins a session in the browser it goes to.
pub(super) fn begun_with(app: &App, signed_in: &SignedIn, mut next: Response) -> Response {
    let cookie = cookie::set(app, signed_in.token.expose_secret(), login::session_life());
    next.headers_mut().insert(header::SET_COOKIE, cookie);
    next
}

/// A form of somebody's who may be signed in, and who that is.
pub(super) async fn sent(
    app: &App,
    context: &RequestContext,
    request: Request,
) -> ApiResult<(Form, Option<Visitor>)> {
    let headers = request.headers().clone();
    let form = Form::read(request, FORM_BYTES_MAX).await?;
    let visitor = Visitor::find(app, context, &headers).await?;
    if let Some(visitor) = &visitor {
        cookie::check_form(app, Some(&visitor.caller), &headers, &form)?;
    }
    Ok((form, visitor))
}

/// `POST /logout`: ends the session.
pub async fn post_logout(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    answer(sign_out(&app, &context, request).await)
}

async fn sign_out(app: &App, context: &RequestContext, request: Request) -> ApiResult<Response> {
    let (form, visitor) = sent(app, context, request).await?;
    let mut next = see(&Onward::of(&form).login());
    if let Some(visitor) = visitor {
        login::logout(app, &Allowed::<may::Logout>::judge(Some(&visitor.caller), None)?).await?;
        next.headers_mut().insert(header::SET_COOKIE, cookie::clear(app));
    }
    Ok(next)
}

fn to_login(user_code: String) -> Response {
    see(&Onward::Device(user_code).login())
}

/// `GET /device`: asks for the code.
pub async fn get_device(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let user_code = onward::user_code(&query(&uri));
    answer(match Visitor::find(&app, &context, &headers).await {
        Ok(Some(visitor)) => Ok(shown::ask(&visitor.decider(), &user_code, None)),
        Ok(None) => Ok(to_login(user_code)),
        Err(error) => Err(error),
    })
}

/// `POST /device`: shows what asks under a code.
pub async fn post_device(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    answer(look(&app, &context, request).await)
}

async fn look(app: &App, context: &RequestContext, request: Request) -> ApiResult<Response> {
    let (form, visitor) = sent(app, context, request).await?;
    let user_code = onward::user_code(&form);
    match visitor {
        Some(visitor) => show(app, &visitor, &user_code, None).await,
        None => Ok(to_login(user_code)),
    }
}

/// What asks under a code, to be decided on; where there is nothing to decide, the code is asked for again.
async fn show(
    app: &App,
    visitor: &Visitor,
    user_code: &str,
    error: Option<&ApiError>,
) -> ApiResult<Response> {
    let allowed = visitor.may_decide()?;
    match device::look(app, &allowed, user_code).await {
        Ok(request) => {
            let (_, apps) = account::read(app, &allowed).await?;
            Ok(again(shown::decide(&visitor.decider(), user_code, &request, &apps, error), error))
        }
        Err(error) => Ok(ask_again(visitor, user_code, &error.into())),
    }
}

fn ask_again(visitor: &Visitor, user_code: &str, error: &ApiError) -> Response {
    frame::with_error(shown::ask(&visitor.decider(), user_code, Some(error)), error)
}

/// What is ticked of a form that lets a program in, and which app alone is chosen.
pub(super) fn ticked(form: &Form) -> ApiResult<Approval> {
    let scopes = Scopes::parse(&form.all("scope").collect::<Vec<_>>())
        .map_err(|unknown| ApiError::invalid(vec![FieldError::new("scope", unknown.to_string())]))?;
    if scopes == Scopes::NONE {
        let text = "choose at least one thing that it may do, or deny it";
        return Err(ApiError::unprocessable("invalid_request", text));
    }
    let app = form.one("app").filter(|slug| !slug.is_empty()).map(str::to_owned);
    Ok(Approval { scopes: Some(scopes), app, expires_in: None })
}

/// `POST /device/approve`: lets the program in, for what is ticked.
pub async fn post_approve(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    answer(approve(&app, &context, request).await)
}

async fn approve(app: &App, context: &RequestContext, request: Request) -> ApiResult<Response> {
    let (form, visitor) = sent(app, context, request).await?;
    let user_code = onward::user_code(&form);
    let Some(visitor) = visitor else { return Ok(to_login(user_code)) };
    let approval = match ticked(&form) {
        Ok(approval) => approval,
        Err(error) => return show(app, &visitor, &user_code, Some(&error)).await,
    };
    match device::approve(app, &visitor.may_decide()?, &user_code, &approval).await {
        Ok(()) => Ok(see("/device/approved")),
        Err(error) => Ok(ask_again(&visitor, &user_code, &error.into())),
    }
}

/// `POST /device/deny`: turns the program away.
pub async fn post_deny(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    answer(deny(&app, &context, request).await)
}

async fn deny(app: &App, context: &RequestContext, request: Request) -> ApiResult<Response> {
    let (form, visitor) = sent(app, context, request).await?;
    let user_code = onward::user_code(&form);
    let Some(visitor) = visitor else { return Ok(to_login(user_code)) };
    match device::deny(app, &visitor.may_decide()?, &user_code).await {
        Ok(()) => Ok(see("/device/denied")),
        Err(error) => Ok(ask_again(&visitor, &user_code, &error.into())),
    }
}

/// `GET /device/approved`: the end of it.
pub async fn get_approved() -> Response {
    shown::done(true)
}

/// `GET /device/denied`: the end of it.
pub async fn get_denied() -> Response {
    shown::done(false)
}
