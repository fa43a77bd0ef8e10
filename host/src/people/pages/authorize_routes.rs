//! `/oauth/authorize…`
//!
//! Who asks and where it listens is looked at first: what is wrong of that is shown on a page. Whatever else is wrong is
//! told to the program, once somebody is signed in: a link sends nobody anywhere whom we do not know (RFC 9700 §4.11.2).

use super::{
    authorize as shown,
    onward::{Onward, REQUEST_FIELD, see},
    routes::{Visitor, again, query, sent, ticked},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    http::{Form, RequestContext, own_origin},
    people::{
        account,
        authorize::{self, Asked, Refused},
        programs::Approval,
    },
};
use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, Uri};
use secrecy::ExposeSecret;

fn answer(made: ApiResult<Response>) -> Response {
    made.unwrap_or_else(|error| shown::trouble(&error))
}

/// Sends the browser to where the program listens, with who says so (RFC 9207).
fn back(app: &App, headers: &HeaderMap, asked: &Asked, said: &[(&str, &str)]) -> Response {
    let issuer = own_origin(app, headers);
    let mut said = said.to_vec();
    said.push(("iss", &issuer));
    let mut gone = see(&asked.back(&said));
    // It may hold a code.
    gone.headers_mut().values_mut().for_each(|value| value.set_sensitive(true));
    gone
}

fn refused(app: &App, headers: &HeaderMap, asked: &Asked, refused: &Refused) -> Response {
    let said = [("error", refused.error), ("error_description", refused.text.as_str())];
    back(app, headers, asked, &said)
}

/// `GET /oauth/authorize`: shows what asks.
pub async fn get_authorize(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    answer(look(&app, &context, &headers, &query(&uri)).await)
}

async fn look(
    app: &App,
    context: &RequestContext,
    headers: &HeaderMap,
    request: &Form,
) -> ApiResult<Response> {
    let asked = match Asked::read(request) {
        Ok(asked) => asked,
        Err(stranger) => return Ok(shown::stranger(&stranger)),
    };
    match Visitor::find(app, context, headers).await? {
        Some(visitor) => show(app, headers, &visitor, &asked, None).await,
        None => Ok(see(&Onward::asked(request).login())),
    }
}

/// What asks, to be decided on; or what the program is told where there is nothing to decide.
async fn show(
    app: &App,
    headers: &HeaderMap,
    visitor: &Visitor,
    asked: &Asked,
    error: Option<&ApiError>,
) -> ApiResult<Response> {
    let wish = match &asked.wish {
        Ok(wish) => wish,
        Err(cause) => return Ok(refused(app, headers, asked, cause)),
    };
    let (_, apps) = account::read(app, &visitor.may_decide()?).await?;
    if let Some(slug) = &wish.app
        && !apps.iter().any(|app| app.slug == *slug)
    {
        return Ok(refused(app, headers, asked, &Refused::invalid("app is none of this person's")));
    }
    Ok(again(shown::decide(&visitor.decider(), asked, wish, &apps, error), error))
}

/// A decision as it was sent.
struct Decision {
    headers: HeaderMap,
    form: Form,
    visitor: Visitor,
    asked: Asked,
}

impl Decision {
    /// Reads it; or what is answered where nobody decided anything.
    async fn read(
        app: &App,
        context: &RequestContext,
        request: Request,
    ) -> ApiResult<Result<Decision, Response>> {
        let headers = request.headers().clone();
        let (form, visitor) = sent(app, context, request).await?;
        let request = Form::of(form.one(REQUEST_FIELD).unwrap_or_default().as_bytes());
        Ok(match (Asked::read(&request), visitor) {
            (Err(stranger), _) => Err(shown::stranger(&stranger)),
            (Ok(_), None) => Err(see(&Onward::asked(&request).login())),
            (Ok(asked), Some(visitor)) => Ok(Decision { headers, form, visitor, asked }),
        })
    }
}

/// `POST /oauth/authorize`: lets the program in, for what is ticked.
pub async fn post_allow(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    answer(allow(&app, &context, request).await)
}

async fn allow(app: &App, context: &RequestContext, request: Request) -> ApiResult<Response> {
    let Decision { headers, form, visitor, asked } = match Decision::read(app, context, request).await? {
        Ok(decision) => decision,
        Err(instead) => return Ok(instead),
    };
    let wish = match &asked.wish {
        Ok(wish) => wish,
        Err(cause) => return Ok(refused(app, &headers, &asked, cause)),
    };
    let approval = match ticked(&form) {
        // Where the program named one, no other is chosen.
        Ok(ticked) => Approval { app: wish.app.clone().or(ticked.app), ..ticked },
        Err(error) => return show(app, &headers, &visitor, &asked, Some(&error)).await,
    };
    match authorize::allow(app, &visitor.may_decide()?, &asked, wish, &approval).await {
        Ok(code) => Ok(back(app, &headers, &asked, &[("code", code.expose_secret())])),
        Err(error) => show(app, &headers, &visitor, &asked, Some(&error.into())).await,
    }
}

/// `POST /oauth/authorize/deny`: turns the program away.
pub async fn post_deny(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    answer(deny(&app, &context, request).await)
}

async fn deny(app: &App, context: &RequestContext, request: Request) -> ApiResult<Response> {
    let Decision { headers, visitor, asked, .. } = match Decision::read(app, context, request).await? {
        Ok(decision) => decision,
        Err(instead) => return Ok(instead),
    };
    authorize::deny(app, &visitor.may_decide()?, &asked).await?;
    let said = Refused { error: "access_denied", text: "whoever was asked said no".to_owned() };
    Ok(refused(app, &headers, &asked, &said))
}
