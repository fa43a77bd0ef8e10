//! Statements that change rows: `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `TRUNCATE`.

use super::super::Warning;
use super::super::refused::Refused;
use super::{Walk, Walked, known, required};
use pg_query::protobuf as pg;
use pg_query::{Node, NodeEnum};

impl<'a> Walk<'a> {
    pub(super) fn insert(&mut self, insert: &'a pg::InsertStmt) -> Walked {
        let visible = self.with_names.len();
        let pg::InsertStmt {
            relation,
            cols,
            select_stmt,
            on_conflict_clause,
            returning_clause,
            with_clause,
            r#override: _,
        } = insert;
        self.with(with_clause.as_ref())?;
        let reads = on_conflict_clause.is_some() || returning_clause.is_some();
        self.change_target(relation.as_ref(), reads)?;
        self.each(cols, Self::target)?;
        if let Some(query) = select_stmt {
            self.query(query)?;
        }
        if let Some(conflict) = on_conflict_clause {
            self.on_conflict(conflict)?;
        }
        self.returning(returning_clause.as_ref())?;
        self.with_names.truncate(visible);
        Ok(())
    }

    fn on_conflict(&mut self, conflict: &'a pg::OnConflictClause) -> Walked {
        let pg::OnConflictClause { action: _, infer, target_list, where_clause, location: _ } = conflict;
        if let Some(infer) = infer {
            let pg::InferClause { index_elems, where_clause, conname: _, location: _ } = infer.as_ref();
            self.each(index_elems, Self::index_element)?;
            self.maybe(where_clause.as_deref())?;
        }
        self.each(target_list, Self::target)?;
        self.maybe(where_clause.as_deref())
    }

    pub(super) fn update(&mut self, update: &'a pg::UpdateStmt) -> Walked {
        let visible = self.with_names.len();
        let pg::UpdateStmt {
            relation,
            target_list,
            where_clause,
            from_clause,
            returning_clause,
            with_clause,
        } = update;
        self.with(with_clause.as_ref())?;
        let reads = where_clause.is_some() || returning_clause.is_some() || !from_clause.is_empty();
        let table = self.change_target(relation.as_ref(), reads)?;
        if where_clause.is_none() {
            self.warn(Warning::update_all(table));
        }
        self.each(from_clause, Self::item)?;
        self.each(target_list, Self::target)?;
        self.maybe(where_clause.as_deref())?;
        self.returning(returning_clause.as_ref())?;
        self.with_names.truncate(visible);
        Ok(())
    }

    pub(super) fn delete(&mut self, delete: &'a pg::DeleteStmt) -> Walked {
        let visible = self.with_names.len();
        let pg::DeleteStmt { relation, using_clause, where_clause, returning_clause, with_clause } = delete;
        self.with(with_clause.as_ref())?;
        let reads = where_clause.is_some() || returning_clause.is_some() || !using_clause.is_empty();
        let table = self.change_target(relation.as_ref(), reads)?;
        if where_clause.is_none() {
            self.warn(Warning::delete_all(table));
        }
        self.each(using_clause, Self::item)?;
        self.maybe(where_clause.as_deref())?;
        self.returning(returning_clause.as_ref())?;
        self.with_names.truncate(visible);
        Ok(())
    }

    pub(super) fn merge(&mut self, merge: &'a pg::MergeStmt) -> Walked {
        let visible = self.with_names.len();
        let pg::MergeStmt {
            relation,
            source_relation,
            join_condition,
            merge_when_clauses,
            returning_clause,
            with_clause,
        } = merge;
        self.with(with_clause.as_ref())?;
        self.change_target(relation.as_ref(), true)?;
        self.item(required(source_relation.as_deref())?)?;
        self.maybe(join_condition.as_deref())?;
        self.each(merge_when_clauses, Self::merge_action)?;
        self.returning(returning_clause.as_ref())?;
        self.with_names.truncate(visible);
        Ok(())
    }

    fn merge_action(&mut self, node: &'a Node) -> Walked {
        let NodeEnum::MergeWhenClause(action) = known(node)? else { return Err(Refused::shape()) };
        let pg::MergeWhenClause {
            match_kind: _,
            command_type: _,
            r#override: _,
            condition,
            target_list,
            values,
        } = action.as_ref();
        self.maybe(condition.as_deref())?;
        self.each(target_list, Self::target)?;
        self.each(values, Self::expression)
    }

    pub(super) fn truncate(&mut self, truncate: &'a pg::TruncateStmt) -> Walked {
        let pg::TruncateStmt { relations, restart_seqs: _, behavior: _ } = truncate;
        for relation in relations {
            let NodeEnum::RangeVar(relation) = known(relation)? else { return Err(Refused::shape()) };
            let table = self.change_target(Some(relation), false)?;
            self.warn(Warning::truncate(table));
        }
        if truncate.behavior() == pg::DropBehavior::DropCascade {
            self.warn(Warning::cascade("TRUNCATE"));
        }
        Ok(())
    }

    /// The table a statement changes. A `WITH` query cannot be one.
    fn change_target(&mut self, relation: Option<&'a pg::RangeVar>, reads: bool) -> Result<&'a str, Refused> {
        let table = self.own(required(relation)?)?;
        self.writes.insert(table.to_owned());
        if reads {
            self.reads.insert(table.to_owned());
        }
        Ok(table)
    }

    fn returning(&mut self, returning: Option<&'a pg::ReturningClause>) -> Walked {
        // The options are names for the old and the new row.
        let Some(pg::ReturningClause { options: _, exprs }) = returning else { return Ok(()) };
        self.each(exprs, Self::target)
    }
}
