//! Forty behaviours of hostile guests, each against a whole OPG.
//!
//! For each guest with a README (see `opg_tests::hostile`) there is a test of its
//! name here, made from the function of its name in [`attacks`]. What has no
//! function does not compile, nor does a function without a guest.
//!
//! Each test asserts, over HTTP: the error the attacker's tenant sees, its audit
//! row, that a neighbour is served meanwhile, and that memory and all handles are
//! back where they were afterwards. How long the neighbour's calls take under
//! each attack is measured in [`neighbour`], with nothing else running.

mod arena;
mod attacks;
mod neighbour;
mod soak;

use arena::Mallory;
use futures_util::future::BoxFuture;

/// What a hostile guest is made to do, and what must come of it.
type Attack = for<'a> fn(&'a Mallory) -> BoxFuture<'a, ()>;

macro_rules! tests {
    ($($name:ident $guest:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                arena::withstands(opg_tests::hostile::$guest, |mallory| Box::pin(attacks::$name(mallory))).await;
            }
        )*

        /// All of them, for the soak.
        const ATTACKS: &[(opg_tests::hostile::Guest, Attack)] =
            &[$((opg_tests::hostile::$guest, |mallory| Box::pin(attacks::$name(mallory)))),*];
    };
}
opg_tests::each_hostile_guest!(tests);

#[test]
fn there_is_a_guest_for_each_of_the_forty_behaviours() {
    let numbers: std::collections::BTreeSet<_> =
        opg_tests::hostile::ALL.iter().map(opg_tests::hostile::Guest::number).collect();
    assert_eq!(numbers, (1..=40).collect());
}
