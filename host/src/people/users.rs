//! What operators do with people: list them, invite them, disable them (row M079).
//!
//! An operator is a token (`ADMIN_TOKENS`) and nobody's account, so nobody can disable themselves.
//!
//! Inviting makes an account without a password and with an app of its own, as signing up does; where there is a mail
//! server a letter says so, and that a code by mail signs in. An operator may know whether an address has an account.
//!
//! Whoever is disabled is let in nowhere, from the next request on; their credentials are revoked, so that none wakes
//! with them; their turns and tasks are cut. What they were and made is kept: accounts, memberships, sessions, apps. An
//! app whose only owner they were goes on with its tokens, and an operator may give it another owner. Enabling lets
//! them sign in again, with the same password and the same accounts elsewhere.

use super::{
    signup::{self, SignupError},
    store,
};
use crate::{
    app::App,
    grants::{Allowed, action::may, audit},
    mail::Letter,
    sessions, tasks,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// Why people are as they were.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such person.
    #[error("no such person")]
    NotFound,
    /// The address has an account.
    #[error("this address has an account; find it with ?email= of this list")]
    Taken,
    /// The account.
    #[error("{0}")]
    Signup(#[from] SignupError),
    /// The database.
    #[error("the account could not be read or written")]
    Db(#[from] sqlx::Error),
}

/// Somebody who was invited.
pub struct Invited {
    /// Their account.
    pub user: Value,
    /// Whether the mail server took a letter to them.
    pub mailed: bool,
}

/// Makes an account for whoever has this address, and writes to them.
///
/// # Errors
/// [`UserError`]
pub async fn invite(
    app: &App,
    allowed: &Allowed<may::UsersWrite>,
    email: &str,
    name: &str,
) -> Result<Invited, UserError> {
    let made = signup::by_operator(app, allowed.caller(), email, name).await?;
    let user_id = made.ok_or(UserError::Taken)?;
    let mailed = welcome(app, email.trim()).await;
    Ok(Invited { user: show(app, user_id).await?, mailed })
}

/// Writes to somebody who has an account now; whether the mail server took it. The letter goes out also where nobody
/// waits for that any more.
async fn welcome(app: &App, email: &str) -> bool {
    let text = letter(app.config.base_url.as_deref());
    let letter = Letter {
        to: email.to_owned(),
        subject: "An account was made for you",
        text,
        written_at: app.now(),
        id: app.new_id(),
    };
    let here = app.clone();
    app.carry(async move {
        let Some(mailer) = &here.mailer else { return false };
        match mailer.send(letter).await {
            Ok(()) => true,
            Err(cause) => {
                tracing::warn!(%cause, "a letter about a new account could not be mailed");
                false
            }
        }
    })
    .await
}

fn letter(base_url: Option<&str>) -> String {
    let at = super::named_in_letters(base_url);
    format!(
        "An account was made for this address, with an app of its own.\n\n\
         {at}\
         It has no password. To sign in, ask for a code: it is mailed to this\n\
         address, and proves that it is yours. A password can be set after that.\n\n\
         If you do not know what this is about, do nothing: without a code that is\n\
         mailed here nobody gets in.\n"
    )
}

/// Somebody, with the apps they are in.
///
/// # Errors
/// [`UserError`]
pub async fn show(app: &App, user_id: Uuid) -> Result<Value, UserError> {
    let mut tx = app.service_tx().await?;
    let user = store::find_user(&mut tx, user_id).await?.ok_or(UserError::NotFound)?;
    let apps = store::apps_of_user(&mut tx, user_id).await?;
    Ok(json!({
        "id": user.user_id,
        "email": user.email,
        "name": user.name,
        "created_at": user.created_at,
        "email_proved_at": user.email_proved_at,
        "disabled_at": user.disabled_at,
        "apps": apps,
    }))
}

/// Disables somebody, or enables them again. Done again, it ends again whatever still runs.
///
/// # Errors
/// [`UserError`]; whoever was to be disabled may be, and what they run may not have ended: do it again.
pub async fn set_disabled(
    app: &App,
    allowed: &Allowed<may::UsersWrite>,
    user_id: Uuid,
    disabled: bool,
) -> Result<(), UserError> {
    let now = app.now();
    let mut tx = app.service_tx().await?;
    let was_disabled = store::lock_user(&mut tx, user_id).await?.ok_or(UserError::NotFound)?;
    if was_disabled != disabled {
        store::set_disabled(&mut tx, user_id, disabled.then_some(now)).await?;
        // Also when they are enabled: what a sign-in made that had begun before they were disabled.
        store::revoke_all(&mut tx, user_id, now).await?;
        store::forget_sign_ins(&mut tx, user_id).await?;
        let action = if disabled { "users.disable" } else { "users.enable" };
        let entry = audit::Entry::ok(action, format!("user/{user_id}"));
        audit::write_platform(app, &mut tx, allowed.caller(), None, entry).await?;
    }
    let apps = store::apps_of_user(&mut tx, user_id).await?;
    tx.commit().await?;
    apps.iter().for_each(|of| app.changes.made(of.app_id));
    if disabled {
        sessions::turns::of_person::cut_all(app, user_id).await?;
        tasks::cancel_all_of(app, user_id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m079_a_letter_says_how_to_sign_in_and_holds_no_link_but_the_operators() {
        for base_url in [None, Some("https://opg.example")] {
            let text = letter(base_url);
            assert!(text.contains("ask for a code"), "{text}");
            assert_eq!(text.contains("http"), base_url.is_some(), "{text}");
            assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 76), "{text}");
        }
    }
}
