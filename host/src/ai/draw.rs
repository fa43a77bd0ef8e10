//! Pictures of a text.

use super::files;
use crate::{
    app::App,
    chat::send::{self, ChatError},
    egress::EgressRequest,
    grants::{Allowed, action::may},
    models::{
        UpstreamError,
        gateway::{self, Origin},
        images::{self, IMAGE_BYTES_MAX, ImageRequest, Picture},
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};
use std::time::Duration;
use url::Url;

/// The largest picture inside an answer, in bytes: 256 KiB of base64 (row M106).
const INLINE_BYTES_MAX: usize = 192 << 10;
/// How long a picture may take to come from where its provider put it.
const FETCH_TIME_MAX: Duration = Duration::from_secs(60);
/// Redirects on the way to a picture: providers' stores make one.
const REDIRECTS_MAX: u32 = 2;

/// A request that can be asked.
pub struct Drawing {
    request: ImageRequest,
    provider: String,
    model: String,
    origin: Origin,
}

impl Drawing {
    /// The same, with every picture under an address of its own: for who comes back for it.
    pub fn to_be_fetched(mut self) -> Drawing {
        self.request.inline = false;
        self
    }
}

/// Reads a request for pictures.
///
/// # Errors
/// [`ChatError`]
pub async fn read(app: &App, allowed: &Allowed<may::AiInvoke>, body: Value) -> Result<Drawing, ChatError> {
    let request = ImageRequest::from_value(body).map_err(ChatError::Request)?;
    let (provider, model) = super::resolve(app, allowed, &request.model).await?;
    let origin = super::origin(send::end_user(&request.rest)?);
    Ok(Drawing { request, provider, model, origin })
}

/// Has pictures made, and keeps them; answers with OpenAI's list.
///
/// # Errors
/// [`ChatError`]
pub async fn draw(app: &App, allowed: &Allowed<may::AiInvoke>, drawing: Drawing) -> Result<Value, ChatError> {
    let Drawing { request, provider, model, origin } = drawing;
    let made = gateway::once(app, allowed, (&provider, &model), &request, origin).await?;
    let mut data = Vec::new();
    for image in made.images {
        let bytes = match image.picture {
            Picture::Bytes(bytes) => bytes,
            Picture::Url(url) => fetch(app, &url).await?,
        };
        let Some(media_type) = images::media_type(&bytes) else {
            return Err(UpstreamError::bad_reply("it has something that is no picture").into());
        };
        let mut item = Map::new();
        if request.inline && bytes.len() <= INLINE_BYTES_MAX {
            item.insert("b64_json".into(), json!(STANDARD.encode(&bytes)));
        } else {
            item.insert("url".into(), json!(files::keep(app, allowed, media_type, bytes).await?));
        }
        item.extend(image.revised_prompt.map(|text| ("revised_prompt".to_owned(), json!(text))));
        data.push(Value::Object(item));
    }
    let mut answer = json!({ "created": app.now().timestamp(), "data": data });
    if made.usage.total_tokens() > 0 {
        answer["usage"] = json!({
            "input_tokens": made.usage.prompt_tokens,
            "output_tokens": made.usage.completion_tokens,
            "total_tokens": made.usage.total_tokens(),
        });
    }
    Ok(answer)
}

/// A picture from where its provider put it: an address somebody else chose, reached like any of those.
async fn fetch(app: &App, url: &str) -> Result<Bytes, ChatError> {
    let failed = || ChatError::from(UpstreamError::bad_reply("a picture of it could not be fetched"));
    let request = EgressRequest {
        method: Method::GET,
        url: Url::parse(url).map_err(|_| failed())?,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        timeout: FETCH_TIME_MAX,
        response_bytes_max: IMAGE_BYTES_MAX,
        redirects_max: REDIRECTS_MAX,
        check: &|_, _| Ok(()),
    };
    let answer = app.model_egress.send(request).await.map_err(|cause| {
        tracing::warn!(%cause, "a picture could not be fetched from where its provider put it");
        failed()
    })?;
    if answer.status.is_success() { Ok(answer.body) } else { Err(failed()) }
}
