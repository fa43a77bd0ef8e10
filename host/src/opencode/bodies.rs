//! What opencode's clients send, and what it is here.

use super::{ids, shape::DEFAULT_AGENT};
use crate::{
    error::{ApiError, ApiResult},
    http::body,
    sessions::{
        permissions::{Policy, Response as Said, Rule, Verdict},
        turns::{
            content::Part,
            prompt::{PromptInput, WhenBusy},
        },
    },
};
use axum::extract::Request;
use http::header;
use http_body::Body as _;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A rule of a session.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RuleBody {
    permission: String,
    pattern: String,
    action: Verdict,
}

/// A model of a provider, in a session.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SessionModel {
    #[serde(rename = "providerID")]
    provider_id: String,
    id: String,
}

impl SessionModel {
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.provider_id, self.id)
    }
}

/// The same, in a prompt.
#[derive(Debug, Deserialize, JsonSchema)]
struct PromptModel {
    #[serde(rename = "providerID")]
    provider_id: String,
    #[serde(rename = "modelID")]
    model_id: String,
}

/// A session to be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct CreateBody {
    pub(super) title: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) model: Option<SessionModel>,
    pub(super) permission: Option<Vec<RuleBody>>,
    #[serde(rename = "parentID")]
    pub(super) parent_id: Option<String>,
    pub(super) metadata: Option<Value>,
}

/// What is changed of a session.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct UpdateBody {
    pub(super) title: Option<String>,
    pub(super) permission: Option<Vec<RuleBody>>,
    pub(super) time: Option<Value>,
    pub(super) metadata: Option<Value>,
}

/// Where a session is forked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct ForkBody {
    #[serde(rename = "messageID")]
    pub(super) message_id: Option<String>,
}

/// From which message on a session is taken back.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RevertBody {
    #[serde(rename = "messageID")]
    pub(super) message_id: String,
    #[serde(rename = "partID")]
    pub(super) part_id: Option<String>,
}

/// Which model sums a session up.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SummarizeBody {
    #[serde(rename = "providerID")]
    provider_id: String,
    #[serde(rename = "modelID")]
    model_id: String,
}

impl SummarizeBody {
    pub(super) fn model(&self) -> String {
        format!("{}/{}", self.provider_id, self.model_id)
    }
}

/// An answer to what is asked.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ReplyBody {
    pub(super) reply: Said,
    pub(super) message: Option<String>,
}

/// The same, by the route of the session.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RespondBody {
    pub(super) response: Said,
}

/// A call of a command.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct CommandBody {
    pub(super) command: String,
    #[serde(default)]
    pub(super) arguments: String,
    pub(super) agent: Option<String>,
    pub(super) model: Option<String>,
    #[serde(rename = "messageID")]
    pub(super) message_id: Option<String>,
    #[serde(default)]
    pub(super) parts: Vec<Value>,
}

/// A prompt.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct PromptBody {
    #[serde(rename = "messageID")]
    message_id: Option<String>,
    model: Option<PromptModel>,
    agent: Option<String>,
    #[serde(default, rename = "noReply")]
    no_reply: bool,
    system: Option<String>,
    format: Option<Value>,
    /// Which tools may run; what holds from then on.
    #[serde(default)]
    pub(super) tools: BTreeMap<String, bool>,
    parts: Vec<PartBody>,
}

/// A part of a prompt.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
enum PartBody {
    Text {
        text: String,
        #[serde(default)]
        ignored: bool,
    },
    File {
        filename: Option<String>,
        url: String,
    },
    Agent {
        name: String,
    },
    Subtask {},
}

/// Reads a body; where none was sent, what is there without one.
pub(super) async fn read_or_default<T>(request: Request) -> ApiResult<T>
where
    T: DeserializeOwned + JsonSchema + Default,
{
    if request.headers().contains_key(header::CONTENT_TYPE) || !request.body().is_end_stream() {
        return read(request).await;
    }
    Ok(T::default())
}

