//! A key that was taken for one request: held while that is done, and then kept with its answer or let go.

use super::{IDEMPOTENCY_REPLAYED, PLACE, store};
use crate::{app::App, grants::Caller, secrets::envelope::Sealed};
use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts as RequestParts,
    response::Parts as ResponseParts,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{pin::pin, time::Duration};
use uuid::Uuid;
use zeroize::Zeroizing;

/// How often whoever works on something says so: twice within a lease may fail.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// What a key and its request are called in the table.
pub(super) struct Names {
    pub(super) key: [u8; 32],
    pub(super) owner: [u8; 32],
    pub(super) request: [u8; 32],
    pub(super) credential_id: Option<Uuid>,
    pub(super) app_id: Option<Uuid>,
}

impl Names {
    /// The names of a request. `token` is what was sent, where it is no credential of the table.
    pub(super) fn of(
        app: &App,
        caller: &Caller,
        token: Option<&str>,
        key: &[u8],
        asked: &RequestParts,
        body: &[u8],
    ) -> Names {
        let credential_id = caller.credential_id;
        let app_id = caller.app().map(|app| app.app_id);
        // Of a token of the environment, which has no row, the token itself; nothing else can look like one of these.
        let whose = match credential_id {
            Some(id) => format!("id {id}"),
            None => format!("token {}", token.unwrap_or_default()),
        };
        let owner = app.pepper.derive("idempotency owner", format!("{app_id:?} {whose}").as_bytes());
        let target = asked.uri.path_and_query().map_or("", |target| target.as_str());
        let head = format!("{} {target}\n", asked.method);
        Names {
            key: app.pepper.derive("idempotency key", &[&owner[..], key].concat()),
            owner,
            request: app
                .pepper
                .derive("idempotency request", &[head.as_bytes(), &Sha256::digest(body)].concat()),
            credential_id,
            app_id,
        }
    }
}

/// What became of asking for a key.
pub(super) enum Found {
    /// It was free and is taken now.
    Free(Claim),
    /// What it was taken for is being done.
    Running,
    /// It stands for another request.
    Other,
    /// It has its answer.
    Answered(Answer),
    /// It was answered, with what is not there.
    NotKept,
}

/// Takes a key for a request, or says what it stands for.
///
/// # Errors
/// The database's.
pub(super) async fn take(app: &App, names: &Names) -> sqlx::Result<Found> {
    let now = app.now();
    let claim = Claim { app: app.clone(), id: app.new_id(), is_settled: false };
    let mut tx = app.service_tx().await?;
    if store::take(&mut tx, claim.id, names, app.process_id, now).await? {
        tx.commit().await?;
        return Ok(Found::Free(claim));
    }
    claim.forget();
    let Some(taken) = store::find(&mut tx, names, now).await? else {
        // It was let go this moment.
        return Ok(Found::Running);
    };
    drop(tx);
    if taken.request_hash != names.request {
        return Ok(Found::Other);
    }
    if taken.answered_at.is_none() {
        return Ok(Found::Running);
    }
    let id = taken.idempotency_key_id;
    let answer = taken.sealed().and_then(|sealed| Answer::open(app, id, &sealed));
    Ok(answer.map_or(Found::NotKept, Found::Answered))
}

/// A key that is held. Dropped, it is free again.
pub(super) struct Claim {
    app: App,
    id: Uuid,
    is_settled: bool,
}

impl Claim {
    /// Holds the key for as long as something takes.
    pub(super) async fn while_doing<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            match tokio::time::timeout(RENEW_EVERY, work.as_mut()).await {
                Ok(done) => return done,
                // Aside: the work must not wait for a connection it may hold itself.
                Err(_) => drop(self.app.spawn(renew(self.app.clone(), self.id))),
            }
        }
    }

    /// Keeps what was answered; none: it was too large. Carried through: it was done.
    pub(super) async fn keep(mut self, answer: Option<Answer>) {
        self.is_settled = true;
        let (app, id) = (self.app.clone(), self.id);
        let kept = self.app.carry(async move { keep(&app, id, answer).await }).await;
        match kept {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!("an idempotency key was taken by another before its request was done");
            }
            Err(cause) => tracing::error!(cause, "an answer could not be kept for its idempotency key"),
        }
    }

    /// Lets the key go.
    pub(super) async fn free(mut self) {
        self.is_settled = true;
        self.app.carry(free(self.app.clone(), self.id)).await;
    }

    /// It was not taken after all.
    fn forget(mut self) {
        self.is_settled = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_settled {
            drop(self.app.spawn(free(self.app.clone(), self.id)));
        }
    }
}

async fn renew(app: App, id: Uuid) {
    let renewed = async {
        let mut tx = app.service_tx().await?;
        store::renew(&mut tx, id, app.now()).await?;
        tx.commit().await
    };
    if let Err(cause) = renewed.await {
        tracing::warn!(%cause, "an idempotency key could not be held on to");
    }
}

async fn free(app: App, id: Uuid) {
    let freed = async {
        let mut tx = app.service_tx().await?;
        store::free(&mut tx, id).await?;
        tx.commit().await
    };
    if let Err(cause) = freed.await {
        tracing::warn!(%cause, "an idempotency key could not be let go; it is free when its lease ends");
    }
}

async fn keep(app: &App, id: Uuid, answer: Option<Answer>) -> Result<bool, String> {
    let seal = |answer: Answer| answer.seal(app, id);
    let sealed = answer.map(seal).transpose()?;
    let kept = async {
        let mut tx = app.service_tx().await?;
        let kept = store::keep(&mut tx, id, sealed.as_ref(), app.now()).await?;
        tx.commit().await.map(|()| kept)
    };
    kept.await.map_err(|cause: sqlx::Error| cause.to_string())
}

/// An answer as it is kept.
pub(super) struct Answer {
    head: Head,
    body: Bytes,
}

#[derive(Deserialize, Serialize)]
struct Head {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
}

/// What belongs to one sending of an answer, and not to the answer.
const OF_ONE_SENDING: [HeaderName; 3] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

impl Answer {
    pub(super) fn of(parts: &ResponseParts, body: Bytes) -> Answer {
        let own = parts.headers.iter().filter(|(name, _)| !OF_ONE_SENDING.contains(name));
        let headers =
            own.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
        Answer { head: Head { status: parts.status.as_u16(), headers }, body }
    }

    /// Its head, and how long that is before it; then its body.
    fn seal(self, app: &App, id: Uuid) -> Result<Sealed, String> {
        let head = Zeroizing::new(postcard::to_allocvec(&self.head).map_err(|cause| cause.to_string())?);
        let length = u32::try_from(head.len()).map_err(|cause| cause.to_string())?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(4 + head.len() + self.body.len()));
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&self.body);
        app.seal_bytes(PLACE, id, &bytes).map_err(|cause| cause.to_string())
    }

    fn open(app: &App, id: Uuid, sealed: &Sealed) -> Option<Answer> {
        let opened = app.open_sealed_bytes(PLACE, id, sealed);
        let bytes =
            opened.inspect_err(|cause| tracing::error!(%cause, "a kept answer does not open")).ok()?;
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (head, body) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        Some(Answer { head: postcard::from_bytes(head).ok()?, body: Bytes::copy_from_slice(body) })
    }

    /// The same answer, which says that it was given before.
    pub(super) fn again(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.head.status).unwrap_or_default();
        let headers: &mut HeaderMap = response.headers_mut();
        for (name, value) in &self.head.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name.as_str()), HeaderValue::from_bytes(value))
            {
                headers.append(name, value);
            }
        }
        headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        response
    }
}
