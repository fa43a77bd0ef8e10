//! Every route, on one page.
//!
//! A line is a method, a path, the handler, and the action its caller must be
//! allowed; `public` asks for no credential, `runner` for a runner's own token, which the gate does not judge,
//! and `page` is shown to a browser, whose cookie it looks at by itself.
//! [`all_routes`] is the same list as
//! data: the test that no route answers the unauthorised is made from it.
//! Routes of an app stand under `/v1`, where the credential names the app, and
//! under `/{app}/v1`, where it must be the same one (row M008). What clients of
//! opencode call stands under `/t/{app}/opencode` alone.

use crate::{
    agents, ai,
    app::App,
    budgets,
    chat::{self, completions::Completions, messages::Messages, responses::Responses},
    db_proxy,
    error::ApiError,
    grants::{self, Action, authenticate},
    http::{context, cors, render},
    idempotency, keys, opencode, ops, people, prices,
    registry::{
        self,
        routes::{Agents, Tools},
    },
    secrets, sessions, sources, tasks, tenants, tools, usage, workspace,
};
use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{delete, get, patch, post, put},
};
use http::{Method, StatusCode};
use tower_http::catch_panic::CatchPanicLayer;

/// One route, as data.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: &'static str,
    /// What its caller must be allowed; none: anybody, or any credential.
    pub action: Option<Action>,
    /// Whether it asks for no credential that the gate knows.
    pub public: bool,
}

macro_rules! routes {
    ($name:ident, $list:ident: $($method:ident $path:literal => $handler:path, $access:tt;)*) => {
        fn $name() -> Router<App> {
            Router::new()$(.route($path, routes!(@method $method)($handler)))*
        }

        /// The routes of this group.
        pub const $list: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            action: routes!(@action $access),
            public: routes!(@public $access),
        },)*];
    };
    (@method GET) => { get };
    (@method POST) => { post };
    (@method PUT) => { put };
    (@method PATCH) => { patch };
    (@method DELETE) => { delete };
    (@action public) => { None };
    (@action any) => { None };
    (@action runner) => { None };
    (@action page) => { None };
    (@action $action:ident) => { Some(Action::$action) };
    (@public public) => { true };
    (@public runner) => { true };
    (@public page) => { true };
    (@public $action:ident) => { false };
}

