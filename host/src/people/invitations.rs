//! Inviting somebody into an app by their address (row M197).
//!
//! Whether an address has an account is nobody's to know: whoever invites is answered before anything is looked up, an
//! invitation is kept for every address alike, and what becomes of the letter is told in the log alone. Whoever has
//! proved exactly this address is shown the invitation, and nobody else: the database finds the same letters in other
//! scripts alike, and mailboxes are not. They become a member when they accept, and not before.
//!
//! An invitation gives a role that whoever invites could give by id as well, and stands only as long as they could: one
//! of a person who is no owner any more, or was disabled, is as if it had never been, and so is one of a token that was
//! revoked. An operator's stands. Inviting an address again takes the place of what was asked before.
//!
//! A letter names the app by its id and holds no word of whoever invites, so that nobody writes to strangers with it.
//! It holds no secret either: what it says is worth nothing to who has not proved the address.

use super::{hashed_email, members, store};
use crate::{
    app::App,
    error::ApiError,
    grants::{Allowed, AsMyself, InApp, Role, Scope, action::may, audit},
    limits::{INVITATION_LIFE, INVITATIONS_LISTED_MAX, INVITATIONS_PER_APP_MAX, MEMBERS_PER_APP_MAX},
    mail::Letter,
    tenants::ServiceTx,
};
use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

/// Why nobody was invited, or an invitation was not answered.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// There is none, it is for somebody else, or it does not stand any more.
    #[error("no such invitation")]
    NotFound,
    /// They are a member.
    #[error("you are a member of this app already; decline the invitation")]
    Already,
    /// The app has too many members.
    #[error("this app has {MEMBERS_PER_APP_MAX} members; ask one of its owners to remove one first")]
    AppFull,
    /// The app invited too many.
    #[error("{INVITATIONS_PER_APP_MAX} invitations of this app wait for an answer; withdraw one first")]
    TooMany,
    /// The app invited too often.
    #[error("{}", .0.detail)]
    TooOften(ApiError),
    /// The database.
    #[error("the invitation could not be read or written")]
    Db(#[from] sqlx::Error),
}

/// What an address is known by: exactly as it is, but for ASCII's letters, which mailboxes do not tell apart.
fn address(email: &str) -> String {
    email.trim().to_ascii_lowercase()
}

/// Invites whoever has this address to be a member.
///
/// # Errors
/// [`InviteError`], none of which depends on the address.
pub(super) async fn invite(
    app: &App,
    allowed: &Allowed<may::MembersWrite>,
    email: &str,
    role: Role,
) -> Result<store::Invitation, InviteError> {
    app.rate_limits.invitation(allowed.app().app_id).map_err(InviteError::TooOften)?;
    let (caller, now) = (allowed.caller(), app.now());
    let (email, address) = (email.trim(), address(email));
    let latest = now + Duration::from_std(INVITATION_LIFE).unwrap_or_default();
    let new = store::NewInvitation {
        invitation_id: app.new_id(),
        app_id: allowed.app().app_id,
        email,
        address: &address,
        role,
        invited_by: caller.user_id,
        credential_id: caller.credential_id.filter(|_| caller.user_id.is_none()),
        now,
        expires_at: caller.makes_until().map_or(latest, |until| until.min(latest)),
    };
    let mut tx = members::begin(app, allowed).await?;
    store::make_room(&mut tx, &address, now).await?;
    if store::count_invitations(&mut tx).await? >= INVITATIONS_PER_APP_MAX {
        return Err(InviteError::TooMany);
    }
    store::insert_invitation(&mut tx, &new).await?;
    let email_hash = hex::encode(hashed_email(app, email));
    let entry = audit::Entry::ok("invitations.create", target(new.invitation_id))
        .detail(json!({ "role": role, "email_hash": email_hash }));
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    tell(app, &allowed.app().slug, &new);
    Ok(store::Invitation {
        invitation_id: new.invitation_id,
        email: email.to_owned(),
        role: role.name().to_owned(),
        created_at: now,
        expires_at: new.expires_at,
    })
}

fn target(invitation_id: Uuid) -> String {
    format!("invitation/{invitation_id}")
}

