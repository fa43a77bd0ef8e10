//! A component that knows nothing of OPG: ordinary WIT functions.

wit_bindgen::generate!({
    inline: r#"
        package acme:geo@1.2.0;

        interface places {
            /// What a place is.
            enum kind { city, lake }

            record place {
                name: string,
                kind: kind,
                height: option<s32>,
                position: tuple<f64, f64>,
            }

            /// The first place whose name begins so.
            find: func(prefix: string) -> result<place, string>;
        }

        world geo {
            export places;

            /// Adds two numbers.
            ///
            /// Wraps around at the end.
            export add: func(a: u32, b: u32) -> u32;

            export echo-bytes: func(bytes: list<u8>) -> list<u8>;
            export spin: func();
            export choose: func(what: choice, drawn: marks, wide: u64) -> choice;
            variant choice { nothing, text(string), numbers(list<s8>) }
            flags marks { bold, thin }
            export not-a-number: func() -> f64;
        }
    "#,
});

use exports::acme::geo::places::{Guest as Places, Kind, Place};

struct Geo;

impl Places for Geo {
    fn find(prefix: String) -> Result<Place, String> {
        let bern = Place { name: "Bern".into(), kind: Kind::City, height: Some(542), position: (46.9, 7.4) };
        let thun = Place { name: "Thunersee".into(), kind: Kind::Lake, height: None, position: (46.7, 7.7) };
        [bern, thun]
            .into_iter()
            .find(|place| place.name.starts_with(&prefix))
            .ok_or_else(|| format!("no place begins with {prefix}"))
    }
}

impl Guest for Geo {
    fn add(a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }

    fn echo_bytes(bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    fn spin() {
        loop {
            std::hint::spin_loop();
        }
    }

    fn choose(what: Choice, drawn: Marks, wide: u64) -> Choice {
        match what {
            Choice::Nothing if drawn & Marks::BOLD == Marks::BOLD => Choice::Text(wide.to_string()),
            other => other,
        }
    }

    fn not_a_number() -> f64 {
        f64::NAN
    }
}

export!(Geo);
