//! A component without what names its parts, at any depth: nobody here reads that, and what is uploaded has a limit.

use wasmparser::{BinaryReader, BinaryReaderError, Parser};

/// Custom sections that say nothing of what the component does. Others stay: doc comments become descriptions.
const NAMES: [&str; 4] = ["name", "component-name", "producers", "dylink.0"];
/// The header of a module or a component.
const HEADER_BYTES: usize = 8;
/// Kinds of section.
const CUSTOM: u8 = 0;
/// Of a component, that which holds a module, and that which holds a component.
const NESTED: [u8; 2] = [1, 4];

pub(super) fn without_names(wasm: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut reader = BinaryReader::new(wasm, 0);
    let mut out = reader.read_bytes(HEADER_BYTES)?.to_vec();
    let is_component = Parser::is_component(wasm);
    while !reader.eof() {
        let kind = reader.read_u8()?;
        let length = reader.read_var_u32()?;
        let content = reader.read_bytes(length as usize)?;
        if kind == CUSTOM && NAMES.contains(&BinaryReader::new(content, 0).read_string()?) {
            continue;
        }
        out.push(kind);
        if is_component && NESTED.contains(&kind) {
            put(&mut out, &without_names(content)?);
        } else {
            put(&mut out, content);
        }
    }
    Ok(out)
}

/// Its length, seven bits a byte, and it.
fn put(out: &mut Vec<u8>, content: &[u8]) {
    let mut left = content.len();
    while left > 0x7f {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out.extend(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn with(header: &[u8], sections: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = header.to_vec();
        for (kind, content) in sections {
            out.push(*kind);
            put(&mut out, content);
        }
        out
    }

    #[test]
    fn names_go_at_any_depth_and_all_else_stays() {
        let long = [b"\x04note".as_slice(), &[7; 300]].concat();
        let nest = |names: &[(u8, &[u8])]| {
            let module = with(MODULE, &[&[(0, long.as_slice())], names].concat());
            let inner = with(COMPONENT, &[&[(1, module.as_slice())], names].concat());
            with(COMPONENT, &[&[(4, inner.as_slice()), (0, b"\x0cpackage-docs{}")], names].concat())
        };
        let named = nest(&[(0, b"\x04name1"), (0, b"\x09producers")]);
        let bare = nest(&[]);
        assert!(named.len() > bare.len());
        assert_eq!(without_names(&named).unwrap(), bare);
        assert_eq!(without_names(&bare).unwrap(), bare);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let whole = with(COMPONENT, &[(0, b"\x04name1")]);
        assert!(without_names(&whole[..whole.len() - 1]).is_err() && without_names(b"\0asm").is_err());
    }
}
