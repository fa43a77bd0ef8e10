//! The gate, before a statement runs.
//!
//! A [`Checked`] is the proof that someone may run these statements: over HTTP by a scope, out of the sandbox by a
//! capability for each table. There is no way to one but the two functions here, and [`super::query`] and
//! [`super::execute`] take nothing else.

use super::{
    DatabaseError,
    parse::{Mode, Parsed, Statement, StatementKind},
    provision::Workspace,
};
use crate::{
    app::App,
    grants::{Acting, Allowed, DatabaseAccess, Denied, GuestGrants, InApp, Reach, action::may},
    registry::PluginName,
};

/// Statements somebody may run.
pub struct Checked {
    pub(super) by: By,
    pub(super) workspace: Workspace,
    pub(super) sql: String,
    pub(super) parsed: Parsed,
}

/// Who may.
#[derive(Clone)]
pub(super) struct By {
    pub(super) acting: Acting,
    /// The plugin that asks on behalf of them, if one does.
    pub(super) plugin: Option<PluginName>,
}

impl Checked {
    /// The text of one of its statements.
    pub(super) fn text(&self, statement: &Statement) -> &str {
        self.sql.get(statement.text.clone()).unwrap_or_default()
    }
}

/// Parses what a caller wants to read.
///
/// # Errors
/// The parser's.
pub async fn query(app: &App, allowed: &Allowed<may::DbRead>, sql: String) -> Result<Checked, DatabaseError> {
    by_caller(app, allowed, sql, Mode::Query).await
}

/// Parses what a caller wants to try.
///
/// # Errors
/// The parser's.
pub async fn dry_run(
    app: &App,
    allowed: &Allowed<may::DbWrite>,
    sql: String,
) -> Result<Checked, DatabaseError> {
    by_caller(app, allowed, sql, Mode::Execute).await
}

/// Parses what a caller wants to do.
///
/// # Errors
/// The parser's.
pub async fn apply(
    app: &App,
    allowed: &Allowed<may::DbApply>,
    sql: String,
) -> Result<Checked, DatabaseError> {
    by_caller(app, allowed, sql, Mode::Execute).await
}

async fn by_caller(app: &App, proof: &impl InApp, sql: String, mode: Mode) -> Result<Checked, DatabaseError> {
    parse(app, proof, sql, mode, None).await
}

/// Parses what a guest wants to run, and asks the gate for each table it touches. `on_reach` sees each question and
/// its answer.
///
/// # Errors
/// The parser's, or the gate's first no.
pub async fn by_guest(
    app: &App,
    grants: &GuestGrants,
    sql: String,
    mode: Mode,
    on_reach: impl Fn(&Reach<'_>, Result<(), Denied>) -> Result<(), Denied>,
) -> Result<Checked, DatabaseError> {
    let checked = parse(app, grants, sql, mode, Some(grants.plugin().clone())).await?;
    let prefix = checked.workspace.namespace().as_str();
    for (access, table) in touched(&checked.parsed) {
        // A plugin does not know the app it will run in: tables are granted by what follows the prefix.
        let table = table.strip_prefix(prefix).unwrap_or(table);
        let reach = Reach::Database { access, table };
        on_reach(&reach, grants.permit(&reach))?;
    }
    Ok(checked)
}

/// Every table these statements touch and what they do to it; a query of no table reads none by name.
fn touched(parsed: &Parsed) -> Vec<(DatabaseAccess, &str)> {
    let mut touched = vec![];
    for statement in &parsed.statements {
        let (reads, writes) = match statement.kind {
            // What is written into a view is written into its tables, and it shows them whatever is granted later.
            StatementKind::CreateView => (DatabaseAccess::Alter, DatabaseAccess::Write),
            // What a foreign key refers to cannot be deleted any more.
            StatementKind::CreateTable | StatementKind::AlterTable => {
                (DatabaseAccess::Write, DatabaseAccess::Write)
            }
            // Emptying a table at once is no change of rows: it takes what dropping it takes.
            StatementKind::Truncate => (DatabaseAccess::Read, DatabaseAccess::Alter),
            _ => (DatabaseAccess::Read, DatabaseAccess::Write),
        };
        for (access, tables) in [
            (reads, &statement.reads),
            (writes, &statement.writes),
            (DatabaseAccess::Alter, &statement.defines),
        ] {
            touched.extend(tables.iter().map(|table| (access, table.as_str())));
        }
        // What goes along is not in the statement: any table may.
        if statement.cascades() {
            touched.push((DatabaseAccess::Alter, "*"));
        }
    }
    touched.sort_unstable();
    touched.dedup();
    if touched.is_empty() {
        touched.push((DatabaseAccess::Read, ""));
    }
    touched
}

async fn parse(
    app: &App,
    proof: &impl InApp,
    sql: String,
    mode: Mode,
    plugin: Option<PluginName>,
) -> Result<Checked, DatabaseError> {
    let workspace = Workspace::of(proof.app());
    let parsed = app.database.parse(&workspace, sql.clone(), mode).await?;
    Ok(Checked { by: By { acting: Acting::of(proof), plugin }, workspace, sql, parsed })
}
