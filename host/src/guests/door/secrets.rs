//! `secrets.get`: a reference that `http.send` replaces at the boundary.

use super::{Door, unavailable};
use crate::{
    grants::{InApp, Reach},
    limits::SECRET_QUESTIONS_PER_MINUTE,
    sandbox::door::DoorError,
    secrets,
};

/// Whether a secret is there is told only where it was granted: before the gate's answer nothing is looked up, so
/// what is absent and what is another's look and take the same.
pub(super) async fn reference(door: &Door, name: &str) -> Result<String, DoorError> {
    if !secrets::is_name(name) {
        return Err(DoorError::Invalid(
            "the name of a secret is capitals, digits and `_`, a capital first".into(),
        ));
    }
    door.app.rate_limits.secret_question(door.grants.app().app_id, door.grants.plugin()).map_err(|wait| {
        DoorError::Limit(format!(
            "a plugin asks for secrets {SECRET_QUESTIONS_PER_MINUTE} times a minute at the most; ask once a call, or \
             again in {} ms",
            wait.as_millis() + 1
        ))
    })?;
    door.permit(&Reach::SecretName(name)).await?;
    if !secrets::exists(&door.app, &door.grants, name).await.map_err(unavailable("reading a secret"))? {
        return Err(DoorError::Invalid(format!(
            "the secret `{name}` is not stored yet; store it with PUT /v1/tenant/secrets"
        )));
    }
    Ok(secrets::reference(name))
}
