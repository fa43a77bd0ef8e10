//! Parsers of authority, fed with what nobody would write: what they let pass must not be more than it says.
//!
//! Beside the others: `no_bytes_make_the_checks_panic`, `a_damaged_component_is_refused_or_runs_within_its_limits`,
//! `what_passes_is_parsed_by_everybody`.

use opg_host::{
    egress::{Egress, EgressPolicy, canonical},
    grants::{Capability, CapabilityKind, HostPort, HttpRequest, Reach},
    sandbox::{
        CallContext, CallError, CallLimits, Sandbox, SandboxConfig, compiler::CompilerConfig,
        door::ClosedDoor,
    },
    tools::check_definitions,
};
use opg_tests::{hostile, process::binary};
use properties::VALUES;
use proptest::prelude::*;
use serde_json::json;
use std::{
    net::Ipv4Addr,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::runtime::Runtime;
use url::Url;

/// What `fuzz/` looks for in a minute or a night, here for a moment.
#[path = "../../fuzz/properties.rs"]
mod properties;

/// Enough to find what is wrong in a pattern, short enough for every run of the tests.
const CASES: u32 = 512;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

/// Few letters, so that patterns and hosts meet.
fn host() -> impl Strategy<Value = String> {
    "[ab]{1,2}(\\.[ab]{1,2}){0,3}"
}

fn host_pattern() -> impl Strategy<Value = String> {
    let wild = prop_oneof![Just(""), Just("*.")];
    let port = prop_oneof![Just(""), Just(":*"), Just(":80"), Just(":443")];
    let pattern = (wild, host(), port).prop_map(|(wild, host, port)| format!("{wild}{host}{port}"));
    prop_oneof![9 => pattern, 1 => Just("*".to_owned())]
}

proptest! {
    #![proptest_config(config(CASES))]

    #[test]
    fn a_narrower_grant_never_opens_what_the_request_does_not(
        granted in host_pattern(),
        requested in host_pattern(),
        host in host(),
        port in prop_oneof![Just(80_u16), Just(443), Just(8080)],
        default_port: bool,
    ) {
        let capability = |target: &str| Capability::new(CapabilityKind::Http, target);
        let (granted, requested) = (capability(&granted), capability(&requested));
        // To ask for `*` leaves the port to the person who grants: there the grant alone says it.
        let default_port = default_port || requested.target == "*";
        let at = HostPort { host: &host, port, default_port };
        let reach = Reach::Http(HttpRequest { method: "GET", at, path: "/" });
        let (Ok(granted), Ok(requested)) = (granted.canonical(), requested.canonical()) else { return Ok(()) };
        if granted.within(&requested) && granted.opens(&reach) {
            prop_assert!(requested.opens(&reach), "{} under {} opens {}", granted.target, requested.target, host);
        }
        prop_assert!(granted.within(&granted));
    }

    #[test]
    fn no_text_becomes_a_capability_that_reads_like_another(target in "\\PC{0,20}|[a-z@*.: \\t\\n\\u{0}\\u{202e}]{0,20}") {
        for kind in CapabilityKind::ALL {
            let capability = Capability::new(kind, target.clone());
            if let Ok(capability) = capability.canonical() {
                // A space stands between the parts of a target, one at a time.
                let plain = |c: char| !c.is_control() && (c == ' ' || !c.is_whitespace()) && c != '\u{202e}';
                prop_assert!(capability.target.chars().all(plain), "{capability}");
                prop_assert!(!capability.target.contains("  ") && capability.target.trim() == capability.target);
            }
        }
    }

    #[test]
    fn a_canonical_url_stays_as_it_is(text in "(https?|ftp)://[a-zA-Z0-9.@:%/?#\\[\\]①。-]{0,40}|\\PC{0,40}") {
        let Ok(url) = Url::parse(&text) else { return Ok(()) };
        if let Ok(first) = canonical(&url) {
            prop_assert_eq!(&canonical(&first).unwrap(), &first);
            prop_assert!(first.username().is_empty() && first.password().is_none() && first.fragment().is_none());
            let again = Url::parse(first.as_str()).unwrap();
            prop_assert_eq!(again, first);
        }
    }

    #[test]
    fn a_private_address_is_refused_however_it_is_spelt(
        (a, b, c, d) in prop_oneof![
            (Just(10_u8), any::<u8>(), any::<u8>(), any::<u8>()),
            (Just(127_u8), any::<u8>(), any::<u8>(), any::<u8>()),
            (Just(169_u8), Just(254_u8), any::<u8>(), any::<u8>()),
            (Just(192_u8), Just(168_u8), any::<u8>(), any::<u8>()),
        ],
        port in prop_oneof![Just(String::new()), Just(":8080".to_owned())],
        dot in prop_oneof![Just(""), Just(".")],
    ) {
        let number = u32::from(Ipv4Addr::new(a, b, c, d));
        let low = number & 0x00ff_ffff;
        let (ab, cd) = (number >> 16, number & 0xffff);
        for host in [
            format!("{a}.{b}.{c}.{d}{dot}"),
            format!("{number}{dot}"),
            format!("0x{number:x}"),
            format!("0{number:o}"),
            format!("{a}.{low}"),
            format!("0x{a:x}.0{b:o}.{c}.{d}"),
            format!("{a}.{b}.{cd}"),
            format!("{}.{b}.{c}.{d}", a.to_string().bytes().map(|digit| format!("%{digit:02x}")).collect::<String>()),
            format!("[::ffff:{a}.{b}.{c}.{d}]"),
            format!("[::ffff:{ab:x}:{cd:x}]"),
            format!("[64:ff9b::{ab:x}:{cd:x}]"),
        ] {
            let text = format!("http://{host}{port}/");
            let Ok(url) = Url::parse(&text) else { continue };
            prop_assert!(CLOSED.judge(&url).is_err(), "{text}");
        }
    }

    #[test]
    fn no_schema_makes_the_check_panic_or_slow(schema in prop_oneof![
        "\\PC{0,100}",
        r#"[{}\[\]",:0-9a-z$]{0,100}"#,
        r#"\{"type":"object","(properties|allOf|pattern|\$ref|items)":[{}\[\]",:0-9a-z]{0,60}\}"#,
    ]) {
        let tool = opg_host::sandbox::door::ToolDefinition {
            name: "tool".into(),
            description: "A tool.".into(),
            input_schema: schema,
        };
        let before = std::time::Instant::now();
        let _ = check_definitions("tool", &[tool]);
        prop_assert!(before.elapsed() < Duration::from_secs(1));
    }
}

proptest! {
    #![proptest_config(config(CASES))]

    #[test]
    fn what_the_fuzz_targets_hold_holds_for_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        properties::manifest(&bytes);
        properties::capability(&bytes);
        properties::url(&bytes);
        properties::wit_values(&bytes);
        properties::upload(&bytes);
        for header in [&b"\0asm\x01\0\0\0"[..], b"\0asm\x0d\0\x01\0"] {
            properties::upload(&[header, &bytes].concat());
        }
    }

    #[test]
    fn a_manifest_that_almost_is_one_makes_a_module_or_an_error(
        manifest in r#"\{("(config|opg|memory|allowed_hosts|timeout_ms|wasm|tools)":[{}\[\]",:0-9a-z*.]{0,30},?){1,3}\}"#,
        front in "---\n(description|model|tools|steps): [\\[\\]\"a-z0-9:&*{}\n ]{0,60}\n---\n",
    ) {
        properties::manifest(manifest.as_bytes());
        properties::manifest(front.as_bytes());
    }

    #[test]
    fn no_grant_within_a_request_opens_more_than_that(
        granted in target(), requested in target(), host in host(), path in "/[a%2/.;*]{0,8}", name in "[A-Za/]{1,4}",
    ) {
        properties::capability([granted, requested, host, path, name].join("\n").as_bytes());
    }

    #[test]
    fn a_wit_value_that_is_taken_comes_back_as_the_same(
        at in any::<prop::sample::Index>(), length in 0..12_usize, with in "[0-9e.\"\\[\\]{}:a-cé+/=-]{0,8}",
    ) {
        let mut text: Vec<char> = VALUES.chars().collect();
        let at = at.index(text.len());
        text.splice(at..(at + length).min(text.len()), with.chars());
        properties::wit_values(text.into_iter().collect::<String>().as_bytes());
    }

    #[test]
    fn no_file_crashes_the_reader_of_typescript(
        source in "((let|class|export|function|enum|type|async|=>|import) ?|[a-c<>{}()\\[\\]:;,.=!?@\"'` 0-9/*\n-]){0,60}",
    ) {
        properties::typescript(source.as_bytes());
    }
}

