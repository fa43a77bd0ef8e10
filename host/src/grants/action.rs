//! Everything one may ask to do, and what each takes.
//!
//! One list for both doors. `on` says what an action is done to: the platform,
//! an app or a person's own account (over HTTP), or something a guest reaches for (out of the sandbox). What is
//! managed is an app, by its own or by an operator.

use super::scope::Scope;

/// What an action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The installation as a whole.
    Platform,
    /// One app and what it owns.
    App,
    /// One app, which an operator may as well.
    Managed,
    /// A person's own account and credentials.
    Person,
    /// Something outside the sandbox, reached for by a guest on behalf of a caller.
    Guest,
}

macro_rules! actions {
    ($($variant:ident $name:literal $on:ident [$($scope:ident),*];)*) => {
        /// One thing one may ask to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action { $(#[doc = concat!("`", $name, "`")] $variant,)* }

        impl Action {
            /// Every action there is.
            pub const ALL: &[Action] = &[$(Action::$variant,)*];

            /// The name in audit rows and errors.
            pub const fn name(self) -> &'static str {
                match self { $(Action::$variant => $name,)* }
            }

            /// What it is done to.
            pub const fn on(self) -> On {
                match self { $(Action::$variant => On::$on,)* }
            }

            /// The scopes that allow it; any one of them is enough. None
            /// listed: any credential of the right kind will do.
            pub const fn any_of(self) -> &'static [Scope] {
                match self { $(Action::$variant => &[$(Scope::$scope),*],)* }
            }
        }

        /// One type for each action, to name it in a signature: `Allowed<may::ToolsInvoke>`.
        pub mod may {
            $(
                #[doc = concat!("To do `", $name, "`.")]
                #[derive(Debug)]
                pub enum $variant {}
                impl $crate::grants::Permission for $variant {
                    const ACTION: super::Action = super::Action::$variant;
                    type Of = super::of::$on;
                }
            )*
        }
    };
}

/// What a proof of an action carries, by what the action is done to.
mod of {
    use crate::grants::{AppRef, allowed};
    pub(super) type Platform = allowed::ThePlatform;
    pub(super) type App = AppRef;
    pub(super) type Managed = allowed::Managed;
    pub(super) type Person = allowed::Myself;
    pub(super) type Guest = allowed::GuestOnly;
}

actions! {
    AppsList "apps.list" Platform [PlatformAppsRead];
    AppsRead "apps.read" Platform [PlatformAppsRead];
    AppsCreate "apps.create" Platform [PlatformAppsWrite];
    AppsDelete "apps.delete" Platform [PlatformAppsDelete];
    AppsBackup "apps.backup" Platform [PlatformAppsRead];
    AppBudgetsRead "apps.budgets.read" Platform [PlatformAppsRead];
    AppBudgetsWrite "apps.budgets.write" Platform [PlatformAppsWrite];
    PricesRead "prices.read" Platform [PlatformProviders];
    PricesWrite "prices.write" Platform [PlatformProviders];
    SourcesRead "sources.read" Platform [PlatformProviders];
    SourcesWrite "sources.write" Platform [PlatformProviders];
    AiModelsRead "ai_models.read" Platform [PlatformProviders];
    AiModelsWrite "ai_models.write" Platform [PlatformProviders];
    AppModelsRead "apps.models.read" Platform [PlatformAppsRead];
    AppModelsWrite "apps.models.write" Platform [PlatformAppsWrite];
    UsersRead "users.read" Platform [PlatformUsers];
    UsersWrite "users.write" Platform [PlatformUsers];
    AdminsRead "apps.admins.read" Managed [MembersRead, PlatformAppsRead];
    AdminsWrite "apps.admins.write" Managed [MembersWrite, PlatformAppsWrite];

    MeRead "me.read" Person [AccountManage];
    MeWrite "me.write" Person [AccountManage];
    Logout "auth.logout" Person [];
    DeviceDecide "device.decide" Person [AccountManage];
    PatsRead "pats.read" Person [PlatformTokens];
    PatsWrite "pats.write" Person [PlatformTokens];

    WhoAmI "whoami" App [];
    TenantRead "tenant.read" App [TenantRead];
    TenantWrite "tenant.write" App [TenantWrite];
    ToolsRead "tools.read" App [ToolsRead];
    ToolsWrite "tools.write" App [ToolsWrite];
    ToolsReview "tools.review" App [ToolsApprove];
    ToolsInvoke "tools.invoke" App [ToolsRun];
    ToolsOffered "tools.offered" App [ChatRead, ToolsRead];
    AgentsRead "agents.read" App [AgentsRead];
    AgentsWrite "agents.write" App [AgentsWrite];
    AgentsReview "agents.review" App [ToolsApprove];
    SecretsRead "secrets.read" App [SecretsRead];
    SecretsWrite "secrets.write" App [SecretsWrite];
    TokensRead "tokens.read" App [TokensRead];
    TokensWrite "tokens.write" App [TokensWrite];
    PredefinedRead "predefined.read" App [ChatRead, ToolsRead, AgentsRead];
    ModelsRead "models.read" App [ChatRead];
    ProvidersRead "providers.read" App [SessionsRead];
    KeysRead "keys.read" App [KeysRead];
    KeysWrite "keys.write" App [KeysWrite];
    ChatSend "chat.send" App [ChatWrite];
    AiRead "ai.read" App [AiRead];
    AiInvoke "ai.invoke" App [AiInvoke];
    SessionsUse "sessions.use" App [SessionsWrite];
    SessionsDelete "sessions.delete" App [SessionsWrite];
    SessionsRead "sessions.read" App [SessionsRead];
    SessionsWrite "sessions.write" App [SessionsWrite];
    SessionsPrompt "sessions.prompt" App [SessionsWrite];
    UsageRead "usage.read" App [UsageRead];
    BudgetsRead "budgets.read" App [UsageRead, TenantRead];
    BudgetsWrite "budgets.write" App [TenantWrite];
    MembersRead "members.read" App [MembersRead];
    MembersWrite "members.write" App [MembersWrite];
    AuditRead "audit.read" App [AuditRead];
    DbRead "db.read" App [DbRead];
    DbWrite "db.write" App [DbWrite, DbApply];
    DbApply "db.apply" App [DbApply];

    GuestHttp "guest.http" Guest [ToolsRun, ChatWrite, AgentsRun];
    GuestSecret "guest.secret" Guest [ToolsRun, ChatWrite, AgentsRun];
    GuestKv "guest.kv" Guest [ToolsRun, ChatWrite, AgentsRun];
    GuestModel "guest.model" Guest [ChatWrite];
    GuestTool "guest.tool" Guest [ToolsRun, ChatWrite];
    GuestDbRead "guest.db_read" Guest [DbRead];
    GuestDbWrite "guest.db_write" Guest [DbApply];
    GuestWorkspaceRead "guest.workspace_read" Guest [SessionsRead, SessionsWrite];
    GuestWorkspaceWrite "guest.workspace_write" Guest [SessionsWrite];
}
