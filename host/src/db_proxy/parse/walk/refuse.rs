//! What is refused, named in the reader's words.

use super::super::refused::{Refused, RefusedKind, echo};
use pg_query::NodeEnum;
use pg_query::protobuf as pg;

/// A statement that is no query.
pub(super) fn in_query(node: &NodeEnum) -> Refused {
    match change(node) {
        Some(what) => Refused::new(
            RefusedKind::Statement,
            format!("{what} is not a query; a query is SELECT, WITH, VALUES or TABLE: use `execute`"),
        ),
        None => Refused::statement(&words(node), "a query is SELECT, WITH, VALUES or TABLE"),
    }
}

/// A statement that `execute` does not take.
pub(super) fn in_execute(node: &NodeEnum) -> Refused {
    Refused::statement(&words(node), instead(node))
}

/// A `SELECT` where changes are expected.
pub(super) fn select_in_execute(select: &pg::SelectStmt) -> Refused {
    if select.into_clause.is_some() {
        return Refused::statement("SELECT … INTO", "write CREATE TABLE … AS SELECT …");
    }
    Refused::new(RefusedKind::Statement, "a SELECT changes nothing; use `query`")
}

/// A part of a statement that is on no list.
pub(super) fn part(node: &NodeEnum) -> Refused {
    match node {
        NodeEnum::RangeTableFunc(_) | NodeEnum::XmlExpr(_) | NodeEnum::XmlSerialize(_) => {
            Refused::statement("XML", "use jsonb and its functions")
        }
        NodeEnum::CurrentOfExpr(_) => Refused::statement("WHERE CURRENT OF", "name the row by its key"),
        other => Refused::statement(&words(other), "write the statement without it"),
    }
}

/// The statements that `execute` takes.
fn change(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::InsertStmt(_) => "INSERT",
        NodeEnum::UpdateStmt(_) => "UPDATE",
        NodeEnum::DeleteStmt(_) => "DELETE",
        NodeEnum::MergeStmt(_) => "MERGE",
        NodeEnum::TruncateStmt(_) => "TRUNCATE",
        NodeEnum::CreateStmt(_) | NodeEnum::CreateTableAsStmt(_) => "CREATE TABLE",
        NodeEnum::IndexStmt(_) => "CREATE INDEX",
        NodeEnum::ViewStmt(_) => "CREATE VIEW",
        NodeEnum::CreateSeqStmt(_) => "CREATE SEQUENCE",
        NodeEnum::AlterTableStmt(_) => "ALTER TABLE",
        NodeEnum::RenameStmt(_) => "RENAME",
        NodeEnum::DropStmt(_) => "DROP",
        NodeEnum::CommentStmt(_) => "COMMENT",
        _ => return None,
    })
}

