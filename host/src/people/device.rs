//! Letting a command line in: the device authorization grant (RFC 8628; rows M063 to M066).
//!
//! The program gets two codes: one to ask with, and one of eight letters that its person types into a page where
//! they are signed in. There they see what asks, from where and for what, and approve or deny. Then the program's
//! next question is answered with its tokens (`programs`).
//!
//! Both codes are kept as hashes. Wrong codes are counted for each person: after [`WRONG_CODES_MAX`], none of theirs
//! is taken for [`CODES_LOCKED_FOR`].

use super::{
    programs::{Approval, ApproveError, Family, TokenError, Tokens, chrono_of},
    standing::{self, StandingError},
    store,
};
use crate::{
    app::{App, Entropy},
    grants::{Allowed, AsMyself, Caller, CredentialKind, Scopes, action::may, audit, credential::NewToken},
    http::RequestContext,
    limits::{CODES_LOCKED_FOR, DEVICE_POLL_INTERVAL, DEVICE_REQUEST_LIFE, WRONG_CODES_MAX},
    tenants::ServiceTx,
};
use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use uuid::Uuid;

/// Letters that no word is made of and none is taken for another (RFC 8628 §6.1).
const CODE_LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// 20^8 codes: 34 bits, of which a person gets five guesses.
const CODE_CHARS: usize = 8;
/// How many people's wrong codes are remembered before those are forgotten whose lock is over.
const GUESSERS_REMEMBERED_MAX: usize = 10_000;

/// A program that wants to be let in.
pub struct Asking {
    /// What it calls itself.
    pub client: String,
    /// Which machine it runs on, as it says.
    pub hostname: String,
    /// What it wants to do.
    pub scopes: Scopes,
}

/// The codes of a request just made.
pub struct Begun {
    /// What the program asks with.
    pub device_code: SecretString,
    /// What its person types.
    pub user_code: String,
}

/// Makes a request.
///
/// # Errors
/// The database's.
pub async fn begin(app: &App, context: RequestContext, asking: &Asking) -> sqlx::Result<Begun> {
    let device_code = NewToken::secret(&app.entropy);
    let user_code = user_code(&app.entropy);
    let (now, life) = (app.now(), chrono_of(DEVICE_REQUEST_LIFE));
    let new = store::NewDeviceRequest {
        device_code_hash: app.pepper.hash(device_code.expose_secret()),
        user_code_hash: app.pepper.hash(&user_code),
        client: &asking.client,
        hostname: &asking.hostname,
        ip: context.ip.map(|ip| ip.to_string()),
        scopes: asking.scopes,
        interval_s: i32::try_from(DEVICE_POLL_INTERVAL.as_secs()).unwrap_or(i32::MAX),
        now,
        expires_at: now + life,
    };
    let mut tx = app.service_tx().await?;
    store::insert_device_request(&mut tx, &new).await?;
    tx.commit().await?;
    Ok(Begun { device_code, user_code: shown(&user_code) })
}

fn user_code(entropy: &Entropy) -> String {
    let mut code = String::with_capacity(CODE_CHARS);
    while code.len() < CODE_CHARS {
        // 240 is the largest multiple of 20 in a byte: above it, a remainder would favour the first letters.
        for byte in entropy.bytes::<16>() {
            if byte < 240 && code.len() < CODE_CHARS {
                code.push(char::from(CODE_LETTERS[usize::from(byte) % CODE_LETTERS.len()]));
            }
        }
    }
    code
}

/// In two halves, as people read it.
fn shown(code: &str) -> String {
    let (first, second) = code.split_at(CODE_CHARS / 2);
    format!("{first}-{second}")
}

/// A code as somebody typed it; none where it is none.
fn typed(text: &str) -> Option<String> {
    let code: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| c.to_ascii_uppercase())
        .take(CODE_CHARS + 1)
        .collect();
    let fits = code.len() == CODE_CHARS && code.bytes().all(|b| CODE_LETTERS.contains(&b));
    fits.then_some(code)
}

/// A code as the program shows it, however it was typed; none where it is none.
pub(super) fn as_shown(text: &str) -> Option<String> {
    typed(text).map(|code| shown(&code))
}

