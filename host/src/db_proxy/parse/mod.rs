//! The guard: decides which SQL of an app reaches the database at all.
//!
//! It parses with PostgreSQL's own grammar and walks the whole tree. Every
//! part must be on a list: the kind of statement and each of its clauses, the
//! functions, the types, the operators and collations. What is not on a list
//! is refused, so that a newer grammar brings nothing in unseen; nothing is
//! ever decided by looking at the text.
//!
//! - A relation has the app's prefix and no schema in front, or it is the name
//!   of a `WITH` query where that can be seen. Foreign names get one and the
//!   same answer, whether they exist or not.
//! - [`Mode::Query`] takes one statement that only reads; [`Mode::Execute`]
//!   takes up to [`STATEMENTS_MAX`] that change data or define relations.
//! - A field of a value, `(value).field`, may not have the name of a function:
//!   PostgreSQL would call it.
//!
//! The guard is one of three walls. Each app has its own database roles, which
//! is the first, and the server's own functions and catalogs are closed to
//! them, which is the third.
//!
//! Deliberately absent: functions, triggers, rules, types and grants of apps,
//! everything that looks into the server, and all XML.

mod limits;
mod lists;
mod namespace;
mod pool;
mod refused;
mod text;
mod walk;
mod warning;

#[cfg(test)]
mod tests;

pub use limits::{IDENTIFIER_BYTES_MAX, PARAMS_MAX, SQL_BYTES_MAX, STATEMENTS_MAX};
pub use lists::functions;
pub use namespace::Namespace;
pub use pool::Parser;
pub use refused::{Refused, RefusedKind};
pub use warning::Warning;

use std::collections::BTreeSet;
use std::ops::Range;

/// What [`Mode::Query`] takes, for a reader.
pub const QUERY_STATEMENTS: &[&str] = &["SELECT", "WITH … SELECT", "VALUES", "TABLE"];
/// What [`Mode::Execute`] takes, for a reader.
pub const EXECUTE_STATEMENTS: &[&str] = &[
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "TRUNCATE",
    "CREATE TABLE",
    "CREATE TABLE … AS",
    "ALTER TABLE",
    "CREATE INDEX",
    "CREATE VIEW",
    "CREATE SEQUENCE",
    "ALTER … RENAME",
    "DROP TABLE, VIEW, SEQUENCE or INDEX",
    "COMMENT ON TABLE or COLUMN",
    "ANALYZE",
];

/// What a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// One statement that only reads: `SELECT`, `WITH`, `VALUES` or `TABLE`.
    Query,
    /// Statements that change data or define relations.
    Execute,
}

/// A text that may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Its statements, in order; at least one.
    pub statements: Vec<Statement>,
}

/// One statement that may run, and what it touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it is.
    pub kind: StatementKind,
    /// Where it stands in the text, in bytes: from its first token to its last, without `;`.
    pub text: Range<usize>,
    /// The relations it reads. A relation a view or a foreign key refers to is read.
    pub reads: BTreeSet<String>,
    /// The relations whose rows it changes, and the sequences it advances.
    pub writes: BTreeSet<String>,
    /// The relations it creates, alters, drops, indexes, comments or analyzes.
    pub defines: BTreeSet<String>,
    /// The highest `$n` in it; 0 when there is none.
    pub params: u32,
    /// What a person should know before it is applied.
    pub warnings: Vec<Warning>,
    /// The statement with `?` in place of every literal and without comments, for logs.
    pub normalized: String,
}

impl Statement {
    /// Whether it takes relations along that it does not name (`CASCADE`).
    pub fn cascades(&self) -> bool {
        self.warnings.iter().any(|warning| warning.code == warning::CASCADE)
    }
}

/// What a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatementKind {
    /// `SELECT`, `WITH … SELECT`, `VALUES` or `TABLE`.
    Select,
    /// `INSERT`.
    Insert,
    /// `UPDATE`.
    Update,
    /// `DELETE`.
    Delete,
    /// `MERGE`.
    Merge,
    /// `TRUNCATE`.
    Truncate,
    /// `CREATE TABLE`.
    CreateTable,
    /// `CREATE TABLE … AS`.
    CreateTableAs,
    /// `ALTER TABLE`.
    AlterTable,
    /// `CREATE INDEX`.
    CreateIndex,
    /// `CREATE VIEW`.
    CreateView,
    /// `CREATE SEQUENCE`.
    CreateSequence,
    /// `ALTER … RENAME`.
    Rename,
    /// `DROP TABLE`, `DROP VIEW`, `DROP SEQUENCE` or `DROP INDEX`.
    Drop,
    /// `COMMENT ON TABLE` or `COMMENT ON COLUMN`.
    Comment,
    /// `ANALYZE`.
    Analyze,
}

