//! A workspace: an app's schema and its two logins, made with the app and dropped after it.
//!
//! The logins are the wall. `reader` may select in its schema, `owner` may create and change there; neither owns the
//! schema, is a member of anything, inherits anything, or may connect anywhere else. Their names are made of the
//! app's id, not of its slug: roles belong to a whole server, which two OPGs may share, and no two ids can be
//! read as one another (`demo` and a `demo-ro` could).
//!
//! The control plane and the apps' SQL are two databases, so making an app is two transactions. The apps' one
//! commits first: a control plane that then fails leaves a workspace nobody can reach and nothing is in, which
//! the next attempt clears away. Deliberately absent: `SET ROLE` from a shared login, which a single `SELECT` of
//! a tenant can undo (`set_config`).

use super::{parse::Namespace, store};
use crate::{
    app::App,
    grants::AppRef,
    postgres::scram_verifier,
    secrets::{Place, envelope::SealError},
    tenants::ServiceTx,
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

/// Where the logins' passwords are sealed.
pub(crate) const PLACE: Place = Place { table: "database_logins", key: "login_id", field: "encrypted_value" };
/// 256 bits: nobody guesses it, and nobody has to type it.
const PASSWORD_BYTES: usize = 32;

/// Which of an app's two logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Access {
    /// Reads.
    Reader,
    /// Reads, changes and defines.
    Owner,
}

impl Access {
    const ALL: [Access; 2] = [Access::Reader, Access::Owner];

    /// The name in the table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Access::Reader => "reader",
            Access::Owner => "owner",
        }
    }
}

/// The names of an app's workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workspace {
    app_id: Uuid,
    slug: String,
    namespace: Namespace,
}

impl Workspace {
    /// That of this app.
    pub(crate) fn of(app: &AppRef) -> Workspace {
        Workspace::named(app.app_id, &app.slug)
    }

    /// That of the app of this id and slug.
    pub(crate) fn named(app_id: Uuid, slug: &str) -> Workspace {
        Workspace { app_id, slug: slug.to_owned(), namespace: Namespace::of_slug(slug) }
    }

    /// Whose it is.
    pub(super) fn app_id(&self) -> Uuid {
        self.app_id
    }

    /// The app's slug.
    pub(super) fn slug(&self) -> &str {
        &self.slug
    }

    /// What every name in it starts with: `app_demo__`.
    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// `app_demo`.
    pub(super) fn schema(&self) -> &str {
        self.namespace.schema()
    }

    /// The login's name on the server.
    pub(super) fn role(&self, access: Access) -> String {
        match access {
            Access::Owner => format!("opg_{}", self.app_id.simple()),
            Access::Reader => format!("opg_{}_ro", self.app_id.simple()),
        }
    }
}

/// Why a workspace could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// There is a schema of this name with something in it, and no app of ours has it.
    #[error("the apps' database has a schema `{0}` that no app of this OPG has; move it away")]
    Occupied(String),
    /// A password.
    #[error("a password could not be sealed")]
    Seal(#[from] SealError),
    /// A database.
    #[error("the database workspace could not be made")]
    Db(#[from] sqlx::Error),
}

/// Makes the workspace of an app whose row `tx` holds, not yet committed. Where `tx` is then not committed,
/// nothing can reach what was made, and the next [`provision`] of the same slug clears it away.
///
/// # Errors
/// [`ProvisionError`]; `tx` must not be committed then.
pub(crate) async fn provision(
    app: &App,
    tx: &mut ServiceTx,
    workspace: &Workspace,
) -> Result<(), ProvisionError> {
    let mut verifiers = vec![];
    for access in Access::ALL {
        let password = SecretString::from(hex::encode(app.entropy.bytes::<PASSWORD_BYTES>()));
        let login_id = app.new_id();
        let sealed = app.seal(PLACE, login_id, &password)?;
        store::insert_login(tx, login_id, workspace.app_id, access, &sealed, app.now()).await?;
        // The server gets what proves the password, not the password: statements end up in logs.
        verifiers.push((access, scram_verifier(password.expose_secret(), app.entropy.bytes())));
    }
    store::create_workspace(app.database.admin(), workspace, &verifiers).await
}

/// Drops a workspace: its schema with all in it, and its logins.
///
/// # Errors
/// The databases'; it may be tried again.
pub(super) async fn drop(app: &App, workspace: &Workspace) -> sqlx::Result<()> {
    app.database.logins().forget(workspace.app_id).await;
    store::drop_workspace(app.database.admin(), workspace).await?;
    let mut tx = app.service_tx().await?;
    store::delete_logins(&mut tx, workspace.app_id).await?;
    tx.commit().await
}

/// Closes a workspace to its own logins, at once: for an app that was deleted.
///
/// # Errors
/// The database's; upkeep tries again.
pub(crate) async fn close(app: &App, workspace: &Workspace) -> sqlx::Result<()> {
    store::close_workspace(app.database.admin(), workspace).await?;
    app.database.logins().forget(workspace.app_id).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_two_workspaces_are_never_the_same_and_fit() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let names = [a, b].map(|id| Access::ALL.map(|access| Workspace::named(id, "demo").role(access)));
        let all: std::collections::BTreeSet<_> = names.iter().flatten().collect();
        assert_eq!(all.len(), 4);
        assert!(
            all.iter()
                .all(|name| name.len() <= 63 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        );
        assert_eq!(Workspace::named(a, "my-app").schema(), "app_my_app");
        assert_eq!(Workspace::named(a, "my-app").namespace().as_str(), "app_my_app__");
    }
}
