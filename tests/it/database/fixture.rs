//! What the corpus is asked on: `tests/corpus/sql_setup.sql`, made to fit two apps that were created over HTTP.
//!
//! The file is for one database with one schema; here each app has its schema and its roles. What it makes for
//! an app goes into that app's schema, made by that app's role; the platform's tables stay in `public`.

use super::{Db, Workspace, apps, texts};
use opg_tests::app::{Setup, TestApp};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use std::collections::BTreeMap;

const SETUP: &str = include_str!("../../corpus/sql_setup.sql");

/// What `other` and the platform have and nobody else may see: of the file, and a word that is nowhere else.
pub(super) const CANARIES: &[&str] =
    &["s3cr3t-of-other", "victim@other.example", "123-45-6789", "merger plan", "key-1", CANARY];
const CANARY: &str = "canary7f3a9c";

/// Two apps and what is theirs.
pub(super) struct Fixture {
    pub(super) app: TestApp,
    pub(super) demo: Db,
    pub(super) other: Db,
    pub(super) own: Workspace,
    pub(super) theirs: Workspace,
    database: String,
}

/// Whether what an operator did by mistake is there too: objects of a superuser under the app's own prefix,
/// which no right of the app's roles can stop.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Traps {
    Planted,
    None,
}

impl Fixture {
    pub(super) async fn new(setup: Setup, traps: Traps) -> Fixture {
        let app = TestApp::set_up(setup, |_| {}).await;
        let (demo, other) = (Db::new(&app, "demo").await, Db::new(&app, "other").await);
        let (own, theirs) = (Workspace::of(&app, "demo").await, Workspace::of(&app, "other").await);
        let mut conn = apps(&app).await;
        let database = texts(&mut conn, "select current_database()::text").await.remove(0);
        let fixture = Fixture { app, demo, other, own, theirs, database };
        fixture.fill(&mut conn, traps).await;
        fixture.check(&mut conn, traps).await;
        fixture
    }

    async fn fill(&self, conn: &mut PgConnection, traps: Traps) {
        let Workspace { schema: own, .. } = &self.own;
        let Workspace { schema: theirs, owner: other, .. } = &self.theirs;
        // The roles are the host's. What is left of this section is `pool_login`, which no design of ours uses.
        let roles = section("roles");
        let roles: Vec<_> = roles.lines().filter(|line| !line.contains("ON SCHEMA public TO app_")).collect();
        self.run(conn, "public", &roles.join("\n")).await;

        // Readers read by the host's own default rights, not by this line of the file.
        let granted = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO app_demo_ro;";
        let demo = section("app demo");
        assert!(demo.contains(granted));
        self.run(conn, own, &demo.replace(granted, "")).await;

        // An app cannot make functions. The careless neighbour's are made for it, and given to it.
        let victim = section("app other");
        let (data, functions) = victim.split_once("-- careless neighbour").unwrap();
        self.run(conn, theirs, data).await;
        let functions = functions.split_once('\n').unwrap().1;
        self.run(conn, theirs, functions).await;
        for function in
            ["function app_other__lookup(int)", "function app_other__trg()", "procedure app_other__purge()"]
        {
            // With a path of its own it works from wherever it is called.
            let statement = format!(
                "alter {function} owner to {other}; alter {function} set search_path = {theirs};
                 grant execute on {function} to public"
            );
            run(conn, theirs, &statement).await;
        }
        let canary = format!(
            "insert into app_other__secrets values (3, '{CANARY}');
             insert into app_other__customers (name, email, ssn) values ('{CANARY}', '{CANARY}', '{CANARY}');
             insert into app_other__docs values (2, '{CANARY}', to_tsvector('{CANARY}'));
             insert into app_other__events (ts, kind) values ('2026-02-02', '{CANARY}');
             refresh materialized view app_other__mv;"
        );
        run(conn, theirs, &canary).await;

        self.run(conn, "public", section("platform tables")).await;
        let forged = format!("insert into cp_audit (tenant, what) values (1, '{CANARY}')");
        run(conn, "public", &forged).await;
        if traps == Traps::Planted {
            // The first schema is where they go, the second where the view finds what it leaks.
            self.run(conn, &format!("{own}, {theirs}"), section("planted traps")).await;
            for function in ["app_demo__leak()", "app_demo__peek(app_demo__customers)"] {
                let statement = format!(
                    "alter function {function} set search_path = {theirs};
                     grant execute on function {function} to public"
                );
                run(conn, own, &statement).await;
            }
        }
    }

