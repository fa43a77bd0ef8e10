//! The guest SDK and the contract, as this binary was built with them.

include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// One file of the contract.
pub(crate) fn wit(path: &str) -> &'static str {
    let found = FILES.iter().find(|(name, _)| *name == path);
    found.map_or("", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_gets_the_sdk_the_contract_and_a_workspace_that_holds_nothing_else() {
        let names: Vec<_> = FILES.iter().map(|(name, _)| *name).collect();
        for name in
            ["Cargo.toml", "sdk-guest/src/lib.rs", "sdk-guest/macros/src/tool.rs", "wit/tool/tool.wit"]
        {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(wit("wit/host/types.wit").contains("package opg:host@"));
        let (_, manifest) = FILES.iter().find(|(name, _)| *name == "Cargo.toml").unwrap();
        assert!(manifest.contains("\nwit-bindgen = ") && !manifest.contains("wasmtime"), "{manifest}");
        assert!(LOCK.contains("name = \"wit-bindgen\"") && !LOCK.contains("name = \"wasmtime\""), "{LOCK}");
    }
}
