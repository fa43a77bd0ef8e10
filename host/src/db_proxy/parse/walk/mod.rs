//! The walk over the tree: every node type that may occur has an arm, every
//! struct is taken apart field by field, and the last arm refuses the rest.
//!
//! Structs are destructured without `..` on purpose: a field that a newer
//! grammar adds stops the build until somebody has decided about it. Fields
//! named `_` are places, spellings, and what only the server's later stages fill in.

mod alter;
mod change;
mod column;
mod define;
mod expression;
mod from;
mod function;
mod json;
mod names;
mod refuse;
mod select;
mod table;

use super::limits::DEPTH_MAX;
use super::refused::Refused;
use super::text::too_complex;
use super::{Mode, Namespace, StatementKind, Warning};
use pg_query::protobuf as pg;
use pg_query::{Node, NodeEnum};
use std::collections::BTreeSet;

/// What a statement is and touches.
pub(super) struct Found {
    pub(super) kind: StatementKind,
    pub(super) reads: BTreeSet<String>,
    pub(super) writes: BTreeSet<String>,
    pub(super) defines: BTreeSet<String>,
    pub(super) params: u32,
    pub(super) warnings: Vec<Warning>,
}

type Walked = Result<(), Refused>;

/// Checks one statement, all of it.
pub(super) fn statement(node: &Node, namespace: &Namespace, mode: Mode) -> Result<Found, Refused> {
    let mut walk = Walk::new(namespace, mode);
    let kind = walk.top(known(node)?)?;
    walk.check_attributes()?;
    let Walk { reads, writes, defines, params, warnings, .. } = walk;
    Ok(Found { kind, reads, writes, defines, params, warnings })
}

/// Where the walk is, and what it has found.
struct Walk<'a> {
    namespace: &'a Namespace,
    mode: Mode,
    /// The `WITH` names that can be seen from here, innermost last.
    with_names: Vec<&'a str>,
    /// Whether a `WITH` query may change data here.
    may_change: bool,
    /// Whether an expression is kept for later, as in a default, and not evaluated now.
    defining: bool,
    depth: usize,
    attributes: names::Attributes<'a>,
    reads: BTreeSet<String>,
    writes: BTreeSet<String>,
    defines: BTreeSet<String>,
    params: u32,
    warnings: Vec<Warning>,
}

impl<'a> Walk<'a> {
    fn new(namespace: &'a Namespace, mode: Mode) -> Self {
        Walk {
            namespace,
            mode,
            with_names: Vec::new(),
            may_change: mode == Mode::Execute,
            defining: false,
            depth: 0,
            attributes: names::Attributes::default(),
            reads: BTreeSet::new(),
            writes: BTreeSet::new(),
            defines: BTreeSet::new(),
            params: 0,
            warnings: Vec::new(),
        }
    }

    fn top(&mut self, node: &'a NodeEnum) -> Result<StatementKind, Refused> {
        match (self.mode, node) {
            (Mode::Query, NodeEnum::SelectStmt(select)) => {
                self.select(select)?;
                Ok(StatementKind::Select)
            }
            (Mode::Query, other) => Err(refuse::in_query(other)),
            (Mode::Execute, NodeEnum::SelectStmt(select)) => Err(refuse::select_in_execute(select)),
            (Mode::Execute, other) => self.execute(other),
        }
    }

    fn execute(&mut self, node: &'a NodeEnum) -> Result<StatementKind, Refused> {
        match node {
            NodeEnum::InsertStmt(insert) => self.insert(insert).map(|()| StatementKind::Insert),
            NodeEnum::UpdateStmt(update) => self.update(update).map(|()| StatementKind::Update),
            NodeEnum::DeleteStmt(delete) => self.delete(delete).map(|()| StatementKind::Delete),
            NodeEnum::MergeStmt(merge) => self.merge(merge).map(|()| StatementKind::Merge),
            NodeEnum::TruncateStmt(truncate) => self.truncate(truncate).map(|()| StatementKind::Truncate),
            other => {
                self.defining = true;
                self.may_change = false;
                self.define(other)
            }
        }
    }

    fn define(&mut self, node: &'a NodeEnum) -> Result<StatementKind, Refused> {
        match node {
            NodeEnum::CreateStmt(create) => self.create_table(create).map(|()| StatementKind::CreateTable),
            NodeEnum::CreateTableAsStmt(create) => {
                self.create_table_as(create).map(|()| StatementKind::CreateTableAs)
            }
            NodeEnum::IndexStmt(index) => self.create_index(index).map(|()| StatementKind::CreateIndex),
            NodeEnum::ViewStmt(view) => self.create_view(view).map(|()| StatementKind::CreateView),
            NodeEnum::CreateSeqStmt(sequence) => {
                self.create_sequence(sequence).map(|()| StatementKind::CreateSequence)
            }
            NodeEnum::AlterTableStmt(alter) => self.alter_table(alter).map(|()| StatementKind::AlterTable),
            NodeEnum::RenameStmt(rename) => self.rename(rename).map(|()| StatementKind::Rename),
            NodeEnum::DropStmt(drop) => self.drop(drop).map(|()| StatementKind::Drop),
            NodeEnum::CommentStmt(comment) => self.comment(comment).map(|()| StatementKind::Comment),
            NodeEnum::VacuumStmt(vacuum) => self.analyze(vacuum).map(|()| StatementKind::Analyze),
            other => Err(refuse::in_execute(other)),
        }
    }

    /// Visits one level deeper.
    fn deeper(&mut self, visit: impl FnOnce(&mut Self) -> Walked) -> Walked {
        if self.depth == DEPTH_MAX {
            return Err(too_complex());
        }
        self.depth += 1;
        let walked = visit(self);
        self.depth -= 1;
        walked
    }

    /// Visits every node of a list.
    fn each(&mut self, nodes: &'a [Node], visit: fn(&mut Self, &'a Node) -> Walked) -> Walked {
        nodes.iter().try_for_each(|node| visit(self, node))
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
}

/// What a node is. One without content is nothing the grammar makes where this is asked.
fn known(node: &Node) -> Result<&NodeEnum, Refused> {
    node.node.as_ref().ok_or_else(Refused::shape)
}

/// What an optional part holds, where the grammar always fills it in.
fn required<T>(part: Option<&T>) -> Result<&T, Refused> {
    part.ok_or_else(Refused::shape)
}

/// The text of a node that is a plain name.
fn string(node: &Node) -> Result<&str, Refused> {
    match known(node)? {
        NodeEnum::String(pg::String { sval }) => Ok(sval),
        _ => Err(Refused::shape()),
    }
}

/// The parts of a name.
fn strings(nodes: &[Node]) -> Result<Vec<&str>, Refused> {
    nodes.iter().map(string).collect()
}

/// Refuses a list that must be empty.
fn none(parts: &[Node], what: &str, instead: &str) -> Walked {
    if parts.is_empty() { Ok(()) } else { Err(Refused::statement(what, instead)) }
}

/// Refuses a text that must be empty.
fn unnamed(name: &str, what: &str, instead: &str) -> Walked {
    if name.is_empty() { Ok(()) } else { Err(Refused::statement(what, instead)) }
}
