//! Expressions.

use super::super::limits::PARAMS_MAX;
use super::super::refused::{Refused, RefusedKind};
use super::{Walk, Walked, known, refuse, required};
use pg_query::protobuf as pg;
use pg_query::{Node, NodeEnum};

impl<'a> Walk<'a> {
    /// An expression that may be left out.
    pub(super) fn maybe(&mut self, node: Option<&'a Node>) -> Walked {
        node.map_or(Ok(()), |node| self.expression(node))
    }

    /// An expression with everything in it.
    pub(super) fn expression(&mut self, node: &'a Node) -> Walked {
        self.deeper(|walk| walk.expression_kind(known(node)?))
    }

    fn expression_kind(&mut self, node: &'a NodeEnum) -> Walked {
        match node {
            NodeEnum::AConst(_) | NodeEnum::SetToDefault(_) | NodeEnum::MergeSupportFunc(_) => Ok(()),
            NodeEnum::ColumnRef(column) => self.column_ref(column),
            NodeEnum::ParamRef(param) => self.param(param),
            NodeEnum::AExpr(operation) => self.operation(operation),
            NodeEnum::BoolExpr(logic) => {
                let pg::BoolExpr { xpr: _, boolop: _, args, location: _ } = logic.as_ref();
                self.each_expression(args)
            }
            NodeEnum::NullTest(test) => {
                let pg::NullTest { xpr: _, arg, nulltesttype: _, argisrow: _, location: _ } = test.as_ref();
                self.maybe(arg.as_deref())
            }
            NodeEnum::BooleanTest(test) => {
                let pg::BooleanTest { xpr: _, arg, booltesttype: _, location: _ } = test.as_ref();
                self.maybe(arg.as_deref())
            }
            NodeEnum::SubLink(link) => self.sub_link(link),
            NodeEnum::CaseExpr(case) => self.case(case),
            NodeEnum::CoalesceExpr(coalesce) => {
                let pg::CoalesceExpr { xpr: _, coalescetype: _, coalescecollid: _, args, location: _ } =
                    coalesce.as_ref();
                self.each_expression(args)
            }
            NodeEnum::MinMaxExpr(extreme) => self.extreme(extreme),
            NodeEnum::AArrayExpr(pg::AArrayExpr { elements, list_start: _, list_end: _, location: _ }) => {
                self.each_expression(elements)
            }
            NodeEnum::RowExpr(row) => {
                let pg::RowExpr { xpr: _, args, row_typeid: _, row_format: _, colnames: _, location: _ } =
                    row.as_ref();
                self.each_expression(args)
            }
            NodeEnum::List(pg::List { items }) => self.each_expression(items),
            NodeEnum::AIndirection(indirection) => {
                let pg::AIndirection { arg, indirection } = indirection.as_ref();
                self.maybe(arg.as_deref())?;
                self.indirection(indirection)
            }
            NodeEnum::FuncCall(call) => self.call(call),
            NodeEnum::NamedArgExpr(argument) => {
                let pg::NamedArgExpr { xpr: _, arg, name: _, argnumber: _, location: _ } = argument.as_ref();
                self.maybe(arg.as_deref())
            }
            NodeEnum::TypeCast(cast) => self.cast(cast),
            NodeEnum::CollateClause(collate) => self.collate(collate),
            NodeEnum::SqlvalueFunction(value) => sql_value(value),
            NodeEnum::GroupingFunc(grouping) => {
                let pg::GroupingFunc { xpr: _, args, refs: _, agglevelsup: _, location: _ } =
                    grouping.as_ref();
                self.each_expression(args)
            }
            NodeEnum::MultiAssignRef(assign) => {
                let pg::MultiAssignRef { source, colno: _, ncolumns: _ } = assign.as_ref();
                self.maybe(source.as_deref())
            }
            other => self.json(other),
        }
    }

    fn each_expression(&mut self, nodes: &'a [Node]) -> Walked {
        self.each(nodes, Self::expression)
    }

    fn param(&mut self, param: &pg::ParamRef) -> Walked {
        let pg::ParamRef { number, location: _ } = param;
        match u32::try_from(*number) {
            Ok(number @ 1..=PARAMS_MAX) => {
                self.params = self.params.max(number);
                Ok(())
            }
            _ => Err(Refused::new(
                RefusedKind::Complexity,
                format!("parameters are `$1` to `${PARAMS_MAX}`; number them from 1, without gaps"),
            )),
        }
    }

