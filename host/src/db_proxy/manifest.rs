//! What an app's database takes and how much of it: for programs and models that write SQL (row M095).

use super::{
    limits::{
        CELL_BYTES_MAX, EXECUTE_TIME_MAX, PARAMS_MAX, QUERY_TIME_MAX, RESULT_BYTES_MAX, ROWS_DEFAULT,
        ROWS_MAX,
    },
    parse,
    provision::Workspace,
};
use crate::{app::App, grants::InApp};
use serde_json::{Value, json};

/// The manifest of the app of `proof`. It names no server and no login.
pub(super) fn manifest(app: &App, proof: &impl InApp) -> Value {
    let workspace = Workspace::of(proof.app());
    json!({
        "namespace": workspace.namespace().as_str(),
        "limits": {
            "rows_default": ROWS_DEFAULT,
            "rows": ROWS_MAX,
            "timeout_ms": QUERY_TIME_MAX.as_millis(),
            "execute_timeout_ms": EXECUTE_TIME_MAX.as_millis(),
            "bytes": RESULT_BYTES_MAX,
            "cell_bytes": CELL_BYTES_MAX,
            "sql_bytes": parse::SQL_BYTES_MAX,
            "statements": parse::STATEMENTS_MAX,
            "params": PARAMS_MAX,
        },
        "quota": { "bytes": app.config.database_bytes_max, "tables": app.config.database_tables_max },
        "statements": { "query": parse::QUERY_STATEMENTS, "execute": parse::EXECUTE_STATEMENTS },
        "functions": parse::functions(),
        "confirm": format!("apply:{}", workspace.slug()),
    })
}