/// Writes to whoever was invited, in a task of its own.
fn tell(app: &App, slug: &str, new: &store::NewInvitation<'_>) {
    let (here, email, now) = (app.clone(), new.email.to_owned(), new.now);
    let text = letter(app.config.base_url.as_deref(), slug, new.role, new.invitation_id);
    app.spawn(async move {
        if let Err(cause) = mail(&here, &email, text, now).await {
            tracing::error!(%cause, "whose an invited address is could not be looked up");
        }
    });
}

async fn mail(app: &App, email: &str, text: String, now: DateTime<Utc>) -> sqlx::Result<()> {
    let Some(mailer) = &app.mailer else { return Ok(()) };
    let found = {
        let mut tx = app.service_tx().await?;
        store::find_addressee(&mut tx, email).await?
    };
    let to = match found {
        Some(found) if address(&found.email) == address(email) => found.email,
        None if app.config.allow_self_registration => email.to_owned(),
        // Another's, or of somebody who cannot have an account.
        Some(_) | None => return Ok(()),
    };
    if !app.rate_limits.invitation_letter(hashed_email(app, email)) {
        tracing::warn!("an invitation was not mailed: its mailbox got too many lately");
        return Ok(());
    }
    let letter = Letter { to, subject: "You are invited to an app", text, written_at: now, id: app.new_id() };
    match mailer.send(letter).await {
        Ok(()) => tracing::info!("an invitation was mailed"),
        Err(cause) => tracing::warn!(%cause, "an invitation could not be mailed"),
    }
    Ok(())
}

fn letter(base_url: Option<&str>, slug: &str, role: Role, invitation_id: Uuid) -> String {
    let at = super::named_in_letters(base_url);
    let days = INVITATION_LIFE.as_secs() / (24 * 60 * 60);
    let role = role.name();
    format!(
        "You are invited to be a member of the app\n\n    \
         {slug}\n\n\
         with the role {role}.\n\n\
         {at}\
         Sign in with a code that is mailed to this address: that proves that it is\n\
         yours. GET /v1/me then shows the invitation; within {days} days you accept\n\
         it with\n\n    \
         POST /v1/me/invitations/{invitation_id}/accept\n\n\
         If you do not know what this is about, do nothing: without you nobody\n\
         becomes a member with your address.\n"
    )
}

