//! `model.complete`: a model call through the app's gateway, metered like any other.

use super::Door;
use crate::{
    budgets::HoldError,
    grants::Reach,
    limits::{CHAT_BYTES_MAX, STEPS_PER_TURN_MAX},
    models::{
        ChatRequest, Event, UpstreamError, UpstreamErrorKind,
        gateway::{self, GatewayError, Metered, Origin},
        thought::ForGuest,
    },
    sandbox::door::{Completion, DoorError},
};
use futures_util::stream::{StreamExt, unfold};

pub(super) async fn complete(door: &Door, request: &str) -> Result<Completion, DoorError> {
    if request.len() > CHAT_BYTES_MAX {
        return Err(DoorError::Limit(format!("a model request is {CHAT_BYTES_MAX} bytes at the most")));
    }
    let request =
        ChatRequest::from_slice(request.as_bytes()).map_err(|error| DoorError::Invalid(error.message))?;
    request.refuse_more_than_one_answer("A guest").map_err(|error| DoorError::Invalid(error.message))?;
    let (provider, model) =
        gateway::full_id(&request.model, None).map_err(|error| DoorError::Invalid(error.to_string()))?;
    let full = format!("{provider}/{model}");
    door.permit(&Reach::Model(&full)).await?;
    let tokens_max = tokens_max(door, &full).await?;
    if !door.chain.take_model_call() {
        return Err(DoorError::Limit(format!("one turn makes {STEPS_PER_TURN_MAX} model calls at the most")));
    }
    let origin = Origin {
        plugin: Some(door.grants.plugin().to_string()),
        session_id: door.chain.session_id,
        // The request's own word, never the guest's.
        end_user: door.chain.end_user.as_deref().map(str::to_owned),
    };
    match gateway::ask(&door.app, &door.grants, (&provider, &model), &request, origin).await {
        Ok(metered) => Ok(events(door.clone(), metered, tokens_max)),
        Err(failure) => Err(failed(door, failure)),
    }
}

/// How many tokens the plugin may use in this chain: of the grants that open the model, what the widest one says.
async fn tokens_max(door: &Door, model: &str) -> Result<Option<u64>, DoorError> {
    let grants = door.grants_now().await?;
    let caps: Vec<_> = grants.effective().filter_map(|capability| capability.tokens_of(model)).collect();
    let Some(max) = caps.into_iter().try_fold(0, |most, cap| cap.map(|cap| cap.max(most))) else {
        return Ok(None);
    };
    if door.chain.tokens_of(door.grants.plugin()) >= max {
        return Err(used_up(max));
    }
    Ok(Some(max))
}

fn used_up(tokens_max: u64) -> DoorError {
    DoorError::Limit(format!(
        "the plugin was granted {tokens_max} tokens of this model for one request, and they are used up"
    ))
}

/// A reply on its way to the guest.
struct Reply {
    door: Door,
    metered: Metered,
    thoughts: ForGuest,
    tokens_max: Option<u64>,
    /// Tokens of it that the chain counted.
    counted: u64,
}

/// The reply's events. One that uses more than was granted is broken off.
fn events(door: Door, metered: Metered, tokens_max: Option<u64>) -> Completion {
    let thoughts = ForGuest::default();
    unfold(Some(Reply { door, metered, thoughts, tokens_max, counted: 0 }), |reply| async move {
        let mut reply = reply?;
        let event = reply.next().await?;
        let event = match event {
            Ok(event) => event,
            Err(error) => return Some((Err(failed(&reply.door, error.into())), Some(reply))),
        };
        if let Event::Usage(usage) = &event {
            reply.door.chain.add_usage(usage);
        } else if let Some(max) = reply.tokens_max.filter(|max| reply.used() > *max) {
            return Some((Err(used_up(max)), None));
        }
        Some((Ok(event.to_guest_json()), Some(reply)))
    })
    .boxed()
}

impl Reply {
    /// The next event that a guest knows.
    async fn next(&mut self) -> Option<Result<Event, UpstreamError>> {
        loop {
            let event = self.metered.next().await?;
            self.count();
            match event.map(|event| self.thoughts.event(event)) {
                Ok(None) => {}
                Ok(Some(event)) => return Some(Ok(event)),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn used(&self) -> u64 {
        self.door.chain.tokens_of(self.door.grants.plugin())
    }

    /// Counts as it goes: of several replies at once, and of one the guest drops, too.
    fn count(&mut self) {
        let usage = self.metered.usage();
        let tokens = usage.prompt_tokens.saturating_add(usage.completion_tokens);
        self.door.chain.add_tokens(self.door.grants.plugin(), tokens.saturating_sub(self.counted));
        self.counted = self.counted.max(tokens);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.count();
    }
}

fn failed(door: &Door, failure: GatewayError) -> DoorError {
    let text = failure.to_string();
    door.chain.keep_failure(failure.clone());
    match failure {
        GatewayError::UnknownModel(_) | GatewayError::NotConfigured(_) => DoorError::Invalid(text),
        GatewayError::Upstream(UpstreamError { kind: UpstreamErrorKind::Rejected, .. }) => {
            DoorError::Invalid(text)
        }
        GatewayError::Upstream(UpstreamError { kind: UpstreamErrorKind::RateLimited, .. }) => {
            DoorError::Limit(text)
        }
        GatewayError::Budget(HoldError::Exceeded { .. } | HoldError::TooFewPoints { .. }) => {
            DoorError::Limit(text)
        }
        GatewayError::Budget(HoldError::NoPrice { .. }) => DoorError::Invalid(text),
        GatewayError::Budget(HoldError::Db(_)) => DoorError::Unavailable(text),
        GatewayError::Upstream(_) => DoorError::Failed(text),
        GatewayError::Sealed | GatewayError::Db(_) => DoorError::Unavailable(text),
    }
}
