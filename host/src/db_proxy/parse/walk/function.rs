//! Calls of functions.

use super::super::refused::{Refused, RefusedKind, echo};
use super::super::{Mode, Warning, lists};
use super::names::builtin;
use super::{Walk, Walked, known, required, strings};
use pg_query::protobuf as pg;
use pg_query::protobuf::a_const::Val;
use pg_query::{Node, NodeEnum};

impl<'a> Walk<'a> {
    /// A call: of a function on the list, or of `nextval` with an own sequence.
    pub(super) fn call(&mut self, call: &'a pg::FuncCall) -> Walked {
        let pg::FuncCall {
            funcname,
            args,
            agg_order,
            agg_filter,
            over,
            agg_within_group: _,
            agg_star: _,
            agg_distinct: _,
            func_variadic,
            funcformat: _,
            location: _,
        } = call;
        let parts = strings(funcname)?;
        match builtin(&parts) {
            Some("nextval") if self.mode == Mode::Execute => return self.nextval(call),
            // With two arguments, its second is SQL that it runs.
            Some("ts_rewrite") if args.len() == 3 && !func_variadic => {}
            Some(name) if lists::is_function(name) => {}
            _ => return Err(refused(&parts)),
        }
        self.each(args, Self::expression)?;
        self.each(agg_order, Self::sort)?;
        self.maybe(agg_filter.as_deref())?;
        over.as_deref().map_or(Ok(()), |window| self.window(window))
    }

    /// `nextval('app_…__name')`: the name stands in a string, which has to be a literal.
    fn nextval(&mut self, call: &'a pg::FuncCall) -> Walked {
        let name = match call.args.as_slice() {
            [name] if call.over.is_none() && call.agg_filter.is_none() && call.agg_order.is_empty() => {
                literal(name)?
            }
            _ => return Err(refused_sequence()),
        };
        // Elsewhere the server would fold case and read quotes and dots in it.
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            return Err(refused_sequence());
        }
        let name = self.own_name(name)?;
        if self.defining {
            self.reads.insert(name.to_owned());
        } else if self.writes.insert(name.to_owned()) {
            self.warn(Warning::sequence(name));
        }
        Ok(())
    }
}

/// The text of `'…'` or `'…'::regclass`.
fn literal(node: &Node) -> Result<&str, Refused> {
    match known(node)? {
        NodeEnum::AConst(pg::AConst { isnull: false, location: _, val: Some(Val::Sval(text)) }) => {
            Ok(&text.sval)
        }
        NodeEnum::TypeCast(cast) => {
            let pg::TypeCast { arg, type_name, location: _ } = cast.as_ref();
            let pg::TypeName { names, array_bounds, .. } = required(type_name.as_ref())?;
            match (builtin(&strings(names)?), array_bounds.is_empty(), known(required(arg.as_deref())?)?) {
                (
                    Some("regclass"),
                    true,
                    NodeEnum::AConst(pg::AConst { isnull: false, location: _, val: Some(Val::Sval(text)) }),
                ) => Ok(&text.sval),
                _ => Err(refused_sequence()),
            }
        }
        _ => Err(refused_sequence()),
    }
}

fn refused_sequence() -> Refused {
    Refused::new(
        RefusedKind::Function,
        "`nextval` takes the name of an own sequence in lower case, as a literal: nextval('app_…__name')",
    )
}

fn refused(parts: &[&str]) -> Refused {
    let name = echo(&parts.join("."));
    let message = match parts.last().copied() {
        Some("nextval") => "`nextval` changes a sequence; call it in `execute`".to_owned(),
        Some("currval" | "lastval" | "setval") => {
            format!("`{name}` is not available; use INSERT … RETURNING, or a column GENERATED … AS IDENTITY")
        }
        _ => format!(
            "the function `{name}` is not available; only built-in functions without side effects are, and none that look into the server"
        ),
    };
    Refused::new(RefusedKind::Function, message)
}
