//! Running a query: one statement, read only, on the app's reader login, its rows bounded in number and size.

use super::{
    DatabaseError,
    check::Checked,
    limits::{
        CANCEL_GRACE, CELL_BYTES_KEPT, CELL_BYTES_MAX, PARAMS_MAX, QUERY_TIME_MAX, RESULT_BYTES_MAX,
        ROWS_DEFAULT, ROWS_MAX, WIRE_BYTES_MAX,
    },
    logins::Lease,
    provision::Access,
    session::{self, Purpose},
    values::{self, Out},
    wire::{Bounds, Column, Connection, Oid, Row},
};
use crate::app::App;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

/// What JSON writes around a value: quotes of its name, a colon, a comma, and quotes or `null`.
const CELL_PUNCTUATION_BYTES: usize = 8;

/// What a query answers (row M097).
#[derive(Debug, Serialize)]
pub struct Rows {
    /// In the order of the statement; a name that comes twice has a number after it.
    pub columns: Arc<[ColumnShown]>,
    /// Each an object of the columns.
    pub rows: Vec<RowShown>,
    /// How many rows these are.
    pub row_count: usize,
    /// Whether there were more.
    pub truncated: bool,
    /// Values that are shown in part.
    pub clipped: Vec<Clipped>,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// A column of a result.
#[derive(Debug, Serialize)]
pub struct ColumnShown {
    /// Its name in each row.
    pub name: String,
    /// PostgreSQL's name of its type.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// A value that was too long to be shown whole.
#[derive(Debug, Serialize)]
pub struct Clipped {
    /// Which row, from 0.
    pub row: usize,
    /// Which column.
    pub column: String,
    /// How long the value is, in bytes.
    pub bytes: usize,
}

/// One row, an object of the columns.
#[derive(Debug)]
pub struct RowShown {
    columns: Arc<[ColumnShown]>,
    cells: Vec<Out>,
}

impl Serialize for RowShown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_map(Some(self.cells.len()))?;
        for (column, cell) in self.columns.iter().zip(&self.cells) {
            row.serialize_entry(&column.name, cell)?;
        }
        row.end()
    }
}

/// Runs a query.
///
/// # Errors
/// [`DatabaseError`]
pub async fn run(
    app: &App,
    checked: &Checked,
    params: &[Value],
    limit: Option<u32>,
) -> Result<Rows, DatabaseError> {
    let rows_max = limit.unwrap_or(ROWS_DEFAULT);
    if !(1..=ROWS_MAX).contains(&rows_max) {
        return Err(DatabaseError::BadLimit);
    }
    if params.len() > PARAMS_MAX {
        return Err(DatabaseError::TooManyParams);
    }
    let started = Instant::now();
    let [statement] = checked.parsed.statements.as_slice() else { return Err(DatabaseError::ParamsWithMany) };
    let lease = app.database.logins.take(app, &checked.workspace, Access::Reader).await?;
    let begin = session::begin(&checked.workspace, Purpose::Query);
    let text = checked.text(statement);
    let mut rows =
        within(QUERY_TIME_MAX, lease, async |lease| read(lease, &begin, text, params, rows_max).await)
            .await?;
    rows.ms = millis(started.elapsed());
    Ok(rows)
}

/// Does something on a connection, for so long and a little more; then the connection is put back where it can be
/// used on, and cancelled and closed where not.
pub(super) async fn within<T>(
    time_max: Duration,
    mut lease: Lease,
    work: impl AsyncFnOnce(&mut Connection) -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    let done = tokio::time::timeout(time_max + CANCEL_GRACE, work(&mut lease)).await;
    let done = done.unwrap_or(Err(DatabaseError::Timeout));
    if done.as_ref().err().is_none_or(DatabaseError::keeps_connection) {
        lease.put_back();
    }
    done
}

async fn read(
    connection: &mut Connection,
    begin: &str,
    sql: &str,
    params: &[Value],
    rows_max: u32,
) -> Result<Rows, DatabaseError> {
    let (declare, ours) = Connection::cursor(sql);
    let wire = |error| DatabaseError::of_wire(error, ours);
    let types = connection.begin_and_prepare(begin, &declare).await.map_err(wire)?;
    let parameters = parameters(params, &types)?;
    let mut bytes_left = RESULT_BYTES_MAX;
    let mut kept = Kept::within(&mut bytes_left);
    let mut keep = |columns: &[Column], row| kept.add(columns, row);
    let ended = connection.run_cursor(&parameters, bounds(rows_max), &mut keep).await.map_err(wire)?;
    Ok(kept.show(&ended.columns, ended.more))
}

/// What may come back of a statement that shows so many rows.
pub(super) fn bounds(rows_max: u32) -> Bounds {
    Bounds { rows_max, cell_bytes_max: CELL_BYTES_KEPT, bytes_max: WIRE_BYTES_MAX }
}

/// The values of a statement's parameters as text, if there are as many as it has.
pub(super) fn parameters(params: &[Value], types: &[Oid]) -> Result<Vec<Option<Vec<u8>>>, DatabaseError> {
    if params.len() != types.len() {
        return Err(DatabaseError::ParamsMismatch { wanted: types.len(), given: params.len() });
    }
    let one = |(at, (value, oid)): (usize, (&Value, &Oid))| {
        values::parameter(value, *oid)
            .map_err(|bad| DatabaseError::BadParam { number: at + 1, message: bad.0 })
    };
    params.iter().zip(types).enumerate().map(one).collect()
}

