//! Test guest: asks for every kind of capability and uses each. What the host
//! says is the output, not an error, so that tests can look at it.

use opg_guest::*;

/// Sends a GET.
#[tool(http("*", "to take what it can get"))]
fn fetch(url: String) -> Seen {
    Seen::from(
        http::get(url).send().map(
            |response| json!({"status": response.status, "body": String::from_utf8_lossy(&response.body)}),
        ),
    )
}

/// Sends a GET with a secret in a header.
#[tool(http("*", "to take what it can get"), secret("API_KEY@localhost:*", "to take it along"))]
fn fetch_with_secret(url: String, header: String, name: String) -> Seen {
    let request = http::get(url).secret_header(header, "Bearer ", &name);
    Seen::from(
        request.and_then(http::Request::send).map(
            |response| json!({"status": response.status, "body": String::from_utf8_lossy(&response.body)}),
        ),
    )
}

/// Returns the reference to a secret.
#[tool(secret("API_KEY@api.example.com", "to take what it can get"))]
fn read_secret(name: String) -> Seen {
    Seen::from(secrets::get(&name).map(Value::from))
}

/// Reads a value.
#[tool(kv("read", "to take what it can get"))]
fn kv_get(key: String) -> Seen {
    Seen::from(kv::get::<Value>(&key).map(|value| json!(value)))
}

/// Writes a value.
#[tool(kv("write", "to leave something behind"))]
fn kv_set(key: String, value: Value) -> Seen {
    Seen::from(kv::set(&key, &value).map(Value::from))
}

/// Removes a value.
#[tool(kv("write", "to leave nothing behind"))]
fn kv_delete(key: String) -> Seen {
    Seen::from(kv::delete(&key).map(Value::from))
}

/// Lists keys.
#[tool(kv("read", "to take what it can get"))]
fn kv_keys(prefix: String) -> Seen {
    Seen::from(kv::keys(&prefix).map(Value::from))
}

/// Asks a model and returns its text.
#[tool(model("*", "to spend what it can"))]
fn ask_model(model: String, prompt: String) -> Seen {
    Seen::from(ask(&model, &prompt).map(Value::from))
}

/// Calls a tool.
#[tool(tool("*", "to have others take it"))]
fn call_tool(name: String, #[schemars(with = "serde_json::Map<String, Value>")] input: Value) -> Seen {
    Seen::from(tools::call::<Value>(&name, &input))
}

/// Lists the tools it may call.
#[tool(tool("*", "to have others take it"))]
fn list_tools() -> Seen {
    Seen::from(tools::available().map(|tools| tools.into_iter().map(|tool| Value::from(tool.name)).collect()))
}

/// Emits an event.
#[tool]
fn emit(event: Value) -> Seen {
    Seen::from(events::emit(&event).map(Value::from))
}

/// Asks whoever watches.
#[tool]
fn ask_person(action: String, patterns: Vec<String>, always: Option<Vec<String>>) -> Seen {
    let question = patterns.into_iter().fold(permission::question(action), permission::Question::pattern);
    let question = always.unwrap_or_default().into_iter().fold(question, permission::Question::always);
    Seen::from(question.ask().map(Value::from))
}

/// Returns what it knows of the call.
#[tool]
fn who_am_i(context: Context) -> Value {
    json!({
        "invocation_id": context.invocation_id,
        "app": context.app,
        "session_id": context.session_id,
        "time_limit_ms": context.time_limit_ms,
    })
}

plugin!(
    fetch,
    fetch_with_secret,
    read_secret,
    kv_get,
    kv_set,
    kv_delete,
    kv_keys,
    ask_model,
    call_tool,
    list_tools,
    emit,
    ask_person,
    who_am_i
);

/// What the host answered: `ok`, or the kind and the text of its error.
#[data]
struct Seen {
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl From<Result<Value, Error>> for Seen {
    fn from(result: Result<Value, Error>) -> Self {
        match result {
            Ok(value) => Self { ok: Some(value), error: None, message: None },
            Err(error) => {
                Self { ok: None, error: Some(error.kind().into()), message: Some(error.message().into()) }
            }
        }
    }
}

fn ask(model: &str, prompt: &str) -> Result<String, Error> {
    let mut text = String::new();
    let request = json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
    for event in model::complete(&request)? {
        if let model::Event::Text(delta) = event? {
            text.push_str(&delta);
        }
    }
    Ok(text)
}
