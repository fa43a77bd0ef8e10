//! Two apps at work at once: neither sees the other, neither keeps the other waiting, and afterwards all is calm.

use super::{Db, Workspace, apps, texts};
use futures_util::future::join_all;
use opg_tests::app::{Answer, Setup, TestApp};
use serde_json::{Value, json};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

const WRITERS: usize = 2;
const WRITES: usize = 40;
const READERS: usize = 3;
const READS: usize = 100;
/// Time, memory and disk: the first is stopped after five seconds, the others when they hit their limit.
const BOMBS: &[&str] = &[
    "SELECT count(*) FROM generate_series(1,200000) a, generate_series(1,200000) b",
    "SELECT repeat(repeat(repeat(chr(120),1000),1000),1000)",
    "SELECT * FROM generate_series(1,1000000) a CROSS JOIN generate_series(1,1000) b ORDER BY random()",
    "SELECT array_agg(repeat('x', 1000)) FROM generate_series(1, 10000000)",
];
/// Connections a host keeps of one login while nobody uses them.
const KEPT_PER_LOGIN: usize = 2;
/// How long it may take until nothing runs any more.
const CALM_AFTER: Duration = Duration::from_secs(30);
/// What the server may keep of it: caches of the connections that stay.
const MEMORY_KEPT_MAX: u64 = 64 << 20;

/// Told to come back later is an answer under load; anything else is not.
fn is_done(answer: &Answer) -> bool {
    assert!(matches!(answer.status, 200 | 429 | 503), "{} {}", answer.status, answer.text());
    assert!(answer.status == 200 || !answer.header("retry-after").is_empty(), "{}", answer.text());
    answer.status == 200
}

