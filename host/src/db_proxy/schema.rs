//! What an app's schema holds: its tables for a reader (row M096), and what a change did to it (row M098).

use super::{
    DatabaseError,
    limits::QUERY_TIME_MAX,
    provision::{Access, Workspace},
    query::within,
    session::{self, Purpose},
    wire::Connection,
};
use crate::{app::App, grants::InApp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A table, view or sequence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Relation {
    /// With the prefix.
    pub name: String,
    /// `table`, `view`, `materialized_view` or `sequence`.
    pub kind: String,
    /// In order.
    pub columns: Vec<ColumnOf>,
    /// Column names, in the key's order; empty: none.
    pub primary_key: Vec<String>,
    /// Its indexes.
    pub indexes: Vec<Index>,
    /// Its checks, foreign keys and unique constraints.
    pub constraints: Vec<Constraint>,
    /// As the planner counted last; none: never.
    pub rows_estimate: Option<i64>,
    /// On disk, with indexes.
    pub bytes: Option<i64>,
}

/// A column of a table or view.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ColumnOf {
    /// Its name.
    pub name: String,
    /// As PostgreSQL writes it: `character varying(20)`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// The expression of its default.
    pub default: Option<String>,
    /// The expression it is generated from, or `identity`.
    pub generated: Option<String>,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Whether no two rows may be the same in it.
    pub unique: bool,
    /// The statement that makes it.
    pub definition: String,
}

/// A constraint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Constraint {
    /// Its name.
    pub name: String,
    /// As in `CREATE TABLE`.
    pub definition: String,
}

/// Everything in the caller's schema, by name.
///
/// # Errors
/// [`DatabaseError`]
pub(super) async fn relations(app: &App, proof: &impl InApp) -> Result<Vec<Relation>, DatabaseError> {
    let workspace = Workspace::of(proof.app());
    let lease = app.database.logins.take(app, &workspace, Access::Reader).await?;
    within(QUERY_TIME_MAX, lease, async |connection| {
        connection.simple(&session::begin(&workspace, Purpose::Query)).await?;
        ask(connection, session::RELATIONS).await
    })
    .await
}

/// What the transaction of this connection sees of its schema.
pub(super) async fn seen(connection: &mut Connection) -> Result<Vec<Relation>, DatabaseError> {
    ask(connection, session::SCHEMA).await
}

async fn ask(connection: &mut Connection, question: &str) -> Result<Vec<Relation>, DatabaseError> {
    let rows = connection.ask(question).await?;
    let cell = rows.first().and_then(|row| row.first()).and_then(Option::as_ref);
    cell.and_then(|cell| serde_json::from_slice(&cell.text).ok()).ok_or(DatabaseError::Unavailable)
}

/// What a change did to a schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Names of what is new.
    pub created: Vec<String>,
    /// Names of what is gone.
    pub dropped: Vec<String>,
    /// What is there still, and differs.
    pub changed: Vec<Changed>,
}

/// What differs in a table, view or sequence: one line for each part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// `column phone text`
    pub added: Vec<String>,
    /// `index app_demo__x_idx`
    pub removed: Vec<String>,
    /// `column n: integer → bigint`
    pub altered: Vec<String>,
}

/// What is different in `after`.
pub(super) fn diff(before: &[Relation], after: &[Relation]) -> Diff {
    let by_name = |relations: &[Relation]| -> BTreeMap<String, Relation> {
        relations.iter().map(|relation| (relation.name.clone(), relation.clone())).collect()
    };
    let (before, after) = (by_name(before), by_name(after));
    let mut diff = Diff::default();
    for (name, relation) in &after {
        match before.get(name) {
            None => diff.created.push(name.clone()),
            Some(was) => diff.changed.extend(changed(was, relation)),
        }
    }
    diff.dropped.extend(before.keys().filter(|name| !after.contains_key(*name)).cloned());
    diff
}

fn changed(before: &Relation, after: &Relation) -> Option<Changed> {
    let mut changed = Changed { name: after.name.clone(), added: vec![], removed: vec![], altered: vec![] };
    let (was, is) = (parts(before), parts(after));
    for (part, text) in &is {
        match was.get(part) {
            None => changed.added.push(format!("{part} {text}").trim_end().to_owned()),
            Some(old) if old != text => changed.altered.push(format!("{part}: {old} → {text}")),
            Some(_) => {}
        }
    }
    changed.removed.extend(was.keys().filter(|part| !is.contains_key(*part)).cloned());
    let same = changed.added.is_empty() && changed.removed.is_empty() && changed.altered.is_empty();
    (!same).then_some(changed)
}

/// What a relation consists of, each with what it is: `column phone` → `text not null`.
fn parts(relation: &Relation) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    for column in &relation.columns {
        let mut text = column.type_name.clone();
        if !column.nullable {
            text += " not null";
        }
        if let Some(default) = &column.default {
            text += &format!(" default {default}");
        }
        if let Some(generated) = &column.generated {
            text += &format!(" generated {generated}");
        }
        parts.insert(format!("column {}", column.name), text);
    }
    parts.extend(
        relation.indexes.iter().map(|index| (format!("index {}", index.name), index.definition.clone())),
    );
    parts.extend(
        relation.constraints.iter().map(|c| (format!("constraint {}", c.name), c.definition.clone())),
    );
    if !relation.primary_key.is_empty() {
        parts.insert("primary key".to_owned(), format!("({})", relation.primary_key.join(", ")));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_name: &str) -> ColumnOf {
        ColumnOf {
            name: name.into(),
            type_name: type_name.into(),
            nullable: true,
            default: None,
            generated: None,
        }
    }

    fn table(name: &str, columns: Vec<ColumnOf>) -> Relation {
        Relation {
            name: name.into(),
            kind: "table".into(),
            columns,
            primary_key: vec![],
            indexes: vec![],
            constraints: vec![],
            rows_estimate: None,
            bytes: None,
        }
    }

    #[test]
    fn a_diff_names_what_is_new_gone_and_different() {
        let before = [
            table("a", vec![column("id", "integer"), column("old", "text")]),
            table("gone", vec![]),
            table("same", vec![column("x", "text")]),
        ];
        let after = [
            table("a", vec![column("id", "bigint"), column("phone", "text")]),
            table("new", vec![]),
            table("same", vec![column("x", "text")]),
        ];
        let diff = diff(&before, &after);
        assert_eq!((diff.created, diff.dropped), (vec!["new".to_owned()], vec!["gone".to_owned()]));
        assert_eq!(
            diff.changed,
            [Changed {
                name: "a".into(),
                added: vec!["column phone text".into()],
                removed: vec!["column old".into()],
                altered: vec!["column id: integer → bigint".into()],
            }]
        );
    }
}