/// Rows as they come, until they are too large together: in one result, or in all results of an answer.
pub(super) struct Kept<'a> {
    rows: Vec<Row>,
    bytes_left: &'a mut usize,
}

impl<'a> Kept<'a> {
    /// Takes rows for as many bytes as are left, and takes them off.
    pub(super) fn within(bytes_left: &'a mut usize) -> Kept<'a> {
        Kept { rows: vec![], bytes_left }
    }

    /// Takes a row, or says that it is too much. Each of its values has its column's name before it, also null.
    pub(super) fn add(&mut self, columns: &[Column], row: Row) -> ControlFlow<()> {
        let values = row.iter().flatten().map(|cell| cell.bytes.min(CELL_BYTES_MAX));
        let names = columns.iter().map(|column| column.name.len() + CELL_PUNCTUATION_BYTES);
        match self.bytes_left.checked_sub(values.sum::<usize>() + names.sum::<usize>()) {
            Some(left) => {
                *self.bytes_left = left;
                self.rows.push(row);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }

    /// The rows as a reader sees them.
    pub(super) fn show(self, columns: &[Column], truncated: bool) -> Rows {
        let shown: Arc<[ColumnShown]> = names(columns)
            .zip(columns)
            .map(|(name, column)| ColumnShown { name, type_name: values::type_name(column.type_oid) })
            .collect();
        let mut clipped = vec![];
        let mut rows = Vec::with_capacity(self.rows.len());
        for (at, row) in self.rows.into_iter().enumerate() {
            let mut cells = Vec::with_capacity(row.len());
            for (cell, (column, shown)) in row.into_iter().zip(columns.iter().zip(shown.iter())) {
                let (value, full) = values::out(cell, column.type_oid, CELL_BYTES_MAX);
                clipped.extend(full.map(|bytes| Clipped { row: at, column: shown.name.clone(), bytes }));
                cells.push(value);
            }
            rows.push(RowShown { columns: shown.clone(), cells });
        }
        Rows { columns: shown, row_count: rows.len(), rows, truncated, clipped, ms: 0 }
    }
}

/// Names that differ: the second `id` is `id_2`.
fn names(columns: &[Column]) -> impl Iterator<Item = String> {
    let given: HashSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut seen: HashMap<&str, u32> = HashMap::new();
    columns.iter().map(move |column| {
        let number = seen.entry(&column.name).or_default();
        *number += 1;
        if *number == 1 {
            return column.name.clone();
        }
        loop {
            let name = format!("{}_{number}", column.name);
            if !given.contains(name.as_str()) {
                return name;
            }
            *number += 1;
        }
    })
}

/// Whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db_proxy::wire::Cell;

    fn column(name: &str) -> Column {
        Column { name: name.to_owned(), type_oid: 25 }
    }

    #[test]
    fn columns_of_one_name_are_told_apart() {
        for (given, shown) in [
            (vec!["id", "name"], vec!["id", "name"]),
            (vec!["id", "id", "id"], vec!["id", "id_2", "id_3"]),
            (vec!["id", "id", "id_2"], vec!["id", "id_3", "id_2"]),
            (vec!["?column?", "?column?"], vec!["?column?", "?column?_2"]),
        ] {
            let columns: Vec<_> = given.iter().map(|name| column(name)).collect();
            assert_eq!(names(&columns).collect::<Vec<_>>(), shown);
        }
    }

    #[test]
    fn rows_that_are_too_large_together_are_refused_and_long_values_count_for_what_is_shown() {
        let row = |bytes| vec![Some(Cell { text: vec![b'x'; CELL_BYTES_KEPT], bytes })];
        let (columns, mut bytes_left) = ([column("x")], RESULT_BYTES_MAX);
        let mut kept = Kept::within(&mut bytes_left);
        let mut taken = 0;
        while kept.add(&columns, row(1 << 30)).is_continue() {
            taken += 1;
        }
        assert_eq!(taken, RESULT_BYTES_MAX / CELL_BYTES_MAX - 1, "names count as well");
        let rows = kept.show(&columns, false);
        assert_eq!((rows.row_count, rows.clipped.len()), (taken, taken));
        // What is left is what the next result of the same answer may have.
        assert!(bytes_left < CELL_BYTES_MAX);
        assert!(Kept::within(&mut bytes_left).add(&columns, row(CELL_BYTES_MAX)).is_break());
    }

    #[test]
    fn nulls_in_many_columns_with_long_names_are_not_for_free() {
        let columns: Vec<_> = (0..1600).map(|at| column(&format!("{at:0>60}"))).collect();
        let mut bytes_left = RESULT_BYTES_MAX;
        let mut kept = Kept::within(&mut bytes_left);
        let taken = (0..1000).take_while(|_| kept.add(&columns, vec![None; 1600]).is_continue()).count();
        assert!((20..50).contains(&taken), "{taken}");
    }
}
