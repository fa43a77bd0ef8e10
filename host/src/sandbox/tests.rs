//! What can be shown without a guest; calls are tested in `tests/it/sandbox.rs`.
