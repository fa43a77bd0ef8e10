//! The corpus: `tests/corpus/sql_cases.jsonl`, every case of it through HTTP.
//!
//! `reject`: a clean error, nothing changed. `allow`: it is answered, and rightly. `row-limited`: answered within
//! the limits, or refused as too large. `timeout`: ended in time, while the neighbour is served.
//! A case that fails is printed as a row of its own; the last line counts.

use super::{
    Db, EXECUTE, QUERY, apps,
    fixture::{CANARIES, Fixture, Traps, changes},
    texts,
};
use futures_util::{StreamExt, future, stream};
use opg_tests::app::{Answer, Setup, send};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

const CASES: &str = include_str!("../../corpus/sql_cases.jsonl");

/// What a parser of statements cannot know: that an object with the right name was made by somebody else.
const UNKNOWABLE: &[&str] = &["xdml-29"];

/// How long a query may run, and a change.
pub(super) const QUERY_TIME_MAX: Duration = Duration::from_secs(5);
const EXECUTE_TIME_MAX: Duration = Duration::from_secs(15);
/// How late it may end where the machine is busy with other tests.
pub(super) const LATENESS_MAX: Duration = Duration::from_secs(10);
/// What a result may hold, and what JSON and its names may add.
pub(super) const RESULT_BYTES_MAX: usize = (4 << 20) + (1 << 20);
/// So many bombs at once: each takes a core and up to the memory of one server process.
const BOMBS_AT_ONCE: usize = 3;

/// One case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) sql: String,
    pub(super) is_query: bool,
    pub(super) expect: String,
    why: String,
}

/// All of them, in their order.
pub(super) fn cases() -> Vec<Case> {
    let text = |json: &Value, name: &str| json[name].as_str().unwrap().to_owned();
    let cases = CASES.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).map(|json| Case {
        id: text(&json, "id"),
        sql: text(&json, "sql"),
        is_query: json["mode"] == "query",
        expect: text(&json, "expect"),
        why: text(&json, "why"),
    });
    cases.collect()
}

fn cases_of(expect: &str, is_query: bool) -> Vec<Case> {
    cases().into_iter().filter(|case| case.expect == expect && case.is_query == is_query).collect()
}

#[test]
fn the_corpus_is_whole() {
    let mut counts = BTreeMap::new();
    for case in cases() {
        *counts.entry(case.expect).or_insert(0) += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(expect, count)| (expect.as_str(), *count)).collect();
    assert_eq!(counts, [("allow", 88), ("reject", 350), ("row-limited", 10), ("timeout", 13)]);
}

/// How many of how many went as they should, by what was expected.
#[derive(Default)]
pub(super) struct Tally {
    counts: BTreeMap<String, (usize, usize)>,
    failed: Vec<String>,
}

impl Tally {
    pub(super) fn note(&mut self, case: &Case, result: Result<(), String>) {
        let count = self.counts.entry(case.expect.clone()).or_default();
        count.1 += 1;
        match result {
            Ok(()) => count.0 += 1,
            Err(_) if UNKNOWABLE.contains(&case.id.as_str()) => println!("{}: no parser can know", case.id),
            Err(what) => {
                let mode = if case.is_query { "query" } else { "execute" };
                let row =
                    format!("{} {mode} {}: {what}\n    {}\n    {}", case.id, case.expect, case.sql, case.why);
                println!("{row}");
                self.failed.push(case.id.clone());
            }
        }
    }

    #[track_caller]
    pub(super) fn all_passed(self, count: usize) {
        println!("{self}");
        assert_eq!(self.counts.values().map(|(_, all)| all).sum::<usize>(), count, "every case was run");
        assert!(self.failed.is_empty(), "{self}; failed: {}", self.failed.join(" "));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            ("reject", "refused"),
            ("allow", "allowed"),
            ("row-limited", "row-limited"),
            ("timeout", "timeout"),
        ];
        let counted = words.iter().filter_map(|(expect, word)| {
            self.counts.get(*expect).map(|(passed, all)| format!("{word} {passed}/{all}"))
        });
        f.write_str(&counted.collect::<Vec<_>>().join(", "))
    }
}