/// Reads a body of JSON.
pub(super) async fn read<T: DeserializeOwned + JsonSchema>(request: Request) -> ApiResult<T> {
    body::fit(body::read_json(request, crate::limits::CHAT_BYTES_MAX).await?)
}

/// What is refused because it would be silently left out.
pub(super) fn has_none(what: &str) -> ApiError {
    ApiError::bad_request("not_supported", format!("there is no {what} here; leave it out"))
}

/// Refuses members that nothing is made of.
pub(super) fn refuse<T>(members: &[(&str, &Option<T>)]) -> ApiResult<()> {
    match members.iter().find(|(_, value)| value.is_some()) {
        Some((name, _)) => Err(has_none(&format!("`{name}`"))),
        None => Ok(()),
    }
}

/// The agent of this name; none for the one that answers where none is named.
pub(super) fn agent(name: Option<String>) -> Option<String> {
    name.filter(|name| name != DEFAULT_AGENT)
}

/// The message of an id that a client made.
pub(super) fn message_id(text: Option<&str>) -> ApiResult<Option<Uuid>> {
    let parse = |text: &str| {
        ids::parse_message(text).ok_or_else(|| {
            let message =
                "`messageID` is an id as opencode makes them: `msg_`, 12 hex digits and 14 of base 62";
            ApiError::bad_request("bad_message_id", message)
        })
    };
    text.map(parse).transpose()
}

/// Adds rules to those that are there.
pub(super) fn with_rules(mut policy: Policy, rules: Vec<RuleBody>) -> ApiResult<Policy> {
    for RuleBody { permission, pattern, action } in rules {
        // Which member of a tool's input a pattern speaks of is a matter of the tool there.
        if pattern != "*" {
            let message = format!("`{pattern}`: rules are about whole tools here; `pattern` is `*`");
            return Err(ApiError::bad_request("not_supported", message));
        }
        policy.rules.push(Rule { tool: permission, pattern: BTreeMap::new(), action });
    }
    Ok(policy)
}

/// Adds what a prompt says of tools.
pub(super) fn with_tools(mut policy: Policy, tools: &BTreeMap<String, bool>) -> Policy {
    for (tool, allowed) in tools {
        let action = if *allowed { Verdict::Allow } else { Verdict::Deny };
        let rule = Rule { tool: tool.clone(), pattern: BTreeMap::new(), action };
        policy.rules.retain(|known| known.tool != *tool || !known.pattern.is_empty());
        policy.rules.push(rule);
    }
    policy
}

impl PromptBody {
    /// The prompt it is here. It waits for its turn, as there.
    pub(super) fn into_prompt(self, permissions: Option<Policy>) -> ApiResult<PromptInput> {
        refuse(&[
            ("system", &self.system.map(|text| json!(text))),
            ("format", &self.format.filter(is_no_text)),
        ])?;
        if self.no_reply {
            return Err(has_none("`noReply`"));
        }
        let parts = self.parts.into_iter().filter_map(|part| part.into_part().transpose());
        Ok(PromptInput {
            parts: parts.collect::<ApiResult<_>>()?,
            message_id: message_id(self.message_id.as_deref())?,
            agent: agent(self.agent),
            model: self.model.map(|model| format!("{}/{}", model.provider_id, model.model_id)),
            permissions,
            when_busy: WhenBusy::Queue,
            queue: false,
        })
    }
}

fn is_no_text(format: &Value) -> bool {
    format["type"] != "text"
}

impl PartBody {
    fn into_part(self) -> ApiResult<Option<Part>> {
        Ok(match self {
            PartBody::Text { ignored: true, .. } => None,
            PartBody::Text { text, .. } => Some(Part::Text { text }),
            PartBody::File { url, .. } if url.starts_with("https://") => Some(Part::Image { url }),
            PartBody::File { filename, url } => Some(Part::File { filename, url }),
            PartBody::Agent { name } => agent(Some(name)).map(|name| Part::Agent { name }),
            PartBody::Subtask {} => return Err(has_none("part of type `subtask`")),
        })
    }
}