routes! { process_routes, PROCESS_ROUTES:
    GET "/healthz" => ops::healthz, public;
    GET "/readyz" => ops::readyz, public;
    GET "/version" => ops::version, public;
    GET "/metrics" => ops::metrics, public;
    GET "/s/{token}" => sessions::share::routes::read, public;
    GET "/login" => people::pages::routes::get_login, page;
    POST "/login" => people::pages::routes::post_login, page;
    POST "/login/mail" => people::pages::routes::post_mail, page;
    POST "/login/code" => people::pages::routes::post_code, page;
    POST "/logout" => people::pages::routes::post_logout, page;
    GET "/device" => people::pages::routes::get_device, page;
    POST "/device" => people::pages::routes::post_device, page;
    POST "/device/approve" => people::pages::routes::post_approve, page;
    POST "/device/deny" => people::pages::routes::post_deny, page;
    GET "/device/approved" => people::pages::routes::get_approved, page;
    GET "/device/denied" => people::pages::routes::get_denied, page;
    GET "/oauth/authorize" => people::pages::authorize_routes::get_authorize, page;
    POST "/oauth/authorize" => people::pages::authorize_routes::post_allow, page;
    POST "/oauth/authorize/deny" => people::pages::authorize_routes::post_deny, page;
    GET "/platform/v1/whoami" => grants::routes::whoami, any;
    POST "/internal/register" => sessions::instances::process::routes::register, runner;
    POST "/internal/heartbeat" => sessions::instances::process::routes::heartbeat, runner;
    POST "/internal/events" => sessions::instances::process::routes::events, runner;
    POST "/internal/session-json" => sessions::instances::process::routes::session_json, runner;
    POST "/v1/register" => tenants::routes::register, public;
    POST "/v1/auth/signup" => people::routes::signup, public;
    POST "/v1/auth/login" => people::routes::login, public;
    POST "/v1/auth/magic" => people::routes::ask_for_code, public;
    POST "/v1/auth/magic/verify" => people::routes::magic_login, public;
    GET "/v1/auth/oauth/{provider}" => people::pages::oauth::get_start, page;
    GET "/v1/auth/oauth/{provider}/callback" => people::pages::oauth::get_callback, page;
    POST "/v1/auth/passkey/register/start" => people::passkeys::routes::begin_making, MeWrite;
    POST "/v1/auth/passkey/register/finish" => people::passkeys::routes::finish_making, MeWrite;
    POST "/v1/auth/passkey/login/start" => people::passkeys::routes::begin_login, public;
    POST "/v1/auth/passkey/login/finish" => people::passkeys::routes::finish_login, public;
    POST "/v1/auth/logout" => people::routes::logout, Logout;
    POST "/platform/v1/auth/logout" => people::routes::logout, Logout;
    POST "/platform/v1/auth/device" => people::device_routes::begin, public;
    POST "/platform/v1/auth/token" => people::program_routes::token, public;
    POST "/platform/v1/auth/device/look" => people::device_routes::look, DeviceDecide;
    POST "/platform/v1/auth/device/approve" => people::device_routes::approve, DeviceDecide;
    POST "/platform/v1/auth/device/deny" => people::device_routes::deny, DeviceDecide;
    GET "/platform/v1/tokens" => people::token_routes::list, PatsRead;
    POST "/platform/v1/tokens" => people::token_routes::create, PatsWrite;
    PATCH "/platform/v1/tokens/{id}" => people::token_routes::rename, PatsWrite;
    DELETE "/platform/v1/tokens/{id}" => people::token_routes::revoke, PatsWrite;
    POST "/platform/v1/tokens/{id}/rotate" => people::token_routes::rotate, PatsWrite;
    GET "/v1/me" => people::routes::get_me, MeRead;
    PATCH "/v1/me" => people::routes::patch_me, MeWrite;
    POST "/v1/me/password" => people::routes::change_password, MeWrite;
    GET "/v1/me/sessions" => people::routes::list_sessions, MeRead;
    DELETE "/v1/me/sessions" => people::routes::delete_other_sessions, MeWrite;
    DELETE "/v1/me/sessions/{id}" => people::routes::delete_session, MeWrite;
    DELETE "/v1/me/identities/{id}" => people::routes::unlink, MeWrite;
    DELETE "/v1/me/passkeys/{id}" => people::passkeys::routes::remove, MeWrite;
    DELETE "/v1/me/apps/{id}" => people::routes::leave_app, MeWrite;
    POST "/v1/me/invitations/{id}/accept" => people::invitation_routes::accept, MeWrite;
    POST "/v1/me/invitations/{id}/decline" => people::invitation_routes::decline, MeWrite;
    GET "/platform/v1/users" => people::user_routes::list, UsersRead;
    POST "/platform/v1/users" => people::user_routes::invite, UsersWrite;
    GET "/platform/v1/users/{id}" => people::user_routes::get, UsersRead;
    PATCH "/platform/v1/users/{id}" => people::user_routes::change, UsersWrite;
    DELETE "/platform/v1/users/{id}" => people::user_routes::disable, UsersWrite;
    GET "/platform/v1/apps/{app}/admins" => people::member_routes::list_admins, AdminsRead;
    POST "/platform/v1/apps/{app}/admins" => people::member_routes::add_admin, AdminsWrite;
    PATCH "/platform/v1/apps/{app}/admins/{id}" => people::member_routes::change_admin, AdminsWrite;
    DELETE "/platform/v1/apps/{app}/admins/{id}" => people::member_routes::remove_admin, AdminsWrite;
    GET "/platform/v1/apps/{app}/invitations" => people::invitation_routes::list_of_app, AdminsRead;
    DELETE "/platform/v1/apps/{app}/invitations/{id}" => people::invitation_routes::withdraw_of_app, AdminsWrite;
    POST "/v1/admin/tenants" => tenants::routes::create_tenant, AppsCreate;
    GET "/v1/admin/tenants" => tenants::routes::list_tenants, AppsList;
    GET "/v1/admin/tenants/{id}" => tenants::routes::get_tenant, AppsRead;
    GET "/v1/admin/tenants/{id}/database/backup" => db_proxy::routes::get_backup_of, AppsBackup;
    DELETE "/v1/admin/tenants/{id}" => tenants::routes::delete_tenant, AppsDelete;
    GET "/v1/admin/tenants/{id}/budgets" => budgets::routes::list_of_app, AppBudgetsRead;
    PUT "/v1/admin/tenants/{id}/budgets/{name}" => budgets::routes::put_of_app, AppBudgetsWrite;
    DELETE "/v1/admin/tenants/{id}/budgets/{name}" => budgets::routes::delete_of_app, AppBudgetsWrite;
    GET "/platform/v1/ai/prices" => prices::routes::list, PricesRead;
    PUT "/platform/v1/ai/prices/{*id}" => prices::routes::put, PricesWrite;
    DELETE "/platform/v1/ai/prices/{*id}" => prices::routes::delete, PricesWrite;
    GET "/platform/v1/ai/sources" => sources::routes::list_sources, SourcesRead;
    POST "/platform/v1/ai/sources" => sources::routes::create_source, SourcesWrite;
    GET "/platform/v1/ai/sources/{id}" => sources::routes::get_source, SourcesRead;
    PATCH "/platform/v1/ai/sources/{id}" => sources::routes::change_source, SourcesWrite;
    DELETE "/platform/v1/ai/sources/{id}" => sources::routes::delete_source, SourcesWrite;
    GET "/platform/v1/ai/sources/{id}/health" => sources::routes::health, SourcesRead;
    POST "/platform/v1/ai/sources/{id}/test" => sources::routes::test, SourcesWrite;
    POST "/platform/v1/ai/sources/{id}/sync-models" => sources::routes::sync_models, AiModelsWrite;
    GET "/platform/v1/ai/models" => sources::routes::list_models, AiModelsRead;
    POST "/platform/v1/ai/models" => sources::routes::create_model, AiModelsWrite;
    GET "/platform/v1/ai/models/{*id}" => sources::routes::get_model, AiModelsRead;
    PATCH "/platform/v1/ai/models/{*id}" => sources::routes::change_model, AiModelsWrite;
    DELETE "/platform/v1/ai/models/{*id}" => sources::routes::delete_model, AiModelsWrite;
    GET "/v1/admin/tenants/{id}/ai/models" => sources::routes::get_app_models, AppModelsRead;
    PUT "/v1/admin/tenants/{id}/ai/models" => sources::routes::put_app_models, AppModelsWrite;
}