/// Targets of all kinds that could be within each other.
fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        "(GET,?|POST,?){0,2} ?(\\*\\.)?[ab]{1,2}(\\.[ab]{1,2}){0,2}(:443|:\\*|:8080)?(/[a%2/.;]{0,5}\\*?)?",
        "[A-B]{1,2}@(\\*\\.)?[ab]{1,2}(\\.[ab]{1,2}){0,2}( (header:[ab]|query:[ab]|body))?",
        "(read|write)(:[Aa/]{0,3}\\*?)?",
        "(memory_mib|wall_ms|cpu_ms)=[0-9]{1,3}",
        Just("*".to_owned()),
    ]
}

#[test]
fn a_value_of_each_type_of_wit_is_taken_and_none_that_its_type_cannot_hold() {
    let mut values: serde_json::Value = serde_json::from_str(VALUES).unwrap();
    let back = properties::there_and_back(VALUES).unwrap();
    assert_eq!((&back["text"], &back["shape"]), (&values["text"], &values["shape"]));
    for (name, too_large) in [("f32", json!(1e39)), ("u8", json!(256)), ("char", json!("ab"))] {
        let fits = std::mem::replace(&mut values[name], too_large);
        let refused = properties::there_and_back(&values.to_string()).unwrap_err();
        assert!(refused.starts_with(&format!("`{name}`: expected")), "{refused}");
        values[name] = fits;
    }
}

