//! What can be shown without a guest; calls are tested in `tests/it/sandbox.rs`.

use super::verify::{LoadError, verify};
use super::*;
use proptest::prelude::*;

/// How an empty component starts, and ends.
const COMPONENT_HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";

fn sandbox(dir: &tempfile::TempDir) -> Sandbox {
    Sandbox::new(SandboxConfig {
        cache_dir: dir.path().to_owned(),
        compiler: CompilerConfig::with("/nonexistent"),
        worker_threads: 1,
        calls_in_flight_max: 1,
        host: Handle::current(),
    })
    .unwrap()
}

#[tokio::test]
async fn without_its_clock_the_sandbox_is_not_healthy() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(&dir);
    assert!(sandbox.is_healthy());
    sandbox.0.ticker.stop();
    tokio::time::sleep(limits::TICKER_SILENCE_MAX + 5 * limits::EPOCH_TICK).await;
    assert!(!sandbox.is_healthy());

    struct Nothing;
    impl call::Export for Nothing {
        type Output = ();
        async fn call(&self, _: &mut wasmtime::Store<GuestState>) -> wasmtime::Result<()> {
            Ok(())
        }
    }
    let called =
        sandbox.run(Arc::new(ClosedDoor), CallLimits::default(), sandbox.0.shares.of(""), Nothing).await;
    assert!(matches!(called.result, Err(CallError::Engine(text)) if text.contains("clock")));
}

#[tokio::test]
async fn a_sandbox_may_be_dropped_inside_a_task() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(&dir);
    tokio::spawn(async move { drop(sandbox) }).await.unwrap();
}

#[tokio::test]
async fn a_configuration_without_threads_or_slots_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = SandboxConfig {
        cache_dir: dir.path().to_owned(),
        compiler: CompilerConfig::with("/nonexistent"),
        worker_threads: 0,
        calls_in_flight_max: 1,
        host: Handle::current(),
    };
    assert!(matches!(Sandbox::new(config.clone()), Err(StartError::Config("worker_threads"))));
    let config = SandboxConfig { worker_threads: 1, calls_in_flight_max: 0, ..config };
    assert!(matches!(Sandbox::new(config), Err(StartError::Config("calls_in_flight_max"))));
}

#[tokio::test]
async fn a_load_that_fails_or_is_given_up_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(&dir);
    assert!(sandbox.load(Bytes::from_static(b"not a component")).await.is_err());
    for _ in 0..20 {
        let load = sandbox.load(Bytes::from_static(&COMPONENT_HEADER));
        let _ = timeout(Duration::from_micros(10), load).await;
    }
    assert_eq!(sandbox.0.loader.known(), 0);
}

#[test]
fn an_empty_component_exports_nothing() {
    assert_eq!(verify(&COMPONENT_HEADER), Err(LoadError::NoExport));
}

#[test]
fn nesting_has_an_end() {
    let mut component = COMPONENT_HEADER.to_vec();
    for _ in 0..20 {
        let mut outer = COMPONENT_HEADER.to_vec();
        outer.push(4); // a section that holds a component
        outer.extend(leb128(component.len()));
        outer.append(&mut component);
        component = outer;
    }
    let refused = verify(&component).unwrap_err();
    assert!(matches!(refused, LoadError::TooComplex { what: "levels of nesting", .. }), "{refused}");
}

#[test]
fn counts_have_an_end() {
    // A hundred empty core modules.
    let mut component = COMPONENT_HEADER.to_vec();
    for _ in 0..100 {
        component.extend([1, 8]);
        component.extend(b"\0asm\x01\0\0\0");
    }
    let refused = verify(&component).unwrap_err();
    assert!(matches!(refused, LoadError::TooComplex { what: "core modules", .. }), "{refused}");
}

#[test]
fn a_small_module_that_takes_minutes_to_compile_is_refused() {
    // A thousand loops in each other, a thousand locals that change in the innermost one: 16 KiB.
    let mut body = [1].to_vec();
    body.extend(leb128(1000));
    body.push(0x7f);
    body.extend([0x03, 0x40].repeat(1000));
    for local in 0..1000 {
        body.push(0x20);
        body.extend(leb128(local));
        body.extend([0x41, 1, 0x6a, 0x21]);
        body.extend(leb128(local));
    }
    body.extend([0x20, 0, 0x0d, 0, 0x0b].repeat(1000));
    body.push(0x0b);
    let mut code = vec![1];
    code.extend(leb128(body.len()));
    code.extend(body);
    let mut module = vec![1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10];
    module.extend(leb128(code.len()));
    module.extend(code);
    assert!(module.len() < 20_000);
    let refused = verify(&component_with_module(&module)).unwrap_err();
    assert!(matches!(refused, LoadError::TooComplex { what, .. } if what.contains("weight")), "{refused}");
}

#[test]
fn features_that_are_off_are_refused() {
    // (component (core module (memory i64 1)))
    let refused = verify(&component_with_module(&[5, 3, 1, 4, 1])).unwrap_err();
    assert!(refused.to_string().contains("memory64"), "{refused}");
    // (component (core module (memory 1) (memory 1)))
    let refused = verify(&component_with_module(&[5, 5, 2, 0, 1, 0, 1])).unwrap_err();
    assert!(matches!(&refused, LoadError::Invalid(text) if text.contains("memor")), "{refused}");
    // (component (core module (memory 1 1 shared)))
    let refused = verify(&component_with_module(&[5, 4, 1, 3, 1, 1])).unwrap_err();
    assert!(matches!(&refused, LoadError::Invalid(text) if text.contains("threads")), "{refused}");
}

#[test]
fn an_import_of_another_version_or_kind_is_named_with_what_to_do() {
    for (import, fix) in [
        ("wasi:sockets/tcp@0.2.6", "opg:host/http"),
        ("wasi:http/outgoing-handler@0.2.6", "opg:host/http"),
        ("wasi:cli/stdout@0.3.0", "wasm32-wasip2"),
        ("opg:host/http@2.0.0", "speaks version 1"),
        ("opg:host/shell@1.0.0", "update the host"),
        ("acme:db/sql@1.0.0", "leave out"),
    ] {
        let mut section = vec![1]; // one import
        section.push(0);
        section.extend(leb128(import.len()));
        section.extend(import.bytes());
        section.extend([5, 0]); // an instance of type 0
        let mut component = COMPONENT_HEADER.to_vec();
        component.extend([7, 3, 1, 0x42, 0]); // type 0: an instance without anything in it
        component.push(10);
        component.extend(leb128(section.len()));
        component.extend(section);
        let refused = verify(&component).unwrap_err();
        assert!(matches!(&refused, LoadError::ForbiddenImport { name, .. } if name == import), "{refused}");
        assert!(refused.to_string().contains(fix), "{refused}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_bytes_make_the_checks_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(verify(&bytes).is_err());
        let mut component = COMPONENT_HEADER.to_vec();
        component.extend(&bytes);
        prop_assert!(verify(&component).is_err());
        prop_assert!(verify(&component_with_module(&bytes)).is_err());
    }
}

fn component_with_module(sections: &[u8]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(sections);
    let mut component = COMPONENT_HEADER.to_vec();
    component.push(1); // a section that holds a core module
    component.extend(leb128(module.len()));
    component.extend(module);
    component
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = vec![];
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
