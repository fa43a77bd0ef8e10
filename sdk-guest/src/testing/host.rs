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

pub(crate) mod workspace {
    use super::{State, current};
    pub(crate) use crate::bindings::host::opg::host::workspace::{Entry, Error, Kind, Match, Part};
    use crate::testing::Files;

    fn with<T>(what: impl FnOnce(&mut Files) -> Result<T, Error>) -> Result<T, Error> {
        let denied = |why: &str| Err(Error::Denied(why.to_owned()));
        let Some(state) = current() else {
            return denied(
                "there is no host in this test; start one with `opg_guest::testing::Host::new()…start()`",
            );
        };
        let State { files, .. } = &mut *state.borrow_mut();
        match files {
            Some(files) => what(files),
            None => denied("the workspace was not given to the host of this test; add `.workspace()`"),
        }
    }

    /// As the host has it: relative, with `/workspace` for the same place.
    fn normal(path: &str) -> Result<String, Error> {
        let inside = match path.strip_prefix("/workspace") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
            _ => path,
        };
        let names: Vec<&str> = inside.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        if inside.starts_with('/') || names.contains(&"..") {
            return Err(Error::Invalid("a path stays inside the workspace".to_owned()));
        }
        Ok(names.join("/"))
    }

    fn missing<T>(path: &str) -> Result<T, Error> {
        Err(Error::NotFound(format!("there is no `{path}`")))
    }

    fn entry(files: &Files, path: &str) -> Option<Entry> {
        let kind = if files.contains_key(path) { Kind::File } else { Kind::Directory };
        let inside = format!("{path}/");
        let is_there =
            kind == Kind::File || path.is_empty() || files.keys().any(|file| file.starts_with(&inside));
        let size = files.get(path).map_or(0, |bytes| bytes.len() as u64);
        is_there.then(|| Entry { path: path.to_owned(), kind, size, modified_ms: 0 })
    }

    pub(crate) fn read(path: &str, offset: u64, length: u64) -> Result<Part, Error> {
        let path = normal(path)?;
        with(|files| {
            let Some(bytes) = files.get(&path) else { return missing(&path) };
            let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
            let part = bytes[at(offset)..at(offset.saturating_add(length))].to_vec();
            Ok(Part { bytes: part, size: bytes.len() as u64 })
        })
    }

    pub(crate) fn write(path: &str, contents: &[u8]) -> Result<(), Error> {
        let path = normal(path)?;
        with(|files| {
            files.insert(path, contents.to_vec());
            Ok(())
        })
    }

    pub(crate) fn write_at(path: &str, offset: Option<u64>, contents: &[u8]) -> Result<(), Error> {
        let path = normal(path)?;
        with(|files| {
            let bytes = files.entry(path).or_default();
            let offset = offset.map_or(bytes.len(), |offset| usize::try_from(offset).unwrap_or(usize::MAX));
            let end = offset.saturating_add(contents.len());
            bytes.resize(bytes.len().max(end), 0);
            bytes[offset..end].copy_from_slice(contents);
            Ok(())
        })
    }

    pub(crate) fn stat(path: &str) -> Result<Entry, Error> {
        let path = normal(path)?;
        with(|files| entry(files, &path).map_or_else(|| missing(&path), Ok))
    }

    pub(crate) fn entries(path: &str, after: Option<&str>) -> Result<Vec<Entry>, Error> {
        let path = normal(path)?;
        with(|files| {
            let inside = if path.is_empty() { String::new() } else { format!("{path}/") };
            let names = files.keys().filter_map(|file| file.strip_prefix(&inside)?.split('/').next());
            let mut names: Vec<_> = names.filter(|name| after.is_none_or(|after| *name > after)).collect();
            names.dedup();
            Ok(names.iter().filter_map(|name| entry(files, &format!("{inside}{name}"))).collect())
        })
    }

    /// Directories are there where there are files.
    pub(crate) fn make_directory(path: &str) -> Result<(), Error> {
        normal(path)?;
        with(|_| Ok(()))
    }

    pub(crate) fn remove(path: &str, all: bool) -> Result<(), Error> {
        let path = normal(path)?;
        with(|files| match entry(files, &path) {
            None => missing(&path),
            Some(Entry { kind: Kind::Directory, .. }) if !all => {
                Err(Error::NotEmpty(format!("the directory `{path}` is not empty")))
            }
            Some(_) => {
                files.retain(|file, _| *file != path && !file.starts_with(&format!("{path}/")));
                Ok(())
            }
        })
    }

    pub(crate) fn rename(source: &str, target: &str) -> Result<(), Error> {
        let (source, target) = (normal(source)?, normal(target)?);
        with(|files| {
            if entry(files, &source).is_none() {
                return missing(&source);
            }
            let moved: Vec<_> = files
                .keys()
                .filter(|file| **file == source || file.starts_with(&format!("{source}/")))
                .cloned()
                .collect();
            for file in moved {
                let bytes = files.remove(&file).unwrap_or_default();
                files.insert(format!("{target}{}", &file[source.len()..]), bytes);
            }
            Ok(())
        })
    }

    /// Texts alone: an expression is the sandbox's.
    pub(crate) fn find(path: &str, text: &str, is_regex: bool) -> Result<Vec<Match>, Error> {
        let path = normal(path)?;
        if is_regex {
            return Err(Error::Unavailable("the host of a test looks for texts alone".to_owned()));
        }
        with(|files| {
            let within =
                |file: &&String| path.is_empty() || **file == path || file.starts_with(&format!("{path}/"));
            let mut found = vec![];
            for file in files.keys().filter(within) {
                let whole = String::from_utf8_lossy(&files[file]).into_owned();
                for (line, content) in (1..).zip(whole.lines()) {
                    if let Some(at) = content.find(text) {
                        let column = content[..at].chars().count() as u64 + 1;
                        found.push(Match { path: file.clone(), line, column, text: content.to_owned() });
                    }
                }
            }
            Ok(found)
        })
    }
}
