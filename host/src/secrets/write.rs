//! Storing and removing secrets: all of a request, or nothing of it.

use super::{PLACE, RESERVED_PREFIX, envelope::SealError, is_name, push, store};
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, InApp, action::may, audit},
    limits::{PUSH_HOSTS_PER_SECRET_MAX, SECRET_BYTES_MAX, SECRETS_PER_APP_MAX},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What to change.
#[derive(Default)]
pub struct Changes {
    /// Values to store, by name.
    pub set: BTreeMap<String, SecretString>,
    /// Names to remove.
    pub unset: BTreeSet<String>,
    /// The hosts a push may send a secret to, by its name; what is not named here stays as it is.
    pub push_hosts: BTreeMap<String, BTreeSet<String>>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Names or values are wrong.
    #[error("the secrets are wrong")]
    Invalid(Vec<FieldError>),
    /// Too many.
    #[error("an app has at most {SECRETS_PER_APP_MAX} secrets; remove some first")]
    TooMany,
    /// Our fault.
    #[error("a secret could not be sealed")]
    Seal(#[from] SealError),
    /// The database.
    #[error("the secrets could not be stored")]
    Db(#[from] sqlx::Error),
}

/// Applies changes.
///
/// # Errors
/// [`WriteError`]; nothing was changed then.
pub async fn write(
    app: &App,
    allowed: &Allowed<may::SecretsWrite>,
    changes: &Changes,
) -> Result<(), WriteError> {
    let wrong = check(changes);
    if !wrong.is_empty() {
        return Err(WriteError::Invalid(wrong));
    }
    let mut tx = app.tenant_tx(allowed).await?;
    store::lock(&mut tx, allowed.app().app_id).await?;
    for name in &changes.unset {
        if store::delete(&mut tx, name).await? {
            audit::write(app, &mut tx, allowed, audit::Entry::ok("secrets.unset", format!("secret/{name}")))
                .await?;
        }
    }
    for (name, value) in &changes.set {
        let present = store::find_id(&mut tx, name).await?;
        let secret_id = present.unwrap_or_else(|| app.new_id());
        let sealed = app.seal(PLACE, secret_id, value)?;
        match present {
            Some(_) => store::update(&mut tx, secret_id, &sealed, app.now()).await?,
            None => store::insert(&mut tx, allowed.app().app_id, secret_id, name, &sealed, app.now()).await?,
        }
        audit::write(app, &mut tx, allowed, audit::Entry::ok("secrets.set", format!("secret/{name}")))
            .await?;
    }
    for (name, hosts) in &changes.push_hosts {
        let hosts: BTreeSet<String> = hosts.iter().filter_map(|host| push::read_place(host)).collect();
        let hosts: Vec<String> = hosts.into_iter().collect();
        if !store::set_push_hosts(&mut tx, name, &hosts).await? {
            let wrong = FieldError::new(pointer("push_hosts", name), "there is no secret of this name");
            return Err(WriteError::Invalid(vec![wrong]));
        }
        let entry = audit::Entry::ok("secrets.push_hosts", format!("secret/{name}"));
        audit::write(app, &mut tx, allowed, entry.detail(json!({ "push_hosts": hosts }))).await?;
    }
    if store::count(&mut tx).await? > SECRETS_PER_APP_MAX {
        return Err(WriteError::TooMany);
    }
    tx.commit().await?;
    app.changes.made(allowed.app().app_id);
    Ok(())
}

fn check(changes: &Changes) -> Vec<FieldError> {
    let mut wrong = vec![];
    for (name, value) in &changes.set {
        let at = pointer("set", name);
        if !is_name(name) {
            wrong.push(FieldError::new(&at, NAME_EXPECTED));
        } else if name.starts_with(RESERVED_PREFIX) {
            wrong.push(FieldError::new(&at, "names that start with `OPG_` are reserved"));
        }
        let size = value.expose_secret().len();
        if size == 0 || size > SECRET_BYTES_MAX {
            wrong.push(FieldError::new(&at, format!("a value is 1 to {SECRET_BYTES_MAX} bytes")));
        }
        if changes.unset.contains(name) {
            wrong.push(FieldError::new(&at, "the name stands in both `set` and `unset`"));
        }
    }
    for (at, name) in changes.unset.iter().enumerate() {
        if !is_name(name) {
            wrong.push(FieldError::new(format!("/unset/{at}"), NAME_EXPECTED));
        }
    }
    for (name, hosts) in &changes.push_hosts {
        let at = pointer("push_hosts", name);
        if !is_name(name) {
            wrong.push(FieldError::new(&at, NAME_EXPECTED));
        }
        if changes.unset.contains(name) {
            wrong.push(FieldError::new(&at, "the name stands in both `push_hosts` and `unset`"));
        }
        if hosts.len() > PUSH_HOSTS_PER_SECRET_MAX {
            wrong.push(FieldError::new(&at, format!("{PUSH_HOSTS_PER_SECRET_MAX} hosts at the most")));
        }
        if hosts.iter().any(|host| push::read_place(host).is_none()) {
            let text = "hosts, each such as `git.example.com` or `git.example.com:8443`";
            wrong.push(FieldError::new(&at, text));
        }
    }
    wrong
}

/// Where something of this name stands in a body, as a JSON pointer.
fn pointer(member: &str, name: &str) -> String {
    format!("/{member}/{}", name.replace('~', "~0").replace('/', "~1"))
}

const NAME_EXPECTED: &str = "a name is capitals, digits and `_`, a capital first, 64 at the most";

/// Reads `.env` text: `NAME=value` lines, `#` comments, an optional `export`,
/// single or double quotes around a value.
///
/// # Errors
/// The number of the first line that is none of these; never its text.
pub fn parse_env(text: &str) -> Result<BTreeMap<String, SecretString>, usize> {
    let mut set = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or(at + 1)?;
        set.insert(name.trim().to_owned(), SecretString::from(unquote(value.trim()).to_owned()));
    }
    Ok(set)
}

fn unquote(value: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m228_env_text_is_read_line_by_line_and_a_bad_line_is_named_by_number_only() {
        let text = "# comment\nDB_URL=postgres://u:p@h/db?x=1\n\nexport KEY=\"a b\"\nEMPTY_QUOTES=''\n";
        let set = parse_env(text).unwrap();
        let read: Vec<_> = set.iter().map(|(k, v)| (k.as_str(), v.expose_secret())).collect();
        assert_eq!(read, [("DB_URL", "postgres://u:p@h/db?x=1"), ("EMPTY_QUOTES", ""), ("KEY", "a b")]);
        assert_eq!(parse_env("A=1\nno equals sign").unwrap_err(), 2);
    }
}