routes! { app_routes, APP_ROUTES:
    GET "/v1/whoami" => grants::routes::app_whoami, WhoAmI;
    GET "/v1/tenant" => tenants::routes::get_own, TenantRead;
    PUT "/v1/tenant" => tenants::routes::put_own, TenantWrite;
    GET "/v1/tenant/tools" => registry::routes::list::<Tools>, ToolsRead;
    GET "/v1/tenant/tools/{name}" => registry::routes::get::<Tools>, ToolsRead;
    PUT "/v1/tenant/tools/{name}" => registry::routes::put_tool, ToolsWrite;
    DELETE "/v1/tenant/tools/{name}" => registry::routes::delete::<Tools>, ToolsWrite;
    GET "/v1/tenant/tools/{name}/review" => registry::routes::preview::<Tools>, ToolsRead;
    POST "/v1/tenant/tools/{name}/review" => registry::routes::review::<Tools>, ToolsReview;
    POST "/v1/tenant/tools/{name}/invoke" => tools::routes::invoke_tool, ToolsInvoke;
    GET "/v1/tenant/tools/{name}/invocations" => tools::routes::list_invocations, ToolsRead;
    GET "/v1/tenant/tools/{name}/versions" => registry::routes::versions::<Tools>, ToolsRead;
    POST "/v1/tenant/tools/{name}/rollback" => registry::routes::rollback::<Tools>, ToolsWrite;
    GET "/v1/tenant/agents" => registry::routes::list::<Agents>, AgentsRead;
    GET "/v1/tenant/agents/{name}" => registry::routes::get::<Agents>, AgentsRead;
    PUT "/v1/tenant/agents/{name}" => registry::routes::put_agent, AgentsWrite;
    DELETE "/v1/tenant/agents/{name}" => registry::routes::delete::<Agents>, AgentsWrite;
    GET "/v1/tenant/agents/{name}/review" => registry::routes::preview::<Agents>, AgentsRead;
    POST "/v1/tenant/agents/{name}/review" => registry::routes::review::<Agents>, AgentsReview;
    GET "/v1/tenant/agents/{name}/versions" => registry::routes::versions::<Agents>, AgentsRead;
    POST "/v1/tenant/agents/{name}/rollback" => registry::routes::rollback::<Agents>, AgentsWrite;
    GET "/v1/tenant/secrets" => secrets::routes::list, SecretsRead;
    PUT "/v1/tenant/secrets" => secrets::routes::put, SecretsWrite;
    GET "/v1/keys" => keys::routes::list, KeysRead;
    PUT "/v1/keys/{name}" => keys::routes::put, KeysWrite;
    DELETE "/v1/keys/{name}" => keys::routes::delete, KeysWrite;
    POST "/v1/keys/{name}/test" => keys::routes::test, KeysWrite;
    GET "/v1/config/providers" => keys::routes::providers, ProvidersRead;
    GET "/v1/tenant/tokens" => grants::routes::list_tokens, TokensRead;
    POST "/v1/tenant/tokens" => grants::routes::create_token, TokensWrite;
    DELETE "/v1/tenant/tokens/{id}" => grants::routes::delete_token, TokensWrite;
    GET "/v1/tenant/members" => people::member_routes::list, MembersRead;
    POST "/v1/tenant/members" => people::member_routes::add, MembersWrite;
    PATCH "/v1/tenant/members/{id}" => people::member_routes::change, MembersWrite;
    DELETE "/v1/tenant/members/{id}" => people::member_routes::remove, MembersWrite;
    GET "/v1/tenant/invitations" => people::invitation_routes::list, MembersRead;
    DELETE "/v1/tenant/invitations/{id}" => people::invitation_routes::withdraw, MembersWrite;
    GET "/v1/tenant/budgets" => budgets::routes::list, BudgetsRead;
    PUT "/v1/tenant/budgets/{name}" => budgets::routes::put, BudgetsWrite;
    DELETE "/v1/tenant/budgets/{name}" => budgets::routes::delete, BudgetsWrite;
    GET "/v1/tenant/audit" => grants::routes::list_audit, AuditRead;
    GET "/v1/tools" => tools::routes::list_definitions, ToolsOffered;
    GET "/v1/predefined/tools" => registry::routes::list_predefined::<Tools>, PredefinedRead;
    GET "/v1/predefined/tools/{name}" => registry::routes::get_predefined::<Tools>, PredefinedRead;
    GET "/v1/predefined/agents" => registry::routes::list_predefined::<Agents>, PredefinedRead;
    GET "/v1/predefined/agents/{name}" => registry::routes::get_predefined::<Agents>, PredefinedRead;
    GET "/v1/models" => chat::routes::list_models, ModelsRead;
    GET "/v1/models/{*id}" => chat::routes::get_model, ModelsRead;
    POST "/v1/chat/completions" => chat::routes::create::<Completions>, ChatSend;
    POST "/v1/messages" => chat::routes::create::<Messages>, ChatSend;
    POST "/v1/messages/count_tokens" => chat::messages::count_tokens, ChatSend;
    POST "/v1/responses" => chat::routes::create::<Responses>, ChatSend;
    POST "/v1/embeddings" => chat::routes::embed, ChatSend;
    GET "/v1/ai/models" => ai::routes::list_models, AiRead;
    POST "/v1/ai/chat" => ai::routes::relay::<Completions>, AiInvoke;
    POST "/v1/ai/responses" => ai::routes::relay::<Responses>, AiInvoke;
    POST "/v1/ai/embeddings" => ai::routes::embed, AiInvoke;
    POST "/v1/ai/moderations" => ai::routes::moderate, AiInvoke;
    POST "/v1/ai/image" => ai::routes::draw, AiInvoke;
    GET "/v1/ai/files/{id}" => ai::routes::get_file, AiRead;
    POST "/v1/ai/speech" => ai::routes::speak, AiInvoke;
    POST "/v1/ai/transcriptions" => ai::routes::transcribe, AiInvoke;
    GET "/v1/tasks" => tasks::routes::list, AiRead;
    GET "/v1/tasks/{id}" => tasks::routes::get, AiRead;
    POST "/v1/tasks/{id}/cancel" => tasks::routes::post_cancel, AiInvoke;
    POST "/v1/sessions" => sessions::routes::create, SessionsWrite;
    GET "/v1/sessions" => sessions::routes::list, SessionsRead;
    GET "/v1/sessions/{id}" => sessions::routes::get, SessionsRead;
    PATCH "/v1/sessions/{id}" => sessions::routes::patch, SessionsWrite;
    DELETE "/v1/sessions/{id}" => sessions::routes::delete, SessionsDelete;
    POST "/v1/sessions/{id}/resume" => sessions::routes::resume, SessionsWrite;
    POST "/v1/sessions/{id}/stop" => sessions::routes::stop, SessionsWrite;
    POST "/v1/sessions/{id}/abort" => sessions::routes::abort, SessionsWrite;
    POST "/v1/sessions/{id}/prompt" => sessions::routes::prompt, SessionsPrompt;
    POST "/v1/sessions/{id}/command" => sessions::commands::routes::call, SessionsPrompt;
    GET "/v1/commands" => sessions::commands::routes::list, SessionsRead;
    PUT "/v1/tenant/commands/{name}" => sessions::commands::routes::put, TenantWrite;
    DELETE "/v1/tenant/commands/{name}" => sessions::commands::routes::delete, TenantWrite;
    GET "/v1/agents" => agents::routes::list, AgentsRead;
    POST "/v1/sessions/{id}/revert" => sessions::routes::revert, SessionsWrite;
    POST "/v1/sessions/{id}/unrevert" => sessions::routes::unrevert, SessionsWrite;
    POST "/v1/sessions/{id}/fork" => sessions::routes::fork, SessionsWrite;
    GET "/v1/sessions/{id}/children" => sessions::routes::children, SessionsRead;
    POST "/v1/sessions/{id}/summarize" => sessions::routes::summarize, SessionsPrompt;
    POST "/v1/sessions/import" => sessions::document::routes::post, SessionsWrite;
    GET "/v1/sessions/{id}/export.json" => sessions::document::routes::get, SessionsRead;
    GET "/v1/sessions/{id}/artifacts" => sessions::artifacts::routes::list, SessionsRead;
    POST "/v1/sessions/{id}/restore" => sessions::artifacts::routes::restore, SessionsWrite;
    POST "/v1/sessions/{id}/share" => sessions::share::routes::create, SessionsWrite;
    DELETE "/v1/sessions/{id}/share" => sessions::share::routes::delete, SessionsWrite;
    GET "/v1/events" => sessions::routes::events, SessionsRead;
    GET "/v1/sessions/{id}/files" => workspace::routes::list, SessionsRead;
    GET "/v1/sessions/{id}/file" => workspace::routes::get, SessionsRead;
    PUT "/v1/sessions/{id}/file" => workspace::routes::put, SessionsWrite;
    DELETE "/v1/sessions/{id}/file" => workspace::routes::delete, SessionsWrite;
    GET "/v1/sessions/{id}/find" => workspace::routes::find, SessionsRead;
    GET "/v1/sessions/{id}/export.zip" => workspace::routes::export, SessionsRead;
    POST "/v1/sessions/{id}/import.zip" => workspace::routes::import, SessionsWrite;
    POST "/v1/sessions/{id}/export/git" => workspace::routes::push, SessionsWrite;
    GET "/v1/sessions/{id}/diff" => workspace::routes::diff, SessionsRead;
    GET "/v1/sessions/{id}/stream" => sessions::routes::stream, SessionsRead;
    GET "/v1/sessions/{id}/messages" => sessions::routes::list_messages, SessionsRead;
    GET "/v1/sessions/{id}/timeline" => sessions::routes::timeline, SessionsRead;
    GET "/v1/sessions/{id}/usage" => sessions::routes::usage, SessionsRead;
    GET "/v1/sessions/{id}/permissions" => sessions::routes::list_permissions, SessionsRead;
    POST "/v1/sessions/{id}/permissions/{permission}" => sessions::routes::answer_permission, SessionsWrite;
    GET "/v1/usage/ai-logs" => usage::routes::list, UsageRead;
    GET "/v1/usage/summary" => usage::routes::summary, UsageRead;
    GET "/v1/usage/balance" => budgets::routes::balance, UsageRead;
    GET "/v1/sdk/database/manifest" => db_proxy::routes::get_manifest, DbRead;
    GET "/v1/sdk/database/tables" => db_proxy::routes::list_tables, DbRead;
    POST "/v1/sdk/database/query" => db_proxy::routes::post_query, DbRead;
    POST "/v1/sdk/database/execute" => db_proxy::routes::post_execute, DbWrite;
    GET "/v1/sdk/database/history" => db_proxy::routes::list_history, DbRead;
    GET "/v1/sdk/database/backup" => db_proxy::routes::get_backup, DbRead;
    GET "/v1/sdk/types" => db_proxy::routes::get_types, DbRead;
}

