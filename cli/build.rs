//! Compiles the tools `opg demo` uploads.

fn main() {
    opg_guest_build::build(&["example-word-count", "example-notes"]);
}