async fn write(db: &Db, done: &AtomicU32) {
    let sql = format!("INSERT INTO app_{}__log (who) VALUES ($1)", db.slug);
    let body =
        json!({ "sql": sql, "params": [db.slug], "dryRun": false, "confirm": format!("apply:{}", db.slug) });
    for _ in 0..WRITES {
        if is_done(&db.run(body.clone()).await) {
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn read(db: &Db, done: &AtomicU32) {
    let sql = format!("SELECT who, count(*)::int4 AS n FROM app_{}__log GROUP BY who", db.slug);
    let mut last = 0;
    for _ in 0..READS {
        let answer = db.query(&sql).await;
        if !is_done(&answer) {
            continue;
        }
        let rows = answer.json()["rows"].clone();
        assert_eq!(rows.as_array().map(Vec::len), Some(1), "it sees its own rows alone: {rows}");
        assert_eq!(rows[0]["who"], json!(db.slug));
        let count = rows[0]["n"].as_u64().unwrap();
        assert!(count >= last, "what was there is there: {count} after {last}");
        last = count;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

async fn explode(db: &Db) {
    for sql in BOMBS {
        let answer = db.query(sql).await;
        let code = answer.json()["code"].clone();
        let clean = match answer.status {
            408 => code == "statement_timeout",
            413 => code == "result_too_large",
            422 => code == "resource_limit" || code == "sql_error",
            429 | 503 => true,
            _ => false,
        };
        assert!(clean, "{sql}: {} {}", answer.status, answer.text());
    }
}

/// Memory of the server's processes that is theirs alone: not the shared buffers, which fill with use.
fn server_memory(app: &TestApp) -> u64 {
    let postmaster = app.running.app.server.embedded().and_then(|server| server.pid()).expect("it is ours");
    let mut total = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // `pid (name) state ppid …`, and a name may hold anything.
        let parent =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        if pid != postmaster && parent != Some(postmaster) {
            continue;
        }
        let Ok(smaps) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let line = smaps.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        total += kib.unwrap_or_default() << 10;
    }
    assert!(total > 1 << 20, "a server has some memory: {total}");
    total
}

async fn connections(app: &TestApp, of: &[Workspace]) -> (usize, usize) {
    let roles: Vec<_> =
        of.iter().flat_map(|w| [format!("'{}'", w.owner), format!("'{}'", w.reader)]).collect();
    let query = format!("select state from pg_stat_activity where usename in ({})", roles.join(", "));
    let states = texts(&mut apps(app).await, &query).await;
    (states.len(), states.iter().filter(|state| *state != "idle").count())
}

#[tokio::test]
async fn two_apps_under_load_do_not_see_each_other_and_all_is_calm_afterwards() {
    let app = TestApp::set_up(Setup { own_database: true, ..Setup::default() }, |_| {}).await;
    let (demo, other) = (Db::new(&app, "demo").await, Db::new(&app, "other").await);
    let workspaces = [Workspace::of(&app, "demo").await, Workspace::of(&app, "other").await];
    for db in [&demo, &other] {
        db.apply(&format!("CREATE TABLE app_{}__log (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, who text NOT NULL)", db.slug)).await;
        db.apply(&format!("INSERT INTO app_{0}__log (who) VALUES ('{0}')", db.slug)).await;
        db.rows(&format!("SELECT count(*) FROM app_{}__log", db.slug)).await;
    }
    let mut witness = apps(&app).await;
    let memory = server_memory(&app);
    let open = workspaces.len() * 2 * KEPT_PER_LOGIN;

    let began = Instant::now();
    let counts: [(AtomicU32, AtomicU32); 2] = Default::default();
    let work = [&demo, &other].into_iter().zip(&counts).map(|(db, (written, read_))| async move {
        let writers = join_all((0..WRITERS).map(|_| write(db, written)));
        let readers = join_all((0..READERS).map(|_| read(db, read_)));
        tokio::join!(writers, readers, explode(db));
    });
    join_all(work).await;
    println!("load took {:?}: {counts:?}", began.elapsed());

    for (db, (written, read)) in [&demo, &other].into_iter().zip(&counts) {
        let (written, read) = (written.load(Ordering::Relaxed), read.load(Ordering::Relaxed));
        assert!(written as usize > WRITERS * WRITES / 2, "{written} writes of {}", db.slug);
        assert!(read as usize > READERS * READS / 2, "{read} reads of {}", db.slug);
        let rows =
            db.rows(&format!("SELECT who, count(*)::int4 AS n FROM app_{}__log GROUP BY who", db.slug)).await;
        assert_eq!(
            rows,
            json!([{ "who": db.slug, "n": written + 1 }]),
            "what was said to be written is there, once"
        );
    }
    let calm = Instant::now() + CALM_AFTER;
    loop {
        let (now_open, active) = connections(&app, &workspaces).await;
        let now_memory = server_memory(&app);
        if active == 0 && now_open <= open && now_memory <= memory + MEMORY_KEPT_MAX {
            println!("memory {memory} became {now_memory}; {now_open} connections are kept");
            break;
        }
        assert!(
            Instant::now() < calm,
            "{now_open} connections of {open} that may be kept, {active} active, {now_memory} bytes of {memory} before"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(texts(&mut witness, "select 'alive'").await, ["alive"], "no process of the server died");
}

/// How many times longer a neighbour may take than beside work that is not the database's. In one queue with the
/// flood it would be hundreds of times.
const SLOWER_MAX: u32 = 4;
const FLOOD: usize = 50;

/// How long a small query takes when it is quick: the slow ones are the machine's doing, which other tests share.
async fn latency(db: &Db) -> Duration {
    const TIMES: usize = 20;
    let mut took = vec![];
    for _ in 0..TIMES {
        let began = Instant::now();
        assert_eq!(db.rows("SELECT 1 AS one").await, json!([{ "one": 1 }]));
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took[TIMES / 4]
}

/// The same while as many threads compute as the flood may have statements running.
async fn latency_beside_work(db: &Db) -> Duration {
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let took = latency(db).await;
    stop.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
    took
}

#[tokio::test]
async fn fifty_queries_of_one_app_do_not_keep_a_neighbour_waiting() {
    let app = TestApp::start().await;
    let (demo, other) = (Db::new(&app, "demo").await, Db::new(&app, "other").await);
    latency(&other).await;
    let (idle, before) = (latency(&other).await, latency_beside_work(&other).await);
    // A tenth of a second or so each.
    let heavy = "SELECT count(*)::int4 AS n FROM generate_series(1, 700000) g WHERE g % 3 = 0";
    let began = Instant::now();
    let flood = async {
        let answers = join_all((0..FLOOD).map(|_| demo.query(heavy))).await;
        (answers, began.elapsed())
    };
    let neighbour = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let busy = latency(&other).await;
        (busy, began.elapsed())
    };
    let ((answers, all_done), (busy, measured)) = tokio::join!(flood, neighbour);
    let after = latency_beside_work(&other).await;
    let done = answers.iter().filter(|answer| is_done(answer)).map(|answer| answer.json()["rows"].clone());
    let done: Vec<Value> = done.collect();
    assert!(!done.is_empty() && done.iter().all(|rows| *rows == json!([{ "n": 233_333 }])));
    println!(
        "{idle:?} idle, {before:?} and {after:?} beside other work, {busy:?} beside {FLOOD} queries, of which {} \
         were answered in {all_done:?}",
        done.len()
    );
    assert!(measured < all_done, "it was measured while the neighbour was busy");
    assert!(busy < idle.max(before).max(after) * SLOWER_MAX, "{busy:?} beside a busy neighbour");
}
