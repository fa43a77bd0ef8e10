//! Statements about what exists: `ALTER TABLE`, `RENAME`, `DROP`, `COMMENT`, `ANALYZE`.

use super::super::Warning;
use super::super::refused::Refused;
use super::{Walk, Walked, known, none, required, strings};
use pg_query::protobuf as pg;
use pg_query::protobuf::{AlterTableType, ConstrType, DropBehavior, ObjectType};
use pg_query::{Node, NodeEnum};

impl<'a> Walk<'a> {
    pub(super) fn alter_table(&mut self, alter: &'a pg::AlterTableStmt) -> Walked {
        let pg::AlterTableStmt { relation, cmds, objtype: _, missing_ok: _ } = alter;
        if alter.objtype() != ObjectType::ObjectTable {
            return Err(Refused::statement(
                "ALTER of an index, a view, a sequence or a type",
                "drop it and create it as it should be",
            ));
        }
        let table = self.own(required(relation.as_ref())?)?;
        self.defines.insert(table.to_owned());
        cmds.iter().try_for_each(|node| match known(node)? {
            NodeEnum::AlterTableCmd(command) => self.alter_command(table, command),
            _ => Err(Refused::shape()),
        })
    }

    fn alter_command(&mut self, table: &'a str, command: &'a pg::AlterTableCmd) -> Walked {
        let pg::AlterTableCmd {
            subtype: _,
            name,
            num: _,
            newowner,
            def,
            behavior: _,
            missing_ok: _,
            recurse: _,
        } = command;
        if newowner.is_some() {
            return Err(refused_alter());
        }
        if command.behavior() == DropBehavior::DropCascade {
            self.warn(Warning::cascade("what is dropped"));
        }
        let def = def.as_deref().map(known).transpose()?;
        match (command.subtype(), def) {
            (AlterTableType::AtAddColumn, Some(NodeEnum::ColumnDef(added))) => {
                if adds_null(added) {
                    self.warn(Warning::not_null(table, &added.colname));
                }
                self.column(added)
            }
            (
                AlterTableType::AtAddConstraint | AlterTableType::AtAddIdentity,
                Some(NodeEnum::Constraint(added)),
            ) => self.constraint(added),
            (AlterTableType::AtAlterColumnType, Some(NodeEnum::ColumnDef(changed))) => {
                self.warn(Warning::column_type(table, name));
                self.column(changed)
            }
            (AlterTableType::AtSetIdentity, Some(NodeEnum::List(pg::List { items }))) => {
                self.sequence_options(items)
            }
            (AlterTableType::AtColumnDefault | AlterTableType::AtSetExpression, _) => {
                self.maybe(command.def.as_deref())
            }
            (AlterTableType::AtSetNotNull, None) => {
                self.warn(Warning::set_not_null(table, name));
                Ok(())
            }
            (AlterTableType::AtDropColumn, None) => {
                self.warn(Warning::drop_column(table, name));
                Ok(())
            }
            (AlterTableType::AtDropConstraint, None) => {
                self.warn(Warning::drop_constraint(table, name));
                Ok(())
            }
            (
                AlterTableType::AtDropNotNull
                | AlterTableType::AtDropExpression
                | AlterTableType::AtDropIdentity
                | AlterTableType::AtValidateConstraint,
                None,
            ) => Ok(()),
            _ => Err(refused_alter()),
        }
    }

    pub(super) fn rename(&mut self, rename: &'a pg::RenameStmt) -> Walked {
        let pg::RenameStmt {
            rename_type: _,
            relation_type: _,
            relation,
            object: _, // what has no relation is refused
            subname: _,
            newname,
            behavior: _,
            missing_ok: _,
        } = rename;
        match rename.rename_type() {
            ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectIndex
            | ObjectType::ObjectSequence => {
                let name = self.own_name(newname)?;
                self.defines.insert(name.to_owned());
            }
            // It may be a key, whose index is renamed along.
            ObjectType::ObjectTabconstraint => {
                self.own_name(newname)?;
            }
            ObjectType::ObjectColumn
                if matches!(rename.relation_type(), ObjectType::ObjectTable | ObjectType::ObjectView) => {}
            _ => {
                return Err(Refused::statement(
                    "this RENAME",
                    "tables, views, indexes, sequences, columns and constraints can be renamed",
                ));
            }
        }
        let name = self.own(required(relation.as_ref())?)?;
        self.defines.insert(name.to_owned());
        Ok(())
    }

