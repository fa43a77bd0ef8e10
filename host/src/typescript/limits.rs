//! Every bound of making a component of a TypeScript file, with its unit and its reason.

use std::time::Duration;

/// A tool's file, in bytes (row M218): bundled libraries make it large, not the tool.
pub const SOURCE_BYTES_MAX: usize = 1 << 20;

/// How deeply brackets and statements may stand in one another: what bundlers
/// write has a few dozen levels.
pub(super) const NESTING_MAX: usize = 256;

/// The stack of the child's thread that reads a file, and loads it. What nests without brackets
/// (`!!!!…`, `a+a+…`) the parser follows by recursion: a megabyte of it took
/// 0.8 GB, stack and tree together, unoptimised. Addresses, not memory: an
/// honest file touches less than a megabyte.
pub const READER_STACK_BYTES: usize = 1 << 30;

/// How long a file's top level may run: it defines tools and prepares tables,
/// a library of half a megabyte takes 0.2 s.
pub(super) const LOAD_TIME_MAX: Duration = Duration::from_secs(5);

/// How often the clock that ends it ticks.
pub(super) const LOAD_TICK: Duration = Duration::from_millis(20);

/// Memory while loading, in bytes: half of what a call has, which begins with
/// what is left in it.
pub(super) const LOAD_MEMORY_BYTES_MAX: usize = 32 << 20;

/// Elements of a table while loading: those of the runtime, which never grow.
pub(super) const LOAD_TABLE_ELEMENTS_MAX: usize = 20_000;

/// How long an upload waits for others that are being made into components.
pub(super) const TURN_WAIT: Duration = Duration::from_secs(30);

/// What the runtime may answer when a file is loaded, in bytes: an error text.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The author's line shown with an error, in characters: minified files are one line.
pub(super) const SHOWN_LINE_CHARS_MAX: usize = 120;

/// Wishes read off a file: no more than one tool may have. Whoever needs other
/// ones says so in the file.
pub(super) const WISHES_MAX: usize = 32;
