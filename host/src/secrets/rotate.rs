//! Rotating the master key: every data key is wrapped anew by the newest one.
//!
//! Values are not touched and nothing stops meanwhile: a batch is one short
//! transaction, rows another host works on are skipped until the next round,
//! and a value opens under either key as long as both are configured. Once no
//! row is left under an old key, that key may be taken out of the ring.

use super::{Place, envelope::OpenError, store};
use crate::app::App;

/// Rows in one transaction, so that none is long.
const BATCH: i64 = 100;

/// How far a rotation came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Rows wrapped anew.
    pub rewrapped: u64,
    /// Rows no key of the ring opens; they stay as they are.
    pub refused: u64,
}

/// Wraps every data key that an older master key wraps.
///
/// # Errors
/// The database's; what was done until then stays done.
pub async fn rotate(app: &App) -> sqlx::Result<Rotated> {
    let mut done = Rotated::default();
    for place in [
        super::PLACE,
        crate::tenants::providers::PLACE,
        crate::sources::PLACE,
        crate::sources::PROXY_PLACE,
        crate::db_proxy::provision::PLACE,
        crate::idempotency::PLACE,
    ] {
        rotate_table(app, place, &mut done).await?;
    }
    Ok(done)
}

async fn rotate_table(app: &App, place: Place, done: &mut Rotated) -> sqlx::Result<()> {
    let random = |buffer: &mut [u8]| {
        app.entropy.fill(buffer);
        Ok(())
    };
    let mut after = uuid::Uuid::nil();
    loop {
        let mut tx = app.service_tx().await?;
        let rows =
            store::wrapped_by_others(&mut tx, place, app.keyring.newest_version(), after, BATCH).await?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = *last;
        for (row_id, sealed) in &rows {
            match app.keyring.rewrap(&place.of(row_id), sealed, &random) {
                Ok(Some(fresh)) => {
                    store::rewrap(&mut tx, place, *row_id, &fresh).await?;
                    done.rewrapped += 1;
                }
                Ok(None) => {}
                Err(OpenError::UnknownKey { .. } | OpenError::Refused | OpenError::NoRandomness) => {
                    done.refused += 1;
                }
            }
        }
        tx.commit().await?;
    }
}
