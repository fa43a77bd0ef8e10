//! `CREATE TABLE` and `CREATE TABLE … AS`.

use super::super::Warning;
use super::super::refused::Refused;
use super::{Walk, Walked, known, none, required, unnamed};
use pg_query::protobuf as pg;
use pg_query::{Node, NodeEnum};

const DATABASE_DECIDES: &str = "leave it out; the database decides where and how rows are kept";

impl<'a> Walk<'a> {
    pub(super) fn create_table(&mut self, create: &'a pg::CreateStmt) -> Walked {
        let pg::CreateStmt {
            relation,
            table_elts,
            inh_relations,
            partbound,
            partspec,
            of_typename,
            constraints,
            nnconstraints,
            options,
            oncommit: _, // only temporary tables have it
            tablespacename,
            access_method,
            if_not_exists: _,
        } = create;
        let relation = required(relation.as_ref())?;
        let table = self.own(relation)?;
        if partbound.is_some() || partspec.is_some() {
            return Err(Refused::statement("a partitioned table", "create an ordinary table with an index"));
        }
        none(inh_relations, "table inheritance", "write the columns, or LIKE an own table")?;
        if of_typename.is_some() {
            return Err(Refused::statement("CREATE TABLE … OF a type", "write the columns"));
        }
        none(options, "a storage parameter (WITH …)", DATABASE_DECIDES)?;
        unnamed(tablespacename, "TABLESPACE", DATABASE_DECIDES)?;
        unnamed(access_method, "USING a table access method", DATABASE_DECIDES)?;
        self.defines.insert(table.to_owned());
        self.each(table_elts, Self::table_element)?;
        self.each(constraints, Self::constraint_node)?;
        self.each(nnconstraints, Self::constraint_node)?;
        self.warn_about_table(table, relation, table_elts);
        Ok(())
    }

    fn table_element(&mut self, node: &'a Node) -> Walked {
        match known(node)? {
            NodeEnum::ColumnDef(_) => self.column_definition(node),
            NodeEnum::Constraint(_) => self.constraint_node(node),
            NodeEnum::TableLikeClause(pg::TableLikeClause { relation, options: _, relation_oid: _ }) => {
                let like = self.own(required(relation.as_ref())?)?;
                self.reads.insert(like.to_owned());
                Ok(())
            }
            _ => Err(Refused::shape()),
        }
    }

    fn warn_about_table(&mut self, table: &str, relation: &pg::RangeVar, elements: &[Node]) {
        if !elements.iter().any(may_be_primary_key) {
            self.warn(Warning::no_primary_key(table));
        }
        self.warn_unlogged(table, relation);
    }

    fn warn_unlogged(&mut self, table: &str, relation: &pg::RangeVar) {
        if relation.relpersistence == "u" {
            self.warn(Warning::unlogged(table));
        }
    }

    pub(super) fn create_table_as(&mut self, create: &'a pg::CreateTableAsStmt) -> Walked {
        let pg::CreateTableAsStmt { query, into, objtype: _, is_select_into: _, if_not_exists: _ } = create;
        if create.objtype() != pg::ObjectType::ObjectTable {
            return Err(Refused::statement(
                "a materialized view",
                "create a view, or a table and refresh its rows",
            ));
        }
        let pg::IntoClause {
            rel,
            col_names: _,
            access_method,
            options,
            on_commit: _, // only temporary tables have it
            table_space_name,
            view_query: _,
            skip_data: _,
        } = required(into.as_deref())?;
        let relation = required(rel.as_ref())?;
        let table = self.own(relation)?;
        none(options, "a storage parameter (WITH …)", DATABASE_DECIDES)?;
        unnamed(table_space_name, "TABLESPACE", DATABASE_DECIDES)?;
        unnamed(access_method, "USING a table access method", DATABASE_DECIDES)?;
        self.defines.insert(table.to_owned());
        self.warn(Warning::no_primary_key(table));
        self.warn_unlogged(table, relation);
        // The query runs now.
        self.defining = false;
        self.query(required(query.as_deref())?)
    }
}

/// A copied table may bring its primary key along.
fn may_be_primary_key(element: &Node) -> bool {
    let is_key = |node: &Node| match &node.node {
        Some(NodeEnum::Constraint(constraint)) => constraint.contype() == pg::ConstrType::ConstrPrimary,
        _ => false,
    };
    match &element.node {
        Some(NodeEnum::ColumnDef(column)) => column.constraints.iter().any(is_key),
        Some(NodeEnum::TableLikeClause(like)) => like.options & LIKE_INDEXES != 0,
        _ => is_key(element),
    }
}

/// `INCLUDING INDEXES`, as PostgreSQL's `TableLikeOption` numbers it.
const LIKE_INDEXES: u32 = 1 << 6;
