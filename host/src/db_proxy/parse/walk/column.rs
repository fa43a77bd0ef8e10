//! Columns and constraints.

use super::super::refused::Refused;
use super::{Walk, Walked, known, none, refuse, required, unnamed};
use pg_query::protobuf as pg;
use pg_query::protobuf::ConstrType;
use pg_query::{Node, NodeEnum};

impl<'a> Walk<'a> {
    /// A column of a table, of an altered table, or of a function's result.
    pub(super) fn column_definition(&mut self, node: &'a Node) -> Walked {
        match known(node)? {
            NodeEnum::ColumnDef(column) => self.column(column),
            other => Err(refuse::part(other)),
        }
    }

    pub(super) fn column(&mut self, column: &'a pg::ColumnDef) -> Walked {
        let pg::ColumnDef {
            colname: _,
            type_name,
            compression,
            inhcount: _,
            is_local: _,
            is_not_null: _,
            is_from_type: _,
            storage,
            storage_name,
            raw_default,
            cooked_default,
            identity: _,
            identity_sequence,
            generated: _,
            coll_clause,
            coll_oid: _,
            constraints,
            fdwoptions,
            location: _,
        } = column;
        unnamed(compression, "COMPRESSION", "leave it out; the database decides")?;
        unnamed(storage, "STORAGE", "leave it out; the database decides")?;
        unnamed(storage_name, "STORAGE", "leave it out; the database decides")?;
        none(fdwoptions, "OPTIONS of a column", "leave them out")?;
        if identity_sequence.is_some() {
            return Err(Refused::shape());
        }
        self.type_name(required(type_name.as_ref())?)?;
        if let Some(collate) = coll_clause {
            self.collate(collate)?;
        }
        self.maybe(raw_default.as_deref())?;
        self.maybe(cooked_default.as_deref())?;
        self.each(constraints, Self::constraint_node)
    }

    pub(super) fn constraint_node(&mut self, node: &'a Node) -> Walked {
        match known(node)? {
            NodeEnum::Constraint(constraint) => self.constraint(constraint),
            NodeEnum::CollateClause(collate) => self.collate(collate),
            _ => Err(Refused::shape()),
        }
    }

    pub(super) fn constraint(&mut self, constraint: &'a pg::Constraint) -> Walked {
        let pg::Constraint {
            contype: _, // decides about `options`
            conname,
            deferrable: _,
            initdeferred: _,
            is_enforced: _,
            skip_validation: _,
            initially_valid: _,
            is_no_inherit: _,
            raw_expr,
            cooked_expr: _,
            generated_when: _,
            generated_kind: _,
            nulls_not_distinct: _,
            keys: _, // this and the next are names of columns
            including: _,
            without_overlaps: _,
            exclusions,
            options,
            indexname,
            indexspace,
            reset_default_tblspc: _,
            access_method,
            where_clause,
            pktable,
            fk_attrs: _,
            pk_attrs: _,
            fk_with_period: _,
            pk_with_period: _,
            fk_matchtype: _,
            fk_upd_action: _,
            fk_del_action: _,
            fk_del_set_cols: _,
            old_conpfeqop: _,
            old_pktable_oid: _,
            location: _,
        } = constraint;
        self.constraint_name(conname, constraint.contype())?;
        if !indexname.is_empty() {
            self.own_name(indexname)?;
        }
        unnamed(
            indexspace,
            "USING INDEX TABLESPACE",
            "leave it out; the database decides where indexes are",
        )?;
        self.access_method(access_method)?;
        match constraint.contype() {
            ConstrType::ConstrIdentity => self.sequence_options(options)?,
            _ => none(options, "a storage parameter of an index (WITH …)", "leave it out")?,
        }
        self.maybe(raw_expr.as_deref())?;
        self.each(exclusions, Self::exclusion)?;
        self.maybe(where_clause.as_deref())?;
        if let Some(referenced) = pktable {
            let table = self.own(referenced)?;
            self.reads.insert(table.to_owned());
        }
        Ok(())
    }

    /// One part of `EXCLUDE`: an index element and its operator.
    fn exclusion(&mut self, node: &'a Node) -> Walked {
        let NodeEnum::List(pg::List { items }) = known(node)? else { return Err(Refused::shape()) };
        let [element, operator] = items.as_slice() else { return Err(Refused::shape()) };
        self.index_element(element)?;
        match known(operator)? {
            NodeEnum::List(pg::List { items }) => self.operator(items),
            _ => Err(Refused::shape()),
        }
    }
}
