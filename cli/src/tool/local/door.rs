//! What a tool reaches when it runs here.

use super::{Secrets, http};
use async_trait::async_trait;
use opg_host::{
    egress::Egress,
    grants::{
        AppRef, Caller, Capability, CredentialKind, Denied, Principal, Reach, Resource, Scopes, Standing,
        Surface, decide, decide::action_of,
    },
    limits::{KV_KEY_BYTES_MAX, KV_KEYS_LISTED_MAX, KV_KEYS_MAX, KV_VALUE_BYTES_MAX},
    sandbox::door::{
        Completion, Door, DoorError, HttpRequest, HttpResponse, LogLevel, Question, ToolDefinition,
        ToolInvocation,
    },
    secrets::{is_name, reference},
};
use secrecy::SecretString;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A line a tool logged; the sandbox has cut and escaped it.
#[derive(Clone, Debug, serde::Serialize)]
pub(in crate::tool) struct Line {
    pub(in crate::tool) level: LogLevel,
    pub(in crate::tool) message: String,
}

/// The door of one run.
pub(super) struct LocalDoor {
    /// Somebody who may do everything an app's owner may.
    caller: Caller,
    requested: Vec<Capability>,
    granted: Vec<Capability>,
    secrets: Secrets,
    pub(super) egress: Egress,
    pub(super) allow_private: bool,
    /// Whether every question is answered with yes.
    yes: bool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    logs: Vec<Line>,
    reached: Vec<(String, bool)>,
    kv: BTreeMap<String, Vec<u8>>,
}

impl LocalDoor {
    pub(super) fn new(
        requested: Vec<Capability>,
        granted: Vec<Capability>,
        secrets: Secrets,
        egress: Egress,
        allow_private: bool,
        yes: bool,
    ) -> LocalDoor {
        let app = AppRef { app_id: uuid::Uuid::nil(), slug: super::APP.to_owned(), suspended: false };
        let caller = Caller {
            kind: CredentialKind::TenantToken,
            credential_id: None,
            user_id: None,
            standing: Standing::App(app),
            scopes: Scopes::all(),
            expires_at: None,
            surface: Surface::Wasm,
            ip: None,
            request_id: String::new(),
            version: None,
            trace: None,
        };
        LocalDoor { caller, requested, granted, secrets, egress, allow_private, yes, seen: Mutex::default() }
    }

    /// What was logged and reached for.
    pub(super) fn seen(&self) -> (Vec<Line>, Vec<(String, bool)>) {
        let mut seen = self.lock();
        (std::mem::take(&mut seen.logs), std::mem::take(&mut seen.reached))
    }

    /// Asks the gate, as the server does.
    pub(super) fn permit(&self, reach: &Reach<'_>) -> Result<(), DoorError> {
        let who =
            Principal::Guest { caller: &self.caller, requested: &self.requested, granted: &self.granted };
        let judged = decide(who, action_of(reach), &Resource::Outside(reach.clone()));
        let entry = (reach.to_string(), judged.is_ok());
        let mut seen = self.lock();
        if !seen.reached.contains(&entry) {
            seen.reached.push(entry);
        }
        judged.map_err(|denied| {
            DoorError::Denied(match denied {
                Denied::NotGranted(what) => {
                    format!("`{what}` is declared and not granted here; grant it with --grant")
                }
                other => other.to_string(),
            })
        })
    }