routes! { opencode_routes, OPENCODE_ROUTES:
    GET "/event" => opencode::events::subscribe, SessionsRead;
    GET "/global/event" => opencode::events::subscribe_global, SessionsRead;
    GET "/config" => opencode::catalog::config, SessionsRead;
    GET "/global/config" => opencode::catalog::config, SessionsRead;
    GET "/config/providers" => opencode::catalog::config_providers, ModelsRead;
    GET "/provider" => opencode::catalog::provider, ModelsRead;
    GET "/agent" => opencode::catalog::agents, AgentsRead;
    GET "/command" => opencode::catalog::list_commands, SessionsRead;
    GET "/session" => opencode::routes::list, SessionsRead;
    POST "/session" => opencode::routes::create, SessionsWrite;
    GET "/session/status" => opencode::routes::statuses, SessionsRead;
    GET "/session/{id}" => opencode::routes::get, SessionsRead;
    PATCH "/session/{id}" => opencode::routes::update, SessionsWrite;
    DELETE "/session/{id}" => opencode::routes::delete, SessionsDelete;
    GET "/session/{id}/children" => opencode::routes::children, SessionsRead;
    GET "/session/{id}/todo" => opencode::routes::none_of, SessionsRead;
    GET "/session/{id}/diff" => opencode::files::diff, SessionsRead;
    POST "/session/{id}/share" => opencode::routes::share, SessionsWrite;
    DELETE "/session/{id}/share" => opencode::routes::unshare, SessionsWrite;
    POST "/session/{id}/summarize" => opencode::routes::summarize, SessionsPrompt;
    GET "/file" => opencode::files::list, SessionsRead;
    GET "/file/content" => opencode::files::content, SessionsRead;
    GET "/file/status" => opencode::files::status, SessionsRead;
    GET "/find" => opencode::files::find, SessionsRead;
    GET "/find/file" => opencode::files::find_file, SessionsRead;
    POST "/session/{id}/abort" => opencode::routes::abort, SessionsWrite;
    POST "/session/{id}/fork" => opencode::routes::fork, SessionsWrite;
    POST "/session/{id}/revert" => opencode::routes::revert, SessionsWrite;
    POST "/session/{id}/unrevert" => opencode::routes::unrevert, SessionsWrite;
    GET "/session/{id}/message" => opencode::routes::list_messages, SessionsRead;
    POST "/session/{id}/message" => opencode::routes::prompt, SessionsPrompt;
    GET "/session/{id}/message/{message}" => opencode::routes::get_message, SessionsRead;
    POST "/session/{id}/prompt_async" => opencode::routes::prompt_async, SessionsPrompt;
    POST "/session/{id}/command" => opencode::routes::command, SessionsPrompt;
    POST "/session/{id}/permissions/{permission}" => opencode::routes::respond, SessionsWrite;
    GET "/permission" => opencode::routes::list_permissions, SessionsRead;
    POST "/permission/{permission}/reply" => opencode::routes::reply, SessionsWrite;
    GET "/{*path}" => opencode::nothing::get, SessionsRead;
    POST "/{*path}" => opencode::nothing::refuse, SessionsWrite;
    PUT "/{*path}" => opencode::nothing::refuse, SessionsWrite;
    PATCH "/{*path}" => opencode::nothing::refuse, SessionsWrite;
    DELETE "/{*path}" => opencode::nothing::refuse, SessionsWrite;
}