async fn ask(db: &Db, case: &Case, sql: &str, limit: Option<u32>) -> Answer {
    let mut body = json!({ "sql": sql });
    if let Some(limit) = limit {
        body["limit"] = json!(limit);
    }
    let request = db.client.request("POST", if case.is_query { QUERY } else { EXECUTE });
    send(request.timeout(Duration::from_secs(60)).json(&body)).await
}

/// Whether this is an error that says what was wrong, and nothing that is not the caller's.
fn refusal(answer: &Answer, sql: &str) -> Result<(), String> {
    let text = answer.text();
    let shown: String = text.chars().take(300).collect();
    let clean = matches!(answer.status, 403 | 422)
        && answer.header("content-type") == "application/problem+json"
        && answer.json()["detail"].as_str().is_some_and(|detail| !detail.is_empty())
        && answer.json()["code"].as_str().is_some_and(|code| {
            let codes = [
                "namespace_violation",
                "statement_denied",
                "function_denied",
                "type_denied",
                "syntax_error",
                "too_complex",
                "sql_too_long",
                "too_many_statements",
                "sql_error",
                "resource_limit",
            ];
            codes.contains(&code)
        });
    if !clean {
        return Err(format!("{} {shown}", answer.status));
    }
    match CANARIES.iter().find(|canary| text.contains(**canary) && !sql.contains(**canary)) {
        Some(canary) => Err(format!("it leaks {canary}: {shown}")),
        None => Ok(()),
    }
}

async fn start() -> Fixture {
    Fixture::new(Setup::default(), Traps::Planted).await
}

/// Every spelling of every case is refused, and at the end all is as it was.
async fn refuse(fixture: &Fixture, cases: &[Case]) -> Tally {
    let mut tally = Tally::default();
    let mut conn = apps(&fixture.app).await;
    let before = fixture.state(&mut conn, true).await;
    for case in cases {
        let mut result = Ok(());
        for sql in fixture.spellings(&case.sql) {
            let answer = ask(&fixture.demo, case, &sql, None).await;
            result = result.and_then(|()| refusal(&answer, &sql).map_err(|what| format!("{sql}: {what}")));
        }
        tally.note(case, result);
    }
    let changed = changes(&before, &fixture.state(&mut conn, true).await);
    assert!(changed.is_empty(), "what was refused changed something: {changed:#?}");
    tally
}

/// Every case is answered, with as many rows as the statement has where nothing stands before the database.
async fn allow(fixture: &Fixture, cases: &[Case]) -> Tally {
    let mut tally = Tally::default();
    let mut conn = apps(&fixture.app).await;
    let before = fixture.state(&mut conn, false).await;
    for case in cases {
        let answer = ask(&fixture.demo, case, &case.sql, None).await;
        tally.note(case, answered(fixture, &mut conn, case, &answer).await);
    }
    let changed = changes(&before, &fixture.state(&mut conn, false).await);
    assert!(changed.is_empty(), "a dry run changed something: {changed:#?}");
    tally
}

async fn answered(
    fixture: &Fixture,
    conn: &mut PgConnection,
    case: &Case,
    answer: &Answer,
) -> Result<(), String> {
    const ROWS_DEFAULT: u64 = 100;
    if answer.status != 200 {
        return Err(format!("{} {}", answer.status, answer.text()));
    }
    let json = answer.json();
    let direct = directly(fixture, conn, case).await?;
    let (said, wanted) = if case.is_query {
        let said = json!([json["row_count"], json["rows"].as_array().map(Vec::len), json["truncated"]]);
        let rows = direct.min(ROWS_DEFAULT);
        (said, json!([rows, rows, direct > ROWS_DEFAULT]))
    } else {
        (json!([json["applied"], json["dry_run"], json["affected"]]), json!([false, true, direct]))
    };
    if said == wanted {
        Ok(())
    } else {
        Err(format!("it says {said}, the database {wanted}: {}", answer.text()))
    }
}