    /// Runs a part of the file, with this path and the roles there are.
    async fn run(&self, conn: &mut PgConnection, path: &str, sql: &str) {
        run(conn, path, &self.with_real_roles(sql)).await;
    }

    /// That the fixture is what the corpus is about; otherwise every refusal would pass for nothing.
    async fn check(&self, conn: &mut PgConnection, traps: Traps) {
        let Fixture { own, theirs, .. } = self;
        let own_tables =
            ["customers", "orders", "events", "tree", "docs", "settings", "scratch", "v_paid", "mv_daily"];
        let counts = [300, 2000, 20000, 5, 2, 2, 2, 500, 1];
        for (table, count) in own_tables.iter().zip(counts) {
            let answer = self.demo.rows(&format!("SELECT count(*)::int4 AS n FROM app_demo__{table}")).await;
            assert_eq!(answer, serde_json::json!([{ "n": count }]), "app_demo__{table}");
        }
        let secrets = self.other.rows("SELECT secret FROM app_other__secrets ORDER BY id").await.to_string();
        assert!(secrets.contains(CANARY) && secrets.contains("s3cr3t-of-other"), "{secrets}");
        let leaked = format!("select {}.app_other__lookup(1)", theirs.schema);
        assert_eq!(texts(conn, &leaked).await, ["s3cr3t-of-other"], "the neighbour's function leaks");
        let keys = texts(conn, "select api_key from public.cp_tenants").await;
        assert_eq!(keys, ["key-1"], "the platform's tables are there");
        if traps == Traps::Planted {
            let leaked =
                texts(conn, &format!("select secret from {}.app_demo__v_leak order by 1", own.schema)).await;
            assert!(leaked.contains(&CANARY.to_owned()), "the planted view leaks: {leaked:?}");
            let leaked = texts(conn, &format!("select * from {}.app_demo__leak()", own.schema)).await;
            assert!(leaked.contains(&CANARY.to_owned()), "the planted function leaks: {leaked:?}");
            let twins = format!(
                "select v from {0}.app_demo2__customers union all select v from {0}.\"appXdemoYYloot\"",
                own.schema
            );
            assert_eq!(texts(conn, &twins).await, ["demo2", "twin"]);
        }
        let owners = format!(
            "select distinct pg_get_userbyid(relowner)::text from pg_class where relname like 'app\\_demo\\_\\_%'
             and relnamespace = '{}'::regnamespace and relkind = 'r'",
            own.schema
        );
        assert_eq!(
            texts(conn, &owners).await,
            std::slice::from_ref(&own.owner),
            "an app's tables are its own"
        );
    }

    /// The same text with the roles there are in place of the file's.
    pub(super) fn with_real_roles(&self, sql: &str) -> String {
        let sql = replace_word(sql, "app_demo_ro", &self.own.reader);
        let sql = replace_word(&sql, "app_demo", &self.own.owner);
        let sql = replace_word(&sql, "app_other", &self.theirs.owner);
        // Roles belong to the whole server, which many tests share.
        replace_word(&sql, "pool_login", &format!("pool_{}", self.own.owner))
    }

    /// A case as it is written, and as somebody writes it who knows how things are called here: with the real
    /// roles, and with foreign names found by their schema.
    pub(super) fn spellings(&self, sql: &str) -> Vec<String> {
        let here = replace_word(sql, "corpus", &self.database);
        let by_schema = match replace_word(&here, "public", &self.theirs.schema) {
            qualified if qualified != here => qualified,
            _ => qualify(&qualify(&here, "app_other__", &self.theirs.schema), "cp_", "public"),
        };
        let mut all = vec![sql.to_owned()];
        for other in [self.with_real_roles(&here), by_schema] {
            if !all.contains(&other) {
                all.push(other);
            }
        }
        all
    }