impl StatementKind {
    /// The name in answers and logs.
    pub const fn name(self) -> &'static str {
        match self {
            StatementKind::Select => "select",
            StatementKind::Insert => "insert",
            StatementKind::Update => "update",
            StatementKind::Delete => "delete",
            StatementKind::Merge => "merge",
            StatementKind::Truncate => "truncate",
            StatementKind::CreateTable => "create_table",
            StatementKind::CreateTableAs => "create_table_as",
            StatementKind::AlterTable => "alter_table",
            StatementKind::CreateIndex => "create_index",
            StatementKind::CreateView => "create_view",
            StatementKind::CreateSequence => "create_sequence",
            StatementKind::Rename => "rename",
            StatementKind::Drop => "drop",
            StatementKind::Comment => "comment",
            StatementKind::Analyze => "analyze",
        }
    }

    /// Whether it changes rows.
    pub const fn is_dml(self) -> bool {
        matches!(
            self,
            StatementKind::Insert
                | StatementKind::Update
                | StatementKind::Delete
                | StatementKind::Merge
                | StatementKind::Truncate
        )
    }

    /// Whether it changes what relations there are, or what is known of them.
    pub const fn is_ddl(self) -> bool {
        !self.is_dml() && !matches!(self, StatementKind::Select)
    }
}

/// Parses `sql` and checks every part of it.
///
/// The grammar recurses: call it on a thread with a large stack, or let [`Parser`] do that.
///
/// # Errors
/// What was refused and what to write instead.
pub fn parse(sql: &str, namespace: &Namespace, mode: Mode) -> Result<Parsed, Refused> {
    check_size(sql)?;
    let tree = pg_query::parse(sql, 0).map_err(|error| text::syntax_error(sql, &error))?.protobuf;
    check_count(tree.stmts.len(), mode)?;
    let source = text::Text::read(sql)?;
    source.check_identifiers()?;
    let several = tree.stmts.len() > 1;
    let statements = tree.stmts.iter().enumerate().map(|(index, raw)| {
        statement(raw, &source, namespace, mode)
            .map_err(|refused| Refused { statement: several.then_some(index), ..refused })
    });
    Ok(Parsed { statements: statements.collect::<Result<_, _>>()? })
}

fn check_size(sql: &str) -> Result<(), Refused> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(Refused::new(
            RefusedKind::Length,
            format!(
                "the SQL has {} bytes, {SQL_BYTES_MAX} are allowed; pass values as parameters or split it",
                sql.len()
            ),
        ));
    }
    if sql.contains('\0') {
        return Err(Refused::new(RefusedKind::Syntax, "the SQL contains a NUL character; remove it"));
    }
    Ok(())
}

fn check_count(count: usize, mode: Mode) -> Result<(), Refused> {
    match (count, mode) {
        (0, _) => Err(Refused::new(RefusedKind::Syntax, "there is no statement; write one")),
        (1, Mode::Query) => Ok(()),
        (_, Mode::Query) => {
            Err(Refused::new(RefusedKind::Count, "a query is one statement; send the statements one by one"))
        }
        (1..=STATEMENTS_MAX, Mode::Execute) => Ok(()),
        (_, Mode::Execute) => Err(Refused::new(
            RefusedKind::Count,
            format!(
                "there are {count} statements, {STATEMENTS_MAX} are allowed; split them into several calls"
            ),
        )),
    }
}

fn statement(
    raw: &pg_query::protobuf::RawStmt,
    source: &text::Text<'_>,
    namespace: &Namespace,
    mode: Mode,
) -> Result<Statement, Refused> {
    let pg_query::protobuf::RawStmt { stmt, stmt_location, stmt_len } = raw;
    let found = walk::statement(stmt.as_deref().ok_or_else(Refused::shape)?, namespace, mode)?;
    let text = source.statement(*stmt_location, *stmt_len)?;
    Ok(Statement {
        kind: found.kind,
        normalized: source.normalized(&text),
        text,
        reads: found.reads,
        writes: found.writes,
        defines: found.defines,
        params: found.params,
        warnings: found.warnings,
    })
}
