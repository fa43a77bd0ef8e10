//! `model.complete`: a model call through the app's gateway, metered like any other.

use super::Door;
use crate::{
    grants::Reach,
    limits::{CHAT_BYTES_MAX, STEPS_PER_TURN_MAX},
    models::{
        ChatRequest, Event, UpstreamError, UpstreamErrorKind,
        gateway::{self, GatewayError, Metered, Origin},
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
    let (provider, model) =
        gateway::full_id(&request.model, None).map_err(|error| DoorError::Invalid(error.to_string()))?;
    door.permit(&Reach::Model(&format!("{provider}/{model}")))?;
    if !door.chain.take_model_call() {
        return Err(DoorError::Limit(format!("one turn makes {STEPS_PER_TURN_MAX} model calls at the most")));
    }
    let origin = Origin { plugin: Some(door.grants.plugin().to_string()), session_id: door.chain.session_id };
    match gateway::ask(&door.app, &door.grants, (&provider, &model), &request, origin).await {
        Ok(metered) => Ok(events(door.clone(), metered)),
        Err(failure) => Err(failed(door, failure)),
    }
}

fn events(door: Door, metered: Metered) -> Completion {
    unfold((door, metered), |(door, mut metered)| async move {
        let event = match metered.next().await? {
            Ok(event) => {
                if let Event::Usage(usage) = &event {
                    door.chain.add_usage(usage);
                }
                Ok(event.to_guest_json())
            }
            Err(error) => Err(failed(&door, error.into())),
        };
        Some((event, (door, metered)))
    })
    .boxed()
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
        GatewayError::Upstream(_) => DoorError::Failed(text),
        GatewayError::Sealed | GatewayError::Db(_) => DoorError::Unavailable(text),
    }
}
