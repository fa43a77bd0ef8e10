//! `CREATE INDEX`, `CREATE VIEW` and `CREATE SEQUENCE`.

use super::super::refused::Refused;
use super::{Walk, Walked, known, none, required, strings, unnamed};
use pg_query::protobuf as pg;
use pg_query::{Node, NodeEnum};

/// The index access methods every PostgreSQL has.
const ACCESS_METHODS: [&str; 6] = ["btree", "hash", "gin", "gist", "spgist", "brin"];

impl<'a> Walk<'a> {
    pub(super) fn create_index(&mut self, index: &'a pg::IndexStmt) -> Walked {
        let pg::IndexStmt {
            idxname,
            relation,
            access_method,
            table_space,
            index_params,
            index_including_params,
            options,
            where_clause,
            exclude_op_names,
            idxcomment: _,
            index_oid: _,
            old_number: _,
            old_create_subid: _,
            old_first_relfilelocator_subid: _,
            unique: _,
            nulls_not_distinct: _,
            primary: _,
            isconstraint: _,
            iswithoutoverlaps: _,
            deferrable: _,
            initdeferred: _,
            transformed: _,
            concurrent,
            if_not_exists: _,
            reset_default_tblspc: _,
        } = index;
        if *concurrent {
            return Err(Refused::statement(
                "CREATE INDEX CONCURRENTLY",
                "it cannot run in a transaction: leave CONCURRENTLY out",
            ));
        }
        let table = self.own(required(relation.as_ref())?)?;
        if !idxname.is_empty() {
            let name = self.own_name(idxname)?;
            self.defines.insert(name.to_owned());
        }
        self.defines.insert(table.to_owned());
        self.access_method(access_method)?;
        unnamed(table_space, "TABLESPACE", "leave it out; the database decides where indexes are")?;
        none(options, "a storage parameter of an index (WITH …)", "leave it out")?;
        none(exclude_op_names, "an exclusion here", "write EXCLUDE in the table")?;
        self.each(index_params, Self::index_element)?;
        self.each(index_including_params, Self::index_element)?;
        self.maybe(where_clause.as_deref())
    }

    pub(super) fn access_method(&self, name: &str) -> Walked {
        if name.is_empty() || ACCESS_METHODS.contains(&name) {
            return Ok(());
        }
        Err(Refused::statement(
            "this index access method",
            "write btree, hash, gin, gist, spgist or brin, or leave USING out",
        ))
    }

    /// A column or an expression of an index, or of what `ON CONFLICT` looks for.
    pub(super) fn index_element(&mut self, node: &'a Node) -> Walked {
        let NodeEnum::IndexElem(element) = known(node)? else { return Err(Refused::shape()) };
        let pg::IndexElem {
            name: _,
            expr,
            indexcolname: _,
            collation,
            opclass,
            opclassopts,
            ordering: _,
            nulls_ordering: _,
        } = element.as_ref();
        self.maybe(expr.as_deref())?;
        if !collation.is_empty() {
            self.collation(collation)?;
        }
        self.operator_class(opclass)?;
        none(opclassopts, "a parameter of an operator class", "leave it out")
    }

    pub(super) fn create_view(&mut self, view: &'a pg::ViewStmt) -> Walked {
        let pg::ViewStmt { view, aliases: _, query, replace: _, options, with_check_option: _ } = view;
        let name = self.own(required(view.as_ref())?)?;
        self.defines.insert(name.to_owned());
        self.each(options, |_, option| view_option(option))?;
        self.query(required(query.as_deref())?)
    }

    pub(super) fn create_sequence(&mut self, sequence: &'a pg::CreateSeqStmt) -> Walked {
        let pg::CreateSeqStmt { sequence, options, owner_id: _, for_identity: _, if_not_exists: _ } =
            sequence;
        let name = self.own(required(sequence.as_ref())?)?;
        self.defines.insert(name.to_owned());
        self.sequence_options(options)
    }

    /// The options of a sequence, or of the one behind an identity column.
    pub(super) fn sequence_options(&mut self, options: &'a [Node]) -> Walked {
        self.each(options, |walk, option| {
            let pg::DefElem { defnamespace, defname, arg, defaction: _, location: _, arg_location: _ } =
                definition(option)?;
            let plain = matches!(
                defname.as_str(),
                "increment" | "minvalue" | "maxvalue" | "start" | "restart" | "cache" | "cycle" | "generated"
            );
            let argument = arg.as_deref().map(known).transpose()?;
            match (defname.as_str(), argument) {
                _ if !defnamespace.is_empty() => {}
                ("as", Some(NodeEnum::TypeName(name))) => return walk.type_name(name),
                ("owned_by", Some(NodeEnum::List(pg::List { items }))) => return walk.sequence_owner(items),
                _ if plain && argument.is_none_or(is_number) => return Ok(()),
                _ => {}
            }
            Err(Refused::statement(
                "this option of a sequence",
                "write AS, INCREMENT, MINVALUE, MAXVALUE, START, RESTART, CACHE, CYCLE, or OWNED BY an own column",
            ))
        })
    }

    /// `OWNED BY table.column`, or `NONE`.
    fn sequence_owner(&mut self, parts: &'a [Node]) -> Walked {
        match strings(parts)?.as_slice() {
            ["none"] => Ok(()),
            [table, _] => {
                let table = self.own_name(table)?;
                self.defines.insert(table.to_owned());
                Ok(())
            }
            parts => Err(self.namespace.refuse(&parts.join("."))),
        }
    }
}

/// What the grammar makes of `WITH (name = value)` and the like.
fn definition(node: &Node) -> Result<&pg::DefElem, Refused> {
    match known(node)? {
        NodeEnum::DefElem(definition) => Ok(definition),
        _ => Err(Refused::shape()),
    }
}

fn is_number(node: &NodeEnum) -> bool {
    matches!(node, NodeEnum::Integer(_) | NodeEnum::Float(_) | NodeEnum::Boolean(_))
}

/// A view may be checked more strictly than by default, not less: by default
/// it reads with its owner's rights, which are the app's.
fn view_option(node: &Node) -> Walked {
    let pg::DefElem { defnamespace, defname, arg, defaction: _, location: _, arg_location: _ } =
        definition(node)?;
    let argument = match arg.as_deref().map(known).transpose()? {
        None => "true",
        Some(NodeEnum::String(pg::String { sval })) => sval,
        Some(NodeEnum::TypeName(name)) => match name.names.as_slice() {
            [word] => super::string(word)?,
            _ => "",
        },
        Some(_) => "",
    };
    let allowed = match defname.as_str() {
        "security_invoker" | "security_barrier" => matches!(argument, "true" | "on"),
        "check_option" => matches!(argument, "local" | "cascaded"),
        _ => false,
    };
    if allowed && defnamespace.is_empty() {
        return Ok(());
    }
    Err(Refused::statement(
        "this option of a view",
        "write security_invoker = true, security_barrier = true or check_option, or no option",
    ))
}
