//! `db`: the app's own database, by the same way as over HTTP (row M362): parsed, asked for at the gate table by
//! table, run as the app's own login.
//!
//! A guest hands over text and gets text. The connection belongs to the one call; while a guest runs it has none.

use super::Door;
use crate::{
    db_proxy::{
        DatabaseError,
        check::{self, Checked},
        execute::{self, Executed, How, Warned},
        parse::{Mode, Namespace, RefusedKind},
        query,
    },
    grants::{DatabaseAccess, Denied, InApp, Reach},
    limits::JSON_BYTES_MAX,
    sandbox::door::DoorError,
};
use serde::Serialize;
use serde_json::Value;
use std::{io, time::Duration};

/// Parameters of a statement, in bytes of JSON: as over HTTP.
const PARAMS_BYTES_MAX: usize = JSON_BYTES_MAX;
/// An answer, in bytes of JSON, names included: a guest has to read it in its own memory.
const ANSWER_BYTES_MAX: usize = 4 << 20;

pub(super) fn namespace(door: &Door) -> String {
    Namespace::of_slug(&door.grants.app().slug).as_str().to_owned()
}

pub(super) async fn query(
    door: &Door,
    statement: String,
    params: &str,
    limit: Option<u32>,
    time_left: Duration,
) -> Result<String, DoorError> {
    let params = read(params)?;
    within(time_left, async {
        let checked = check(door, statement, Mode::Query).await?;
        let rows = query::run(&door.app, &checked, &params, limit).await.map_err(|error| refused(&error))?;
        write(&rows).ok_or_else(|| {
            let mib = ANSWER_BYTES_MAX >> 20;
            DoorError::Limit(format!("the answer is larger than {mib} MiB; ask for fewer rows or columns"))
        })
    })
    .await
}

pub(super) async fn execute(
    door: &Door,
    statement: String,
    params: &str,
    time_left: Duration,
) -> Result<String, DoorError> {
    let params = read(params)?;
    within(time_left, async {
        let checked = check(door, statement, Mode::Execute).await?;
        // What has to be said twice over HTTP was said at review: to empty a table takes `alter`.
        let how = How::Apply { truncate: true };
        let executed =
            execute::run(&door.app, &checked, &params, how).await.map_err(|error| refused(&error))?;
        done(executed)
    })
    .await
}

/// Asks the gate, for any table first: who was granted none does not keep the parser busy.
async fn check(door: &Door, statement: String, mode: Mode) -> Result<Checked, DoorError> {
    let access = match mode {
        Mode::Query => DatabaseAccess::Read,
        Mode::Execute => DatabaseAccess::Write,
    };
    let any = Reach::Database { access, table: "" };
    let grants = door.grants_now().await?;
    if grants.permit(&any).is_err() {
        door.permit(&any).await?;
    }
    let seen = |reach: &Reach<'_>, answer: Result<(), Denied>| {
        door.record.reached(reach, answer.is_ok());
        answer
    };
    let checked = check::by_guest(&door.app, &grants, statement, mode, seen).await;
    checked.map_err(|error| refused(&error))
}

/// Does it in what is left of the call; dropped, a statement is cancelled.
async fn within<T>(
    time_left: Duration,
    work: impl Future<Output = Result<T, DoorError>>,
) -> Result<T, DoorError> {
    let late = |_| DoorError::Limit("the time left of this call was not enough for the statement".to_owned());
    tokio::time::timeout(time_left, work).await.map_err(late)?
}

fn read(params: &str) -> Result<Vec<Value>, DoorError> {
    if params.len() > PARAMS_BYTES_MAX {
        let text = format!("the parameters of a statement are {PARAMS_BYTES_MAX} bytes of JSON at the most");
        return Err(DoorError::Limit(text));
    }
    serde_json::from_str(params).map_err(|_| {
        DoorError::Invalid("the parameters are a JSON array; `[]` where there are none".to_owned())
    })
}

/// The answer to a change, whatever is in it: it was made, and must not look as if it was not.
fn done(mut executed: Executed) -> Result<String, DoorError> {
    if let Some(text) = write(&executed) {
        return Ok(text);
    }
    for statement in &mut executed.statements {
        statement.returned = None;
    }
    executed.diff = Default::default();
    let mib = ANSWER_BYTES_MAX >> 20;
    executed.warnings = vec![Warned {
        code: "answer_cut",
        message: format!("it was applied; what came of it is larger than {mib} MiB and was left out"),
        statement: 0,
    }];
    write(&executed).ok_or_else(|| DoorError::Limit("it was applied; the answer is too large".to_owned()))
}

/// As JSON; none where that is too large.
fn write(answer: &impl Serialize) -> Option<String> {
    let mut text = Bounded(vec![]);
    serde_json::to_writer(&mut text, answer).ok()?;
    String::from_utf8(text.0).ok()
}

struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > ANSWER_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn refused(error: &DatabaseError) -> DoorError {
    kind(error)(text(error))
}

