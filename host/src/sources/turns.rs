//! Which sources of a model are asked, in which order.

use super::{
    PLACE, PROXY_PLACE,
    limits::Limits,
    store::{self, TurnRow},
};
use crate::{
    app::App,
    egress::Proxy,
    grants::InApp,
    remembered::Remember,
    tenants::providers::{OpenError, OpenProvider},
};
use url::Url;

pub(crate) use super::store::SourceEnvelope;

/// A source in its turn.
pub(crate) struct Planned {
    pub(crate) source: SourceEnvelope,
    /// What it calls the model, if not as we do.
    pub(crate) upstream_model: Option<String>,
}

/// The limits of a model, and its sources in the order they are asked for one request; none where the app may not use
/// it.
///
/// # Errors
/// The database's.
pub(crate) async fn of(
    app: &App,
    proof: &impl InApp,
    provider: &str,
    model: &str,
) -> sqlx::Result<(Limits, Vec<Planned>)> {
    let read = async {
        let mut tx = app.service_tx().await?;
        store::turns(&mut tx, proof.app().app_id, provider, model).await
    };
    let rows = app.remembered.get(proof, &format!("{provider}/{model}"), read).await?;
    let limits = rows.first().map(|row| row.limits).unwrap_or_default();
    let rows = in_turn(Vec::clone(&rows), || u64::from_be_bytes(app.entropy.bytes()));
    let planned =
        rows.into_iter().map(|row| Planned { source: row.source, upstream_model: row.upstream_model });
    Ok((limits, planned.collect()))
}

impl Remember for TurnRow {
    fn bytes(&self) -> usize {
        size_of::<TurnRow>() + self.source.bytes() + self.upstream_model.as_ref().map_or(0, String::len)
    }
}

/// Opens a source's key, for a call to it.
///
/// # Errors
/// Where no master key opens it, or its address may not be reached.
pub(crate) fn open(app: &App, source: &SourceEnvelope) -> Result<OpenProvider, OpenError> {
    let base_url = Url::parse(&source.base_url).map_err(|_| OpenError::NoAddress)?;
    // A name is judged when it is resolved; an address that stands in the URL only here.
    app.model_egress.judge(&base_url).map_err(|_| OpenError::NoAddress)?;
    let open = |sealed| app.open_sealed(PLACE, source.source_id, &sealed).map_err(|_| OpenError::Sealed);
    let api_key = source.sealed().map(open).transpose()?;
    let proxy = source.proxy().map(|url| {
        let open =
            |sealed| app.open_sealed(PROXY_PLACE, source.source_id, &sealed).map_err(|_| OpenError::Sealed);
        let credentials = source.proxy_sealed().map(open).transpose()?;
        let url = Url::parse(url).map_err(|_| OpenError::NoAddress)?;
        Ok::<_, OpenError>(Proxy { url, credentials })
    });
    Ok(OpenProvider { base_url, api_key, kind: source.speaks(), proxy: proxy.transpose()? })
}

/// Lower ones first; among equals each is next as often as its weight says.
fn in_turn(rows: Vec<TurnRow>, mut random: impl FnMut() -> u64) -> Vec<TurnRow> {
    let mut left = rows;
    let mut ordered = vec![];
    while let Some(first) = left.iter().map(|row| row.position).min() {
        let weight = |row: &TurnRow| u64::try_from(row.weight).unwrap_or_default().max(1);
        let sum: u64 = left.iter().filter(|row| row.position == first).map(weight).sum();
        let mut at = random() % sum;
        let chosen = left.iter().position(|row| {
            if row.position != first {
                return false;
            }
            let here = weight(row);
            let found = at < here;
            at = at.saturating_sub(here);
            found
        });
        ordered.push(left.remove(chosen.unwrap_or_default()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Entropy;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn row(id: u128, position: i32, weight: i32) -> TurnRow {
        let source = SourceEnvelope::unsealed(Uuid::from_u128(id));
        TurnRow { source, upstream_model: None, position, weight, limits: Limits::default() }
    }

    #[test]
    fn m183_lower_ones_come_first_and_equals_as_often_as_their_weight_says() {
        let entropy = Entropy::repeatable(7);
        let mut first = BTreeMap::<u128, u32>::new();
        let mut second = BTreeMap::<u128, u32>::new();
        for _ in 0..4000 {
            let rows = vec![row(9, 5, 1000), row(1, 0, 1), row(2, 0, 3), row(8, 2, 1)];
            let ids: Vec<_> = in_turn(rows, || u64::from_be_bytes(entropy.bytes()))
                .iter()
                .map(|row| row.source.source_id.as_u128())
                .collect();
            assert_eq!(ids[2..], [8, 9], "each once, by order");
            *first.entry(ids[0]).or_default() += 1;
            *second.entry(ids[1]).or_default() += 1;
        }
        assert!((2850..3150).contains(&first[&2]), "three of four: {first:?}");
        assert_eq!((first[&1] + first[&2], second[&1], second[&2]), (4000, first[&2], first[&1]));
        assert!(in_turn(vec![], || 0).is_empty());
    }
}
