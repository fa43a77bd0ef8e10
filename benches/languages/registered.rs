//! What a call costs while many tools are registered: each in turn, and always the same one.
//!
//! The tools are tiny, so that what is measured is finding one. Beyond what is kept ready in memory
//! (`LOADED_COMPONENTS_MAX`), a tool whose turn comes is verified, and its machine code read from disk.

use crate::{Bench, Calls};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use opg_host::sandbox::{Component, Sandbox};
use opg_tests::hostile::assemble;

const COUNTS: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// As many as the sandbox compiles at once.
const UPLOADS_AT_ONCE: usize = 2;

/// Answers `null`.
const TOOL: &str = r#"
(component
  {{types}}
  {{libc}}
  (core module $main-code
    {{main}}
    (func (export "call") {{params}}
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
"#;

struct Tool {
    digest: String,
    wasm: Bytes,
}

impl Tool {
    /// Each says something else, so none is another.
    fn new(number: usize) -> Tool {
        let wasm = assemble(&format!(";; says: Is number {number}.\n{TOOL}")).expect("the text is right");
        Tool { digest: Sandbox::digest(&wasm), wasm: wasm.into() }
    }

    /// As the server finds it: ready, or by its bytes.
    async fn find(&self, bench: &Bench) -> Component {
        match bench.sandbox.find(&self.digest) {
            Some(component) => component,
            None => bench.sandbox.load(self.wasm.clone()).await.expect("a component"),
        }
    }

    async fn call(&self, bench: &Bench) {
        let component = self.find(bench).await;
        assert_eq!(bench.call(&component, "run", "{}").await, "null");
    }
}

pub(crate) fn print(bench: &Bench) {
    let mut tools: Vec<Tool> = vec![];
    let mut first: Option<(Calls, Calls)> = None;
    println!("\ntools registered");
    for count in COUNTS {
        let (mut each, mut same) = (Calls::default(), Calls::default());
        bench.runtime.block_on(async {
            let new: Vec<Tool> = (tools.len()..count).map(Tool::new).collect();
            // Uploaded: compiled, and kept on disk.
            stream::iter(&new)
                .for_each_concurrent(UPLOADS_AT_ONCE, |tool| async move { drop(tool.find(bench).await) })
                .await;
            tools.extend(new);
            let mut next = tools.iter().cycle();
            for _ in 0..crate::ROUNDS {
                each.turn(async || next.next().expect("it never ends").call(bench).await).await;
                same.turn(async || tools[0].call(bench).await).await;
            }
        });
        let (each_first, same_first) = first.as_ref().map_or((&each, &same), |(each, same)| (each, same));
        println!("{count:>6}  each in turn     {}  {:.2} times", each.in_words(), each.ratio(each_first));
        println!("{:>6}  always the same  {}  {:.2} times", "", same.in_words(), same.ratio(same_first));
        first.get_or_insert((each, same));
    }
}
