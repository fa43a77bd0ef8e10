//! What is no component, each by its name.

/// The first of all.
pub(super) fn wasm() -> Vec<u8> {
    all().swap_remove(0).1
}

/// How a component starts.
const HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// All of them.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let archive = |magic: &[u8]| [magic, &[0; 4096]].concat();
    vec![
        ("machine code", archive(b"\x7fELF\x02\x01\x01\0")),
        ("a gzip bomb", archive(b"\x1f\x8b\x08\0")),
        ("a zstd bomb", archive(b"\x28\xb5\x2f\xfd")),
        ("a zip with a component behind it", [archive(b"PK\x03\x04"), HEADER.to_vec()].concat()),
        ("a component with a zip behind it", [HEADER.to_vec(), archive(b"PK\x03\x04")].concat()),
        ("a script", b"#!/bin/sh\nexec rm -rf /\n".to_vec()),
        ("a core module", b"\0asm\x01\0\0\0".to_vec()),
        ("half a header", HEADER[..6].to_vec()),
        ("another version", b"\0asm\x0e\0\x01\0".to_vec()),
        ("a section longer than the file", [&HEADER[..], &[7, 0xff, 0xff, 0xff, 0x7f]].concat()),
        // Sections that say how much follows, and then do not have it.
        ("a million types", counted(7)),
        ("a million imports", counted(10)),
        ("a million exports", counted(11)),
        ("components in components", nested(5000)),
    ]
}

fn counted(section: u8) -> Vec<u8> {
    let million = [0xc0, 0x84, 0x3d];
    [&HEADER[..], &[section, 3], &million].concat()
}

fn nested(depth: usize) -> Vec<u8> {
    let mut component = HEADER.to_vec();
    for _ in 0..depth {
        let mut outer = HEADER.to_vec();
        outer.push(4);
        outer.extend(leb128(component.len()));
        outer.append(&mut component);
        component = outer;
    }
    component
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = vec![];
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
