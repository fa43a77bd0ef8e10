//! Running statements that change: tried and rolled back, or confirmed and kept, all or nothing (rows M098, M151–M156).
//!
//! A dry run does what the real one does, in the same transaction but for its end: it takes the locks, forces the
//! constraints that wait for the commit, and tells what would be different. What it cannot take back is refused by
//! the parser (`CONCURRENTLY`, `VACUUM`) or said (`nextval`).
//!
//! A change and its audit row stand in two databases. The row is written first, with the number of the transaction
//! it is about: without the row nothing is committed, and with it the server can be asked later how that
//! transaction ended (`history`), whatever happened to us in between.

use super::{
    DatabaseError,
    check::{By, Checked},
    limits::{CANCEL_GRACE, EXECUTE_TOTAL_TIME_MAX, PARAMS_MAX, RESULT_BYTES_MAX, RETURNED_ROWS_MAX},
    logins::Lease,
    parse::{Statement, StatementKind},
    provision::Access,
    query::{Kept, Rows, bounds, millis, parameters},
    quota, schema,
    schema::Diff,
    session::{self, Purpose},
    wire::{Column, Connection, Row},
};
use crate::{
    app::App,
    grants::{audit, audit::Outcome},
};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest, Sha256};
use std::time::Instant;
use uuid::Uuid;

/// What of the normalised SQL goes into an audit row, in bytes.
const AUDITED_SQL_BYTES_MAX: usize = 8 << 10;

/// What is to come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Nothing.
    DryRun,
    /// It is kept.
    Apply {
        /// Whether `TRUNCATE` is meant.
        truncate: bool,
    },
}

impl How {
    /// Applying, if it was confirmed by name.
    ///
    /// # Errors
    /// What to confirm it with.
    pub fn apply(slug: &str, confirm: Option<&str>, truncate: bool) -> Result<How, DatabaseError> {
        let expected = format!("apply:{slug}");
        match confirm {
            Some(given) if given == expected => Ok(How::Apply { truncate }),
            Some(_) => Err(DatabaseError::NotConfirmed(format!(
                "the confirmation is for something else; to apply this, send `\"confirm\": \"{expected}\"`"
            ))),
            None => Err(DatabaseError::NotConfirmed(format!(
                "applying a change is confirmed by name: send `\"confirm\": \"{expected}\"`, or leave out \
                 `dryRun` to try it first"
            ))),
        }
    }

    fn purpose(&self) -> Purpose {
        match self {
            How::DryRun => Purpose::DryRun,
            How::Apply { .. } => Purpose::Apply,
        }
    }
}

/// What was done, or would be (row M098).
#[derive(Debug, Serialize)]
pub struct Executed {
    /// Whether it is kept.
    pub applied: bool,
    /// Whether it was tried only.
    pub dry_run: bool,
    /// Each statement, in order.
    pub statements: Vec<Done>,
    /// Rows changed by all of them.
    pub affected: u64,
    /// What is different in the schema.
    pub diff: Diff,
    /// What to look at twice.
    pub warnings: Vec<Warned>,
    /// The audit row.
    pub audit_id: Uuid,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// One statement.
#[derive(Debug, Serialize)]
pub struct Done {
    /// Which, from 0.
    pub index: usize,
    /// `create_table`, `update`, …
    pub kind: &'static str,
    /// Rows it changed; none for what changes none.
    pub affected: Option<u64>,
    /// What it returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned: Option<Rows>,
    /// How the server goes about it; in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<RawValue>>,
}

/// Something to look at twice (row M154).
#[derive(Clone, Debug, Serialize)]
pub struct Warned {
    /// A stable name for programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// Which statement, from 0.
    pub statement: usize,
}

/// Runs statements.
///
/// # Errors
/// [`DatabaseError`]; nothing was changed then, but where the connection broke during the commit: `history`
/// tells how that ended.
pub async fn run(
    app: &App,
    checked: &Checked,
    params: &[Value],
    how: How,
) -> Result<Executed, DatabaseError> {
    let started = Instant::now();
    let statements = &checked.parsed.statements;
    check_before(statements, params, &how)?;
    let mut lease = app.database.logins.take(app, &checked.workspace, Access::Owner).await?;
    let attempts = async {
        match attempt(app, &mut lease, checked, params, &how).await {
            Err(DatabaseError::Quota(_)) => {
                lease.simple(session::ROLLBACK).await?;
                quota::clean(&checked.workspace, &mut lease).await?;
                attempt(app, &mut lease, checked, params, &how).await
            }
            attempted => attempted,
        }
    };
    let unwritten = Unwritten { app, checked, how: &how, is_on: true };
    let attempted = tokio::time::timeout(EXECUTE_TOTAL_TIME_MAX + CANCEL_GRACE, attempts).await;
    unwritten.off();
    let mut attempted = match attempted.unwrap_or(Err(DatabaseError::Timeout)) {
        Ok(attempted) => attempted,
        Err(error) => {
            if error.keeps_connection() {
                lease.put_back();
            }
            // By its code: what the server says may quote a value.
            let entry = entry(checked, &how, Outcome::Failed, json!({ "error": error.code() }));
            // Nothing was changed: that this is not written down keeps nobody from hearing what was wrong.
            drop(write_down(app, &checked.by, entry).await);
            return Err(error);
        }
    };
    let detail = json!({ "affected": attempted.affected, "transaction": attempted.transaction });
    let entry = entry(checked, &how, Outcome::Ok, detail);
    let by = checked.by.clone();
    // From here on it is carried through, whether or not somebody still waits.
    let ending = app.clone();
    let applied = matches!(how, How::Apply { .. });
    let ended = app.spawn(async move { end(&ending, lease, &by, entry, applied).await });
    let audit_id = ended.await.unwrap_or(Err(DatabaseError::Unavailable))?;
    attempted.warnings.sort_by_key(|warned| warned.statement);
    Ok(Executed {
        applied,
        dry_run: !applied,
        statements: attempted.done,
        affected: attempted.affected,
        diff: attempted.diff,
        warnings: attempted.warnings,
        audit_id,
        ms: millis(started.elapsed()),
    })
}

/// Writes an attempt down as broken off where nobody waits for it any more.
struct Unwritten<'a> {
    app: &'a App,
    checked: &'a Checked,
    how: &'a How,
    is_on: bool,
}