    /// Everything there is of both apps and of the platform in the apps' database: each thing by name, with
    /// what tells whether it changed. `sequences` says whether their values count.
    pub(super) async fn state(&self, conn: &mut PgConnection, sequences: bool) -> BTreeMap<String, String> {
        let mut state = BTreeMap::new();
        let roles = format!(
            "'{}', '{}', '{}', '{}'",
            self.own.owner, self.own.reader, self.theirs.owner, self.theirs.reader
        );
        for query in THINGS {
            let query = query.replace("$ROLES", &roles);
            let rows = sqlx::query(AssertSqlSafe(query.as_str())).fetch_all(&mut *conn).await;
            for row in rows.unwrap_or_else(|error| panic!("{query}: {error}")) {
                state.insert(row.get(0), row.get(1));
            }
        }
        let with_rows = "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = relnamespace
             where relkind in ('r', 'p', 'm') and nspname !~ '^pg_' and nspname not in ('information_schema', 'opg')";
        for table in texts(conn, with_rows).await {
            let rows = texts(
                conn,
                &format!(
                    "select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {table} t"
                ),
            )
            .await;
            state.insert(format!("rows of {table}"), rows[0].clone());
        }
        if sequences {
            let all = "select oid::regclass::text from pg_class where relkind = 'S' and relnamespace::regnamespace::text <> 'opg'";
            for sequence in texts(conn, all).await {
                let value =
                    texts(conn, &format!("select last_value::text || is_called::text from {sequence}")).await;
                state.insert(format!("value of {sequence}"), value[0].clone());
            }
        }
        assert!(state.len() > 100, "there is more than this: {state:?}");
        state
    }
}

async fn run(conn: &mut PgConnection, path: &str, sql: &str) {
    let script = format!("reset role; set search_path = {path};\n{sql};\nreset role; reset search_path");
    let done = sqlx::raw_sql(AssertSqlSafe(script.clone())).execute(conn).await;
    done.unwrap_or_else(|error| panic!("the fixture cannot be made: {error}\n{script}"));
}

/// What is to be found in the catalogs, each thing with its name.
const THINGS: &[&str] = &[
    "select 'relation ' || c.oid::regclass, concat_ws(' ', relkind, relpersistence, relowner::regrole, relacl::text,
        array_to_string(reloptions, ','), relrowsecurity, relhasrules, relhastriggers, relispartition, reltablespace,
        relreplident, case when relkind in ('v', 'm') then pg_get_viewdef(c.oid) end)
     from pg_class c join pg_namespace n on n.oid = relnamespace
     where nspname !~ '^pg_' and nspname <> 'information_schema'",
    "select 'column ' || attrelid::regclass || '.' || attnum, concat_ws(' ', attname, format_type(atttypid, atttypmod),
        attnotnull, attidentity, attgenerated, attacl::text, pg_get_expr(adbin, adrelid))
     from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
     join pg_class c on c.oid = attrelid where attrelid >= 16384 and relnamespace <> 'pg_toast'::regnamespace",
    "select 'constraint ' || oid || ' ' || conname, pg_get_constraintdef(oid) from pg_constraint where oid >= 16384",
    "select 'index ' || indexrelid::regclass, pg_get_indexdef(indexrelid) || indisclustered || indisreplident
     from pg_index join pg_class c on c.oid = indexrelid
     where indexrelid >= 16384 and relnamespace <> 'pg_toast'::regnamespace",
    "select 'function ' || oid::regprocedure, concat_ws(' ', proowner::regrole, proacl::text, prosecdef, md5(prosrc))
     from pg_proc where oid >= 16384",
    "select 'type ' || t.oid || ' ' || typname, concat_ws(' ', typowner::regrole, (select string_agg(enumlabel, ',')
        from pg_enum where enumtypid = t.oid)) from pg_type t where t.oid >= 16384",
    "select 'schema ' || nspname, concat_ws(' ', nspowner::regrole, nspacl::text) from pg_namespace where nspname !~ '^pg_t'",
    "select 'role ' || rolname, concat_ws(' ', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
        rolreplication, rolbypassrls, rolconnlimit, md5(rolpassword), rolvaliduntil) from pg_authid where rolname in ($ROLES)",
    "select 'member ' || member::regrole || ' of ' || roleid::regrole, admin_option::text from pg_auth_members
     where member in (select oid from pg_roles where rolname in ($ROLES))
        or roleid in (select oid from pg_roles where rolname in ($ROLES))",
    "select 'setting ' || setdatabase || ' ' || setrole::regrole, setconfig::text from pg_db_role_setting
     where setrole in (select oid from pg_roles where rolname in ($ROLES))
        or setdatabase = (select oid from pg_database where datname = current_database())",
    "select 'comment ' || classoid || ' ' || objoid || ' ' || objsubid, description from pg_description where objoid >= 16384",
    "select 'comment on the database', coalesce((select string_agg(description, ',') from pg_shdescription
        where objoid = (select oid from pg_database where datname = current_database())), '')",
    "select 'large object ' || oid, lomowner::text from pg_largeobject_metadata",
    "select 'trigger ' || oid, tgname || tgenabled::text from pg_trigger",
    "select 'event trigger ' || evtname, evtenabled::text from pg_event_trigger",
    "select 'rule ' || oid, rulename || ev_enabled::text from pg_rewrite where oid >= 16384",
    "select 'policy ' || polrelid::regclass || '.' || polname, coalesce(pg_get_expr(polqual, polrelid), '') from pg_policy",
    "select 'extension ' || extname, extversion from pg_extension",
    "select 'cast ' || oid, castsource::regtype || ' ' || casttarget::regtype from pg_cast where oid >= 16384",
    "select 'conversion ' || oid, conname from pg_conversion where oid >= 16384",
    "select 'operator ' || oid, oprname from pg_operator where oid >= 16384",
    "select 'collation ' || oid, collname from pg_collation where oid >= 16384",
    "select 'statistics ' || oid, stxname from pg_statistic_ext",
    "select 'default rights ' || oid, defaclacl::text from pg_default_acl",
    "select 'publication ' || pubname, puballtables::text from pg_publication",
    "select 'foreign server ' || srvname, srvowner::text from pg_foreign_server",
    "select 'prepared transaction ' || gid, owner::text from pg_prepared_xacts where database = current_database()",
    "select 'database', concat_ws(' ', datdba::regrole, datacl::text, datconnlimit) from pg_database where datname = current_database()",
];

