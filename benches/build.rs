//! Builds the guests the benchmarks run.

fn main() {
    opg_guest_build::build(&["example-word-count"]);
}
