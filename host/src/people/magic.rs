//! Signing in with a code that is mailed (row M071).
//!
//! Six digits, for [`MAIL_CODE_LIFE`], of which [`MAIL_CODE_TRIES_MAX`] tries are taken; the next code of an address
//! takes the place of the one before. Kept is what the installation's pepper makes of address and code.
//!
//! Whether an address has an account is nobody's to know. Whoever asks for a code is answered before anything is
//! looked up; a code is kept for an address without an account as well, so that trying one is the same work; and what
//! becomes of a letter is told in the log alone, without the address.
//!
//! A code that comes back proves the address. Until then an account may be anybody's who wrote the address down, so
//! the first time everything that was set before ends: the password, passkeys, sign-ins, personal tokens. The letter
//! says so.
//!
//! Where anybody may sign up, a code makes the account that an address does not have.

use super::{
    hashed_email,
    login::{self, LoginError, SignedIn},
    signup::{self, SignupError},
    store,
};
use crate::{
    app::{App, Entropy},
    error::ApiError,
    grants::{Caller, CredentialKind, audit},
    http::RequestContext,
    limits::{MAIL_CODE_LIFE, MAIL_CODE_TRIES_MAX},
    mail::Letter,
    tenants::ServiceTx,
};
use chrono::Duration;
use serde_json::json;
use std::net::IpAddr;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Digits of a code.
const CODE_DIGITS: usize = 6;
/// How many codes there are.
const CODES: u32 = 1_000_000;

