//! `http.send`, here: the server's guarded way out, its gate and its rules for secrets.

use super::door::LocalDoor;
use http::{HeaderValue, Method, header};
use opg_host::{
    egress::{EgressError, EgressRequest, Refusal},
    grants::{Place, Reach},
    guests::door::http::{
        REDIRECTS_MAX, RESPONSE_BYTES_MAX, TIMEOUT_DEFAULT, check, host_of, names_in_url,
        place::{self, Placed, Reveal},
        refused, request_to,
    },
    sandbox::door::{DoorError, HttpRequest, HttpResponse},
    secrets::scan::{Found, Scanner},
};
use secrecy::SecretString;
use std::time::Duration;
use url::Url;

pub(super) async fn send(
    door: &LocalDoor,
    request: HttpRequest,
    time_left: Duration,
) -> Result<HttpResponse, DoorError> {
    let parts = check(&request)?;
    door.permit(&request_to(&parts.method, &parts.url)?)?;
    let mut placed = Placed::default();
    let url = place::in_url(door, parts.url, &mut placed).await?;
    let mut headers = place::in_headers(door, &url, parts.headers, &mut placed).await?;
    let body = place::in_body(door, &url, &headers, parts.body, &mut placed).await?;
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));

    let scanner = Scanner::new(&placed.values);
    let first = url.origin();
    let judge = |method: &Method, next: &Url| {
        let not_allowed = |error: DoorError| Refusal::NotAllowed(error.to_string());
        request_to(method, next).and_then(|reach| door.permit(&reach)).map_err(not_allowed)?;
        let in_url = scanner.as_ref().is_some_and(|scanner| !names_in_url(scanner, next.as_str()).is_empty());
        if next.origin() != first && (in_url || placed.in_body) {
            let text = "a redirect to another host that would take a secret along is not followed";
            return Err(Refusal::NotAllowed(text.to_owned()));
        }
        Ok(())
    };
    let outgoing = EgressRequest {
        method: parts.method,
        url,
        headers,
        body: body.into(),
        timeout: request.timeout.unwrap_or(TIMEOUT_DEFAULT).min(time_left),
        response_bytes_max: RESPONSE_BYTES_MAX,
        redirects_max: REDIRECTS_MAX,
        check: &judge,
    };
    let answer = door.egress.send(outgoing).await.map_err(|error| here(&error))?;
    let clean = |bytes: &[u8]| match &scanner {
        Some(scanner) => scanner.clean(bytes, &mut Found::new()).into_owned(),
        None => bytes.to_vec(),
    };
    let text = |value: &HeaderValue| String::from_utf8_lossy(&clean(value.as_bytes())).into_owned();
    Ok(HttpResponse {
        status: answer.status.as_u16(),
        headers: answer.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: clean(&answer.body),
    })
}

impl Reveal for LocalDoor {
    async fn reveal(&self, name: &str, url: &Url, place: Place<'_>) -> Result<SecretString, DoorError> {
        if url.scheme() != "https" && !self.allow_private {
            return Err(DoorError::Invalid("a secret goes out over https only".to_owned()));
        }
        self.permit(&Reach::SecretTo { name, host: host_of(url)?, place: Some(place) })?;
        self.secret_of(name)
    }
}

/// What the server says, and what helps here.
fn here(error: &EgressError) -> DoorError {
    match error {
        EgressError::Refused(Refusal::Private { .. }) => {
            DoorError::Denied(format!("{error}; with --allow-private this command lets it through"))
        }
        other => refused(other),
    }
}