/// Wrong codes, by person.
#[derive(Default)]
pub struct Guesses(Mutex<HashMap<Uuid, (u32, DateTime<Utc>)>>);

impl Guesses {
    fn is_locked(&self, user_id: Uuid, now: DateTime<Utc>) -> bool {
        let guesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guesses.get(&user_id).is_some_and(|(wrong, until)| *wrong >= WRONG_CODES_MAX && now < *until)
    }

    fn wrong(&self, user_id: Uuid, now: DateTime<Utc>) {
        let mut guesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.len() >= GUESSERS_REMEMBERED_MAX {
            guesses.retain(|_, (_, until)| now < *until);
        }
        let (wrong, until) = guesses.entry(user_id).or_insert((0, now));
        *wrong = if now < *until { *wrong + 1 } else { 1 };
        *until = now + chrono_of(CODES_LOCKED_FOR);
    }
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// No request that waits has this code.
    #[error("no request has this code; look at the program that shows it")]
    NoSuchCode,
    /// Too many wrong codes.
    #[error("too many wrong codes; wait {} minutes and begin again", CODES_LOCKED_FOR.as_secs() / 60)]
    Locked,
    /// It is over.
    #[error("this request has expired; begin again")]
    Expired,
    /// It is not the person's to approve.
    #[error(transparent)]
    Approve(#[from] ApproveError),
    /// Their session ended meanwhile.
    #[error("{0}")]
    Standing(#[from] StandingError),
    /// The database.
    #[error("the request could not be read or written")]
    Db(#[from] sqlx::Error),
}

/// What asks, for its person to look at.
///
/// # Errors
/// [`DecideError`]
pub(super) async fn look(
    app: &App,
    allowed: &Allowed<may::DeviceDecide>,
    code: &str,
) -> Result<store::DeviceRequest, DecideError> {
    let mut tx = app.service_tx().await?;
    find(app, &mut tx, allowed.me(), code).await
}

/// Lets the program in.
///
/// # Errors
/// [`DecideError`]
pub async fn approve(
    app: &App,
    allowed: &Allowed<may::DeviceDecide>,
    code: &str,
    approval: &Approval,
) -> Result<(), DecideError> {
    let user_id = allowed.me();
    let app_ids = approval.app_ids(app, allowed).await?;
    let mut tx = app.service_tx().await?;
    standing::hold(tx.conn(), allowed, app.now()).await?;
    let request = find(app, &mut tx, user_id, code).await?;
    let scopes = approval.scopes(allowed, Scopes::parse_known(&request.scopes))?;
    let ends_at = approval.ends_at(app.now());
    let to = store::Approved { user_id, scopes, app_ids: app_ids.as_deref(), ends_at };
    store::approve_device_request(&mut tx, &request.device_code_hash, &to).await?;
    let entry = audit::Entry::ok("device.approve", format!("user/{user_id}"))
        .detail(json!({ "client": request.client, "hostname": request.hostname, "scopes": scopes }));
    audit::write_platform(app, &mut tx, allowed.credential(), None, entry).await?;
    Ok(tx.commit().await?)
}

/// Turns the program away.
///
/// # Errors
/// [`DecideError`]
pub async fn deny(app: &App, allowed: &Allowed<may::DeviceDecide>, code: &str) -> Result<(), DecideError> {
    let mut tx = app.service_tx().await?;
    let request = find(app, &mut tx, allowed.me(), code).await?;
    store::deny_device_request(&mut tx, &request.device_code_hash).await?;
    let entry = audit::Entry::ok("device.deny", format!("user/{}", allowed.me()))
        .detail(json!({ "client": request.client, "hostname": request.hostname }));
    audit::write_platform(app, &mut tx, allowed.credential(), None, entry).await?;
    Ok(tx.commit().await?)
}

/// The request that waits under this code, held until the transaction ends.
async fn find(
    app: &App,
    tx: &mut ServiceTx,
    user_id: Uuid,
    code: &str,
) -> Result<store::DeviceRequest, DecideError> {
    let now = app.now();
    if app.guesses.is_locked(user_id, now) {
        return Err(DecideError::Locked);
    }
    let found = match typed(code) {
        Some(code) => store::lock_by_user_code(tx, &app.pepper.hash(&code)).await?,
        None => None,
    };
    match found {
        None => {
            app.guesses.wrong(user_id, now);
            Err(DecideError::NoSuchCode)
        }
        Some(request) if request.expires_at <= now => Err(DecideError::Expired),
        Some(request) => Ok(request),
    }
}

/// Answers a program that asks whether it was let in.
///
/// # Errors
/// [`TokenError`]
pub async fn poll(app: &App, context: RequestContext, device_code: &str) -> Result<Tokens, TokenError> {
    let (now, hash) = (app.now(), app.pepper.hash(device_code));
    let mut tx = app.service_tx().await?;
    let approver = store::approver(&mut tx, &hash).await?;
    store::lock_person(&mut tx, approver).await?;
    let request = store::lock_by_device_code(&mut tx, &hash).await?.ok_or(TokenError::Invalid)?;
    if request.expires_at <= now {
        return Err(TokenError::Expired);
    }
    let interval = Duration::seconds(request.interval_s.into());
    let too_soon = request.polled_at.is_some_and(|at| now < at + interval);
    match request.status.as_str() {
        "denied" => return Err(TokenError::Denied),
        "pending" => {
            let slower = if too_soon { DEVICE_POLL_INTERVAL.as_secs() } else { 0 };
            store::polled(&mut tx, &hash, now, i32::try_from(slower).unwrap_or(0)).await?;
            tx.commit().await?;
            return Err(if too_soon { TokenError::SlowDown } else { TokenError::Pending });
        }
        "approved" => {}
        _ => return Err(TokenError::Invalid),
    }
    let (Some(user_id), Some(ends_at)) = (request.user_id, request.ends_at) else {
        return Err(TokenError::Invalid);
    };
    if ends_at <= now {
        return Err(TokenError::Expired);
    }
    store::use_device_request(&mut tx, &hash).await?;
    let family = Family {
        family_id: app.new_id(),
        user_id,
        name: &request.client,
        scopes: Scopes::parse_known(&request.scopes),
        app_ids: request.app_ids,
        ends_at,
        ip: context.ip.map(|ip| ip.to_string()),
    };
    let tokens = family.pair(app, &mut tx).await?;
    let by = Caller::without_credential(CredentialKind::PlatformToken, context, Some(user_id));
    let entry = audit::Entry::ok("auth.device", format!("user/{user_id}"))
        .detail(json!({ "client": request.client, "family_id": family.family_id }));
    audit::write_platform(app, &mut tx, &by, None, entry).await?;
    tx.commit().await?;
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m065_a_code_is_read_however_it_is_typed_and_nothing_else_is_one() {
        let code = user_code(&Entropy::os());
        let upper = shown(&code);
        assert_eq!((upper.len(), &upper[4..5]), (9, "-"));
        for text in [upper.clone(), upper.to_lowercase(), upper.replace('-', " "), format!(" {code}\n")] {
            assert_eq!(typed(&text).as_deref(), Some(code.as_str()), "{text}");
        }
        for text in ["", "BCDF", "BCDF-GHJA", "BCDF-GHJ1", "BCDF-GHJK-L", "\u{e4}BCDFGHJ", "BCDFGHJK\0"] {
            assert_eq!(typed(text), None, "{text}");
        }
    }

    #[test]
    fn m065_five_wrong_codes_lock_a_person_out_for_a_while_and_nobody_else() {
        let (guesses, now) = (Guesses::default(), DateTime::<Utc>::UNIX_EPOCH);
        let (ann, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for _ in 0..WRONG_CODES_MAX {
            assert!(!guesses.is_locked(ann, now));
            guesses.wrong(ann, now);
        }
        assert!(guesses.is_locked(ann, now) && !guesses.is_locked(bob, now));
        let later = now + chrono_of(CODES_LOCKED_FOR);
        assert!(!guesses.is_locked(ann, later));
        guesses.wrong(ann, later);
        assert!(!guesses.is_locked(ann, later), "and then it counts from one");
    }
}
