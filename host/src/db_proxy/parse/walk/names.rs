//! Names: of relations, constraints, types, operators, collations and fields.

use super::super::lists;
use super::super::namespace::is_app_name;
use super::super::refused::{Refused, RefusedKind, echo};
use super::{Walk, Walked, known, strings};
use pg_query::protobuf as pg;
use pg_query::protobuf::ConstrType;
use pg_query::{Node, NodeEnum};
use std::collections::HashSet;

/// Fields that might call a function, until all of the statement is known.
///
/// `f.name` calls `name(f)` when `f` is a function in `FROM` that returns
/// plain values. For rows of tables and queries it does not, whatever its name.
#[derive(Default)]
pub(super) struct Attributes<'a> {
    /// The names of functions in `FROM`; none stands for a name that is not known.
    pub(super) functions: HashSet<Option<&'a str>>,
    /// The fields with the name of a function, and what they are a field of.
    suspects: Vec<(&'a str, &'a str)>,
}

impl<'a> Walk<'a> {
    /// A relation that must be the app's own, and no `WITH` query.
    pub(super) fn own(&self, relation: &'a pg::RangeVar) -> Result<&'a str, Refused> {
        let pg::RangeVar { catalogname, schemaname, relname, inh: _, relpersistence, alias: _, location: _ } =
            relation;
        if relpersistence == "t" {
            return Err(Refused::statement("a temporary relation", "create an ordinary table and drop it"));
        }
        if catalogname.is_empty() && schemaname.is_empty() && self.namespace.owns(relname) {
            return Ok(relname);
        }
        let parts = [catalogname.as_str(), schemaname, relname];
        let name = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
        Err(self.namespace.refuse(&name))
    }

    /// A relation to read from: the app's own, or a `WITH` query.
    pub(super) fn read(&mut self, relation: &'a pg::RangeVar) -> Walked {
        let unqualified = relation.catalogname.is_empty() && relation.schemaname.is_empty();
        if unqualified && self.with_names.contains(&relation.relname.as_str()) {
            return Ok(());
        }
        let name = self.own(relation)?;
        self.reads.insert(name.to_owned());
        Ok(())
    }

    /// A name in parts, as in `DROP TABLE`, that must be one of the app's relations.
    pub(super) fn own_parts(&self, parts: &[&'a str]) -> Result<&'a str, Refused> {
        match parts {
            [name] => self.own_name(name),
            _ => Err(self.namespace.refuse(&parts.join("."))),
        }
    }

    /// A name without a schema that must be inside the namespace.
    pub(super) fn own_name(&self, name: &'a str) -> Result<&'a str, Refused> {
        if self.namespace.owns(name) { Ok(name) } else { Err(self.namespace.refuse(name)) }
    }

    /// The name of a constraint, if it has one. Keys become indexes of that
    /// name and need the app's prefix; others may have any that is not another app's.
    pub(super) fn constraint_name(&self, name: &'a str, kind: ConstrType) -> Walked {
        let key = matches!(
            kind,
            ConstrType::ConstrPrimary | ConstrType::ConstrUnique | ConstrType::ConstrExclusion
        );
        if !name.is_empty() && (key || is_app_name(name) || name.starts_with("pg_")) {
            self.own_name(name)?;
        }
        Ok(())
    }

    /// A `WITH` query may not dress up as a catalog or as another app's table.
    pub(super) fn with_name(&self, name: &str) -> Walked {
        if (name.contains("__") || name.starts_with("pg_")) && !self.namespace.owns(name) {
            return Err(Refused::new(
                RefusedKind::Namespace,
                format!(
                    "a WITH query may not be called `{}`; choose a name without `__` and `pg_`",
                    echo(name)
                ),
            ));
        }
        Ok(())
    }

    /// A field of something whose kind is not known: `(value).field`.
    pub(super) fn attribute(&self, field: &str) -> Walked {
        if is_app_name(field) || lists::is_attribute_function(field) {
            return Err(refused_attribute(field));
        }
        Ok(())
    }

    /// A column reference: `column`, `relation.column` or `relation.*`.
    pub(super) fn column_ref(&mut self, column: &'a pg::ColumnRef) -> Walked {
        let pg::ColumnRef { fields, location: _ } = column;
        let parts = fields.iter().map(column_part).collect::<Result<Vec<_>, _>>()?;
        match parts.as_slice() {
            [_] | [Some(_), None] => Ok(()),
            [Some(_), Some(field)] if is_app_name(field) => Err(refused_attribute(field)),
            [Some(relation), Some(field)] => {
                if lists::is_attribute_function(field) {
                    self.attributes.suspects.push((relation, field));
                }
                Ok(())
            }
            _ => Err(Refused::new(
                RefusedKind::Namespace,
                "a column is written `table.column`, without a schema; write a field of a composite value as `(table.column).field`",
            )),
        }
    }

    /// Refuses the fields that would have called a function.
    pub(super) fn check_attributes(&self) -> Walked {
        let Attributes { functions, suspects } = &self.attributes;
        let any = functions.contains(&None);
        match suspects.iter().find(|(relation, _)| any || functions.contains(&Some(*relation))) {
            Some((_, field)) => Err(refused_attribute(field)),
            None => Ok(()),
        }
    }

    /// A type: on the list, without a schema, and not `column%TYPE`.
    pub(super) fn type_name(&mut self, name: &'a pg::TypeName) -> Walked {
        let pg::TypeName {
            names,
            type_oid: _,
            setof,
            pct_type,
            typmods,
            typemod: _,
            array_bounds: _,
            location: _,
        } = name;
        let parts = strings(names)?;
        match builtin(&parts) {
            Some(name) if !setof && !pct_type && lists::is_type(name) => {}
            _ => return Err(refused_type(&parts.join("."))),
        }
        // `varchar(20)`: PostgreSQL takes constants only.
        self.each(typmods, |_, node| match known(node)? {
            NodeEnum::AConst(_) => Ok(()),
            _ => Err(refused_type("a type with an expression in parentheses")),
        })
    }

    /// A collation: one of the built-in ones or a language such as `en_US`.
    pub(super) fn collation(&self, names: &[Node]) -> Walked {
        let parts = strings(names)?;
        match builtin(&parts) {
            Some(name) if lists::is_collation(name) => Ok(()),
            _ => Err(Refused::new(
                RefusedKind::Function,
                format!(
                    "the collation `{}` is not available; write COLLATE \"C\" or a language such as \"en_US\"",
                    echo(&parts.join("."))
                ),
            )),
        }
    }

    /// An operator: PostgreSQL's own.
    pub(super) fn operator(&self, names: &[Node]) -> Walked {
        let parts = strings(names)?;
        match builtin(&parts) {
            Some(_) => Ok(()),
            None => Err(Refused::new(
                RefusedKind::Function,
                format!(
                    "the operator `{}` is not available; write PostgreSQL's own, without a schema",
                    echo(&parts.join("."))
                ),
            )),
        }
    }

    /// An operator class of an index: PostgreSQL's own.
    pub(super) fn operator_class(&self, names: &[Node]) -> Walked {
        if names.is_empty() {
            return Ok(());
        }
        let parts = strings(names)?;
        match builtin(&parts) {
            Some(name) if name.ends_with("_ops") && !is_app_name(name) => Ok(()),
            _ => Err(Refused::new(
                RefusedKind::Function,
                format!(
                    "the operator class `{}` is not available; write a built-in one such as `text_pattern_ops`",
                    echo(&parts.join("."))
                ),
            )),
        }
    }
}

/// The bare name of what is built in: without a schema, or in `pg_catalog`.
pub(super) fn builtin<'n>(parts: &[&'n str]) -> Option<&'n str> {
    match parts {
        [name] | ["pg_catalog", name] => Some(name),
        _ => None,
    }
}

/// A part of a column reference; none is `*`.
fn column_part(node: &Node) -> Result<Option<&str>, Refused> {
    match known(node)? {
        NodeEnum::String(pg::String { sval }) => Ok(Some(sval)),
        NodeEnum::AStar(pg::AStar {}) => Ok(None),
        _ => Err(Refused::shape()),
    }
}

fn refused_attribute(field: &str) -> Refused {
    Refused::new(
        RefusedKind::Function,
        format!(
            "`.{}` could call a function of that name; give the column another name with AS or a column list, and use that",
            echo(field)
        ),
    )
}

fn refused_type(name: &str) -> Refused {
    Refused::new(
        RefusedKind::Type,
        format!(
            "the type `{}` is not available; use a built-in type such as text, bigint, numeric, timestamptz, uuid or jsonb, and CHECK for a set of values",
            echo(name)
        ),
    )
}
