//! `opg:host/tools`.

use crate::sandbox::bindings::host::tools::{Definition, Error, Host, Invocation};
use crate::sandbox::door::{DoorError, ToolDefinition, ToolInvocation};
use crate::sandbox::state::{GuestState, host_failed};

impl Host for GuestState {
    fn available(&mut self) -> wasmtime::Result<Vec<Definition>> {
        // A door may start tasks: they belong on the host's runtime.
        let _host = self.host.host.enter();
        Ok(self.host.door.tools().into_iter().map(Definition::from).collect())
    }

    async fn call(&mut self, calls: Vec<Invocation>) -> wasmtime::Result<Vec<Result<String, Error>>> {
        let (door, time_left, count) = (self.host.door.clone(), self.host.time_left(), calls.len());
        let calls = calls.into_iter().map(ToolInvocation::from).collect();
        let answers = self.host.ask(async move { Ok(door.call_tools(calls, time_left).await) }).await;
        let refused = answers.iter().flatten().filter(|answer| answer.is_err()).count();
        self.host.refused(u32::try_from(refused).unwrap_or(u32::MAX));
        Ok(one_answer_each(answers, count).into_iter().map(|answer| answer.map_err(Error::from)).collect())
    }
}

/// A guest counts on as many answers as it made calls.
fn one_answer_each(
    answers: Result<Vec<Result<String, DoorError>>, DoorError>,
    count: usize,
) -> Vec<Result<String, DoorError>> {
    let (mut answers, missing) = match answers {
        Ok(answers) => (answers, host_failed()),
        Err(error) => (vec![], error),
    };
    answers.resize(count, Err(missing));
    answers
}

impl From<ToolDefinition> for Definition {
    fn from(tool: ToolDefinition) -> Self {
        Self { name: tool.name, description: tool.description, input_schema: tool.input_schema }
    }
}

impl From<Invocation> for ToolInvocation {
    fn from(call: Invocation) -> Self {
        Self { name: call.name, input: call.input }
    }
}