/// Why nobody signed in.
#[derive(Debug, thiserror::Error)]
pub enum MagicError {
    /// The address or the code is wrong, or the code's time or tries are over; which, is not said.
    #[error("the code is wrong, or its time is over; ask for another")]
    Refused,
    /// Too many accounts were made from one address.
    #[error("{}", .0.detail)]
    TooMany(ApiError),
    /// The account.
    #[error("{0}")]
    Signup(#[from] SignupError),
    /// The session.
    #[error("{0}")]
    Login(#[from] LoginError),
    /// The database.
    #[error("the code could not be read or written")]
    Db(#[from] sqlx::Error),
}

/// Mails a code to an address that may have an account. Returns at once, whether it has.
pub fn ask(app: &App, context: RequestContext, email: String) {
    let here = app.clone();
    app.spawn(async move {
        if let Err(cause) = mail(&here, context, &email).await {
            tracing::error!(%cause, "a code could not be kept");
        }
    });
}

async fn mail(app: &App, context: RequestContext, email: &str) -> sqlx::Result<()> {
    let Some(mailer) = &app.mailer else { return Ok(()) };
    let (code, now, email_hash) = (new_code(&app.entropy), app.now(), hashed_email(app, email));
    let mut tx = app.service_tx().await?;
    let found = store::find_addressee(&mut tx, email.trim()).await?;
    let user_id = found.as_ref().map(|found| found.user_id);
    let life = Duration::from_std(MAIL_CODE_LIFE).unwrap_or_default();
    let code_hash = code_hash(app, &email_hash, &code);
    let new = store::NewCode { email_hash, user_id, code_hash, now, expires_at: now + life };
    store::put_code(&mut tx, &new).await?;
    let ip = context.ip;
    let by = Caller::without_credential(CredentialKind::Anonymous, context, None);
    audit::write_platform(app, &mut tx, &by, None, entry("auth.code", user_id, &email_hash)).await?;
    tx.commit().await?;
    let (to, what) = match found {
        Some(found) if found.email_proved_at.is_some() => (found.email, Tells::Nothing),
        Some(found) => (found.email, Tells::WhatEnds),
        None if app.config.allow_self_registration => (email.trim().to_owned(), Tells::WhatIsMade),
        None => return Ok(()),
    };
    let text = letter(&code, ip, what);
    let letter = Letter { to, subject: "Your code to sign in", text, written_at: now, id: app.new_id() };
    match mailer.send(letter).await {
        Ok(()) => tracing::info!("a code was mailed"),
        Err(cause) => tracing::warn!(%cause, "a code could not be mailed"),
    }
    Ok(())
}

/// What a letter tells besides its code.
#[derive(Clone, Copy)]
enum Tells {
    Nothing,
    WhatEnds,
    WhatIsMade,
}

fn letter(code: &str, ip: Option<IpAddr>, tells: Tells) -> String {
    let minutes = MAIL_CODE_LIFE.as_secs() / 60;
    let besides = match tells {
        Tells::Nothing => "",
        Tells::WhatEnds => {
            "Nobody has proved yet that this address is theirs. With this code you do,\n\
             and what was set up before ends: the password of the account, its passkeys,\n\
             where it is signed in, its tokens and those of its own app, and who else is\n\
             in that. What that app holds stays: look through it.\n\n"
        }
        Tells::WhatIsMade => "No account has this address yet. With this code you make one.\n\n",
    };
    let from = ip.map(|ip| format!(" from the address {ip}")).unwrap_or_default();
    format!(
        "{code}\n\n\
         is your code. Type it where you asked for it, within {minutes} minutes.\n\n\
         {besides}\
         It was asked for{from}.\n\
         If that was not you, do nothing: without the code nobody gets in.\n\
         Tell it to nobody. Nobody who helps you needs it.\n"
    )
}

/// Six digits, each code as likely as any other.
fn new_code(entropy: &Entropy) -> String {
    /// The largest multiple of [`CODES`]: above it, a remainder would favour the first codes.
    const FAIR_BELOW: u32 = u32::MAX - u32::MAX % CODES;
    loop {
        let drawn = u32::from_le_bytes(entropy.bytes());
        if drawn < FAIR_BELOW {
            return format!("{:0width$}", drawn % CODES, width = CODE_DIGITS);
        }
    }
}

/// A code as somebody typed it; of what is none nothing is left.
fn typed(text: &str) -> String {
    let digits: String =
        text.chars().filter(|c| !c.is_whitespace() && *c != '-').take(CODE_DIGITS + 1).collect();
    let fits = digits.len() == CODE_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    if fits { digits } else { String::new() }
}

fn code_hash(app: &App, email_hash: &[u8; 32], code: &str) -> [u8; 32] {
    app.pepper.derive("mailed code", &[email_hash.as_slice(), code.as_bytes()].concat())
}

fn entry(action: &'static str, user_id: Option<Uuid>, email_hash: &[u8; 32]) -> audit::Entry {
    let target = user_id.map_or("user/unknown".to_owned(), |id| format!("user/{id}"));
    audit::Entry::ok(action, target).detail(json!({ "email_hash": hex::encode(email_hash) }))
}

/// Signs somebody in with a code that was mailed to them. It is good once.
///
/// # Errors
/// [`MagicError`]
pub async fn sign_in(
    app: &App,
    context: RequestContext,
    email: &str,
    code: &str,
    user_agent: Option<&str>,
) -> Result<SignedIn, MagicError> {
    let (now, email_hash) = (app.now(), hashed_email(app, email));
    let expected = code_hash(app, &email_hash, &typed(code));
    let mut tx = app.service_tx().await?;
    let found = store::lock_code(&mut tx, &email_hash).await?;
    let right = found.as_ref().is_some_and(|found| {
        let fits = bool::from(found.code_hash.ct_eq(&expected));
        fits && found.tries < MAIL_CODE_TRIES_MAX && now < found.expires_at
    });
    let (Some(found), true) = (&found, right) else {
        store::count_try(&mut tx, &email_hash).await?;
        let by = Caller::without_credential(CredentialKind::Anonymous, context, None);
        let user_id = found.as_ref().and_then(|found| found.user_id);
        let entry = entry("auth.login", user_id, &email_hash).result(audit::Outcome::Failed);
        audit::write_platform(app, &mut tx, &by, None, entry).await?;
        tx.commit().await?;
        return Err(MagicError::Refused);
    };
    store::delete_code(&mut tx, &email_hash).await?;
    let user_id = match found.user_id {
        Some(user_id) => {
            let may = prove(app, &mut tx, &context, user_id).await?;
            tx.commit().await?;
            may.then_some(user_id)
        }
        None if app.config.allow_self_registration => {
            app.rate_limits.registration(context.ip).map_err(MagicError::TooMany)?;
            tx.commit().await?;
            signup::by_proof(app, &context, email).await?
        }
        None => {
            tx.commit().await?;
            None
        }
    };
    let user_id = user_id.ok_or(MagicError::Refused)?;
    let by = Caller::without_credential(CredentialKind::ConsoleSession, context, Some(user_id));
    Ok(login::begin_session(app, by, user_id, user_agent).await?)
}

/// Takes for proved that a person's address is theirs, and the first time ends what was set before; false where they may
/// not sign in.
pub(super) async fn prove(
    app: &App,
    tx: &mut ServiceTx,
    context: &RequestContext,
    user_id: Uuid,
) -> sqlx::Result<bool> {
    let first = store::prove_email(tx, user_id, app.now()).await?;
    if first == Some(true) {
        store::revoke_all(tx, user_id, app.now()).await?;
        store::delete_passkeys(tx, user_id).await?;
        store::clear_own_app(tx, user_id, app.now()).await?;
        let by = Caller::without_credential(CredentialKind::Anonymous, context.clone(), Some(user_id));
        let entry = audit::Entry::ok("auth.email_proved", format!("user/{user_id}"));
        audit::write_platform(app, tx, &by, None, entry).await?;
    }
    Ok(first.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m071_a_code_is_six_digits_and_is_read_however_it_is_typed() {
        let entropy = Entropy::repeatable(7);
        let codes: Vec<_> = (0..1000).map(|_| new_code(&entropy)).collect();
        assert!(codes.iter().all(|code| typed(code) == *code), "{codes:?}");
        assert!(codes.iter().any(|code| code.starts_with('0')), "also those that begin with nothing");
        for text in ["012345", " 012 345\n", "012-345"] {
            assert_eq!(typed(text), "012345");
        }
        for text in ["", "12345", "1234567", "12345a", "\u{661}12345", "-12345", "12345\0"] {
            assert_eq!(typed(text), "", "{text}");
        }
    }

    #[test]
    fn m071_a_letter_has_plain_lines_and_no_link() {
        for tells in [Tells::Nothing, Tells::WhatEnds, Tells::WhatIsMade] {
            let text = letter("012345", Some("2001:db8::1".parse().unwrap()), tells);
            assert!(text.starts_with("012345\n") && text.contains("within 10 minutes"), "{text}");
            assert!(text.is_ascii() && !text.contains("http") && !text.contains("www"), "{text}");
            assert!(text.lines().all(|line| line.len() <= 76), "{text}");
        }
    }
}