/// How many rows a statement has or touches without us, undone again.
pub(super) async fn directly(fixture: &Fixture, conn: &mut PgConnection, case: &Case) -> Result<u64, String> {
    let mut tx = conn.begin().await.map_err(|error| error.to_string())?;
    let set_up =
        format!("set local role {}; set local search_path = {}", fixture.own.owner, fixture.own.schema);
    sqlx::raw_sql(AssertSqlSafe(set_up)).execute(&mut *tx).await.map_err(|error| error.to_string())?;
    let statement = sqlx::query(AssertSqlSafe(case.sql.as_str()));
    let count = if case.is_query {
        statement.fetch_all(&mut *tx).await.map(|rows| rows.len() as u64)
    } else {
        statement.execute(&mut *tx).await.map(|done| done.rows_affected())
    };
    tx.rollback().await.map_err(|error| error.to_string())?;
    count.map_err(|error| format!("the fixture itself refuses it: {error}"))
}

/// Answered within the limits, whatever limit was asked for, or refused as too large.
async fn limit_rows(fixture: &Fixture, cases: &[Case]) -> Tally {
    let mut tally = Tally::default();
    for case in cases {
        let mut result = Ok(());
        for (limit, rows_max) in [(None, 100), (Some(7), 7), (Some(1000), 1000)] {
            let answer = ask(&fixture.demo, case, &case.sql, limit).await;
            result = result.and_then(|()| limited(&answer, rows_max));
        }
        tally.note(case, result);
    }
    tally
}

fn limited(answer: &Answer, rows_max: u64) -> Result<(), String> {
    let shown: String = answer.text().chars().take(300).collect();
    if answer.body.len() > RESULT_BYTES_MAX {
        return Err(format!("{} bytes", answer.body.len()));
    }
    if answer.status == 413 {
        let code = answer.json()["code"].clone();
        return if code == "result_too_large" { Ok(()) } else { Err(shown) };
    }
    if answer.status != 200 {
        return Err(format!("{} {shown}", answer.status));
    }
    let json = answer.json();
    let rows = json["rows"].as_array().unwrap().len() as u64;
    let cut = json["truncated"] == true || json["clipped"].as_array().is_some_and(|cells| !cells.is_empty());
    if rows > rows_max || json["row_count"] != rows {
        return Err(format!("{rows} rows of {rows_max}: {shown}"));
    }
    if rows == rows_max && !cut {
        return Err(format!("it does not say that there is more: {shown}"));
    }
    Ok(())
}

