//! Components that know nothing of OPG: their functions are tools.

use opg_tests::{
    app::TestApp,
    guests,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};

const WASM: &str = "application/wasm";

/// What `wit-docs-inject` makes of the guest's WIT.
const DOCS: &str = r#"{
    "worlds": { "geo": { "func_exports": { "add": { "docs": "Adds two numbers.\n\nWraps around at the end." } } } },
    "interfaces": { "places": { "funcs": { "find": "The first place whose name begins so." } } }
}"#;

/// The component with a custom section `package-docs`.
fn documented(wasm: &[u8], docs: &str) -> Vec<u8> {
    let name = "package-docs";
    let content = [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &[1], docs.as_bytes()].concat();
    let mut size = content.len();
    let mut section = vec![0];
    while size >= 0x80 {
        section.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
        size >>= 7;
    }
    section.push(u8::try_from(size).unwrap());
    [wasm, &section, &content].concat()
}

#[tokio::test]
async fn each_function_of_a_typed_component_is_a_tool_with_its_docs_and_its_types() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let uploaded = acme.put_bytes("/v1/tenant/tools/geo", WASM, documented(guests::TYPED, DOCS)).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    assert_eq!(uploaded.json()["status"], "active", "it asks for nothing");

    let shown = acme.get("/v1/tenant/tools/geo").await.json();
    let tools = shown["exports"].as_array().unwrap();
    let named =
        |name: &str| tools.iter().find(|tool| tool["name"].as_str().unwrap().ends_with(name)).unwrap();
    assert_eq!(tools.len(), 6, "{shown}");
    assert_eq!(named("add")["description"], "Adds two numbers.\n\nWraps around at the end.");
    assert_eq!(named("places_find")["description"], "The first place whose name begins so.");
    assert_eq!(
        named("echo-bytes")["description"],
        "echo-bytes(bytes: list<u8>) -> list<u8>",
        "without a doc comment the signature stands there"
    );
    assert_eq!(
        named("add")["input_schema"],
        json!({
            "type": "object",
            "properties": {
                "a": { "type": "integer", "minimum": 0, "maximum": u32::MAX },
                "b": { "type": "integer", "minimum": 0, "maximum": u32::MAX },
            },
            "required": ["a", "b"],
            "additionalProperties": false,
        })
    );
}

#[tokio::test]
async fn docs_that_cannot_be_read_are_no_error_and_hidden_text_in_them_is() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let upload = async |docs: &str| {
        acme.put_bytes("/v1/tenant/tools/geo", WASM, documented(guests::TYPED, docs)).await
    };
    for docs in ["", "[]", r#"{"worlds":{"geo":{"func_exports":{"add":7}}}}"#] {
        let uploaded = upload(docs).await;
        assert!(matches!(uploaded.status, 200 | 201), "{docs}: {}", uploaded.text());
        assert!(uploaded.text().contains("add(a: u32, b: u32) -> u32"), "{}", uploaded.text());
    }
    let refused = upload(r#"{"worlds":{"geo":{"func_exports":{"add":"Adds.\u202eevil"}}}}"#).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("invisible character"), "{}", refused.text());
}

#[tokio::test]
async fn values_of_every_type_go_in_and_come_out_as_json() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("geo", guests::TYPED).await;
    let run = async |tool: &str, input: Value| acme.invoke(&format!("geo_{tool}"), input).await;

    for (tool, input, output) in [
        ("add", json!({ "a": 2, "b": 3.0 }), json!(5)),
        ("echo-bytes", json!({ "bytes": "AAH/" }), json!("AAH/")),
        ("echo-bytes", json!({ "bytes": "" }), json!("")),
        (
            "places_find",
            json!({ "prefix": "B" }),
            json!({ "name": "Bern", "kind": "city", "height": 542, "position": [46.9, 7.4] }),
        ),
        (
            "places_find",
            json!({ "prefix": "T" }),
            json!({ "name": "Thunersee", "kind": "lake", "height": null, "position": [46.7, 7.7] }),
        ),
        (
            "choose",
            json!({ "what": { "numbers": [-128, 127] }, "drawn": [], "wide": 0 }),
            json!({ "numbers": [-128, 127] }),
        ),
        (
            "choose",
            json!({ "what": { "nothing": null }, "drawn": ["bold"], "wide": u64::MAX }),
            json!({ "text": "18446744073709551615" }),
        ),
        (
            "choose",
            json!({ "what": { "nothing": null }, "drawn": ["thin"], "wide": 1 }),
            json!({ "nothing": null }),
        ),
    ] {
        let answer = run(tool, input.clone()).await;
        assert_eq!(answer.status, 200, "{tool} {input}: {}", answer.text());
        assert_eq!(answer.json()["output"], output, "{tool} {input}");
    }

    for (tool, input, code, says) in [
        ("add", json!({ "a": -1, "b": 0 }), "invalid_request", "/input/a"),
        ("add", json!({ "a": 1 }), "invalid_request", "b"),
        ("echo-bytes", json!({ "bytes": "no base64!" }), "tool_refused_input", "bytes in base64"),
        ("places_find", json!({ "prefix": "X" }), "tool_failed", "no place begins with X"),
        ("not-a-number", json!({}), "tool_failed", "NaN"),
    ] {
        let answer = run(tool, input.clone()).await;
        assert_eq!(answer.json()["code"], code, "{tool} {input}: {}", answer.text());
        assert!(answer.text().contains(says), "{tool} {input}: {}", answer.text());
    }
    let stopped = run("spin", json!({})).await;
    assert_eq!(stopped.status, 504, "its functions have the limits of all tools: {}", stopped.text());
}

#[tokio::test]
async fn a_model_calls_a_function_of_a_typed_component() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    acme.install_tool("geo", guests::TYPED).await;
    upstream.script(vec![Step::tool_call("call_1", "geo_add", r#"{"a":40,"b":2}"#)]);
    let answer = acme.chat("openai/scripted", "what is 40 and 2?").await;
    assert_eq!(answer.content(), "The tools said: 42", "{}", answer.text());
    let asked = upstream.received();
    let result = asked[1].body["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(result["content"], "42", "what the function gave went back to the model: {result}");
}

#[tokio::test]
async fn a_function_that_takes_or_gives_no_value_is_named_with_what_to_do() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let refused = acme.put_bytes("/v1/tenant/tools/things", WASM, guests::TYPED_RESOURCE).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(refused.json()["code"], "bad_component");
    assert!(refused.text().contains("things_make"), "{}", refused.text());
    assert!(refused.text().contains("gives a resource"), "{}", refused.text());
    assert_eq!(acme.get("/v1/tenant/tools/things").await.status, 404);
}
