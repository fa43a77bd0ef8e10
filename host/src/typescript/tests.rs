//! Files that would bring a careless reader down.

use super::strip::strip;

#[test]
fn measure_bombs() {
    let n = 1 << 20;
    let half = n / 2;
    let bombs: Vec<(&str, String)> = vec![
        ("bang", "!".repeat(n - 2) + "1"),
        ("paren", "(".repeat(half) + "1" + &")".repeat(half)),
        ("bracket", "[".repeat(half) + &"]".repeat(half)),
        ("plus", "1+".repeat(half) + "1"),
        ("brace", "{".repeat(half) + &"}".repeat(half)),
        ("arrow", "a=>".repeat(n / 3) + "1"),
        ("member", "a".to_owned() + &".a".repeat(half)),
        ("call", "a".to_owned() + &"()".repeat(half)),
        ("tern", "a?a:".repeat(n / 4) + "1"),
        ("if", "if(1)".repeat(n / 5) + ";"),
        ("type", "let a:".to_owned() + &"A<".repeat(half) + &">".repeat(half)),
        ("arr", "let a:A".to_owned() + &"[]".repeat(half)),
        ("object", "a=".to_owned() + &"{a:".repeat(n / 4) + "1" + &"}".repeat(n / 4)),
        ("func", "function a(){".repeat(n / 14) + &"}".repeat(n / 14)),
        ("class", "class A{a=".repeat(n / 12) + "1" + &"}".repeat(n / 12)),
        ("template", "`${".repeat(n / 5) + "1" + &"}`".repeat(n / 5)),
        ("assign", "a=".repeat(half) + "1"),
        ("ns", "namespace A{".repeat(n / 14) + &"}".repeat(n / 14)),
    ];
    let only = std::env::var("BOMB").unwrap_or_default();
    for (name, source) in bombs.into_iter().filter(|(name, _)| only.is_empty() || *name == only) {
        let began = std::time::Instant::now();
        let work = std::thread::Builder::new()
            .stack_size(14 << 30)
            .spawn(move || {
                strip("a.ts", &source)
                    .map(drop)
                    .map_err(|e| e.to_string().chars().take(80).collect::<String>())
            })
            .unwrap();
        let result = work.join().unwrap();
        let peak = std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .find(|l| l.starts_with("VmHWM"))
            .unwrap()
            .to_owned();
        println!("{name}: {:?} {peak} {result:?}", began.elapsed());
    }
}
