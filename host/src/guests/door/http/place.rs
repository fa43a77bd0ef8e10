//! Putting secrets into a request: where its text refers to one, in a place it was granted for.
//!
//! Everything about the request that can be wrong was said before; here values come in, and from here on nothing of
//! it goes back to the guest or into a text of ours.

use crate::{
    grants::Place,
    sandbox::door::DoorError,
    secrets::{self, scan::Values},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::{Url, form_urlencoded};

/// Where values come from: asks the gate whether the secret may go there, then opens it.
pub trait Reveal: Sync {
    /// The value of a secret on its way to this URL, in this place.
    fn reveal(
        &self,
        name: &str,
        url: &Url,
        place: Place<'_>,
    ) -> impl Future<Output = Result<SecretString, DoorError>> + Send;
}

/// What went into a request, and where.
#[derive(Default)]
pub struct Placed {
    /// Each once.
    pub values: Values,
    /// Whether one stands in the body, which a redirect may take along.
    pub in_body: bool,
}

impl Placed {
    /// The text with the values it refers to, each written by `spell`.
    async fn put(
        &mut self,
        from: &impl Reveal,
        url: &Url,
        place: Place<'_>,
        text: &str,
        spell: impl Fn(&str) -> String,
    ) -> Result<Option<String>, DoorError> {
        let mut names = secrets::references(text);
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(None);
        }
        let mut values = vec![];
        for name in names {
            values.push((name, from.reveal(name, url, place).await?));
        }
        // In one pass: a value that looks like a reference is a value.
        let (mut whole, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((at, name, value)) = next(rest, &values) {
            whole.push_str(&rest[..at]);
            whole.push_str(&spell(value.expose_secret()));
            rest = &rest[at + secrets::reference(name).len()..];
        }
        whole.push_str(rest);
        self.values.extend(values.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Ok(Some(whole))
    }
}

/// The first reference in a text to one of these, and where it stands.
fn next<'a>(text: &str, values: &'a [(&'a str, SecretString)]) -> Option<(usize, &'a str, &'a SecretString)> {
    let found = values
        .iter()
        .filter_map(|(name, value)| text.find(&secrets::reference(name)).map(|at| (at, *name, value)));
    found.min_by_key(|(at, ..)| *at)
}

/// The headers.
///
/// # Errors
/// Where a secret may not go there, or its value cannot.
pub async fn in_headers(
    from: &impl Reveal,
    url: &Url,
    given: Vec<(HeaderName, String)>,
    placed: &mut Placed,
) -> Result<HeaderMap, DoorError> {
    let mut headers = HeaderMap::new();
    for (name, text) in given {
        let place = Place::Header(name.as_str());
        let put = placed.put(from, url, place, &text, str::to_owned).await?;
        let holds_secret = put.is_some();
        let mut value = HeaderValue::from_str(&put.unwrap_or(text)).map_err(|_| {
            DoorError::Invalid(format!("the value of header `{name}` has characters that no header's has"))
        })?;
        // Not shown in logs, not sent on to another origin.
        value.set_sensitive(holds_secret || matches!(name.as_str(), "authorization" | "cookie"));
        headers.append(name, value);
    }
    Ok(headers)
}

/// The values of the query's parameters; a reference anywhere else in a URL is an error.
///
/// # Errors
/// Where a secret may not go there.
pub async fn in_url(from: &impl Reveal, mut url: Url, placed: &mut Placed) -> Result<Url, DoorError> {
    let elsewhere = percent_decode_str(url.path()).decode_utf8_lossy();
    if !secrets::references(&elsewhere).is_empty() {
        return Err(misplaced());
    }
    if let Some(query) = url.query().map(str::to_owned)
        && let Some(query) = in_pairs(from, &url, &query, false, placed).await?
    {
        url.set_query(Some(&query));
    }
    Ok(url)
}

/// The body: the fields of a form; or a text, in JSON as JSON writes it.
///
/// # Errors
/// Where a secret may not go there.
pub async fn in_body(
    from: &impl Reveal,
    url: &Url,
    headers: &HeaderMap,
    body: Vec<u8>,
    placed: &mut Placed,
) -> Result<Vec<u8>, DoorError> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Ok(text) = std::str::from_utf8(&body) else {
        let looks_like_one = body.windows(REFERENCE_START.len()).any(|part| part == REFERENCE_START);
        let error = "a secret may stand in a body that is text; this one is not UTF-8";
        return if looks_like_one { Err(DoorError::Invalid(error.to_owned())) } else { Ok(body) };
    };
    let put = if media == "application/x-www-form-urlencoded" {
        in_pairs(from, url, text, true, placed).await?
    } else if media.ends_with("json") {
        placed.put(from, url, Place::Body, text, inside_json).await?
    } else {
        placed.put(from, url, Place::Body, text, str::to_owned).await?
    };
    placed.in_body = put.is_some();
    Ok(put.map_or(body, String::into_bytes))
}

const REFERENCE_START: &[u8] = b"{{secret:";

fn inside_json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// `name=value&…`, each value that refers to a secret written anew, all others as they are.
async fn in_pairs(
    from: &impl Reveal,
    url: &Url,
    pairs: &str,
    is_body: bool,
    placed: &mut Placed,
) -> Result<Option<String>, DoorError> {
    let mut written = vec![];
    let mut changed = false;
    for pair in pairs.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name_read, value_read) = (read(name), read(value));
        if !secrets::references(&name_read).is_empty() {
            return Err(misplaced());
        }
        let place = if is_body { Place::Body } else { Place::Query(&name_read) };
        match placed.put(from, url, place, &value_read, str::to_owned).await? {
            Some(put) => {
                let encoded: String = form_urlencoded::byte_serialize(put.as_bytes()).collect();
                written.push(format!("{name}={encoded}"));
                changed = true;
            }
            None => written.push(pair.to_owned()),
        }
    }
    Ok(changed.then(|| written.join("&")))
}

fn read(encoded: &str) -> String {
    percent_decode_str(&encoded.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn misplaced() -> DoorError {
    DoorError::Invalid(
        "a secret cannot stand there in a URL or a form; put it into a header, or where it was granted into the \
         value of a query parameter (`NAME@host query:key`) or the body (`NAME@host body`)"
            .to_owned(),
    )
}
