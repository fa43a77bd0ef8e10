//! The threads that parse. The grammar is C code that recurses: it runs on
//! stacks of a known size, never on those of the async runtime.

use super::limits::{QUEUE_MAX, STACK_BYTES, THREADS};
use super::{Mode, Namespace, Parsed, Refused, RefusedKind, parse};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::sync::{mpsc, oneshot};

/// Parses and checks texts on threads of its own. Cheap to clone; the threads
/// end when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Parser {
    queue: mpsc::Sender<Job>,
}

/// [`parse()`], or what a test puts in its place.
type Parse = fn(&str, &Namespace, Mode) -> Result<Parsed, Refused>;

#[derive(Debug)]
struct Job {
    sql: String,
    namespace: Namespace,
    mode: Mode,
    reply: oneshot::Sender<Result<Parsed, Refused>>,
}

impl Parser {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start() -> std::io::Result<Parser> {
        Parser::start_with(parse)
    }

    fn start_with(parse: Parse) -> std::io::Result<Parser> {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..THREADS {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new()
                .name("opg-sql-parser".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || work(&jobs, parse))?;
        }
        Ok(Parser { queue })
    }

    /// Parses `sql` and checks every part of it; waits while all threads are busy.
    ///
    /// # Errors
    /// What was refused and what to write instead.
    pub async fn parse(&self, sql: String, namespace: Namespace, mode: Mode) -> Result<Parsed, Refused> {
        let (reply, answer) = oneshot::channel();
        let job = Job { sql, namespace, mode, reply };
        self.queue.send(job).await.map_err(|_| failed())?;
        answer.await.map_err(|_| failed())?
    }
}

fn work(jobs: &Mutex<mpsc::Receiver<Job>>, parse: Parse) {
    loop {
        // One thread waits for the next job and holds the lock; the others wait for the lock.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = next else { return };
        if job.reply.is_closed() {
            continue;
        }
        // Nothing of a failed job is used again.
        let parsed = catch_unwind(AssertUnwindSafe(|| parse(&job.sql, &job.namespace, job.mode)));
        // Whoever asked may be gone.
        let _ = job.reply.send(parsed.unwrap_or_else(|_| Err(failed())));
    }
}

fn failed() -> Refused {
    Refused::new(RefusedKind::Internal, "the statement could not be checked; try again later")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_parser_that_panics_answers_and_lives_on() {
        let parser = Parser::start_with(|sql, namespace, mode| match sql {
            "panic" => panic!("a bug"),
            _ => parse(sql, namespace, mode),
        })
        .unwrap();
        let ask = |sql: &str| parser.parse(sql.to_owned(), Namespace::of_slug("demo"), Mode::Query);
        for _ in 0..2 * THREADS {
            assert_eq!(ask("panic").await.unwrap_err().kind, RefusedKind::Internal);
        }
        assert!(ask("SELECT 1").await.is_ok());
    }
}