/// Where opencode's clients find an app.
const OPENCODE: &str = "/t/{app}/opencode";
/// Where an app is found that its own and operators manage alike.
const MANAGED: &str = "/platform/v1/apps/{app}/";

/// The place of the app's slug in a path of this template, among its segments.
pub fn app_segment(template: &str) -> Option<usize> {
    match template {
        _ if template.starts_with(OPENCODE) => Some(2),
        _ if template.starts_with(MANAGED) => Some(4),
        _ if template.starts_with("/{app}/") => Some(1),
        _ => None,
    }
}

/// Whether this path is of an app's API, for whoever may act in the app: not the platform's, also where that is about an
/// app, a person's or a page.
pub fn is_of_an_app(template: &str) -> bool {
    let is_named = app_segment(template).is_some() && !template.starts_with(MANAGED);
    is_named || APP_ROUTES.iter().any(|route| route.path == template)
}

/// Every route: [`PROCESS_ROUTES`], [`APP_ROUTES`] under both of their prefixes, and [`OPENCODE_ROUTES`].
pub fn all_routes() -> Vec<(Route, String)> {
    let process = PROCESS_ROUTES.iter().map(|route| (route.clone(), route.path.to_owned()));
    let app = APP_ROUTES.iter().flat_map(|route| {
        [(route.clone(), route.path.to_owned()), (route.clone(), format!("/{{app}}{}", route.path))]
    });
    let opencode = OPENCODE_ROUTES.iter().map(|route| (route.clone(), format!("{OPENCODE}{}", route.path)));
    process.chain(app).chain(opencode).collect()
}

