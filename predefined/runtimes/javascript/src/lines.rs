//! From a place in the JavaScript that runs to the place in the file its author wrote.

use serde_json::Value;

/// Places in the JavaScript, in order, and what each came from. Lines and columns count from 0.
pub(crate) struct Lines(Vec<[u32; 4]>);

impl Lines {
    /// Reads a flat list: line and column here, line and column there, and so on.
    pub(crate) fn read(flat: &Value) -> Option<Lines> {
        let numbers: Option<Vec<u32>> =
            flat.as_array()?.iter().map(|number| u32::try_from(number.as_u64()?).ok()).collect();
        let numbers = numbers?;
        let (places, rest) = numbers.as_chunks::<4>();
        rest.is_empty().then(|| Lines(places.to_vec()))
    }

    /// The author's line and column, from 1, of a line and column from 1.
    pub(crate) fn find(&self, line: u32, column: u32) -> Option<(u32, u32)> {
        let at = (line.checked_sub(1)?, column.saturating_sub(1));
        let after = self.0.partition_point(|place| (place[0], place[1]) <= at);
        // The nearest before it, or what the line begins with.
        let place =
            after.checked_sub(1).and_then(|before| self.0.get(before)).filter(|place| place[0] == at.0);
        let place = place.or_else(|| self.0.get(after).filter(|place| place[0] == at.0))?;
        Some((place[2] + 1, place[3] + 1))
    }
}