    fn operation(&mut self, operation: &'a pg::AExpr) -> Walked {
        let pg::AExpr { kind: _, name, lexpr, rexpr, rexpr_list_start: _, rexpr_list_end: _, location: _ } =
            operation;
        self.operator(name)?;
        self.maybe(lexpr.as_deref())?;
        self.maybe(rexpr.as_deref())
    }

    fn sub_link(&mut self, link: &'a pg::SubLink) -> Walked {
        let pg::SubLink {
            xpr: _,
            sub_link_type: _,
            sub_link_id: _,
            testexpr,
            oper_name,
            subselect,
            location: _,
        } = link;
        if !oper_name.is_empty() {
            self.operator(oper_name)?;
        }
        self.maybe(testexpr.as_deref())?;
        self.query(required(subselect.as_deref())?)
    }

    fn case(&mut self, case: &'a pg::CaseExpr) -> Walked {
        let pg::CaseExpr { xpr: _, casetype: _, casecollid: _, arg, args, defresult, location: _ } = case;
        self.maybe(arg.as_deref())?;
        self.each(args, |walk, node| match known(node)? {
            NodeEnum::CaseWhen(when) => {
                let pg::CaseWhen { xpr: _, expr, result, location: _ } = when.as_ref();
                walk.maybe(expr.as_deref())?;
                walk.maybe(result.as_deref())
            }
            _ => Err(Refused::shape()),
        })?;
        self.maybe(defresult.as_deref())
    }

    fn extreme(&mut self, extreme: &'a pg::MinMaxExpr) -> Walked {
        let pg::MinMaxExpr {
            xpr: _,
            minmaxtype: _,
            minmaxcollid: _,
            inputcollid: _,
            op: _,
            args,
            location: _,
        } = extreme;
        self.each_expression(args)
    }

    fn cast(&mut self, cast: &'a pg::TypeCast) -> Walked {
        let pg::TypeCast { arg, type_name, location: _ } = cast;
        self.maybe(arg.as_deref())?;
        self.type_name(required(type_name.as_ref())?)
    }

    /// `COLLATE`, in an expression or behind the type of a column.
    pub(super) fn collate(&mut self, collate: &'a pg::CollateClause) -> Walked {
        let pg::CollateClause { arg, collname, location: _ } = collate;
        self.maybe(arg.as_deref())?;
        self.collation(collname)
    }

    /// Subscripts and fields behind a value.
    pub(super) fn indirection(&mut self, nodes: &'a [Node]) -> Walked {
        self.each(nodes, |walk, node| match known(node)? {
            NodeEnum::AStar(pg::AStar {}) => Ok(()),
            NodeEnum::String(pg::String { sval }) => walk.attribute(sval),
            NodeEnum::AIndices(indices) => {
                let pg::AIndices { is_slice: _, lidx, uidx } = indices.as_ref();
                walk.maybe(lidx.as_deref())?;
                walk.maybe(uidx.as_deref())
            }
            other => Err(refuse::part(other)),
        })
    }
}

/// `CURRENT_DATE` and its relatives, but not who is connected to what.
fn sql_value(value: &pg::SqlValueFunction) -> Walked {
    use pg::SqlValueFunctionOp as Op;
    match value.op() {
        Op::SvfopCurrentDate
        | Op::SvfopCurrentTime
        | Op::SvfopCurrentTimeN
        | Op::SvfopCurrentTimestamp
        | Op::SvfopCurrentTimestampN
        | Op::SvfopLocaltime
        | Op::SvfopLocaltimeN
        | Op::SvfopLocaltimestamp
        | Op::SvfopLocaltimestampN => Ok(()),
        Op::SvfopCurrentRole
        | Op::SvfopCurrentUser
        | Op::SvfopUser
        | Op::SvfopSessionUser
        | Op::SvfopCurrentCatalog
        | Op::SvfopCurrentSchema
        | Op::SqlvalueFunctionOpUndefined => Err(Refused::new(
            RefusedKind::Function,
            "the names of the database, its schemas and its users are not available; pass what you need as a parameter",
        )),
    }
}
