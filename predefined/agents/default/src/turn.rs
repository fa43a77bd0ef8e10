//! The loop, a step (one model call) at a time.

use std::collections::BTreeSet;

use opg_guest::model::Event;
use opg_guest::tools::{Definition, Invocation};
use opg_guest::{Error, FinishReason, Map, Outcome, Turn, Value, json};

use crate::Host;
use crate::calls::{Call, Collector};
use crate::options;

/// Runs one turn to its end.
///
/// A tool that fails never ends a turn: the model is told and may do
/// otherwise. A model that fails does.
pub(crate) fn run(turn: Turn, host: &mut impl Host) -> Result<Outcome, Error> {
    let tools = Tools::new(host.available_tools()?, turn.client_tools);
    let mut request = request(turn.model, turn.options, &tools);
    let system = turn.instructions.map(|text| json!({"role": "system", "content": text}));
    let mut added: Vec<Value> = Vec::new();

    for step in 1..=turn.max_steps {
        request["messages"] = system.iter().chain(&turn.messages).chain(&added).cloned().collect();
        let answer = Answer::read(host, &request, step)?;

        // Cut off in the middle of a call: its arguments cannot be trusted.
        let whole = !matches!(answer.finish, Some(FinishReason::Length | FinishReason::ContentFilter));
        let calls = if whole { answer.calls.as_slice() } else { &[] };
        if calls.is_empty() {
            added.extend(assistant_message(&answer.text, &[]));
            let finish_reason = answer.finish.filter(|_| !whole).unwrap_or(FinishReason::Stop);
            return Ok(Outcome { finish_reason, messages: added });
        }

        // A client keeps the conversation and may have no place for results of
        // tools it does not know. So where it has to run a tool, the step is
        // its calls alone; the model will ask for the others again.
        let for_client: Vec<&Call> = calls.iter().filter(|call| tools.runs_at_client(&call.name)).collect();
        if !for_client.is_empty() {
            added.extend(assistant_message(&answer.text, &for_client));
            return Ok(Outcome { finish_reason: FinishReason::ToolCalls, messages: added });
        }

        // Nobody would read the results of the last step, so nothing is run.
        if step == turn.max_steps {
            added.extend(assistant_message(&answer.text, &[]));
            break;
        }

        added.extend(assistant_message(&answer.text, &calls.iter().collect::<Vec<_>>()));
        added.extend(run_tools(host, &tools, calls)?);
        options::stop_forcing(&mut request);
    }
    Ok(Outcome { finish_reason: FinishReason::Length, messages: added })
}

/// The tools of a turn and who runs them.
struct Tools {
    server: Vec<Definition>,
    client: Vec<Value>,
    client_names: BTreeSet<String>,
}

impl Tools {
    /// Names are unique for the model, so of two with the same name one has to
    /// give way: the client asked for its own in this very request.
    fn new(mut server: Vec<Definition>, client: Vec<Value>) -> Self {
        let client_names: BTreeSet<String> = client.iter().filter_map(client_tool_name).collect();
        server.retain(|tool| !client_names.contains(&tool.name));
        Self { server, client, client_names }
    }

    fn runs_at_client(&self, name: &str) -> bool {
        self.client_names.contains(name)
    }

    fn runs_here(&self, name: &str) -> bool {
        self.server.iter().any(|tool| tool.name == name)
    }

    /// In OpenAI's shape.
    fn for_model(&self) -> Vec<Value> {
        let server = self.server.iter().map(|tool| {
            let function =
                json!({"name": tool.name, "description": tool.description, "parameters": tool.input_schema});
            json!({"type": "function", "function": function})
        });
        server.chain(self.client.iter().cloned()).collect()
    }
}

fn client_tool_name(tool: &Value) -> Option<String> {
    let name = tool.get("function").or_else(|| tool.get("custom")).unwrap_or(tool).get("name")?;
    name.as_str().map(ToOwned::to_owned)
}