/// What the caller of a route must be allowed; none: it is no route, or asks for nothing that the gate knows.
pub fn action_of(method: &Method, template: &str) -> Option<Action> {
    let (path, mut routes) = match template.strip_prefix(OPENCODE) {
        Some(path) => (path, OPENCODE_ROUTES.iter().chain(&[])),
        None => {
            let path = template.strip_prefix("/{app}").unwrap_or(template);
            (path, PROCESS_ROUTES.iter().chain(APP_ROUTES))
        }
    };
    routes.find(|route| route.path == path && route.method == *method)?.action
}

/// Whether this route asks for no credential.
pub fn is_public(method: &Method, path: &str) -> bool {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    PROCESS_ROUTES.iter().any(|route| route.public && route.path == path && route.method == *method)
}

/// Whether this path is a runner's, which is let in by its own token and asks as often as its guests say something.
pub fn is_runners(path: &str) -> bool {
    path.starts_with("/internal/")
}

/// The whole service.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(process_routes())
        .merge(app_routes())
        .nest("/{app}", app_routes())
        .nest(OPENCODE, opencode_routes())
        .fallback(|| async { ApiError::not_found("resource") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path does not take this method; see the Allow header",
            )
        })
        // From the inside out: a panic becomes an error, an error gets its body,
        // what was done with a key is not done again, a caller is known before any handler runs, pages of other
        // origins may read what an app says they may, and every answer has its id.
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), idempotency::layer::answer_once))
        .layer(from_fn_with_state(app.clone(), authenticate::authenticate))
        .layer(from_fn_with_state(app.clone(), cors::share))
        .layer(from_fn_with_state(app.clone(), render::render_errors))
        .layer(from_fn_with_state(app.clone(), context::name_request))
        .with_state(app)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
fn panicked(cause: Box<dyn std::any::Any + Send + 'static>) -> axum::response::Response {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default();
    axum::response::IntoResponse::into_response(ApiError::internal("a handler panicked", text))
}