    pub(super) fn drop(&mut self, drop: &'a pg::DropStmt) -> Walked {
        let pg::DropStmt { objects, remove_type: _, behavior: _, missing_ok: _, concurrent } = drop;
        if *concurrent {
            return Err(Refused::statement(
                "DROP INDEX CONCURRENTLY",
                "it cannot run in a transaction: leave CONCURRENTLY out",
            ));
        }
        if !matches!(
            drop.remove_type(),
            ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectSequence
                | ObjectType::ObjectIndex
        ) {
            return Err(Refused::statement(
                "this DROP",
                "tables, views, sequences and indexes can be dropped",
            ));
        }
        for object in objects {
            let NodeEnum::List(pg::List { items }) = known(object)? else { return Err(Refused::shape()) };
            let name = self.own_parts(&strings(items)?)?;
            self.defines.insert(name.to_owned());
            self.warn(Warning::drop_relation(name));
        }
        if drop.behavior() == DropBehavior::DropCascade {
            self.warn(Warning::cascade("DROP"));
        }
        Ok(())
    }

    pub(super) fn comment(&mut self, comment: &'a pg::CommentStmt) -> Walked {
        let pg::CommentStmt { objtype: _, object, comment: _ } = comment;
        let named = known(required(object.as_deref())?)?;
        let table = match (comment.objtype(), named) {
            (ObjectType::ObjectTable, NodeEnum::List(pg::List { items })) => {
                self.own_parts(&strings(items)?)?
            }
            (ObjectType::ObjectColumn, NodeEnum::List(pg::List { items })) => {
                match strings(items)?.as_slice() {
                    [table @ .., _] => self.own_parts(table)?,
                    [] => return Err(Refused::shape()),
                }
            }
            _ => return Err(Refused::statement("this COMMENT", "tables and columns can have comments")),
        };
        self.defines.insert(table.to_owned());
        Ok(())
    }

    /// The grammar makes one node of `VACUUM` and `ANALYZE`.
    pub(super) fn analyze(&mut self, vacuum: &'a pg::VacuumStmt) -> Walked {
        let pg::VacuumStmt { options, rels, is_vacuumcmd } = vacuum;
        if *is_vacuumcmd {
            return Err(Refused::statement("VACUUM", "the database does it by itself"));
        }
        none(options, "an option of ANALYZE", "write ANALYZE and the names of tables")?;
        if rels.is_empty() {
            return Err(Refused::statement("ANALYZE of everything", "name the tables"));
        }
        rels.iter().try_for_each(|node| self.analyzed(node))
    }

    fn analyzed(&mut self, node: &'a Node) -> Walked {
        let NodeEnum::VacuumRelation(named) = known(node)? else { return Err(Refused::shape()) };
        let pg::VacuumRelation { relation, oid: _, va_cols: _ } = named;
        let table = self.own(required(relation.as_ref())?)?;
        self.defines.insert(table.to_owned());
        Ok(())
    }
}

/// Whether a new column demands a value that present rows do not have.
fn adds_null(column: &pg::ColumnDef) -> bool {
    let kinds = column.constraints.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::Constraint(constraint)) => Some(constraint.contype()),
        _ => None,
    });
    let (mut demanded, mut given) = (false, is_serial(column));
    for kind in kinds {
        demanded |= matches!(kind, ConstrType::ConstrNotnull | ConstrType::ConstrPrimary);
        given |= matches!(
            kind,
            ConstrType::ConstrDefault | ConstrType::ConstrIdentity | ConstrType::ConstrGenerated
        );
    }
    demanded && !given
}

fn is_serial(column: &pg::ColumnDef) -> bool {
    let names = column.type_name.as_ref().and_then(|name| strings(&name.names).ok());
    names.is_some_and(|names| names.last().is_some_and(|name| name.contains("serial")))
}

fn refused_alter() -> Refused {
    Refused::statement(
        "this form of ALTER TABLE",
        "columns can be added, dropped and changed in type, default, NOT NULL and identity; constraints can be added, validated and dropped",
    )
}
