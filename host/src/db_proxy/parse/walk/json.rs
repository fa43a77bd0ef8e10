//! The SQL/JSON constructors and functions, which have node types of their own.

use super::super::refused::Refused;
use super::{Walk, Walked, known, refuse, required};
use pg_query::protobuf as pg;
use pg_query::{Node, NodeEnum};

impl<'a> Walk<'a> {
    /// An expression that is SQL/JSON, or nothing that is known.
    pub(super) fn json(&mut self, node: &'a NodeEnum) -> Walked {
        match node {
            NodeEnum::JsonObjectConstructor(object) => {
                let pg::JsonObjectConstructor { exprs, output, absent_on_null: _, unique: _, location: _ } =
                    object;
                self.each(exprs, Self::json_part)?;
                self.json_output(output.as_ref())
            }
            NodeEnum::JsonArrayConstructor(array) => {
                let pg::JsonArrayConstructor { exprs, output, absent_on_null: _, location: _ } = array;
                self.each(exprs, Self::json_part)?;
                self.json_output(output.as_ref())
            }
            NodeEnum::JsonArrayQueryConstructor(array) => {
                let pg::JsonArrayQueryConstructor {
                    query,
                    output,
                    format: _,
                    absent_on_null: _,
                    location: _,
                } = array.as_ref();
                self.query(required(query.as_deref())?)?;
                self.json_output(output.as_ref())
            }
            NodeEnum::JsonObjectAgg(aggregate) => {
                let pg::JsonObjectAgg { constructor, arg, absent_on_null: _, unique: _ } = aggregate.as_ref();
                self.json_key_value(required(arg.as_deref())?)?;
                self.json_aggregate(required(constructor.as_deref())?)
            }
            NodeEnum::JsonArrayAgg(aggregate) => {
                let pg::JsonArrayAgg { constructor, arg, absent_on_null: _ } = aggregate.as_ref();
                self.json_value(required(arg.as_deref())?)?;
                self.json_aggregate(required(constructor.as_deref())?)
            }
            NodeEnum::JsonIsPredicate(test) => {
                let pg::JsonIsPredicate { expr, format: _, item_type: _, unique_keys: _, location: _ } =
                    test.as_ref();
                self.maybe(expr.as_deref())
            }
            NodeEnum::JsonParseExpr(parse) => {
                let pg::JsonParseExpr { expr, output, unique_keys: _, location: _ } = parse.as_ref();
                self.json_value(required(expr.as_deref())?)?;
                self.json_output(output.as_ref())
            }
            NodeEnum::JsonScalarExpr(scalar) => {
                let pg::JsonScalarExpr { expr, output, location: _ } = scalar.as_ref();
                self.maybe(expr.as_deref())?;
                self.json_output(output.as_ref())
            }
            NodeEnum::JsonSerializeExpr(serialize) => {
                let pg::JsonSerializeExpr { expr, output, location: _ } = serialize.as_ref();
                self.json_value(required(expr.as_deref())?)?;
                self.json_output(output.as_ref())
            }
            NodeEnum::JsonFuncExpr(function) => self.json_function(function),
            NodeEnum::JsonValueExpr(value) => self.json_value(value),
            other => Err(refuse::part(other)),
        }
    }

    /// `JSON_EXISTS`, `JSON_VALUE` and `JSON_QUERY`.
    fn json_function(&mut self, function: &'a pg::JsonFuncExpr) -> Walked {
        let pg::JsonFuncExpr {
            op: _,
            column_name: _,
            context_item,
            pathspec,
            passing,
            output,
            on_empty,
            on_error,
            wrapper: _,
            quotes: _,
            location: _,
        } = function;
        self.json_value(required(context_item.as_deref())?)?;
        self.maybe(pathspec.as_deref())?;
        self.each(passing, Self::json_argument)?;
        self.json_output(output.as_ref())?;
        self.json_behavior(on_empty.as_deref())?;
        self.json_behavior(on_error.as_deref())
    }