/// What is in one and not, or differently, in the other.
pub(super) fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let changed = before.iter().filter(|(name, was)| after.get(*name) != Some(*was));
    let changed = changed.map(|(name, was)| format!("{name}: {was:?} became {:?}", after.get(name)));
    let new = after.keys().filter(|name| !before.contains_key(*name)).map(|name| format!("{name} is new"));
    changed.chain(new).collect()
}

/// The part of the file under this heading.
fn section(title: &str) -> &'static str {
    const HEADING: &str = "-- ---------- ";
    let mut parts = SETUP.split(HEADING).skip(1);
    let part = parts.find(|part| part.starts_with(title)).unwrap_or_else(|| panic!("no section `{title}`"));
    part.split_once('\n').unwrap().1
}

fn is_part_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Replaces a word where it stands alone: `app_demo` in `TO app_demo,`, not in `app_demo__customers`.
fn replace_word(text: &str, word: &str, with: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(word) {
        let end = at + word.len();
        if !text[..at].ends_with(is_part_of_a_name) && !text[end..].starts_with(is_part_of_a_name) {
            out.push_str(&text[from..at]);
            out.push_str(with);
            from = end;
        }
    }
    out + &text[from..]
}

/// Writes a schema before every name that starts like this and has none.
fn qualify(text: &str, prefix: &str, schema: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(prefix) {
        let at = if text[..at].ends_with('"') { at - 1 } else { at };
        if !text[..at].ends_with(|c| is_part_of_a_name(c) || c == '.') && at >= from {
            out.push_str(&text[from..at]);
            out.push_str(schema);
            out.push('.');
            from = at;
        }
    }
    out + &text[from..]
}

#[test]
fn a_case_is_spelled_with_the_names_there_are() {
    assert_eq!(replace_word("SET ROLE app_demo", "app_demo", "r"), "SET ROLE r");
    assert_eq!(replace_word("'app_demo','app_demo__x'", "app_demo", "r"), "'r','app_demo__x'");
    assert_eq!(
        qualify("FROM app_other__a, \"app_other__b\"", "app_other__", "s"),
        "FROM s.app_other__a, s.\"app_other__b\""
    );
    assert_eq!(qualify("FROM s.app_other__a", "app_other__", "s"), "FROM s.app_other__a");
    assert_eq!(qualify("xapp_other__a", "app_other__", "s"), "xapp_other__a");
}
