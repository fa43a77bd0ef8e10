//! The wall between tenants, read from the database's own catalog: a table somebody adds without it fails here.

use opg_tests::{
    app::{Client, TestApp},
    guests,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use std::collections::BTreeMap;

/// Of the migrations themselves; nobody's rows.
const NOT_OURS: &[&str] = &["_sqlx_migrations"];
/// What every tenant reads alike, and none writes.
const SHARED: &[&str] = &["model_prices"];
/// What no tenant's transaction sees anything of.
const OPERATORS: &[&str] = &["ai_sources", "ai_models", "ai_model_sources", "ai_source_proxies"];

/// What is the service's alone: nobody's transaction but its own reads or writes it.
const SERVICES: &[&str] = &[
    "authorization_codes",
    "device_requests",
    "idempotency_keys",
    "oauth_sign_ins",
    "passkey_ceremonies",
    "platform_version",
    "sign_in_codes",
];
/// What a person's transaction reads their own rows of, and no tenant's any.
const PERSONS: &[&str] = &["user_identities", "user_passkeys"];
/// One for each person.
const IDENTITIES: &str = "insert into user_identities
  select gen_random_uuid(), user_id, 'github', 'https://github.com', user_id::text, email, now() from users";
const PASSKEYS: &str = "insert into user_passkeys
  select gen_random_uuid(), user_id, 'x', user_id::text::bytea, 'x', '{}', now() from users";

async fn texts(conn: &mut PgConnection, query: &str) -> Vec<String> {
    let rows =
        sqlx::query(AssertSqlSafe(query)).fetch_all(conn).await.unwrap_or_else(|e| panic!("{query}: {e}"));
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

async fn tables(conn: &mut PgConnection) -> Vec<String> {
    let all = texts(conn, "select relname::text from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace order by 1").await;
    all.into_iter().filter(|name| !NOT_OURS.contains(&name.as_str())).collect()
}

async fn columns(conn: &mut PgConnection, table: &str) -> Vec<String> {
    let query = format!(
        "select attname::text from pg_attribute where attrelid = 'public.{table}'::regclass and attnum > 0 and not attisdropped"
    );
    texts(conn, &query).await
}

/// What a statement does as a role, all of it undone again.
async fn as_role(
    conn: &mut PgConnection,
    role: &str,
    app_id: Option<&str>,
    statement: &str,
) -> Result<u64, String> {
    let named = app_id.map(|id| format!("set local opg.app_id = '{id}';")).unwrap_or_default();
    with_settings(conn, &format!("set local role {role}; {named}"), statement).await
}

/// What a statement does in a transaction set up like this, all of it undone again.
async fn with_settings(conn: &mut PgConnection, set_up: &str, statement: &str) -> Result<u64, String> {
    let mut tx = conn.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(set_up.to_owned())).execute(&mut *tx).await.unwrap();
    let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await;
    tx.rollback().await.unwrap();
    done.map(|done| done.rows_affected()).map_err(|error| {
        error.as_database_error().and_then(|e| e.code().map(|code| code.into_owned())).unwrap_or_default()
    })
}

const DENIED: &str = "42501";

#[tokio::test]
async fn m309_every_table_of_ours_has_row_level_security_enabled_forced_and_a_policy() {
    let app = TestApp::start().await;
    let mut conn = app.owner().await;
    let tables = tables(&mut conn).await;
    assert!(tables.len() >= 14, "{tables:?}");
    for table in tables {
        let state = texts(&mut conn, &format!(
            "select relrowsecurity::text || relforcerowsecurity::text || (select count(*) > 0 from pg_policy where polrelid = c.oid)::text
             from pg_class c where oid = 'public.{table}'::regclass")).await;
        assert_eq!(
            state,
            ["truetruetrue"],
            "{table}: enable and force row level security, and write a policy"
        );
        // A policy of the tenant's role that does not ask for the app is no wall.
        let open = texts(&mut conn, &format!(
            "select polname::text from pg_policy where polrelid = 'public.{table}'::regclass
             and 'opg_app'::regrole = any(polroles) and pg_get_expr(polqual, polrelid) not like '%current_app_id()%'")).await;
        assert!(open.is_empty(), "{table}: {open:?}");
        let everybodys = texts(&mut conn, &format!(
            "select polname::text from pg_policy where polrelid = 'public.{table}'::regclass and 0::oid = any(polroles)")).await;
        assert!(everybodys.is_empty(), "{table}: a policy to everybody: {everybodys:?}");
    }
}

#[tokio::test]
async fn m310_our_roles_own_nothing_bypass_nothing_and_cannot_sign_in() {
    let app = TestApp::start().await;
    let mut conn = app.owner().await;
    let powers = texts(&mut conn,
        "select rolname::text from pg_roles where rolname in ('opg_app', 'opg_service')
         and (rolbypassrls or rolsuper or rolcreaterole or rolcreatedb or rolcanlogin or rolreplication or rolinherit)").await;
    assert!(powers.is_empty(), "{powers:?}");
    let owned = texts(
        &mut conn,
        "select relname::text from pg_class where pg_get_userbyid(relowner) in ('opg_app', 'opg_service')",
    )
    .await;
    assert!(owned.is_empty(), "{owned:?}");
    let members = texts(&mut conn,
        "select r.rolname || ' in ' || g.rolname from pg_auth_members m join pg_roles r on r.oid = m.member join pg_roles g on g.oid = m.roleid
         where r.rolname in ('opg_app', 'opg_service')").await;
    assert!(members.is_empty(), "our roles are members of nothing: {members:?}");
    let definers = texts(
        &mut conn,
        "select proname::text from pg_proc where pronamespace = 'public'::regnamespace and prosecdef",
    )
    .await;
    assert!(definers.is_empty(), "{definers:?}");
    for role in ["opg_app", "opg_service"] {
        for statement in [
            "create table public.mine (id int)",
            "create schema mine",
            "truncate audit_events",
            "alter table apps disable row level security",
            "set session authorization postgres",
        ] {
            assert!(as_role(&mut conn, role, None, statement).await.is_err(), "{role}: {statement}");
        }
    }
}

#[tokio::test]
async fn m301_m310_a_tenants_transaction_reads_no_envelope_and_rewrites_no_history() {
    let app = TestApp::start().await;
    let mut conn = app.owner().await;
    let mut sealed = 0;
    for table in tables(&mut conn).await {
        for column in columns(&mut conn, &table).await {
            let secret = column.starts_with("encrypted_")
                || column.ends_with("nonce")
                || ["secret_hash", "password_hash"].contains(&column.as_str());
            if secret {
                let read =
                    as_role(&mut conn, "opg_app", None, &format!("select {column} from {table}")).await;
                assert_eq!(read, Err(DENIED.to_owned()), "{table}.{column}");
                sealed += 1;
            }
        }
    }
    assert!(sealed >= 9, "{sealed}");
    for table in ["audit_events", "usage_events"] {
        for role in ["opg_app", "opg_service"] {
            for column in columns(&mut conn, table).await {
                let changed =
                    as_role(&mut conn, role, None, &format!("update {table} set {column} = {column}")).await;
                assert_eq!(changed, Err(DENIED.to_owned()), "{role} changes {table}.{column}");
            }
            let deleted = as_role(&mut conn, role, None, &format!("delete from {table}")).await;
            assert_eq!(deleted, Err(DENIED.to_owned()), "{role} deletes from {table}");
        }
    }
}

#[tokio::test]
async fn m309_a_tenants_transaction_sees_its_own_rows_and_without_a_tenant_none() {
    let app = TestApp::start().await;
    for slug in ["tenant-a", "tenant-b"] {
        fill(&app.tenant(slug).await).await;
    }
    let mut conn = app.owner().await;
    // What no route makes yet.
    sqlx::raw_sql("insert into users select gen_random_uuid(), slug || '@example.com', '', now() from apps;
                   insert into app_members select app_id, user_id, 'owner', now() from apps join users on email = slug || '@example.com';
                   insert into user_identities select gen_random_uuid(), user_id, 'google', 'x', email, email, now() from users;
                   insert into user_passkeys select gen_random_uuid(), user_id, 'y', email::bytea, 'x', '{}', now() from users;
                   insert into tool_runs (run_id, app_id, plugin_name, tool, occurred_at, duration_us, status, logs, request_id)
                     select gen_random_uuid(), app_id, 'x', 'x', now(), 1, 'ok', '[]', 'r' from apps;
                   insert into ai_files select gen_random_uuid(), app_id, 'image/png', '', now() from apps;
                   insert into tasks select gen_random_uuid(), app_id, null, 'image', 'done', null, null, null, null, 'r',
                     gen_random_uuid(), now(), now(), now(), now() from apps;
                   insert into model_prices values ('x', 'a', 1, 1, 1, 1, 1, now()), ('x', 'b', 1, 1, 1, 1, 1, now());
                   insert into ai_sources (source_id, name, kind, base_url, position, weight, enabled, created_at, updated_at)
                     select gen_random_uuid(), slug, 'google', 'x', 0, 1, true, now(), now() from apps;
                   insert into ai_source_proxies (source_id, url) select source_id, 'http://x' from ai_sources;
                   insert into ai_models values ('x', 'a', null, 'chat', 1, true, now()), ('x', 'b', null, 'chat', 1, true, now());
                   insert into ai_model_sources select 'x', 'a', source_id from ai_sources;
                   insert into app_models select app_id, '*' from apps;
                   insert into session_artifacts (artifact_id, session_id, app_id, kind, state, created_at) select gen_random_uuid(), session_id, app_id, 'zip', 'done', now() from sessions;
                   insert into session_shares select session_id, app_id, uuid_send(session_id), now(), now() from sessions;
                   insert into budget_holds select gen_random_uuid(), budget_id, app_id, subject, period_start, 1, gen_random_uuid(), now()
                     from budget_counters;
                   insert into artifact_removals select app_id || '/', app_id, 0, 'infinity', now() from apps;
                   insert into typescript_builds select plugin_id, app_id, version, 'r', sha256, null, now() from plugin_versions;
                   insert into plugin_kv select app_id, 'tool/x', 'k', 'v', now() from apps on conflict do nothing")
        .execute(&mut conn).await.unwrap();
    let ids: BTreeMap<String, String> = sqlx::query_as("select slug, app_id::text from apps")
        .fetch_all(&mut conn)
        .await
        .unwrap()
        .into_iter()
        .collect();
    let (a, b) = (&ids["tenant-a"], &ids["tenant-b"]);
    for table in tables(&mut conn).await {
        if SERVICES.contains(&table.as_str()) {
            let column = columns(&mut conn, &table).await.remove(0);
            for statement in [
                format!("select 1 from {table}"),
                format!("delete from {table}"),
                format!("update {table} set {column} = {column}"),
                format!("insert into {table} select * from {table}"),
            ] {
                let done = as_role(&mut conn, "opg_app", Some(a), &statement).await;
                assert_eq!(done, Err(DENIED.to_owned()), "{statement}");
            }
            continue;
        }
        let total = as_role_count(&mut conn, "postgres_owner", None, &table).await;
        assert!(total >= 2, "{table}: this test puts nothing there for both tenants; add it to `fill`");
        if OPERATORS.contains(&table.as_str()) {
            let column = columns(&mut conn, &table).await.remove(0);
            for statement in [
                format!("select from {table}"),
                format!("delete from {table}"),
                format!("update {table} set {column} = {column}"),
                format!("insert into {table} select * from {table}"),
            ] {
                let done = as_role(&mut conn, "opg_app", Some(a), &statement).await;
                assert_eq!(done, Err(DENIED.to_owned()), "{statement}");
            }
            continue;
        }
        for nobody in [None, Some(""), Some("00000000-0000-0000-0000-000000000000")] {
            assert_eq!(
                as_role_count(&mut conn, "opg_app", nobody, &table).await,
                0,
                "{table} with {nobody:?}"
            );
        }
        let (of_a, of_b) = (
            as_role_count(&mut conn, "opg_app", Some(a), &table).await,
            as_role_count(&mut conn, "opg_app", Some(b), &table).await,
        );
        if SHARED.contains(&table.as_str()) {
            assert_eq!((of_a, of_b), (total, total), "{table}");
            let column = columns(&mut conn, &table).await.remove(0);
            for statement in [
                format!("delete from {table}"),
                format!("update {table} set {column} = {column}"),
                format!("insert into {table} select * from {table}"),
            ] {
                let done = as_role(&mut conn, "opg_app", Some(a), &statement).await;
                assert_eq!(done, Err(DENIED.to_owned()), "{statement}");
            }
            continue;
        }
        if PERSONS.contains(&table.as_str()) {
            assert_eq!((of_a, of_b), (0, 0), "{table}");
            let column = columns(&mut conn, &table).await.remove(0);
            for statement in [
                format!("delete from {table}"),
                format!("update {table} set {column} = {column}"),
                format!("insert into {table} select * from {table}"),
            ] {
                let done = as_role(&mut conn, "opg_app", Some(a), &statement).await;
                assert_eq!(done, Err(DENIED.to_owned()), "{statement}");
            }
            continue;
        }
        assert!(of_a > 0 && of_b > 0, "{table}: {of_a} and {of_b}");
        assert!(of_a + of_b <= total, "{table}: {of_a} + {of_b} of {total}: somebody sees another's rows");
        if !columns(&mut conn, &table).await.contains(&"app_id".to_owned()) {
            assert_eq!(of_a + of_b, total, "{table}");
            continue;
        }
        let foreign = format!("select from {table} where app_id <> '{a}'");
        assert_eq!(as_role(&mut conn, "opg_app", Some(a), &foreign).await, Ok(0), "{table}");
        // Nor can a row be written for B, moved to B, or taken from B.
        for statement in [
            format!("delete from {table} where app_id = '{b}'"),
            format!("update {table} set app_id = '{b}'"),
            format!("update {table} set app_id = app_id where app_id = '{b}'"),
        ] {
            let done = as_role(&mut conn, "opg_app", Some(a), &statement).await;
            assert!(done == Ok(0) || done == Err(DENIED.to_owned()), "{statement}: {done:?}");
        }
    }
    let forged = format!("insert into audit_events (audit_id, app_id, occurred_at, actor, surface, action, target, result, request_id)
                          values (gen_random_uuid(), '{b}', now(), 'x', 'rest', 'x', 'x', 'ok', 'x')");
    assert_eq!(as_role(&mut conn, "opg_app", Some(a), &forged).await, Err(DENIED.to_owned()));
}

async fn as_role_count(conn: &mut PgConnection, role: &str, app_id: Option<&str>, table: &str) -> u64 {
    let key = "select 1 from";
    if role == "postgres_owner" {
        return sqlx::query(AssertSqlSafe(format!("{key} {table}")))
            .execute(conn)
            .await
            .unwrap()
            .rows_affected();
    }
    as_role(conn, role, app_id, &format!("{key} {table}")).await.unwrap()
}

/// Something in every table a route writes to.
async fn fill(client: &Client) {
    client.install_tool("grabby", guests::GRABBY).await;
    let provider = json!({ "providers": { "prov": { "apiKey": "sk-0123456789abcdef", "baseUrl": "https://prov.example/v1" } } });
    assert_eq!(client.put("/v1/tenant", &provider).await.status, 200);
    assert_eq!(client.put("/v1/tenant/secrets", &json!({ "set": { "API_KEY": "value" } })).await.status, 204);
    let budget = json!({ "scope": "app", "period": "day", "limit_micro_usd": 1_000_000 });
    assert_eq!(client.put("/v1/tenant/budgets/all", &budget).await.status, 200);
    let body = json!({ "model": "demo/assistant", "session_id": "new", "messages": [{ "role": "user", "content": "hello" }] });
    let answer = client.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let invited = json!({ "email": "bob@example.com", "role": "viewer" });
    assert_eq!(client.post("/v1/tenant/members", &invited).await.status, 202);
    let command = json!({ "template": "Review $ARGUMENTS." });
    assert_eq!(client.put("/v1/tenant/commands/review", &command).await.status, 200);
    let session = json!({ "model": "demo/assistant", "permissions": { "mode": "ask" } });
    let session = client.post("/v1/sessions", &session).await.json()["id"].as_str().unwrap().to_owned();
    let prompt = json!({ "parts": [{ "type": "text", "text": "call grabby_kv_get {\"key\": \"x\"}" }] });
    let taken = client.post(&format!("/v1/sessions/{session}/prompt"), &prompt).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    let put = client.put_bytes(&format!("/v1/sessions/{session}/file?path=a"), "text/plain", "a").await;
    assert_eq!(put.status, 201, "{}", put.text());
    let push = json!({ "repo": "https://git.invalid/x.git", "branch": "main", "message": "x" });
    let pushed = client.post(&format!("/v1/sessions/{session}/export/git"), &push).await;
    assert_eq!(pushed.status, 202, "{}", pushed.text());
    // It asks, and nobody answers: a row in each table of sessions.
    while client.get(&format!("/v1/sessions/{session}")).await.json()["pending_permissions"] != 1 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_persons_transaction_sees_what_is_their_own_and_no_apps_rows() {
    let app = TestApp::open_to_people().await;
    fill(&app.tenant("acme").await).await;
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let id = |me: serde_json::Value| me["id"].as_str().unwrap().to_owned();
    let (ann, bob) = (id(ann.get("/v1/me").await.json()), id(bob.get("/v1/me").await.json()));
    let mut conn = app.owner().await;
    sqlx::raw_sql(IDENTITIES).execute(&mut conn).await.unwrap();
    sqlx::raw_sql(PASSKEYS).execute(&mut conn).await.unwrap();
    let anns_app = texts(&mut conn, "select app_id::text from apps where slug = 'ann'").await.remove(0);
    let of_ann = format!("set local role opg_app; set local opg.user_id = '{ann}';");
    let in_app = format!("{of_ann} set local opg.app_id = '{anns_app}';");
    let denied = |table: &String| [SERVICES, OPERATORS].concat().contains(&table.as_str());
    for table in tables(&mut conn).await.into_iter().filter(|table| !denied(table)) {
        let seen = with_settings(&mut conn, &of_ann, &format!("select 1 from {table}")).await.unwrap();
        let own = ["apps", "users", "app_members", "credentials", "user_identities", "user_passkeys"]
            .contains(&table.as_str());
        assert_eq!(seen, u64::from(own), "{table}: one row, where it is a person's own");
    }
    // In an app, what is the person's own is out of sight: lists of the app's hold the app's.
    for table in ["credentials", "users", "apps", "app_members", "user_identities", "user_passkeys"] {
        let count = format!("select 1 from {table}");
        let with_person = with_settings(&mut conn, &in_app, &count).await.unwrap();
        let without = as_role(&mut conn, "opg_app", Some(&anns_app), &count).await.unwrap();
        assert_eq!(with_person, without, "{table}");
    }
    for statement in [
        format!("update credentials set revoked_at = now() where user_id = '{bob}'"),
        format!("update users set name = 'x' where user_id = '{bob}'"),
        format!("update credentials set user_id = '{bob}'"),
        "update users set email = 'x'".to_owned(),
        "update users set password_hash = 'x'".to_owned(),
        "select password_hash from users".to_owned(),
        "select secret_hash from credentials".to_owned(),
        "select subject from user_identities".to_owned(),
        "delete from user_identities".to_owned(),
        "select passkey from user_passkeys".to_owned(),
        "select credential_id from user_passkeys".to_owned(),
        "delete from user_passkeys".to_owned(),
        "update apps set name = 'x'".to_owned(),
        "update app_members set role = 'owner'".to_owned(),
        "delete from app_members".to_owned(),
        format!(
            "insert into app_members select app_id, '{ann}', 'owner', now() from apps where slug <> 'ann'"
        ),
        format!(
            "insert into audit_events (audit_id, user_id, occurred_at, actor, surface, action, target, result, request_id)
             values (gen_random_uuid(), '{bob}', now(), 'x', 'rest', 'x', 'x', 'ok', 'x')"
        ),
    ] {
        let done = with_settings(&mut conn, &of_ann, &statement).await;
        assert!(done == Ok(0) || done == Err(DENIED.to_owned()), "{statement}: {done:?}");
    }
}