impl Unwritten<'_> {
    /// The attempt came to an end, which is written down by whoever got it.
    fn off(mut self) {
        self.is_on = false;
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        if !self.is_on {
            return;
        }
        let entry = entry(self.checked, self.how, Outcome::Failed, json!({ "error": "canceled" }));
        let (app, by) = (self.app.clone(), self.checked.by.clone());
        self.app.spawn(async move { drop(write_down(&app, &by, entry).await) });
    }
}

/// What can be said without the server.
fn check_before(statements: &[Statement], params: &[Value], how: &How) -> Result<(), DatabaseError> {
    if params.len() > PARAMS_MAX {
        return Err(DatabaseError::TooManyParams);
    }
    if statements.len() > 1 && (!params.is_empty() || statements.iter().any(|statement| statement.params > 0))
    {
        return Err(DatabaseError::ParamsWithMany);
    }
    let truncates = statements.iter().any(|statement| statement.kind == StatementKind::Truncate);
    if truncates && *how == (How::Apply { truncate: false }) {
        return Err(DatabaseError::NotConfirmed(
            "TRUNCATE empties a table without looking at its rows: send `\"allow\": [\"truncate\"]` as well if that \
             is meant, or use DELETE"
                .into(),
        ));
    }
    Ok(())
}

/// What was done inside a transaction that still stands open.
#[derive(Default)]
struct Attempted {
    done: Vec<Done>,
    affected: u64,
    diff: Diff,
    warnings: Vec<Warned>,
    transaction: Option<String>,
}

async fn attempt(
    app: &App,
    connection: &mut Connection,
    checked: &Checked,
    params: &[Value],
    how: &How,
) -> Result<Attempted, DatabaseError> {
    let statements = &checked.parsed.statements;
    let (defines, grows) =
        (statements.iter().any(|s| s.kind.is_ddl()), statements.iter().any(quota::can_grow));
    connection.simple(&session::begin(&checked.workspace, how.purpose())).await?;
    let held = if grows { Some(quota::usage(connection).await?) } else { None };
    let before = if defines { schema::seen(connection).await? } else { vec![] };
    let mut attempted = Attempted::default();
    let mut bytes_left = RESULT_BYTES_MAX;
    for (index, statement) in statements.iter().enumerate() {
        let text = checked.text(statement);
        let done = one(connection, statement, text, params, *how == How::DryRun, &mut bytes_left).await;
        let done = done.map_err(|error| error.at(index, statements.len()))?;
        attempted.affected += done.affected.unwrap_or_default();
        attempted.done.push(Done { index, ..done });
        attempted.warnings.extend(statement.warnings.iter().map(|warning| Warned {
            code: warning.code,
            message: warning.message.clone(),
            statement: index,
        }));
    }
    connection.simple(session::CHECK_DEFERRED).await?;
    if defines {
        attempted.diff = schema::diff(&before, &schema::seen(connection).await?);
    }
    if let Some(held) = held {
        quota::check(app, held, quota::usage(connection).await?)?;
    }
    if *how != How::DryRun {
        attempted.transaction = transaction(connection).await?;
    }
    Ok(attempted)
}

