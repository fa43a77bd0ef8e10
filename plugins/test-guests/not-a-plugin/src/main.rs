//! Test guest: a component like any other, but without an export of ours.

fn main() {
    println!("I am a program.");
}
