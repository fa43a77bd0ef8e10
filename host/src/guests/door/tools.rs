//! `tools`: other tools of the app, each in a sandbox of its own.

use super::Door;
use crate::{
    grants::Reach,
    guests::Delegate,
    limits::{CALL_DEPTH_MAX, TOOL_CALLS_PER_TURN_MAX},
    sandbox::door::{DoorError, ToolDefinition, ToolInvocation},
    tools::{self, invoke::InvokeError},
};
use futures_util::future::join_all;
use std::{sync::Arc, time::Duration};

/// Calls one `tools.call` may make: as many as a model may ask for in one reply.
const CALLS_AT_ONCE_MAX: usize = 32;

pub(super) fn available(door: &Door) -> Vec<ToolDefinition> {
    // Asked without a record: to see a tool is not to reach for it.
    let may_call = |tool: &ToolDefinition| door.grants.permit(&Reach::Tool(&tool.name)).is_ok();
    let mut tools = door.chain.tools.definitions();
    // A tool of the app's own goes before ours of the same name.
    tools.extend(delegate(door).map(|delegate| delegate.definition().clone()));
    tools.into_iter().filter(may_call).collect()
}

/// Who does what the agent hands on.
fn delegate(door: &Door) -> Option<&Arc<dyn Delegate>> {
    let delegate = door.chain.delegate.as_ref()?;
    door.chain.tools.find(&delegate.definition().name).is_none().then_some(delegate)
}

pub(super) async fn call(
    door: &Door,
    calls: Vec<ToolInvocation>,
    time_left: Duration,
) -> Vec<Result<String, DoorError>> {
    if calls.len() > CALLS_AT_ONCE_MAX {
        let text = format!("{CALLS_AT_ONCE_MAX} tool calls at once at the most");
        return calls.iter().map(|_| Err(DoorError::Limit(text.clone()))).collect();
    }
    join_all(calls.into_iter().map(|call| one(door, call, time_left))).await
}

async fn one(door: &Door, call: ToolInvocation, time_left: Duration) -> Result<String, DoorError> {
    if !tools::is_name(&call.name) {
        return Err(DoorError::Invalid("that is not the name of a tool".to_owned()));
    }
    door.permit(&Reach::Tool(&call.name)).await?;
    let chain = door.chain.deeper(time_left).ok_or_else(|| {
        DoorError::Limit(format!("calls of tools by tools go {CALL_DEPTH_MAX} deep at the most"))
    })?;
    if !chain.take_tool_call() {
        return Err(DoorError::Limit(format!(
            "one request makes {TOOL_CALLS_PER_TURN_MAX} calls of tools at the most, all of its guests together"
        )));
    }
    if let Some(delegate) = delegate(door).filter(|delegate| delegate.definition().name == call.name) {
        return delegate.run(&chain, call.input).await;
    }
    let input = match (&chain.permissions, chain.tools.find(&call.name)) {
        (Some(permissions), Some(tool)) => permissions.permit(&chain, tool, call.input).await?,
        _ => call.input,
    };
    // Boxed: a tool may call a tool.
    let ran = Box::pin(tools::invoke::invoke(&door.app, &chain, &call.name, input)).await;
    match ran {
        Ok(done) => Ok(done.output),
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &InvokeError) -> DoorError {
    let text = error.for_guest();
    match error {
        InvokeError::NotFound | InvokeError::BadInput(_) | InvokeError::InvalidInput(..) => {
            DoorError::Invalid(text)
        }
        InvokeError::Failed(..) | InvokeError::Trap(..) | InvokeError::BadOutput(..) => {
            DoorError::Failed(text)
        }
        InvokeError::TimedOut(_)
        | InvokeError::OutOfMemory(_)
        | InvokeError::OutputTooLarge(_)
        | InvokeError::TooMany => DoorError::Limit(text),
        InvokeError::Busy | InvokeError::Code(_) | InvokeError::Db(_) => DoorError::Unavailable(text),
    }
}
