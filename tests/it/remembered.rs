//! What a host goes by without asking again, and that a change counts for the very next request, on every host.

use opg_tests::{
    app::{Client, TestApp},
    guests,
    upstream::ScriptedUpstream,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use std::time::{Duration, Instant};

const KEY: &str = "sk-the-key-0123456789";

fn providers(upstream: &ScriptedUpstream) -> Value {
    json!({ "openai": { "apiKey": KEY, "baseUrl": upstream.base_url() } })
}

async fn chat(client: &Client) -> u16 {
    client.chat("openai/scripted", "hello").await.status
}

/// The tools the upstream was offered last.
fn offered(upstream: &ScriptedUpstream) -> Vec<String> {
    let body = upstream.received().pop().unwrap().body;
    let tools = body["tools"].as_array().cloned().unwrap_or_default();
    tools.iter().map(|tool| tool["function"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Transactions of the whole database so far; a statement by itself is one.
pub(crate) async fn transactions(conn: &mut PgConnection) -> i64 {
    // Each connection tells of its own when it has been idle for ten seconds, at the latest.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let query = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()";
    sqlx::query_scalar(query).fetch_one(&mut *conn).await.unwrap()
}

#[tokio::test]
async fn a_chat_asks_for_its_credential_and_writes_its_use_and_asks_the_database_nothing_else() {
    const CHATS: i64 = 300;
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    for _ in 0..3 {
        assert_eq!(chat(&acme).await, 200);
    }
    let mut owner = app.owner().await;
    let before = transactions(&mut owner).await;
    let began = Instant::now();
    for _ in 0..CHATS {
        assert_eq!(chat(&acme).await, 200);
    }
    let time = began.elapsed();
    let after = transactions(&mut owner).await;
    // What goes on by itself is as much in the same time without a chat; the sweep of each minute is in one of two such
    // times at the most, and so not in the quieter one.
    let mut by_itself = i64::MAX;
    let mut last = after;
    for _ in 0..2 {
        tokio::time::sleep(time).await;
        let now = transactions(&mut owner).await;
        by_itself = by_itself.min(now - last);
        last = now;
    }
    let took = after - before - by_itself;
    assert!(
        (2 * CHATS - 30..5 * CHATS / 2).contains(&took),
        "{took} transactions for {CHATS} chats, and {by_itself}"
    );
    assert_eq!(app.sql("select count(*)::text from usage_events").await, [(CHATS + 3).to_string()]);
}

#[tokio::test]
async fn a_credential_revoked_on_one_host_is_refused_by_the_other_at_once() {
    let one = TestApp::local().await;
    let other = one.another_host().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = one.tenant_of("acme", &upstream).await;
    for _ in 0..20 {
        let wanted = json!({ "kind": "dev_grant", "scopes": ["chat:write"] });
        let made = acme.post("/v1/tenant/tokens", &wanted).await.json();
        let grant = other.client(made["token"].as_str());
        assert_eq!(chat(&grant).await, 200);
        assert_eq!(chat(&grant).await, 200);
        let gone = acme.delete(&format!("/v1/tenant/tokens/{}", made["id"].as_str().unwrap())).await;
        assert_eq!(gone.status, 204);
        assert_eq!(chat(&grant).await, 401);
    }
    let there = acme.elsewhere(&other.base_url());
    assert_eq!(chat(&there).await, 200);
    one.sql("update apps set status = 'suspended' returning slug").await;
    assert_eq!(chat(&there).await, 403);
    one.sql("update apps set status = 'active' returning slug").await;
    assert_eq!(chat(&there).await, 200);
    assert_eq!(one.operator().delete("/v1/admin/tenants/acme?confirm=acme").await.status, 204);
    assert_eq!(chat(&there).await, 401);
}

#[tokio::test]
async fn what_is_changed_on_one_host_counts_for_the_next_request_to_the_other() {
    let one = TestApp::local().await;
    let other = one.another_host().await;
    let (first, second) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let acme = one.tenant_of("acme", &first).await;
    let there = acme.elsewhere(&other.base_url());
    for _ in 0..2 {
        assert_eq!((chat(&acme).await, chat(&there).await), (200, 200));
    }
    assert_eq!((first.received().len(), offered(&first).len()), (4, 0));

    let moved = json!({ "name": "acme", "providers": providers(&second),
        "modelAliases": { "fast": "openai/scripted" } });
    assert_eq!(acme.put("/v1/tenant", &moved).await.status, 200);
    assert_eq!(chat(&there).await, 200);
    assert_eq!(there.chat("fast", "hello").await.status, 200, "the new name");
    assert_eq!((first.received().len(), second.received().len()), (4, 2), "at the new address");
    assert_eq!(second.received()[0].headers["authorization"], format!("Bearer {KEY}"));

    acme.put_bytes("/v1/tenant/tools/word-count", "application/wasm", guests::WORD_COUNT).await;
    assert_eq!(chat(&there).await, 200);
    assert_eq!(offered(&second), ["word-count"]);
    assert_eq!(acme.delete("/v1/tenant/tools/word-count").await.status, 204);
    assert_eq!(chat(&there).await, 200);
    assert!(offered(&second).is_empty());

    let price = json!({ "input_micro_usd_per_mtok": 1_000_000, "output_micro_usd_per_mtok": 1_000_000 });
    let path = "/platform/v1/ai/prices/openai/scripted";
    assert_eq!(one.operator().put(path, &price).await.status, 204);
    assert_eq!(chat(&there).await, 200);
    assert!(there.uses().await.last().unwrap()["cost_micro_usd"].as_i64().unwrap() > 0, "at the new price");

    let nothing = json!({ "scope": "app", "period": "day", "limit_micro_usd": 0 });
    assert_eq!(acme.put("/v1/tenant/budgets/none", &nothing).await.status, 200);
    assert_eq!(chat(&there).await, 402);
    assert_eq!(acme.delete("/v1/tenant/budgets/none").await.status, 204);
    assert_eq!(chat(&there).await, 200);

    let before = second.received().len();
    assert_eq!(acme.delete("/v1/keys/openai").await.status, 204);
    // The address stays, and may be one that wants no key: it is asked without.
    assert_eq!(chat(&there).await, 200);
    assert_eq!(second.received().len(), before + 1);
    assert!(second.received()[before].headers.get("authorization").is_none(), "its key is gone");
}

#[tokio::test]
async fn what_is_remembered_of_one_app_is_nothing_to_another() {
    let app = TestApp::local().await;
    let upstreams = [ScriptedUpstream::start().await, ScriptedUpstream::start().await];
    let mut clients = vec![];
    for (slug, upstream) in ["tenant-a", "tenant-b"].into_iter().zip(&upstreams) {
        let providers =
            json!({ "openai": { "apiKey": format!("sk-of-{slug}-0123"), "baseUrl": upstream.base_url() } });
        clients.push(app.tenant_with(json!({ "id": slug, "providers": providers })).await);
    }
    for _ in 0..2 {
        for client in &clients {
            assert_eq!(chat(client).await, 200);
        }
    }
    for (slug, upstream) in ["tenant-a", "tenant-b"].into_iter().zip(&upstreams) {
        let keys: Vec<_> =
            upstream.received().iter().map(|request| request.headers["authorization"].clone()).collect();
        assert_eq!(keys, [format!("Bearer sk-of-{slug}-0123"), format!("Bearer sk-of-{slug}-0123")]);
    }
}

#[tokio::test]
async fn each_change_of_what_is_remembered_changes_the_version_and_nothing_else_does() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    let bystander = app.tenant("bystander").await;
    for client in [&acme, &bystander] {
        client.install_tool("grabby", guests::GRABBY).await;
        let budget = json!({ "scope": "app", "period": "day", "limit_micro_usd": 1_000_000 });
        assert_eq!(client.put("/v1/tenant/budgets/all", &budget).await.status, 200);
    }
    let mut owner = app.owner().await;
    sqlx::raw_sql(
        "insert into model_prices values ('x', 'a', 1, 1, 1, 1, 1, now());
         insert into ai_sources (source_id, name, kind, base_url, position, weight, enabled, created_at, updated_at)
           values (gen_random_uuid(), 's', 'google', 'x', 0, 1, true, now(), now());
         insert into ai_models values ('x', 'a', null, 'chat', 1, true, now());",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let of_acme = "where app_id = (select app_id from apps where slug = 'acme')";
    let mut change = async |statement: String| {
        let read =
            "select (select array_agg(version order by slug) from app_versions join apps using (app_id))
                      || (select version from platform_version)";
        let before: Vec<i64> = sqlx::query_scalar(read).fetch_one(&mut owner).await.unwrap();
        let done = sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut owner).await.unwrap();
        assert!(done.rows_affected() > 0, "{statement}");
        let after: Vec<i64> = sqlx::query_scalar(read).fetch_one(&mut owner).await.unwrap();
        let changed: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before != after).collect();
        (changed[0], changed[1], changed[2])
    };
    for statement in [
        format!("update apps set default_model = 'a/b' {of_acme}"),
        format!("update apps set model_aliases = '{{}}' {of_acme}"),
        format!("update plugins set active_version = null {of_acme}"),
        format!("update budgets set limit_micro_usd = 7 {of_acme}"),
        format!("update provider_keys set base_url = 'https://x.example' {of_acme}"),
        format!("delete from provider_keys {of_acme}"),
        format!("delete from budgets {of_acme}"),
        format!("insert into app_models select app_id, '*' from apps {of_acme}"),
        format!(
            "insert into plugin_grants select app_id, 'tool', 'x', 'http', 'x', null, now() from apps {of_acme}"
        ),
        format!(
            "insert into typescript_builds select plugin_id, app_id, version, 'r', sha256, null, now()
                 from plugin_versions {of_acme}"
        ),
    ] {
        assert_eq!(change(statement.clone()).await, (true, false, false), "{statement}");
    }
    for statement in [
        "update model_prices set input_micro_usd_per_mtok = 2",
        "update ai_sources set weight = 2",
        "insert into ai_model_sources select 'x', 'a', source_id from ai_sources",
        "update ai_models set enabled = false",
        "delete from ai_models",
    ] {
        assert_eq!(change(statement.to_owned()).await, (false, false, true), "{statement}");
    }
    assert_eq!(acme.chat("demo/assistant", "hello").await.status, 200);
    for statement in [
        "update credentials set last_used_at = now()".to_owned(),
        format!("update apps set updated_at = now() {of_acme}"),
    ] {
        assert_eq!(change(statement.clone()).await, (false, false, false), "{statement}");
    }
}