static CLOSED: LazyLock<Egress> = LazyLock::new(|| Egress::new(EgressPolicy::default()).unwrap());

/// One runtime and one sandbox for all cases.
static SANDBOX: LazyLock<(Runtime, Sandbox)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cache_dir = tempfile::tempdir().unwrap().keep();
    let host = runtime.handle().clone();
    let config = SandboxConfig {
        cache_dir,
        compiler: CompilerConfig::with(binary()),
        worker_threads: 1,
        calls_in_flight_max: 4,
        host,
    };
    (runtime, Sandbox::new(config).unwrap())
});

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn a_small_component_with_changed_bytes_is_refused_or_runs_within_its_limits(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        // Small, so that a change meets what matters.
        let mut wasm = hostile::RUG_PULL.wasm();
        for (at, with) in flips {
            let at = at.index(wasm.len());
            wasm[at] = with;
        }
        if let Some(cut) = cut {
            wasm.truncate(cut.index(wasm.len()));
        }
        let (runtime, sandbox) = &*SANDBOX;
        runtime.block_on(async {
            let Ok(component) = sandbox.load(wasm.into()).await else { return };
            let limits = CallLimits { wall: Duration::from_secs(1), ..CallLimits::default() };
            let _ = sandbox.describe_tool(&component).await;
            let context = CallContext::default();
            let called =
                sandbox.call_tool(&component, Arc::new(ClosedDoor), limits, "run", "{}".into(), context).await;
            assert!(!matches!(called.result, Err(CallError::Engine(_))), "{called:?}");
        });
    }
}