fn kind(error: &DatabaseError) -> fn(String) -> DoorError {
    match error {
        DatabaseError::At { cause, .. } => kind(cause),
        DatabaseError::Refused(refused) => match refused.kind {
            RefusedKind::Namespace => DoorError::Denied,
            RefusedKind::Length | RefusedKind::Complexity => DoorError::Limit,
            RefusedKind::Internal => DoorError::Unavailable,
            RefusedKind::Statement
            | RefusedKind::Function
            | RefusedKind::Type
            | RefusedKind::Syntax
            | RefusedKind::Count => DoorError::Invalid,
        },
        DatabaseError::Denied(_) => DoorError::Denied,
        DatabaseError::Timeout
        | DatabaseError::LockTimeout
        | DatabaseError::Resources
        | DatabaseError::TooLarge
        | DatabaseError::Quota(_)
        | DatabaseError::Busy => DoorError::Limit,
        DatabaseError::Sql { .. }
        | DatabaseError::ParamsMismatch { .. }
        | DatabaseError::BadParam { .. }
        | DatabaseError::TooManyParams
        | DatabaseError::ParamsWithMany
        | DatabaseError::BadLimit
        | DatabaseError::NotConfirmed(_) => DoorError::Invalid,
        DatabaseError::Unavailable => DoorError::Unavailable,
    }
}

/// What a guest is told, with what stands in fields of its own over HTTP.
fn text(error: &DatabaseError) -> String {
    match error {
        DatabaseError::At { index, cause } => format!("statement {index}: {}", text(cause)),
        DatabaseError::Sql { sqlstate, message, position: Some(at) } => {
            format!("{message} (SQLSTATE {sqlstate}, character {at})")
        }
        DatabaseError::Sql { sqlstate, message, position: None } => {
            format!("{message} (SQLSTATE {sqlstate})")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db_proxy::parse::Refused;

    fn sql(position: Option<u32>) -> DatabaseError {
        DatabaseError::Sql { sqlstate: "23505".into(), message: "duplicate key".into(), position }
    }

    fn refusal(kind: RefusedKind) -> DatabaseError {
        DatabaseError::Refused(Refused { kind, message: "m".into(), statement: None })
    }

    #[test]
    fn a_guest_is_told_whose_fault_it_was() {
        use DoorError::{Denied, Invalid, Limit, Unavailable};
        let m = || "m".to_owned();
        for (error, told) in [
            (refusal(RefusedKind::Namespace), Denied(m())),
            (refusal(RefusedKind::Function), Invalid(m())),
            (refusal(RefusedKind::Count), Invalid(m())),
            (refusal(RefusedKind::Length), Limit(m())),
            (refusal(RefusedKind::Internal), Unavailable(m())),
            (
                DatabaseError::Denied(crate::grants::Denied::Suspended),
                Denied("this app is suspended; ask the operator to resume it".into()),
            ),
            (DatabaseError::Quota(m()), Limit(m())),
            (sql(None), Invalid("duplicate key (SQLSTATE 23505)".into())),
            (sql(Some(7)), Invalid("duplicate key (SQLSTATE 23505, character 7)".into())),
            (
                DatabaseError::At { index: 1, cause: Box::new(sql(None)) },
                Invalid("statement 1: duplicate key (SQLSTATE 23505)".into()),
            ),
            (
                DatabaseError::At { index: 0, cause: Box::new(DatabaseError::Quota(m())) },
                Limit("statement 0: m".into()),
            ),
        ] {
            assert_eq!(refused(&error), told, "{error:?}");
        }
        assert!(matches!(refused(&DatabaseError::Busy), Limit(_)));
        assert!(matches!(refused(&DatabaseError::Unavailable), Unavailable(_)));
    }

    #[test]
    fn parameters_are_a_list_and_not_too_long() {
        assert_eq!(read(r#"[1,"a",null]"#), Ok(vec![1.into(), "a".into(), Value::Null]));
        assert_eq!(read(" [] "), Ok(vec![]));
        for wrong in ["", "{}", "null", "1", "[1", "[1] x", "[\"\\ud800\"]"] {
            assert!(matches!(read(wrong), Err(DoorError::Invalid(_))), "{wrong}");
        }
        let long = format!("[\"{}\"]", "x".repeat(PARAMS_BYTES_MAX));
        assert!(matches!(read(&long), Err(DoorError::Limit(_))));
        assert!(
            matches!(read(&"[".repeat(100_000)), Err(DoorError::Invalid(_))),
            "no depth is too deep for us"
        );
    }

    #[test]
    fn an_answer_that_is_too_large_is_none_and_is_not_written_whole_first() {
        assert_eq!(write(&["a", "b"]).as_deref(), Some(r#"["a","b"]"#));
        let name = "n".repeat(63);
        let row: std::collections::BTreeMap<String, Value> =
            (0..1600).map(|at| (format!("{name}{at}"), Value::Null)).collect();
        assert_eq!(write(&vec![&row; 1000]), None);
    }

    #[test]
    fn a_change_that_was_made_is_answered_however_much_came_of_it() {
        let mut executed = Executed {
            applied: true,
            dry_run: false,
            statements: vec![],
            affected: 3,
            diff: Default::default(),
            warnings: vec![],
            audit_id: uuid::Uuid::nil(),
            ms: 1,
        };
        executed.diff.created = vec!["x".repeat(1 << 20); 5];
        let answer: Value = serde_json::from_str(&done(executed).unwrap()).unwrap();
        assert_eq!((&answer["applied"], &answer["affected"]), (&true.into(), &3.into()));
        assert_eq!(answer["warnings"][0]["code"], "answer_cut");
    }
}
