//! The corpus out of the sandbox: 60 of its cases, of every sort, through a guest that was granted everything.

use super::{
    apps,
    corpus::{
        Case, LATENESS_MAX, QUERY_TIME_MAX, RESULT_BYTES_MAX, Tally, beside_a_neighbour, cases, directly,
    },
    fixture::{CANARIES, Fixture, Traps, changes},
};
use opg_tests::{
    app::{Answer, Setup},
    guests,
};
use serde_json::{Value, json};
use std::{
    sync::atomic::AtomicU32,
    time::{Duration, Instant},
};

/// How many of each sort.
const SAMPLE: &[(&str, usize)] = &[("reject", 42), ("allow", 10), ("row-limited", 4), ("timeout", 4)];

/// So many cases of a sort, evenly taken from all of it.
fn sample(expect: &str) -> Vec<Case> {
    let all: Vec<_> = cases().into_iter().filter(|case| case.expect == expect).collect();
    let count = SAMPLE.iter().find(|(sort, _)| *sort == expect).unwrap().1;
    (0..count).map(|at| all[at * all.len() / count].clone()).collect()
}

async fn ask(fixture: &Fixture, case: &Case, sql: &str, limit: Option<u32>) -> Answer {
    let tool = if case.is_query { "db_query" } else { "db_execute" };
    let input = if case.is_query { json!({ "sql": sql, "limit": limit }) } else { json!({ "sql": sql }) };
    fixture.demo.client.invoke(tool, input).await
}

/// What the host answered the guest.
fn seen(answer: &Answer) -> Result<Value, String> {
    let output = answer.json()["output"].clone();
    if answer.status == 200 && output.is_object() { Ok(output) } else { Err(answer.text()) }
}

fn refusal(answer: &Answer, sql: &str) -> Result<(), String> {
    let output = seen(answer)?;
    let (kind, text) = (output["error"].as_str().unwrap_or_default(), answer.text());
    let explained = output["message"].as_str().is_some_and(|message| message.len() > 10);
    if !["denied", "invalid", "limit"].contains(&kind) || !explained {
        return Err(text);
    }
    match CANARIES.iter().find(|canary| text.contains(**canary) && !sql.contains(**canary)) {
        Some(canary) => Err(format!("it leaks {canary}: {text}")),
        None => Ok(()),
    }
}

async fn answered(fixture: &Fixture, case: &Case) -> Result<(), String> {
    // A guest's change is kept, so that the database is asked first.
    let direct = directly(fixture, &mut apps(&fixture.app).await, case).await?;
    let output = seen(&ask(fixture, case, &case.sql, None).await)?;
    let (said, wanted) = if case.is_query {
        (output["ok"]["row_count"].clone(), json!(direct.min(100)))
    } else {
        (output["ok"]["affected"].clone(), json!(direct))
    };
    if said == wanted { Ok(()) } else { Err(format!("{wanted} rows: {output}")) }
}

fn limited(answer: &Answer, rows_max: usize) -> Result<(), String> {
    let output = seen(answer)?;
    if output["error"] == "limit" {
        return Ok(());
    }
    let rows = output["ok"]["rows"].as_array().map_or(usize::MAX, Vec::len);
    let bytes = answer.body.len();
    if rows <= rows_max && bytes <= RESULT_BYTES_MAX {
        Ok(())
    } else {
        Err(format!("{rows} rows, {bytes} bytes"))
    }
}

#[tokio::test]
async fn m362_sixty_cases_of_the_corpus_end_out_of_the_sandbox_as_they_should() {
    let fixture = Fixture::new(Setup::default(), Traps::Planted).await;
    fixture.demo.client.install_tool("db", guests::DB).await;
    let mut tally = Tally::default();
    let mut conn = apps(&fixture.app).await;

    let before = fixture.state(&mut conn, true).await;
    for case in sample("reject") {
        let mut result = Ok(());
        for sql in fixture.spellings(&case.sql) {
            let answer = ask(&fixture, &case, &sql, None).await;
            result = result.and_then(|()| refusal(&answer, &sql).map_err(|what| format!("{sql}: {what}")));
        }
        tally.note(&case, result);
    }
    let changed = changes(&before, &fixture.state(&mut conn, true).await);
    assert!(changed.is_empty(), "what was refused changed something: {changed:#?}");

    let without_sequences = fixture.state(&mut conn, false).await;
    for case in sample("row-limited") {
        let mut result = Ok(());
        for rows_max in [7, 1000] {
            let answer = ask(&fixture, &case, &case.sql, Some(rows_max)).await;
            result = result.and_then(|()| limited(&answer, rows_max as usize));
        }
        tally.note(&case, result);
    }
    let asked = AtomicU32::new(0);
    let bombs = async {
        for case in sample("timeout") {
            let began = Instant::now();
            let answer = ask(&fixture, &case, &case.sql, Some(1000)).await;
            let time_max = if case.is_query { QUERY_TIME_MAX } else { Duration::from_secs(15) };
            let result = refusal(&answer, &case.sql).and_then(|()| {
                let took = began.elapsed();
                if took < time_max + LATENESS_MAX { Ok(()) } else { Err(format!("it took {took:?}")) }
            });
            tally.note(&case, result);
        }
    };
    beside_a_neighbour(&fixture, &asked, bombs).await;
    let changed = changes(&without_sequences, &fixture.state(&mut conn, false).await);
    assert!(changed.is_empty(), "a bomb changed something: {changed:#?}");

    for case in sample("allow") {
        let result = answered(&fixture, &case).await;
        tally.note(&case, result);
    }
    tally.all_passed(60);
    let theirs = fixture.other.rows("SELECT count(*)::int4 AS n FROM app_other__secrets").await;
    assert_eq!(theirs, json!([{ "n": 3 }]));
}
