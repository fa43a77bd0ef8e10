//! Builds the guests the tests run.

fn main() {
    opg_guest_build::build(&[
        "example-customers",
        "example-word-count",
        "test-guest-agent-echo",
        "test-guest-agent-spin",
        "test-guest-bad-describe",
        "test-guest-chatter",
        "test-guest-counter",
        "test-guest-db",
        "test-guest-exfil",
        "test-guest-grabby",
        "test-guest-hog",
        "test-guest-not-a-plugin",
        "test-guest-relay",
        "test-guest-roomy",
        "test-guest-shout",
        "test-guest-sleepy-describe",
        "test-guest-slow",
        "test-guest-socket",
        "test-guest-spin",
        "test-guest-trap",
        "test-guest-wasi",
    ]);
}
