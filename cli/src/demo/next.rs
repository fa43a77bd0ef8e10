//! What to try next: commands to copy, with the real address and token.

use super::{print::Style, story::Story};

/// Where the guests of this workspace are built.
const GUEST: &str = "target/guests/wasm32-wasip2/guest/opg_starter.wasm";

/// Three things to try; how to get there, where the server is about to stop.
pub(super) fn steps(story: &Story, once: bool, style: Style) -> String {
    if once {
        return "\nWithout --once it keeps serving, and prints commands to go on with.\n".to_owned();
    }
    let heading = |text: &str| style.heading(text);
    let say = |text: &str| style.dim(text);
    format!(
        r##"
{try_next}

  export OPG_URL={url} OPG_TOKEN={token}

  {one}
  curl -s "$OPG_URL/v1/chat/completions" -H "Authorization: Bearer $OPG_TOKEN" -H "Content-Type: application/json" \
    -d '{{"model": "demo/assistant", "messages": [{{"role": "user", "content": "Which tools do you have?"}}]}}'

  {two}
  cargo build --profile guest --target wasm32-wasip2 --target-dir target/guests -p opg-starter
  curl -s -X PUT "$OPG_URL/v1/tenant/tools/greet" -H "Authorization: Bearer $OPG_TOKEN" \
    -H "Content-Type: application/wasm" --data-binary @{GUEST}

  {three}
  less docs/getting-started.md docs/write-a-tool.md ARCHITECTURE.md

"##,
        try_next = heading("Try next, in another terminal"),
        url = story.url,
        token = story.token,
        one = say("# 1. ask the model yourself"),
        two = say("# 2. change plugins/starter/src/lib.rs, build it, upload it"),
        three = say("# 3. read on"),
    )
}