    pub(super) fn secret_of(&self, name: &str) -> Result<SecretString, DoorError> {
        self.secrets.find(name).cloned().ok_or_else(|| {
            DoorError::Invalid(format!(
                "the secret `{name}` is not stored here; give it with --secret {name}"
            ))
        })
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_key(key: &str) -> Result<(), DoorError> {
    if key.is_empty() || key.len() > KV_KEY_BYTES_MAX || key.contains('\0') {
        return Err(DoorError::Invalid(format!("a key is 1 to {KV_KEY_BYTES_MAX} bytes of text")));
    }
    Ok(())
}

fn elsewhere<T>(what: &str) -> Result<T, DoorError> {
    Err(DoorError::Unavailable(format!(
        "{what} belongs to an app, and there is none here; publish the tool to a development server and invoke it there"
    )))
}

#[async_trait]
impl Door for LocalDoor {
    fn log(&self, level: LogLevel, message: &str) {
        self.lock().logs.push(Line { level, message: message.to_owned() });
    }

    async fn secret(&self, name: String) -> Result<String, DoorError> {
        if !is_name(&name) {
            return Err(DoorError::Invalid(
                "the name of a secret is capitals, digits and `_`, a capital first".into(),
            ));
        }
        self.permit(&Reach::SecretName(&name))?;
        self.secret_of(&name)?;
        Ok(reference(&name))
    }

    async fn http(&self, request: HttpRequest, time_left: Duration) -> Result<HttpResponse, DoorError> {
        http::send(self, request, time_left).await
    }

    async fn kv_get(&self, key: String) -> Result<Option<Vec<u8>>, DoorError> {
        check_key(&key)?;
        self.permit(&Reach::KvRead(&key))?;
        Ok(self.lock().kv.get(&key).cloned())
    }

    async fn kv_set(&self, key: String, value: Vec<u8>) -> Result<(), DoorError> {
        check_key(&key)?;
        if value.len() > KV_VALUE_BYTES_MAX {
            return Err(DoorError::Limit(format!("a value is {KV_VALUE_BYTES_MAX} bytes at the most")));
        }
        self.permit(&Reach::KvWrite(&key))?;
        let mut seen = self.lock();
        let keys_max = usize::try_from(KV_KEYS_MAX).unwrap_or(usize::MAX);
        if !seen.kv.contains_key(&key) && seen.kv.len() >= keys_max {
            return Err(DoorError::Limit(format!(
                "a plugin has {KV_KEYS_MAX} keys at the most; delete some"
            )));
        }
        seen.kv.insert(key, value);
        Ok(())
    }

    async fn kv_delete(&self, key: String) -> Result<(), DoorError> {
        check_key(&key)?;
        self.permit(&Reach::KvWrite(&key))?;
        self.lock().kv.remove(&key);
        Ok(())
    }

    async fn kv_keys(&self, prefix: String) -> Result<Vec<String>, DoorError> {
        self.permit(&Reach::KvRead(&prefix))?;
        let keys_max = usize::try_from(KV_KEYS_LISTED_MAX).unwrap_or(usize::MAX);
        Ok(self.lock().kv.keys().filter(|key| key.starts_with(&prefix)).take(keys_max).cloned().collect())
    }

    fn db_namespace(&self) -> String {
        format!("app_{}__", super::APP)
    }

    async fn db_query(
        &self,
        _statement: String,
        _params: String,
        _limit: Option<u32>,
        _time_left: Duration,
    ) -> Result<String, DoorError> {
        elsewhere("the database")
    }

    async fn db_execute(
        &self,
        _statement: String,
        _params: String,
        _time_left: Duration,
    ) -> Result<String, DoorError> {
        elsewhere("the database")
    }

    async fn complete(&self, _request: String, _time_left: Duration) -> Result<Completion, DoorError> {
        elsewhere("a model")
    }

    fn tools(&self) -> Vec<ToolDefinition> {
        vec![]
    }

    async fn call_tools(
        &self,
        calls: Vec<ToolInvocation>,
        _time_left: Duration,
    ) -> Vec<Result<String, DoorError>> {
        calls.iter().map(|_| elsewhere("another tool")).collect()
    }

    async fn emit(&self, _event: String) -> Result<(), DoorError> {
        Err(DoorError::Invalid("nobody listens to this call's events".into()))
    }

    async fn ask_permission(&self, question: Question) -> Result<(), DoorError> {
        if self.yes {
            return Ok(());
        }
        Err(DoorError::Denied(format!(
            "it asks whether it may `{}`, and nobody can be asked here; let every question be answered with yes by --yes",
            question.action
        )))
    }
}