/// The request of every step, but for its messages.
fn request(model: String, options: Map<String, Value>, tools: &Tools) -> Value {
    let mut request = options;
    request.insert("model".into(), model.into());
    let tools = tools.for_model();
    if tools.is_empty() {
        // An empty list is an error to OpenAI.
        request.remove("tools");
    } else {
        request.insert("tools".into(), tools.into());
    }
    request.into()
}

/// One answer of the model, put together.
struct Answer {
    text: String,
    calls: Vec<Call>,
    finish: Option<FinishReason>,
}

impl Answer {
    /// Reads the answer to its end and passes on the text as it comes.
    fn read(host: &mut impl Host, request: &Value, step: u32) -> Result<Self, Error> {
        let mut text = String::new();
        let mut calls = Collector::default();
        let mut finish = None;
        for event in host.complete(request)? {
            match event? {
                Event::Text(delta) => {
                    text.push_str(&delta);
                    host.emit(json!({"type": "text", "text": delta}))?;
                }
                Event::Reasoning(delta) => host.emit(json!({"type": "reasoning", "text": delta}))?,
                Event::ToolCall(fragment) => calls.add(fragment),
                Event::Finish(reason) => finish = reason,
                // The host keeps the ledger.
                Event::Usage { .. } => {}
            }
        }
        Ok(Self { text, calls: calls.finish(step), finish })
    }
}

/// None where the model said nothing: an empty message is an error to many.
fn assistant_message(text: &str, calls: &[&Call]) -> Option<Value> {
    if text.is_empty() && calls.is_empty() {
        return None;
    }
    let content = if text.is_empty() { Value::Null } else { text.into() };
    let mut message = json!({"role": "assistant", "content": content});
    if !calls.is_empty() {
        message["tool_calls"] = calls.iter().map(|call| call.to_message()).collect();
    }
    Some(message)
}

/// Runs the calls side by side and answers each one, in order. Two events tell
/// whoever watches the session what is going on; of a long output as much as can be shown.
fn run_tools(host: &mut impl Host, tools: &Tools, calls: &[Call]) -> Result<Vec<Value>, Error> {
    let checked: Vec<Result<Invocation, String>> = calls.iter().map(|call| check(tools, call)).collect();
    let invocations: Vec<Invocation> = checked.iter().flatten().cloned().collect();
    for call in calls {
        host.emit(
            json!({"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.input_text()}),
        )?;
    }
    let mut answers =
        if invocations.is_empty() { Vec::new() } else { host.call_tools(&invocations) }.into_iter();

    let mut messages = Vec::new();
    for (call, checked) in calls.iter().zip(checked) {
        let answer = checked.and_then(|_| {
            let missing = || Err(Error::Unavailable("the host gave no answer".into()));
            answers.next().unwrap_or_else(missing).map_err(|error| error.to_string())
        });
        let ok = answer.is_ok();
        let content = match answer {
            Ok(output) => as_text(output),
            Err(problem) => format!("Error: {problem}"),
        };
        let output = shown(&content);
        host.emit(
            json!({"type": "tool_result", "id": call.id, "name": call.name, "ok": ok, "output": output}),
        )?;
        messages.push(json!({"role": "tool", "tool_call_id": call.id, "content": content}));
    }
    Ok(messages)
}

fn check(tools: &Tools, call: &Call) -> Result<Invocation, String> {
    let input = call.input.clone()?;
    if !tools.runs_here(&call.name) {
        return Err(format!("there is no tool `{}`; call one of those you were given", call.name));
    }
    Ok(Invocation { name: call.name.clone(), input })
}

/// What is shown of an output while the turn runs; the messages have all of it.
fn shown(content: &str) -> String {
    /// Enough to see what came of a call, and to go on from where the turn is cut.
    const BYTES_MAX: usize = 16 << 10;
    if content.len() <= BYTES_MAX {
        return content.to_owned();
    }
    let mut end = BYTES_MAX;
    while !content.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}\n[{} bytes more]", &content[..end], content.len() - end)
}

/// A model reads a text better without the quotes and escapes of JSON.
fn as_text(output: String) -> String {
    match opg_guest::serde_json::from_str(&output) {
        Ok(Value::String(text)) => text,
        _ => output,
    }
}

#[cfg(test)]
mod tests;
