//! `http_request`: the way out that all guests have, in Extism's words.

use super::kernel::{Plugin, Refused, give, state, taken};
use crate::sandbox::door::HttpRequest;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What came of the last request.
#[derive(Default)]
pub(super) struct Response {
    /// 0 before the first.
    pub(super) status: i32,
    headers: BTreeMap<String, String>,
}

/// A request as PDKs write it.
#[derive(Deserialize)]
struct Request {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    method: Option<String>,
}

/// Sends a request and gives the handle of the answer's body. What comes of a refusal ends the call, as in Extism.
pub(super) async fn request(plugin: &mut Plugin<'_>, request: u64, body: u64) -> wasmtime::Result<u64> {
    state(plugin).extism.response = Response::default();
    let request = taken(plugin, request, "http request")?;
    let request: Request = serde_json::from_slice(&request)
        .map_err(|error| wasmtime::Error::msg(format!("the http request is not one: {error}")))?;
    let body = match body {
        0 => None,
        body => Some(taken(plugin, body, "http request body")?.into_vec()),
    };
    let request = HttpRequest {
        method: request.method.unwrap_or_else(|| "GET".to_owned()).to_uppercase(),
        url: request.url,
        headers: request.headers.into_iter().collect(),
        body,
        timeout: None,
    };
    let host = plugin.data().host.clone();
    let (door, time_left) = (host.door.clone(), host.time_left());
    let answer = host.ask(async move { door.http(request, time_left).await }).await.map_err(Refused::from)?;
    let max = plugin.data().extism.settings.response_bytes_max;
    if let Some(max) = max.filter(|&max| answer.body.len() as u64 > max) {
        let text = format!("the response has more than the {max} bytes that the manifest allows");
        return Err(Refused(text).into());
    }
    let mut headers = BTreeMap::new();
    for (name, value) in answer.headers {
        // Extism has one value for each name.
        headers
            .entry(name)
            .and_modify(|values: &mut String| {
                values.push_str(", ");
                values.push_str(&value);
            })
            .or_insert(value);
    }
    plugin.data_mut().extism.response = Response { status: answer.status.into(), headers };
    give(plugin, &answer.body)
}

/// The headers of the last answer, as a JSON object.
pub(super) fn headers(plugin: &mut Plugin<'_>) -> wasmtime::Result<u64> {
    let headers = serde_json::to_vec(&state(plugin).extism.response.headers)?;
    give(plugin, &headers)
}