/// Does something while the neighbour asks all the time, and is answered each time.
pub(super) async fn beside_a_neighbour<T>(
    fixture: &Fixture,
    asked: &AtomicU32,
    work: impl Future<Output = T>,
) -> T {
    let over = AtomicBool::new(false);
    let neighbour = async {
        let mut worst = Duration::ZERO;
        while !over.load(Ordering::Relaxed) {
            let began = Instant::now();
            let answer =
                fixture.other.query("SELECT secret FROM app_other__secrets ORDER BY id LIMIT 1").await;
            assert_eq!(answer.status, 200, "the neighbour is not served: {}", answer.text());
            assert_eq!(answer.json()["rows"], json!([{ "secret": "s3cr3t-of-other" }]));
            worst = worst.max(began.elapsed());
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        worst
    };
    let work = async {
        let done = work.await;
        over.store(true, Ordering::Relaxed);
        done
    };
    let (worst, done) = future::join(neighbour, work).await;
    println!("the neighbour was served {} times, at worst in {worst:?}", asked.load(Ordering::Relaxed));
    assert!(worst < QUERY_TIME_MAX, "the neighbour waited {worst:?}");
    done
}

/// Every bomb ends in time; meanwhile the neighbour is served, and after it nothing is left of it.
async fn end_in_time(fixture: &Fixture, cases: &[Case]) -> Tally {
    // A connection of before: a server that lost a process would have ended it.
    let mut witness = apps(&fixture.app).await;
    let before = fixture.state(&mut witness, false).await;
    let asked = AtomicU32::new(0);
    let bombs = async {
        let run = |case: &Case| {
            let case = case.clone();
            let asked = &asked;
            async move {
                let (began, asked_before) = (Instant::now(), asked.load(Ordering::Relaxed));
                // All the rows one may have: of fewer, a cursor computes fewer.
                let limit = case.is_query.then_some(1000);
                let answer = ask(&fixture.demo, &case, &case.sql, limit).await;
                let served = asked.load(Ordering::Relaxed) - asked_before;
                let result = ended(&case, &answer, began.elapsed(), served);
                (case, result)
            }
        };
        stream::iter(cases.iter().map(run)).buffer_unordered(BOMBS_AT_ONCE).collect::<Vec<_>>().await
    };
    let results = beside_a_neighbour(fixture, &asked, bombs).await;
    let mut tally = Tally::default();
    for (case, result) in results {
        tally.note(&case, result);
    }
    let left = format!(
        "select query from pg_stat_activity where usename in ('{}', '{}') and state <> 'idle'",
        fixture.own.owner, fixture.own.reader
    );
    let gone = Instant::now() + LATENESS_MAX;
    while !texts(&mut witness, &left).await.is_empty() {
        assert!(Instant::now() < gone, "a statement goes on: {:?}", texts(&mut witness, &left).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let changed = changes(&before, &fixture.state(&mut witness, false).await);
    assert!(changed.is_empty(), "a bomb changed something: {changed:#?}");
    assert_eq!(
        fixture.demo.rows("SELECT 1 AS one").await,
        json!([{ "one": 1 }]),
        "and its app is served again"
    );
    tally
}

fn ended(case: &Case, answer: &Answer, took: Duration, served: u32) -> Result<(), String> {
    let time_max = if case.is_query { QUERY_TIME_MAX } else { EXECUTE_TIME_MAX };
    let text = answer.text();
    if took > time_max + LATENESS_MAX {
        return Err(format!("it took {took:?}"));
    }
    if took > Duration::from_secs(1) && served == 0 {
        return Err("the neighbour was not served meanwhile".to_owned());
    }
    let code = answer.json()["code"].clone();
    let ended = match answer.status {
        408 => code == "statement_timeout",
        413 => code == "result_too_large",
        422 => true,
        507 => !case.is_query && code == "quota_exceeded",
        _ => false,
    };
    if ended { Ok(()) } else { Err(format!("{} after {took:?}: {text}", answer.status)) }
}

#[tokio::test]
async fn m097_every_query_of_the_corpus_that_must_be_refused_is_refused_and_changes_nothing() {
    let cases = cases_of("reject", true);
    refuse(&start().await, &cases).await.all_passed(cases.len());
}

#[tokio::test]
async fn m098_every_change_of_the_corpus_that_must_be_refused_is_refused_and_changes_nothing() {
    let cases = cases_of("reject", false);
    refuse(&start().await, &cases).await.all_passed(cases.len());
}

#[tokio::test]
async fn m097_m098_every_statement_of_the_corpus_that_is_allowed_is_answered_rightly() {
    let cases = [cases_of("allow", true), cases_of("allow", false)].concat();
    allow(&start().await, &cases).await.all_passed(cases.len());
}

#[tokio::test]
async fn m147_m149_no_query_of_the_corpus_gets_more_rows_or_bytes_than_the_limits() {
    let cases = cases_of("row-limited", true);
    limit_rows(&start().await, &cases).await.all_passed(cases.len());
}

#[tokio::test]
async fn m148_every_bomb_of_the_corpus_ends_in_time_and_the_neighbour_is_served() {
    let cases = [cases_of("timeout", true), cases_of("timeout", false)].concat();
    end_in_time(&start().await, &cases).await.all_passed(cases.len());
}