/// A name for any node: SQL's for statements people write, the grammar's for the rest.
fn words(node: &NodeEnum) -> String {
    let name = match node {
        NodeEnum::TransactionStmt(_) => "BEGIN, COMMIT, ROLLBACK or SAVEPOINT",
        NodeEnum::VariableSetStmt(_) => "SET or RESET",
        NodeEnum::VariableShowStmt(_) => "SHOW",
        NodeEnum::ExplainStmt(_) => "EXPLAIN",
        NodeEnum::CopyStmt(_) => "COPY",
        NodeEnum::DoStmt(_) => "DO",
        NodeEnum::CallStmt(_) => "CALL",
        NodeEnum::CreateFunctionStmt(_) | NodeEnum::AlterFunctionStmt(_) => "a function or procedure",
        NodeEnum::CreateTrigStmt(_) | NodeEnum::CreateEventTrigStmt(_) => "a trigger",
        NodeEnum::RuleStmt(_) => "a rule",
        NodeEnum::CreatePolicyStmt(_) | NodeEnum::AlterPolicyStmt(_) => "a policy",
        NodeEnum::CreateEnumStmt(_)
        | NodeEnum::AlterEnumStmt(_)
        | NodeEnum::CreateDomainStmt(_)
        | NodeEnum::AlterDomainStmt(_)
        | NodeEnum::CompositeTypeStmt(_)
        | NodeEnum::CreateRangeStmt(_) => "a type or domain",
        NodeEnum::GrantStmt(_) | NodeEnum::GrantRoleStmt(_) | NodeEnum::AlterDefaultPrivilegesStmt(_) => {
            "GRANT or REVOKE"
        }
        NodeEnum::CreateRoleStmt(_)
        | NodeEnum::AlterRoleStmt(_)
        | NodeEnum::AlterRoleSetStmt(_)
        | NodeEnum::DropRoleStmt(_) => "a role",
        NodeEnum::AlterSeqStmt(_) => "ALTER SEQUENCE",
        NodeEnum::LockStmt(_) => "LOCK",
        NodeEnum::VacuumStmt(_) => "VACUUM or ANALYZE",
        NodeEnum::RefreshMatViewStmt(_) => "a materialized view",
        NodeEnum::NotifyStmt(_) | NodeEnum::ListenStmt(_) | NodeEnum::UnlistenStmt(_) => "LISTEN or NOTIFY",
        NodeEnum::PrepareStmt(_) | NodeEnum::ExecuteStmt(_) | NodeEnum::DeallocateStmt(_) => {
            "a prepared statement"
        }
        NodeEnum::DeclareCursorStmt(_) | NodeEnum::FetchStmt(_) | NodeEnum::ClosePortalStmt(_) => "a cursor",
        NodeEnum::CreateExtensionStmt(_) | NodeEnum::AlterExtensionStmt(_) => "an extension",
        NodeEnum::CreateSchemaStmt(_) => "a schema",
        NodeEnum::AlterObjectSchemaStmt(_) => "SET SCHEMA",
        NodeEnum::AlterOwnerStmt(_) => "OWNER TO",
        NodeEnum::DropOwnedStmt(_) | NodeEnum::ReassignOwnedStmt(_) => "DROP OWNED or REASSIGN OWNED",
        NodeEnum::DiscardStmt(_) => "DISCARD",
        NodeEnum::CheckPointStmt(_) => "CHECKPOINT",
        NodeEnum::ClusterStmt(_) => "CLUSTER",
        NodeEnum::ReindexStmt(_) => "REINDEX",
        NodeEnum::SecLabelStmt(_) => "SECURITY LABEL",
        NodeEnum::ConstraintsSetStmt(_) => "SET CONSTRAINTS",
        NodeEnum::CreateStatsStmt(_) | NodeEnum::AlterStatsStmt(_) => "extended statistics",
        NodeEnum::CreateForeignTableStmt(_)
        | NodeEnum::CreateForeignServerStmt(_)
        | NodeEnum::CreateFdwStmt(_)
        | NodeEnum::ImportForeignSchemaStmt(_)
        | NodeEnum::CreateUserMappingStmt(_) => "a foreign table or server",
        NodeEnum::CreatePublicationStmt(_) | NodeEnum::CreateSubscriptionStmt(_) => "replication",
        NodeEnum::DefineStmt(_)
        | NodeEnum::CreateCastStmt(_)
        | NodeEnum::CreateConversionStmt(_)
        | NodeEnum::CreateOpClassStmt(_)
        | NodeEnum::CreateOpFamilyStmt(_)
        | NodeEnum::CreatePlangStmt(_)
        | NodeEnum::CreateAmStmt(_)
        | NodeEnum::CreateTransformStmt(_) => {
            "an operator, an aggregate, a cast or another extension of the language"
        }
        NodeEnum::AlterSystemStmt(_)
        | NodeEnum::AlterDatabaseStmt(_)
        | NodeEnum::AlterDatabaseSetStmt(_)
        | NodeEnum::CreatedbStmt(_)
        | NodeEnum::DropdbStmt(_)
        | NodeEnum::CreateTableSpaceStmt(_)
        | NodeEnum::LoadStmt(_) => "administration of the server",
        other => return format!("`{}`", grammar_name(other)),
    };
    name.to_owned()
}

fn instead(node: &NodeEnum) -> &'static str {
    match node {
        NodeEnum::TransactionStmt(_) => "all statements of one call already share a transaction",
        NodeEnum::CreateEnumStmt(_) | NodeEnum::CreateDomainStmt(_) | NodeEnum::CompositeTypeStmt(_) => {
            "use text with CHECK (column IN (…)), or jsonb"
        }
        NodeEnum::CreateFunctionStmt(_)
        | NodeEnum::CreateTrigStmt(_)
        | NodeEnum::RuleStmt(_)
        | NodeEnum::DoStmt(_)
        | NodeEnum::CallStmt(_) => "do it in the app's code",
        NodeEnum::CopyStmt(_) => "write INSERT with several rows",
        NodeEnum::AlterSeqStmt(_) => "drop the sequence and create it as it should be",
        _ => {
            "`execute` takes INSERT, UPDATE, DELETE, MERGE, TRUNCATE, CREATE, ALTER and DROP of tables, views, indexes and sequences, COMMENT and ANALYZE"
        }
    }
}

/// `CreateFdwStmt` and the like: what the debug format begins with.
fn grammar_name(node: &NodeEnum) -> String {
    let debug = format!("{node:?}");
    echo(debug.split(['(', ' ', '{']).next().unwrap_or_default())
}
