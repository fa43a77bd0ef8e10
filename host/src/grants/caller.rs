//! Who is calling, as far as the gate needs to know.

use super::Scopes;
use crate::{http::RequestContext, remembered::Version, traces::TraceContext};
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
    /// Whose it is, where it is a person's; none: an app's or the operator's.
    pub user_id: Option<Uuid>,
    /// Where it belongs.
    pub standing: Standing,
    /// What it may do; a person's, in an app, no more than their role there allows.
    pub scopes: Scopes,
    /// When it ends; none: not before it is revoked.
    pub expires_at: Option<DateTime<Utc>>,
    /// Which door it came through.
    pub surface: Surface,
    /// Where it came from, as far as known.
    pub ip: Option<IpAddr>,
    /// The id of this request.
    pub request_id: String,
    /// As of which changes of its app it came, for what is done at once; none: what it needs is read anew.
    pub version: Option<Version>,
    /// Which trace this request belongs to, and what in it led here.
    pub trace: Option<TraceContext>,
}

/// Where a credential belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The installation: an operator.
    Operator,
    /// One app.
    App(AppRef),
    /// A person, in no app.
    Person {
        /// Whether the request named an app: one that is not, or that is not theirs.
        named: bool,
    },
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
    /// `opg_ses_<secret>`: a person who signed in to the console.
    ConsoleSession,
    /// `opg_plt_<secret>`: what a person's command line acts with, for an hour.
    PlatformToken,
    /// `opg_rfr_<secret>`: gets the next platform token, once; opens nothing else.
    RefreshToken,
    /// `opg_pat_<secret>`: a person's token with chosen scopes.
    PersonalToken,
    /// None: somebody who registers, for the audit log. No token is of this kind.
    Registration,
    /// None: somebody who could not say who they are, for the audit log.
    Anonymous,
}

impl CredentialKind {
    /// The name in the database and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            CredentialKind::AdminToken => "admin_token",
            CredentialKind::TenantToken => "tenant_token",
            CredentialKind::DevGrant => "dev_grant",
            CredentialKind::ConsoleSession => "console_session",
            CredentialKind::PlatformToken => "platform_token",
            CredentialKind::RefreshToken => "refresh_token",
            CredentialKind::PersonalToken => "personal_token",
            CredentialKind::Registration => "registration",
            CredentialKind::Anonymous => "anonymous",
        }
    }

    /// The kind of this name, of those that are stored.
    pub fn parse(name: &str) -> Option<CredentialKind> {
        [
            Self::TenantToken,
            Self::DevGrant,
            Self::ConsoleSession,
            Self::PlatformToken,
            Self::RefreshToken,
            Self::PersonalToken,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
    }
}

/// Which door a call came through, for audit and usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// HTTP, by a program of the tenant's.
    Rest,
    /// HTTP, by a browser with a session's cookie.
    Console,
    /// Out of the sandbox.
    Wasm,
}

impl Surface {
    /// The name in audit and usage rows.
    pub const fn name(self) -> &'static str {
        match self {
            Surface::Rest => "rest",
            Surface::Console => "console",
            Surface::Wasm => "wasm",
        }
    }
}

impl Caller {
    /// The app it belongs to, if it belongs to one.
    pub fn app(&self) -> Option<&AppRef> {
        match &self.standing {
            Standing::Operator | Standing::Person { .. } => None,
            Standing::App(app) => Some(app),
        }
    }

    /// When what this credential makes has to end at the latest (row M005); none: whenever. A sign-in is short by
    /// nature, and what a person makes while they are signed in is theirs.
    pub fn makes_until(&self) -> Option<DateTime<Utc>> {
        let is_sign_in = matches!(self.kind, CredentialKind::ConsoleSession | CredentialKind::PlatformToken);
        self.expires_at.filter(|_| !is_sign_in)
    }

    /// Somebody without a credential, for audit rows of what they did.
    pub fn without_credential(
        kind: CredentialKind,
        context: RequestContext,
        user_id: Option<Uuid>,
    ) -> Caller {
        Caller {
            kind,
            credential_id: None,
            user_id,
            standing: Standing::Person { named: false },
            scopes: Scopes::NONE,
            expires_at: None,
            surface: Surface::Rest,
            ip: context.ip,
            request_id: context.request_id,
            version: None,
            trace: context.trace,
        }
    }

    /// Who acts, for audit rows: the person, or the kind and, where there is one, the id.
    pub fn actor(&self) -> String {
        match (self.user_id, self.credential_id) {
            (Some(user_id), _) => format!("user:{user_id}"),
            (None, Some(id)) => format!("{}:{id}", self.kind.name()),
            (None, None) => self.kind.name().to_owned(),
        }
    }
}