    /// `JSON_TABLE`, in `FROM`.
    pub(super) fn json_table(&mut self, table: &'a pg::JsonTable) -> Walked {
        let pg::JsonTable {
            context_item,
            pathspec,
            passing,
            columns,
            on_error,
            alias: _,
            lateral: _,
            location: _,
        } = table;
        self.json_value(required(context_item.as_deref())?)?;
        self.json_path(pathspec.as_deref())?;
        self.each(passing, Self::json_argument)?;
        self.each(columns, Self::json_column)?;
        self.json_behavior(on_error.as_deref())
    }

    fn json_column(&mut self, node: &'a Node) -> Walked {
        let NodeEnum::JsonTableColumn(column) = known(node)? else { return Err(Refused::shape()) };
        let pg::JsonTableColumn {
            coltype: _,
            name: _,
            type_name,
            pathspec,
            format: _,
            wrapper: _,
            quotes: _,
            columns,
            on_empty,
            on_error,
            location: _,
        } = column.as_ref();
        if let Some(name) = type_name {
            self.type_name(name)?;
        }
        self.json_path(pathspec.as_deref())?;
        self.deeper(|walk| walk.each(columns, Self::json_column))?;
        self.json_behavior(on_empty.as_deref())?;
        self.json_behavior(on_error.as_deref())
    }

    fn json_path(&mut self, path: Option<&'a pg::JsonTablePathSpec>) -> Walked {
        let Some(pg::JsonTablePathSpec { string, name: _, name_location: _, location: _ }) = path else {
            return Ok(());
        };
        self.maybe(string.as_deref())
    }

    /// One argument of `PASSING`.
    fn json_argument(&mut self, node: &'a Node) -> Walked {
        let NodeEnum::JsonArgument(argument) = known(node)? else { return Err(Refused::shape()) };
        let pg::JsonArgument { val, name: _ } = argument.as_ref();
        self.json_value(required(val.as_deref())?)
    }

    /// An element of an array, or a key and its value.
    fn json_part(&mut self, node: &'a Node) -> Walked {
        match known(node)? {
            NodeEnum::JsonKeyValue(pair) => self.deeper(|walk| walk.json_key_value(pair)),
            _ => self.expression(node),
        }
    }

    fn json_key_value(&mut self, pair: &'a pg::JsonKeyValue) -> Walked {
        let pg::JsonKeyValue { key, value } = pair;
        self.maybe(key.as_deref())?;
        self.json_value(required(value.as_deref())?)
    }

    fn json_value(&mut self, value: &'a pg::JsonValueExpr) -> Walked {
        let pg::JsonValueExpr { raw_expr, formatted_expr, format: _ } = value;
        self.maybe(raw_expr.as_deref())?;
        self.maybe(formatted_expr.as_deref())
    }

    fn json_output(&mut self, output: Option<&'a pg::JsonOutput>) -> Walked {
        let Some(pg::JsonOutput { type_name, returning: _ }) = output else { return Ok(()) };
        type_name.as_ref().map_or(Ok(()), |name| self.type_name(name))
    }

    fn json_behavior(&mut self, behavior: Option<&'a pg::JsonBehavior>) -> Walked {
        let Some(pg::JsonBehavior { btype: _, expr, coerce: _, location: _ }) = behavior else {
            return Ok(());
        };
        self.maybe(expr.as_deref())
    }

    /// What all SQL/JSON aggregates share.
    fn json_aggregate(&mut self, aggregate: &'a pg::JsonAggConstructor) -> Walked {
        let pg::JsonAggConstructor { output, agg_filter, agg_order, over, location: _ } = aggregate;
        self.json_output(output.as_ref())?;
        self.maybe(agg_filter.as_deref())?;
        self.each(agg_order, Self::sort)?;
        over.as_deref().map_or(Ok(()), |window| self.window(window))
    }
}
