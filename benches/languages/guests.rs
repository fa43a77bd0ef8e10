//! The same tool in each language: counts the words of a text and names the most frequent ones.

use bytes::Bytes;
use opg_host::{sandbox::Sandbox, typescript::Compiler};
use opg_tests::process::binary;
use std::{fs, path::Path, process::Command};

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// What comes of `INPUT`.
pub(crate) const OUTPUT: &str =
    r#"{"words":9,"top":[{"word":"the","count":2},{"word":"brown","count":1},{"word":"dog","count":1}]}"#;

/// The job as a function of JavaScript, for the tool and for Node.
pub(crate) const JAVASCRIPT_JOB: &str = r"
function count({ text, top }) {
  const frequency = new Map()
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}'-]+/gu) ?? [])
    frequency.set(word, (frequency.get(word) ?? 0) + 1)
  const sorted = [...frequency].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
  const words = sorted.reduce((sum, [, count]) => sum + count, 0)
  return { words, top: sorted.slice(0, top ?? 0).map(([word, count]) => ({ word, count })) }
}
";

const TYPESCRIPT_JOB: &str = r"
type Frequency = { word: string; count: number }
function count({ text, top }: { text: string; top?: number }): { words: number; top: Frequency[] } {
  const frequency = new Map<string, number>()
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}'-]+/gu) ?? [])
    frequency.set(word, (frequency.get(word) ?? 0) + 1)
  const sorted = [...frequency].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
  const words = sorted.reduce((sum, [, count]) => sum + count, 0)
  return { words, top: sorted.slice(0, top ?? 0).map(([word, count]) => ({ word, count })) }
}
";

const SCRIPT: &str = r#"
import { tool } from "@opencode-ai/plugin"
export default tool({
  description: "Counts the words of a text and names the most frequent ones.",
  args: { text: tool.schema.string(), top: tool.schema.number().optional() },
  async execute(args) { return count(args) },
})
"#;

const PYTHON: &str = r#"
import json
import re
from collections import Counter

from wit_world.exports import tool

WORD = re.compile(r"[\w'-]+")
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "top": {"type": "integer"}},
    "required": ["text"],
}


class Tool:
    def describe(self):
        return [tool.Definition("word_count", "Counts words.", json.dumps(SCHEMA), [])]

    def call(self, name, input, context):
        wanted = json.loads(input)
        frequency = Counter(WORD.findall(wanted["text"].lower()))
        top = sorted(frequency.items(), key=lambda entry: (-entry[1], entry[0]))[: wanted.get("top", 0)]
        top = [{"word": word, "count": count} for word, count in top]
        return json.dumps({"words": sum(frequency.values()), "top": top})
"#;

/// A tool in one language.
pub(crate) struct Guest {
    pub(crate) language: &'static str,
    pub(crate) wasm: Bytes,
    /// Its name in the plugin.
    pub(crate) tool: &'static str,
}

/// All that can be made here; says what cannot.
pub(crate) async fn all(sandbox: &Sandbox) -> Vec<Guest> {
    let scripts = Compiler::new(opg_predefined::JAVASCRIPT_RUNTIME, sandbox);
    let mut guests = vec![Guest { language: "Rust", wasm: EXAMPLE_WORD_COUNT.into(), tool: "word_count" }];
    for (language, job) in [("TypeScript", TYPESCRIPT_JOB), ("JavaScript", JAVASCRIPT_JOB)] {
        let made = scripts.component("word-count", format!("{SCRIPT}{job}")).await;
        guests.push(Guest { language, wasm: made.expect("it becomes one").into(), tool: "word-count" });
    }
    match python() {
        Some(wasm) => guests.push(Guest { language: "Python", wasm: wasm.into(), tool: "word_count" }),
        None => println!("not measured: Python, of which `opg tool build` made no component; see above"),
    }
    guests
}

/// As its author makes it.
fn python() -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().ok()?;
    let opg =
        |at: &Path, args: &[&str]| Command::new(binary()).current_dir(at).arg("tool").args(args).output();
    opg(dir.path(), &["new", "word-count", "--lang", "python"]).ok()?;
    let project = dir.path().join("word-count");
    fs::write(project.join("word_count.py"), PYTHON).ok()?;
    let built = opg(&project, &["build", "-q"]).ok()?;
    if !built.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&built.stderr));
    }
    fs::read(project.join(".opg/build/word-count.wasm")).ok().filter(|_| built.status.success())
}
