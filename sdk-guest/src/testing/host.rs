//! The functions of `opg:host`, answered by the host a test started.

use std::cell::RefMut;

use super::{State, current};
use crate::Error;
use crate::bindings::host::opg::host::types::Error as HostError;

/// What every table's name starts with in a test.
const NAMESPACE: &str = "app_test__";

/// Does something with the host; refuses it where there is none.
fn with<T>(what: impl FnOnce(RefMut<'_, State>) -> Result<T, HostError>) -> Result<T, HostError> {
    match current() {
        Some(state) => what(state.borrow_mut()),
        None => Err(HostError::Denied(
            "there is no host in this test; start one with `opg_guest::testing::Host::new()…start()`"
                .to_owned(),
        )),
    }
}

fn denied<T>(what: &str, how: &str) -> Result<T, HostError> {
    Err(HostError::Denied(format!("{what} was not given to the host of this test; add `{how}`")))
}

fn into_host(error: Error) -> HostError {
    match error {
        Error::Denied(text) => HostError::Denied(text),
        Error::InvalidInput(text) | Error::Invalid(text) => HostError::Invalid(text),
        Error::Limit(text) => HostError::Limit(text),
        Error::Failed(text) => HostError::Failed(text),
        Error::Unavailable(text) => HostError::Unavailable(text),
        Error::Model(inner) => into_host(*inner),
    }
}

pub(crate) mod log {
    use super::current;
    pub(crate) use crate::bindings::host::opg::host::log::Level;

    pub(crate) fn write(level: Level, message: &str) {
        match current() {
            Some(state) => state.borrow_mut().logs.push((level, message.to_owned())),
            // Shown where the test fails.
            None => eprintln!("{level:?}: {message}"),
        }
    }
}

pub(crate) mod secrets {
    use super::{HostError, denied, with};

    pub(crate) fn get(name: &str) -> Result<String, HostError> {
        with(|state| {
            if state.secrets.iter().any(|known| known == name) {
                return Ok(format!("{{{{secret:{name}}}}}"));
            }
            denied(&format!("the secret `{name}`"), &format!(".secret({name:?})"))
        })
    }
}

pub(crate) mod http {
    use super::{HostError, denied, into_host, with};
    pub(crate) use crate::bindings::host::opg::host::http::{Request, Response};

    pub(crate) fn send(request: &Request) -> Result<Response, HostError> {
        let sites = with(|mut state| {
            state.requests.push(request.clone());
            Ok(state.sites.clone())
        })?;
        match sites.iter().find_map(|site| site(request)) {
            Some(answer) => answer.map_err(into_host),
            None => denied(&request.url, &format!(".http({:?}, testing::json(200, &…))", request.url)),
        }
    }
}

pub(crate) mod kv {
    use super::{HostError, RefMut, State, denied, with};
    use std::collections::BTreeMap;

    fn store<T>(what: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> Result<T, HostError> {
        with(|mut state: RefMut<'_, State>| match &mut state.kv {
            Some(kv) => Ok(what(kv)),
            None => denied("the key-value store", ".kv()"),
        })
    }

    pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, HostError> {
        store(|kv| kv.get(key).cloned())
    }

    pub(crate) fn set(key: &str, value: &[u8]) -> Result<(), HostError> {
        store(|kv| drop(kv.insert(key.to_owned(), value.to_vec())))
    }

    pub(crate) fn delete(key: &str) -> Result<(), HostError> {
        store(|kv| drop(kv.remove(key)))
    }

    pub(crate) fn keys(prefix: &str) -> Result<Vec<String>, HostError> {
        store(|kv| kv.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }
}

pub(crate) mod db {
    use super::{HostError, NAMESPACE, denied, into_host, with};
    use serde_json::{Value, json};

    pub(crate) fn namespace() -> String {
        NAMESPACE.to_owned()
    }

    pub(crate) fn query(statement: &str, params: &str, limit: Option<u32>) -> Result<String, HostError> {
        /// What the host answers with unless told.
        const ROWS_DEFAULT: u32 = 100;
        let rows = answer(statement, params)?;
        let limit = usize::try_from(limit.unwrap_or(ROWS_DEFAULT)).unwrap_or(usize::MAX);
        Ok(answered(rows, limit).to_string())
    }

    pub(crate) fn execute(statement: &str, params: &str) -> Result<String, HostError> {
        let rows = answer(statement, params)?;
        let affected = rows.len();
        let returned = answered(rows, usize::MAX);
        Ok(json!({
            "applied": true,
            "affected": affected,
            "statements": [{ "index": 0, "affected": affected, "returned": returned }],
        })
        .to_string())
    }

    fn answer(statement: &str, params: &str) -> Result<Vec<Value>, HostError> {
        let params: Vec<Value> =
            serde_json::from_str(params).map_err(|error| HostError::Invalid(error.to_string()))?;
        let databases = with(|mut state| {
            state.statements.push((statement.to_owned(), params.clone()));
            Ok(state.databases.clone())
        })?;
        match databases.iter().find_map(|database| database(statement, &params)) {
            Some(rows) => rows.map_err(into_host),
            None => denied(
                &format!("an answer to the statement `{statement}`"),
                ".db(\"a part of the statement\", [json!({…})])",
            ),
        }
    }

    fn answered(mut rows: Vec<Value>, limit: usize) -> Value {
        let truncated = rows.len() > limit;
        rows.truncate(limit);
        let names =
            rows.first().and_then(Value::as_object).map(|row| row.keys().cloned().collect::<Vec<_>>());
        let columns: Vec<_> = names
            .unwrap_or_default()
            .into_iter()
            .map(|name| json!({ "name": name, "type": "json" }))
            .collect();
        json!({ "columns": columns, "row_count": rows.len(), "rows": rows, "truncated": truncated, "clipped": [] })
    }
}

pub(crate) mod model {
    use super::{HostError, denied, into_host, with};
    use serde_json::json;
    use std::cell::RefCell;
    use std::collections::VecDeque;

    /// The events of one answer.
    pub(crate) struct Completion(RefCell<VecDeque<String>>);

    impl Completion {
        pub(crate) fn next(&self) -> Result<Option<String>, HostError> {
            Ok(self.0.borrow_mut().pop_front())
        }
    }

    pub(crate) fn complete(request: &str) -> Result<Completion, HostError> {
        let answer = with(|mut state| {
            let request =
                serde_json::from_str(request).map_err(|error| HostError::Invalid(error.to_string()))?;
            state.prompts.push(request);
            match state.answers.pop_front() {
                Some(answer) => answer.map_err(into_host),
                None if state.models => Err(HostError::Limit(
                    "every answer given to the host of this test was used; add `.model(Ok(\"…\"))`"
                        .to_owned(),
                )),
                None => denied("a model", ".model(Ok(\"…\"))"),
            }
        })?;
        let events = [
            json!({ "type": "text", "text": answer }),
            json!({ "type": "finish", "reason": "stop" }),
            json!({ "type": "usage", "prompt_tokens": 1, "completion_tokens": 1 }),
        ];
        Ok(Completion(RefCell::new(events.into_iter().map(|event| event.to_string()).collect())))
    }
}

pub(crate) mod tools {
    use super::{HostError, current, denied, into_host, with};
    pub(crate) use crate::bindings::host::opg::host::tools::{Definition, Invocation};

    pub(crate) fn available() -> Vec<Definition> {
        let names: Vec<String> =
            current().map(|state| state.borrow().tools.keys().cloned().collect()).unwrap_or_default();
        let definition = |name: String| Definition {
            description: format!("The tool `{name}` of this test."),
            input_schema: r#"{"type":"object","properties":{}}"#.to_owned(),
            name,
        };
        names.into_iter().map(definition).collect()
    }

    pub(crate) fn call(calls: &[Invocation]) -> Vec<Result<String, HostError>> {
        calls.iter().map(one).collect()
    }

    fn one(call: &Invocation) -> Result<String, HostError> {
        let Some(tool) = with(|state| Ok(state.tools.get(&call.name).cloned()))? else {
            return denied(
                &format!("the tool `{}`", call.name),
                &format!(".tool({:?}, |input| …)", call.name),
            );
        };
        let input = serde_json::from_str(&call.input)
            .map_err(|error| HostError::Invalid(format!("the input is not JSON: {error}")))?;
        // The host is not borrowed here: a tool may ask it for something.
        tool(input).map(|output| output.to_string()).map_err(into_host)
    }
}

pub(crate) mod events {
    use super::{HostError, with};

    pub(crate) fn emit(event: &str) -> Result<(), HostError> {
        let event = serde_json::from_str(event).map_err(|error| HostError::Invalid(error.to_string()))?;
        with(|mut state| {
            state.events.push(event);
            Ok(())
        })
    }
}

pub(crate) mod permission {
    use super::{HostError, denied, with};
    pub(crate) use crate::bindings::host::opg::host::permission::Question;

    pub(crate) fn ask(question: &Question) -> Result<(), HostError> {
        with(|mut state| {
            state.questions.push(question.clone());
            if state.permissions.contains(&question.action) {
                return Ok(());
            }
            let action = &question.action;
            denied(&format!("a yes to `{action}`"), &format!(".permission({action:?})"))
        })
    }
}
