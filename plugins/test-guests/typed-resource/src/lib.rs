//! A component with a function that gives a resource: no value, so no tool.

wit_bindgen::generate!({
    inline: "
        package acme:things;

        interface things {
            resource thing;
            make: func() -> thing;
        }

        world maker {
            export things;
        }
    ",
});

use exports::acme::things::things::{Guest, GuestThing, Thing};

struct Maker;
struct It;

impl GuestThing for It {}

impl Guest for Maker {
    type Thing = It;

    fn make() -> Thing {
        Thing::new(It)
    }
}

export!(Maker);
