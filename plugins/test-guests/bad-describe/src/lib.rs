//! Test guest: a schema a model cannot be given, because it is no object.

use opg_guest::*;

/// Takes a list where an object is due.
#[tool]
fn bad_describe(input: Names) -> usize {
    input.0.len()
}

plugin!(bad_describe);

/// Not an object.
#[input]
struct Names(Vec<String>);
