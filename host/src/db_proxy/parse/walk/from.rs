//! What stands in `FROM`, `USING` and `JOIN`.

use super::super::refused::{Refused, RefusedKind};
use super::names::builtin;
use super::{Walk, Walked, known, refuse, required, strings};
use pg_query::protobuf as pg;
use pg_query::{Node, NodeEnum};

impl<'a> Walk<'a> {
    /// One item of `FROM`.
    pub(super) fn item(&mut self, node: &'a Node) -> Walked {
        self.deeper(|walk| match known(node)? {
            NodeEnum::RangeVar(relation) => walk.read(relation),
            NodeEnum::JoinExpr(join) => walk.join(join),
            NodeEnum::RangeSubselect(query) => {
                let pg::RangeSubselect { lateral: _, subquery, alias: _ } = query.as_ref();
                walk.query(required(subquery.as_deref())?)
            }
            NodeEnum::RangeFunction(function) => walk.function_item(function),
            NodeEnum::RangeTableSample(sample) => walk.sample(sample),
            NodeEnum::JsonTable(table) => walk.json_table(table),
            other => Err(refuse::part(other)),
        })
    }

    fn join(&mut self, join: &'a pg::JoinExpr) -> Walked {
        let pg::JoinExpr {
            jointype: _,
            is_natural: _,
            larg,
            rarg,
            using_clause: _, // names of columns
            join_using_alias: _,
            quals,
            alias: _,
            rtindex: _,
        } = join;
        self.item(required(larg.as_deref())?)?;
        self.item(required(rarg.as_deref())?)?;
        self.maybe(quals.as_deref())
    }

    fn sample(&mut self, sample: &'a pg::RangeTableSample) -> Walked {
        let pg::RangeTableSample { relation, method, args, repeatable, location: _ } = sample;
        let parts = strings(method)?;
        if !matches!(builtin(&parts), Some("bernoulli" | "system")) {
            return Err(Refused::new(
                RefusedKind::Function,
                "this sampling method is not available; write TABLESAMPLE BERNOULLI (…) or SYSTEM (…)",
            ));
        }
        self.item(required(relation.as_deref())?)?;
        self.each(args, Self::expression)?;
        self.maybe(repeatable.as_deref())
    }

    fn function_item(&mut self, function: &'a pg::RangeFunction) -> Walked {
        let pg::RangeFunction { lateral: _, ordinality: _, is_rowsfrom: _, functions, alias, coldeflist } =
            function;
        self.attributes.functions.insert(alias.as_ref().map(|alias| alias.aliasname.as_str()));
        self.each(functions, Self::rows_from)?;
        self.each(coldeflist, Self::column_definition)
    }

    /// One function of `ROWS FROM`: a list of the call and its own column definitions.
    fn rows_from(&mut self, node: &'a Node) -> Walked {
        let NodeEnum::List(pg::List { items }) = known(node)? else { return Err(Refused::shape()) };
        let [call, columns] = items.as_slice() else { return Err(Refused::shape()) };
        self.expression(call)?;
        match &columns.node {
            None => Ok(()),
            Some(NodeEnum::List(pg::List { items })) => self.each(items, Self::column_definition),
            Some(_) => Err(Refused::shape()),
        }
    }
}