/// An invitation, as whoever is invited reads it.
#[derive(Serialize)]
pub(super) struct MyInvitation {
    id: Uuid,
    /// The app's id. Not its name: anybody can give an app any.
    app: String,
    role: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// What the caller is invited to, newest first; nothing where they have not proved their address.
///
/// # Errors
/// The database's.
pub(super) async fn mine(app: &App, allowed: &impl AsMyself) -> sqlx::Result<Vec<MyInvitation>> {
    let mut tx = app.service_tx().await?;
    let Some(email) = store::proved_email(&mut tx, allowed.me()).await? else { return Ok(vec![]) };
    let found =
        store::invitations_for(&mut tx, &address(&email), None, app.now(), INVITATIONS_LISTED_MAX).await?;
    let shown = found.into_iter().filter(stands).map(|found| MyInvitation {
        id: found.invitation_id,
        app: found.slug,
        role: found.role,
        created_at: found.created_at,
        expires_at: found.expires_at,
    });
    Ok(shown.collect())
}

/// Whether whoever invited still could.
fn stands(found: &store::FoundInvitation) -> bool {
    let role = || found.inviters_role.as_deref().and_then(Role::parse);
    let may = found.invited_by.is_none() || role().is_some_and(|role| role.scopes().has(Scope::MembersWrite));
    may && found.token_lives
}

/// The caller's invitation of this id, where it stands.
async fn find(
    app: &App,
    tx: &mut ServiceTx,
    allowed: &Allowed<may::MeWrite>,
    id: &str,
) -> Result<store::FoundInvitation, InviteError> {
    let invitation_id = Uuid::parse_str(id).map_err(|_| InviteError::NotFound)?;
    let email = store::proved_email(tx, allowed.me()).await?.ok_or(InviteError::NotFound)?;
    let found = store::invitations_for(tx, &address(&email), Some(invitation_id), app.now(), 1).await?;
    found.into_iter().find(stands).ok_or(InviteError::NotFound)
}

/// Makes the caller a member of the app they were invited to.
///
/// # Errors
/// [`InviteError`]; the invitation is still there then.
pub async fn accept(app: &App, allowed: &Allowed<may::MeWrite>, id: &str) -> Result<Accepted, InviteError> {
    let mut tx = app.service_tx().await?;
    let app_id = find(app, &mut tx, allowed, id).await?.app_id;
    store::lock_members(tx.conn(), app_id).await?;
    // Again: whoever invited may have ceased to be an owner while this waited.
    let found = find(app, &mut tx, allowed, id).await?;
    let role = Role::parse(&found.role).ok_or(InviteError::NotFound)?;
    let (is_member, members) = store::members_with(tx.conn(), app_id, allowed.me()).await?;
    if is_member {
        return Err(InviteError::Already);
    }
    if members >= MEMBERS_PER_APP_MAX {
        return Err(InviteError::AppFull);
    }
    if !store::take_invitation(&mut tx, found.invitation_id).await? {
        return Err(InviteError::NotFound);
    }
    store::insert_member(tx.conn(), app_id, allowed.me(), role, app.now()).await?;
    let entry = audit::Entry::ok("invitations.accept", target(found.invitation_id))
        .detail(json!({ "role": role, "invited_by": found.invited_by }));
    audit::write_platform(app, &mut tx, allowed.credential(), Some(app_id), entry).await?;
    tx.commit().await?;
    app.changes.made(app_id);
    Ok(Accepted { app: found.slug, role })
}

/// What came of accepting.
#[derive(Serialize)]
pub struct Accepted {
    /// The app's id.
    pub app: String,
    /// What the caller is there.
    pub role: Role,
}

/// Answers an invitation of the caller's with no.
///
/// # Errors
/// [`InviteError`]
pub async fn decline(app: &App, allowed: &Allowed<may::MeWrite>, id: &str) -> Result<(), InviteError> {
    let mut tx = app.service_tx().await?;
    let found = find(app, &mut tx, allowed, id).await?;
    if !store::take_invitation(&mut tx, found.invitation_id).await? {
        return Err(InviteError::NotFound);
    }
    let entry = audit::Entry::ok("invitations.decline", target(found.invitation_id));
    audit::write_platform(app, &mut tx, allowed.credential(), Some(found.app_id), entry).await?;
    Ok(tx.commit().await?)
}

/// Takes an invitation of the app's back.
///
/// # Errors
/// [`InviteError`]
pub async fn withdraw(app: &App, allowed: &Allowed<may::MembersWrite>, id: &str) -> Result<(), InviteError> {
    let invitation_id = Uuid::parse_str(id).map_err(|_| InviteError::NotFound)?;
    let mut tx = members::begin(app, allowed).await?;
    if !store::withdraw_invitation(&mut tx, invitation_id).await? {
        return Err(InviteError::NotFound);
    }
    audit::write(app, &mut tx, allowed, audit::Entry::ok("invitations.withdraw", target(invitation_id)))
        .await?;
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m197_addresses_are_one_where_ascii_s_letters_alone_differ() {
        assert_eq!(address(" Kate@Example.COM "), "kate@example.com");
        // KELVIN SIGN, which is a small k to Unicode; a Cyrillic a; an umlaut in two cases.
        for (one, other) in
            [("\u{212a}ate@x.example", "kate@x.example"), ("k\u{430}te@x.example", "kate@x.example")]
        {
            assert_ne!(address(one), address(other));
        }
        assert_ne!(address("\u{c4}rger@x.example"), address("\u{e4}rger@x.example"));
    }

    #[test]
    fn m197_a_letter_names_the_app_by_its_id_and_holds_no_link_but_the_operators() {
        let slug = "a".repeat(crate::tenants::slug::CHARS_MAX);
        for base_url in [None, Some("https://opg.example")] {
            let text = letter(base_url, &slug, Role::Developer, Uuid::max());
            assert!(text.contains(&slug) && text.contains("role developer"), "{text}");
            assert!(text.contains("within 7 days"), "{text}");
            assert_eq!(text.contains("http"), base_url.is_some(), "{text}");
            assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 76), "{text}");
        }
    }
}
