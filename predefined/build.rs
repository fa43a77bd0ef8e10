//! Compiles what OPG ships.

fn main() {
    opg_guest_build::build(&[
        "predefined-tool-http",
        "predefined-tool-websearch",
        "predefined-agent-default",
    ]);
    opg_guest_build::build_modules(&["predefined-runtime-javascript"]);
}
