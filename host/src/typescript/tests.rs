//! Files that would bring a careless reader down.

use super::{
    limits::{READER_STACK_BYTES, SOURCE_BYTES_MAX},
    nesting, strip,
};

#[test]
fn what_nests_without_brackets_fits_the_stack() {
    // A quarter of what is allowed, for the sake of time; a quarter of the stack.
    let bytes = SOURCE_BYTES_MAX / 4;
    let times = |part: &str| part.repeat(bytes / part.len() - 1);
    let bombs = [
        times("!") + "1",
        times("1+") + "1",
        times("a=>") + "1",
        "a".to_owned() + &times(".a"),
        "a".to_owned() + &times("()"),
        times("a?a:") + "1",
        "let a:".to_owned() + &"A<".repeat(bytes / 4) + "A" + &">".repeat(bytes / 4),
        "let a:A".to_owned() + &times("[]"),
        times("a=") + "1",
    ];
    for bomb in bombs {
        let reader = std::thread::Builder::new().stack_size(READER_STACK_BYTES / 4);
        let read = move || nesting::check("a.ts", &bomb).and_then(|()| strip::strip("a.ts", &bomb)).map(drop);
        assert!(reader.spawn(read).unwrap().join().is_ok(), "an error is fine, a crash is not");
    }
}
