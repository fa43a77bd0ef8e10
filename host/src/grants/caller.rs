//! Who is calling, as far as the gate needs to know.

use super::Scopes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::net::IpAddr;
use uuid::Uuid;

/// A valid credential, and what came with the request it stands on.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What kind of credential it is.
    pub kind: CredentialKind,
    /// Which one; none for a token from the environment.
    pub credential_id: Option<Uuid>,
    /// Where it belongs.
    pub standing: Standing,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends; none: not before it is revoked.
    pub expires_at: Option<DateTime<Utc>>,
    /// Which door it came through.
    pub surface: Surface,
    /// Where it came from, as far as known.
    pub ip: Option<IpAddr>,
    /// The id of this request.
    pub request_id: String,
}

/// Where a credential belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The installation: an operator.
    Operator,
    /// One app.
    App(AppRef),
}

/// An app, as a credential names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRef {
    /// The key in every tenant table.
    pub app_id: Uuid,
    /// The public name, equal to the tenant id.
    pub slug: String,
    /// Whether the operator stopped its traffic.
    pub suspended: bool,
}

/// Kinds of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// `ADMIN_TOKENS`: bootstraps an installation.
    AdminToken,
    /// `ocs_<slug>_<secret>`: an app's own token.
    TenantToken,
    /// `opg_dev_<secret>`: a developer grant with chosen scopes.
    DevGrant,
    /// None: somebody who registers, for the audit log. No token is of this kind.
    Registration,
}

impl CredentialKind {
    /// The name in the database and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            CredentialKind::AdminToken => "admin_token",
            CredentialKind::TenantToken => "tenant_token",
            CredentialKind::DevGrant => "dev_grant",
            CredentialKind::Registration => "registration",
        }
    }

    /// The kind of this name, of those that are stored.
    pub fn parse(name: &str) -> Option<CredentialKind> {
        [Self::TenantToken, Self::DevGrant].into_iter().find(|kind| kind.name() == name)
    }
}

/// Which door a call came through, for audit and usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// HTTP, by a program of the tenant's.
    Rest,
    /// Out of the sandbox.
    Wasm,
}

impl Surface {
    /// The name in audit and usage rows.
    pub const fn name(self) -> &'static str {
        match self {
            Surface::Rest => "rest",
            Surface::Wasm => "wasm",
        }
    }
}

impl Caller {
    /// The app it belongs to, if it belongs to one.
    pub fn app(&self) -> Option<&AppRef> {
        match &self.standing {
            Standing::Operator => None,
            Standing::App(app) => Some(app),
        }
    }

    /// Who acts, for audit rows: the kind and, where there is one, the id.
    pub fn actor(&self) -> String {
        match self.credential_id {
            Some(id) => format!("{}:{id}", self.kind.name()),
            None => self.kind.name().to_owned(),
        }
    }
}
