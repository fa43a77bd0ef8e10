//! What opencode's clients ask for and there is nothing of: no shells, no servers of languages or tools.
//!
//! Each is answered with what a server without any would say, so that clients
//! go on. What is asked to be done is refused.

use super::{DIRECTORY, PROJECT, VERSION};
use crate::{
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may},
    http::{Json, Params},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// A path under the mount.
#[derive(Deserialize)]
pub struct RestPath {
    path: String,
}

/// A path, and what it is answered with.
type Nothing = (&'static str, fn() -> Value);

/// What is the same for everybody. `{}` stands for one segment of a path.
const ANSWERS: &[Nothing] = &[
    ("global/health", || json!({ "healthy": true, "version": VERSION })),
    (
        "path",
        || json!({ "home": "/", "state": "", "config": "", "worktree": DIRECTORY, "directory": DIRECTORY }),
    ),
    ("project", || json!([project()])),
    ("project/current", project),
    ("project/{}/directories", || json!([{ "directory": DIRECTORY }])),
    ("find/symbol", || json!([])),
    ("vcs", || json!({})),
    ("vcs/status", || json!([])),
    ("vcs/diff", || json!([])),
    ("lsp", || json!([])),
    ("formatter", || json!([])),
    ("mcp", || json!({})),
    ("skill", || json!([])),
    // Nobody is asked anything but whether a tool may run.
    ("question", || json!([])),
    ("pty", || json!([])),
    ("pty/shells", || json!([])),
    ("provider/auth", || json!({})),
    ("experimental/capabilities", || json!({ "backgroundSubagents": false })),
    ("experimental/console", || json!({ "consoleManagedProviders": [], "switchableOrgCount": 0 })),
    ("experimental/console/orgs", || json!({ "orgs": [] })),
    ("experimental/resource", || json!({})),
    ("experimental/tool/ids", || json!([])),
    ("experimental/tool", || json!([])),
    ("experimental/workspace", || json!([])),
    ("experimental/workspace/adapter", || json!([])),
    ("experimental/workspace/status", || json!([])),
    ("experimental/worktree", || json!([])),
    // The next interface, of which clients of this one read lists alone.
    ("api/health", || json!({ "healthy": true })),
    ("api/location", location),
    ("api/agent", empty_list),
    ("api/command", empty_list),
    ("api/integration", empty_list),
    ("api/model", empty_list),
    ("api/permission/request", empty_list),
    ("api/provider", empty_list),
    ("api/question/request", empty_list),
    ("api/reference", empty_list),
    ("api/skill", empty_list),
];

/// What can be asked for there and cannot be done here, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("session/{}/shell", "there is no shell here; give the app a tool that does it"),
    ("session/{}/init", "there is no repository here; write a command and call it"),
    ("session/{}/message/{}/part/{}", "parts of messages are not changed here"),
    ("auth/{}", "an app's keys are written by PUT /v1/keys/{name}"),
    ("mcp", "there are no MCP servers here; upload a tool"),
    ("pty", "there is no shell here"),
    ("question/{}/reply", "nothing is asked"),
    ("question/{}/reject", "nothing is asked"),
    ("global/upgrade", "the operator upgrades the server"),
];

fn project() -> Value {
    json!({ "id": PROJECT, "worktree": DIRECTORY, "time": { "created": 0, "updated": 0 }, "sandboxes": [] })
}

fn location() -> Value {
    json!({ "directory": DIRECTORY, "project": { "id": PROJECT, "directory": DIRECTORY } })
}

fn empty_list() -> Value {
    json!({ "location": location(), "data": [] })
}

/// Answers with the little there is.
pub async fn get(
    _allowed: Allowed<may::SessionsRead>,
    Params(rest): Params<RestPath>,
) -> ApiResult<Json<Value>> {
    let found = ANSWERS.iter().find(|(path, _)| is_like(&rest.path, path));
    found.map(|(_, answer)| Json(answer())).ok_or_else(|| ApiError::not_found("route"))
}

/// Refuses what cannot be done.
pub async fn refuse(_allowed: Allowed<may::SessionsWrite>, Params(rest): Params<RestPath>) -> ApiError {
    let found = REFUSED.iter().find(|(path, _)| is_like(&rest.path, path));
    found
        .map_or_else(|| ApiError::not_found("route"), |(_, why)| ApiError::bad_request("not_supported", *why))
}

fn is_like(path: &str, wanted: &str) -> bool {
    let (mut segments, mut like) = (path.split('/'), wanted.split('/'));
    loop {
        match (segments.next(), like.next()) {
            (None, None) => return true,
            (Some(segment), Some(like)) if like == segment || (like == "{}" && !segment.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_like_another_segment_by_segment() {
        for (path, wanted, fits) in [
            ("project/global/directories", "project/{}/directories", true),
            ("project//directories", "project/{}/directories", false),
            ("project/current", "project/{}/directories", false),
            ("vcs", "vcs", true),
            ("vcs/", "vcs", false),
            ("", "vcs", false),
        ] {
            assert_eq!(is_like(path, wanted), fits, "{path} as {wanted}");
        }
    }
}
