//! Whether who asks still may, asked again where something is written that outlives what they ask with.
//!
//! A request is let in by a credential that counted when it came. What it makes may be a way in of its own: a password,
//! a passkey, a token. So the account is held as it is where that is written, and the credential asked for once more:
//! whoever ends everything of a person's either waits for it and finds it, or came first.

use super::store;
use crate::{
    error::ApiError,
    grants::{AsMyself, Caller},
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use sqlx::PgConnection;

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// What asked for it ended meanwhile.
    #[error("your session ended; sign in again")]
    Ended,
    /// The database.
    #[error("the session could not be looked up")]
    Db(#[from] sqlx::Error),
}

/// Holds a person's account until the transaction ends, unless what they ask with has ended.
///
/// # Errors
/// [`StandingError`]
pub(super) async fn hold(
    conn: &mut PgConnection,
    by: &impl AsMyself,
    now: DateTime<Utc>,
) -> Result<(), StandingError> {
    let Caller { credential_id, .. } = by.credential();
    let stands = store::hold_standing(conn, by.me(), *credential_id, now).await?;
    if stands { Ok(()) } else { Err(StandingError::Ended) }
}

impl From<StandingError> for ApiError {
    fn from(error: StandingError) -> ApiError {
        match error {
            StandingError::Ended => {
                ApiError::new(StatusCode::UNAUTHORIZED, "session_ended", error.to_string())
            }
            StandingError::Db(cause) => cause.into(),
        }
    }
}