async fn one(
    connection: &mut Connection,
    statement: &Statement,
    text: &str,
    params: &[Value],
    explains: bool,
    bytes_left: &mut usize,
) -> Result<Done, DatabaseError> {
    // PostgreSQL explains what changes rows one by one; emptying a table is no such thing.
    let has_plan = statement.kind.is_dml() && statement.kind != StatementKind::Truncate;
    let plan = if explains && has_plan { plan(connection, text, params).await? } else { None };
    let plan = plan.filter(|plan| {
        bytes_left.checked_sub(plan.get().len()).inspect(|left| *bytes_left = *left).is_some()
    });
    let types = connection.prepare(text).await?;
    let parameters = parameters(params, &types)?;
    let mut kept = Kept::within(bytes_left);
    let ended = connection
        .run(&parameters, bounds(RETURNED_ROWS_MAX), &mut |columns, row| kept.add(columns, row))
        .await?;
    let returned = (!ended.columns.is_empty()).then(|| kept.show(&ended.columns, ended.more));
    // Rows a `CREATE TABLE AS` wrote are counted in its tag too.
    Ok(Done { index: 0, kind: statement.kind.name(), affected: ended.affected, returned, plan })
}

async fn plan(
    connection: &mut Connection,
    text: &str,
    params: &[Value],
) -> Result<Option<Box<RawValue>>, DatabaseError> {
    let ours = session::EXPLAIN.len();
    let wire = |error| DatabaseError::of_wire(error, ours);
    let types = connection.prepare(&format!("{}{text}", session::EXPLAIN)).await.map_err(wire)?;
    let parameters = parameters(params, &types)?;
    let mut shown = String::new();
    let mut keep = |_: &[Column], row: Row| {
        if let Some(Some(cell)) = row.into_iter().next() {
            shown.push_str(&String::from_utf8_lossy(&cell.text));
        }
        std::ops::ControlFlow::Continue(())
    };
    connection.run(&parameters, bounds(RETURNED_ROWS_MAX), &mut keep).await.map_err(wire)?;
    // A plan so large that it was cut is no JSON, and nobody would read it.
    Ok(RawValue::from_string(shown).ok())
}

async fn transaction(connection: &mut Connection) -> Result<Option<String>, DatabaseError> {
    let rows = connection.ask(session::TRANSACTION_ID).await?;
    let cell = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
    Ok(cell.map(|cell| String::from_utf8_lossy(&cell.text).into_owned()))
}

/// Writes it down, then keeps it or lets it go.
async fn end(
    app: &App,
    mut lease: Lease,
    by: &By,
    entry: audit::Entry,
    applied: bool,
) -> Result<Uuid, DatabaseError> {
    let failed = entry.clone().result(Outcome::Failed);
    let written = write_down(app, by, entry).await;
    let audit_id = match written {
        Ok(audit_id) => audit_id,
        Err(error) => {
            lease.put_back();
            return Err(error);
        }
    };
    if !applied {
        lease.put_back();
        return Ok(audit_id);
    }
    if let Err(error) = lease.simple(session::COMMIT).await {
        let mut failed = failed;
        failed.detail["of"] = json!(audit_id);
        // The first row stands, with a transaction that the server says did not commit; this one says why.
        drop(write_down(app, by, failed).await);
        return Err(error.into());
    }
    lease.put_back();
    Ok(audit_id)
}

async fn write_down(app: &App, by: &By, mut entry: audit::Entry) -> Result<Uuid, DatabaseError> {
    let mut tx = app.tenant_tx(&by.acting).await?;
    let audit_id = match &by.plugin {
        Some(plugin) => {
            entry.detail["plugin"] = json!(plugin.to_string());
            audit::write_guest(app, &mut tx, &by.acting, entry).await?
        }
        None => audit::write(app, &mut tx, &by.acting, entry).await?,
    };
    tx.commit().await?;
    Ok(audit_id)
}

fn entry(checked: &Checked, how: &How, outcome: Outcome, more: Value) -> audit::Entry {
    let statements = &checked.parsed.statements;
    let action = if *how == How::DryRun { "db.dry_run" } else { "db.apply" };
    let mut sql = statements.iter().map(|s| s.normalized.as_str()).collect::<Vec<_>>().join(";\n");
    sql.truncate(sql.floor_char_boundary(AUDITED_SQL_BYTES_MAX));
    let mut detail = json!({
        "statements": statements.iter().map(|statement| statement.kind.name()).collect::<Vec<_>>(),
        "sql": sql,
        "sql_sha256": hex::encode(Sha256::digest(checked.sql.as_bytes())),
    });
    if let (Value::Object(detail), Value::Object(more)) = (&mut detail, more) {
        detail.extend(more);
    }
    audit::Entry::ok(action, format!("database/{}", checked.workspace.schema()))
        .result(outcome)
        .detail(detail)
}
