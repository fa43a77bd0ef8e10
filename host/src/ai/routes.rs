//! `/v1/ai/…`

use super::{draw, files, moderate, relay, speak, transcribe};
use crate::{
    app::App,
    chat::{
        dialect::Dialect,
        embed,
        routes::{respond, session_of},
        send::ChatError,
    },
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may},
    http::{Json, Params, body, multipart},
    limits::{CHAT_BYTES_MAX, SOUND_BYTES_MAX},
    models::{catalog, gateway::Sound},
    prices,
    tasks::{self, TaskKind},
    tenants::configure,
};
use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::{HeaderValue, header};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Lists the models the app can name, with what is known of them and what they cost (row M102).
pub async fn list_models(State(app): State<App>, allowed: Allowed<may::AiRead>) -> ApiResult<Json<Value>> {
    let models = catalog::list(&app, &allowed).await?;
    let ids: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
    let prices = prices::of_models(&app, &allowed, &ids).await?;
    let tenant = configure::known(&app, &allowed).await?;
    let own_name = |id: &str| tenant.model_aliases.iter().find(|(_, named)| *named == id).map(|(own, _)| own);
    let show = |model: &catalog::Model| {
        json!({ "id": model.id, "object": "model", "provider": model.owned_by, "created": model.created,
            "alias": own_name(&model.id).or(model.alias.as_ref()), "kind": model.kind, "context": model.context,
            "output": model.output, "price": prices.get(&model.id) })
    };
    Ok(Json(json!({ "object": "list", "data": models.iter().map(show).collect::<Vec<_>>() })))
}

/// Asks a model itself, in the dialect the request came in (rows M103, M104).
pub async fn relay<D: Dialect>(
    State(app): State<App>,
    allowed: Allowed<may::AiInvoke>,
    request: Request,
) -> ApiResult<Response> {
    if session_of(&request)?.is_some() {
        return Err(ChatError::Request(relay::no_turns("session_id")).into());
    }
    let (body, dialect) = D::read(body::read_json(request, CHAT_BYTES_MAX).await?)?;
    let (answer, asked) = relay::relay(&app, &allowed, body).await?;
    respond(answer, asked, dialect, allowed.caller()).await
}

/// Turns texts into vectors (row M105).
pub async fn embed(
    State(app): State<App>,
    allowed: Allowed<may::AiInvoke>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let body = body::read_json(request, CHAT_BYTES_MAX).await?;
    Ok(Json(embed::embed(&app, &allowed, body).await?))
}

/// Judges texts and pictures (row M108).
pub async fn moderate(
    State(app): State<App>,
    allowed: Allowed<may::AiInvoke>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let body = body::read_json(request, CHAT_BYTES_MAX).await?;
    Ok(Json(moderate::moderate(&app, &allowed, body).await?))
}

/// Makes pictures, at once or as a task (row M106).
pub async fn draw(
    State(app): State<App>,
    allowed: Allowed<may::AiInvoke>,
    request: Request,
) -> ApiResult<Response> {
    let as_task = tasks::is_preferred(request.headers());
    let body = body::read_json(request, CHAT_BYTES_MAX).await?;
    let drawing = draw::read(&app, &allowed, body).await?;
    if !as_task {
        return Ok(Json(draw::draw(&app, &allowed, drawing).await?).into_response());
    }
    let (of_task, owner) = (app.clone(), allowed.clone());
    let work =
        async move { draw::draw(&of_task, &owner, drawing.to_be_fetched()).await.map_err(ApiError::from) };
    let task = Box::pin(tasks::start(&app, &allowed, TaskKind::Image, work)).await?;
    Ok(tasks::routes::accepted(&allowed, &task))
}

/// A file in a path.
#[derive(Deserialize)]
pub struct FilePath {
    id: Uuid,
}

/// Gives a picture that was made.
pub async fn get_file(
    State(app): State<App>,
    allowed: Allowed<may::AiRead>,
    Params(path): Params<FilePath>,
) -> ApiResult<Response> {
    let file = files::find(&app, &allowed, path.id).await?.ok_or_else(|| ApiError::not_found("file"))?;
    let media_type = HeaderValue::from_str(&file.media_type)
        .map_err(|cause| ApiError::internal("a file's type is none", cause))?;
    Ok(([(header::CONTENT_TYPE, media_type)], file.content).into_response())
}

/// Speaks a text (row M107). A sound that breaks off breaks the connection: it has no place for an error.
pub async fn speak(
    State(app): State<App>,
    allowed: Allowed<may::AiInvoke>,
    request: Request,
) -> ApiResult<Response> {
    let body = body::read_json(request, CHAT_BYTES_MAX).await?;
    let sound = speak::speak(&app, &allowed, body).await?;
    let media_type = HeaderValue::from_static(sound.media_type());
    let pieces = stream::unfold(sound, |mut sound: Sound| async move { Some((sound.next().await?, sound)) });
    Ok(([(header::CONTENT_TYPE, media_type)], Body::from_stream(pieces)).into_response())
}

/// Writes down what is said in a sound (row M108).
pub async fn transcribe(
    State(app): State<App>,
    allowed: Allowed<may::AiInvoke>,
    request: Request,
) -> ApiResult<Response> {
    let boundary = multipart::boundary(request.headers())?;
    let body = body::read(request.into_body(), SOUND_BYTES_MAX).await?;
    let form = multipart::read(&body, &boundary)?;
    let transcript = transcribe::transcribe(&app, &allowed, form).await?;
    let media_type = HeaderValue::from_static(transcript.media_type);
    Ok(([(header::CONTENT_TYPE, media_type)], transcript.body).into_response())
}
