//! The steps of making an instance ready, each told in the session's log when it is done, or why it was not (row M317).

use super::{ProvisionError, STEP_TIME_MAX, Spec, Target, store};
use crate::{
    app::App,
    grants::InApp,
    sessions::{
        log::{self, Draft, Kind},
        store as sessions,
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The agent is there and compiled; where it runs in a process, that was started.
    Provision,
    /// The process has registered with its token.
    Register,
    /// It has opened what was sealed to its key, and shown it: who registered is who was started.
    Sealed,
    /// Guests may run.
    Ready,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Step::Provision => "provision",
            Step::Register => "register",
            Step::Sealed => "sealed",
            Step::Ready => "ready",
        }
    }
}

/// What tells the steps of one instance.
pub struct Steps<'a> {
    app: &'a App,
    spec: &'a Spec,
    target: Target,
}

impl<'a> Steps<'a> {
    pub(super) fn of(app: &'a App, spec: &'a Spec, target: Target) -> Steps<'a> {
        Steps { app, spec, target }
    }

    /// Takes a step within [`STEP_TIME_MAX`], and tells that it is done, or why it is not.
    pub(super) async fn take<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, ProvisionError>>,
    ) -> Result<T, ProvisionError> {
        let late = || {
            let text = format!("its step `{}` was not done after {} s", step.name(), STEP_TIME_MAX.as_secs());
            Err(ProvisionError(text))
        };
        let done = tokio::time::timeout(STEP_TIME_MAX, work).await.unwrap_or_else(|_| late());
        let told = self.tell(step, done.as_ref().err()).await;
        match (done, told) {
            (Ok(_), Ok(false)) => Err(ProvisionError("it was ended meanwhile".to_owned())),
            (Ok(_), Err(cause)) => {
                tracing::error!(%cause, session_id = %self.spec.session_id, "a step could not be written down");
                Err(ProvisionError("it could not be written down how far it is".to_owned()))
            }
            // It has its own reason already.
            (done, _) => done,
        }
    }

    /// Whether the instance is still wanted: then it is told how a step went.
    async fn tell(&self, step: Step, error: Option<&ProvisionError>) -> sqlx::Result<bool> {
        let Steps { app, spec, target } = self;
        let mut tx = app.tenant_tx(&spec.acting).await?;
        if sessions::lock(&mut tx, spec.session_id).await?.is_none()
            || !store::goes_on(tx.conn(), spec.instance_id, app.now()).await?
        {
            return Ok(false);
        }
        let of = (spec.session_id, spec.acting.app().app_id);
        let drafts = vec![told((spec.instance_id, *target), step, error.map(|error| error.0.as_str()))];
        let written = log::write(app, tx.conn(), of, drafts).await?;
        tx.commit().await?;
        written.tell(app);
        Ok(true)
    }
}

/// That an instance is ready.
pub(super) fn is_ready(instance: (Uuid, Target)) -> Draft {
    told(instance, Step::Ready, None)
}

fn told((instance_id, target): (Uuid, Target), step: Step, reason: Option<&str>) -> Draft {
    let mut data = json!({
        "instance_id": instance_id,
        "driver": target.name(),
        "step": step.name(),
        "state": if reason.is_some() { "failed" } else { "done" },
    });
    if let Some(reason) = reason {
        data["reason"] = Value::from(reason);
    }
    Draft::new(Kind::SessionStep, None, data)
}
