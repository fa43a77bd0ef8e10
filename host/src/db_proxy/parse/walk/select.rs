//! `SELECT`, `VALUES`, `TABLE` and `WITH`.

use super::super::refused::Refused;
use super::{Walk, Walked, known, required};
use pg_query::protobuf as pg;
use pg_query::{Node, NodeEnum};

impl<'a> Walk<'a> {
    /// A `SELECT` with everything in it.
    pub(super) fn select(&mut self, select: &'a pg::SelectStmt) -> Walked {
        let visible = self.with_names.len();
        self.deeper(|walk| {
            walk.with(select.with_clause.as_ref())?;
            walk.select_parts(select)
        })?;
        self.with_names.truncate(visible);
        Ok(())
    }

    fn select_parts(&mut self, select: &'a pg::SelectStmt) -> Walked {
        let pg::SelectStmt {
            distinct_clause,
            into_clause,
            target_list,
            from_clause,
            where_clause,
            group_clause,
            group_distinct: _,
            having_clause,
            window_clause,
            values_lists,
            sort_clause,
            limit_offset,
            limit_count,
            limit_option: _,
            locking_clause,
            with_clause: _, // visited before all of it
            op: _,
            all: _,
            larg,
            rarg,
        } = select;
        if into_clause.is_some() {
            return Err(Refused::statement(
                "SELECT … INTO",
                "in `execute`, write CREATE TABLE … AS SELECT …",
            ));
        }
        if !locking_clause.is_empty() {
            return Err(Refused::statement("a row lock (FOR UPDATE, FOR SHARE)", "leave it out"));
        }
        self.distinct(distinct_clause)?;
        self.each(target_list, Self::target)?;
        self.each(from_clause, Self::item)?;
        self.maybe(where_clause.as_deref())?;
        self.each(group_clause, Self::grouping)?;
        self.maybe(having_clause.as_deref())?;
        self.each(window_clause, Self::window_node)?;
        self.each(values_lists, Self::expression)?;
        self.each(sort_clause, Self::sort)?;
        self.maybe(limit_offset.as_deref())?;
        self.maybe(limit_count.as_deref())?;
        for arm in [larg, rarg].into_iter().flatten() {
            self.select(arm)?;
        }
        Ok(())
    }

    /// A query in parentheses, or behind `INSERT` and `CREATE … AS`.
    pub(super) fn query(&mut self, node: &'a Node) -> Walked {
        match known(node)? {
            NodeEnum::SelectStmt(select) => self.select(select),
            _ => Err(Refused::statement("EXECUTE in place of a query", "write SELECT, VALUES or TABLE")),
        }
    }

    /// Makes the names of a `WITH` visible, in the order the server does; the
    /// caller hides them again at the end of the statement they belong to.
    pub(super) fn with(&mut self, with: Option<&'a pg::WithClause>) -> Walked {
        let Some(pg::WithClause { ctes, recursive, location: _ }) = with else { return Ok(()) };
        let queries = ctes.iter().map(with_query).collect::<Result<Vec<_>, _>>()?;
        if *recursive {
            self.with_names.extend(queries.iter().map(|query| query.ctename.as_str()));
        }
        for query in queries {
            self.with_name(&query.ctename)?;
            self.with_query(query)?;
            if !recursive {
                self.with_names.push(&query.ctename);
            }
        }
        Ok(())
    }

    fn with_query(&mut self, query: &'a pg::CommonTableExpr) -> Walked {
        let pg::CommonTableExpr {
            ctename: _, // checked before
            aliascolnames: _,
            ctematerialized: _,
            ctequery,
            search_clause: _, // names of columns
            cycle_clause,
            location: _,
            cterecursive: _,
            cterefcount: _,
            ctecolnames: _,
            ctecoltypes: _,
            ctecoltypmods: _,
            ctecolcollations: _,
        } = query;
        if let Some(cycle) = cycle_clause {
            self.cycle(cycle)?;
        }
        match (known(required(ctequery.as_deref())?)?, self.may_change) {
            (NodeEnum::SelectStmt(select), _) => self.select(select),
            (NodeEnum::InsertStmt(insert), true) => self.insert(insert),
            (NodeEnum::UpdateStmt(update), true) => self.update(update),
            (NodeEnum::DeleteStmt(delete), true) => self.delete(delete),
            (NodeEnum::MergeStmt(merge), true) => self.merge(merge),
            _ => Err(Refused::statement(
                "a WITH query that changes data",
                "write SELECT in it; in `execute`, INSERT, UPDATE, DELETE and MERGE may have such a WITH",
            )),
        }
    }

    fn cycle(&mut self, cycle: &'a pg::CteCycleClause) -> Walked {
        let pg::CteCycleClause {
            cycle_col_list: _,
            cycle_mark_column: _,
            cycle_mark_value,
            cycle_mark_default,
            cycle_path_column: _,
            location: _,
            cycle_mark_type: _,
            cycle_mark_typmod: _,
            cycle_mark_collation: _,
            cycle_mark_neop: _,
        } = cycle;
        self.maybe(cycle_mark_value.as_deref())?;
        self.maybe(cycle_mark_default.as_deref())
    }

    /// `DISTINCT` alone is one empty node; `DISTINCT ON` has expressions.
    fn distinct(&mut self, nodes: &'a [Node]) -> Walked {
        match nodes {
            [Node { node: None }] => Ok(()),
            _ => self.each(nodes, Self::expression),
        }
    }

    /// One column of a result, or one assignment.
    pub(super) fn target(&mut self, node: &'a Node) -> Walked {
        match known(node)? {
            NodeEnum::ResTarget(target) => {
                let pg::ResTarget { name: _, indirection, val, location: _ } = target.as_ref();
                self.indirection(indirection)?;
                self.maybe(val.as_deref())
            }
            _ => Err(Refused::shape()),
        }
    }

    /// One entry of `ORDER BY`.
    pub(super) fn sort(&mut self, node: &'a Node) -> Walked {
        match known(node)? {
            NodeEnum::SortBy(sort) => {
                let pg::SortBy { node, sortby_dir: _, sortby_nulls: _, use_op, location: _ } = sort.as_ref();
                if !use_op.is_empty() {
                    self.operator(use_op)?;
                }
                self.maybe(node.as_deref())
            }
            _ => Err(Refused::shape()),
        }
    }

    /// One entry of `GROUP BY`.
    fn grouping(&mut self, node: &'a Node) -> Walked {
        match known(node)? {
            NodeEnum::GroupingSet(pg::GroupingSet { kind: _, content, location: _ }) => {
                self.deeper(|walk| walk.each(content, Self::grouping))
            }
            _ => self.expression(node),
        }
    }

    fn window_node(&mut self, node: &'a Node) -> Walked {
        match known(node)? {
            NodeEnum::WindowDef(window) => self.window(window),
            _ => Err(Refused::shape()),
        }
    }

    /// A window, named or behind `OVER`.
    pub(super) fn window(&mut self, window: &'a pg::WindowDef) -> Walked {
        let pg::WindowDef {
            name: _,
            refname: _,
            partition_clause,
            order_clause,
            frame_options: _,
            start_offset,
            end_offset,
            location: _,
        } = window;
        self.each(partition_clause, Self::expression)?;
        self.each(order_clause, Self::sort)?;
        self.maybe(start_offset.as_deref())?;
        self.maybe(end_offset.as_deref())
    }
}

fn with_query(node: &Node) -> Result<&pg::CommonTableExpr, Refused> {
    match known(node)? {
        NodeEnum::CommonTableExpr(query) => Ok(query),
        _ => Err(Refused::shape()),
    }
}
