//! What a neighbour notices of each attack.

use super::{
    ATTACKS, Attack, Mallory,
    arena::{ALONE, Arena, neighbours_factor},
    attacks::needs_local,
};
use serde_json::json;
use std::time::Duration;

/// How much longer a neighbour's call takes at the most beside an attacker than beside an honest tenant, median to
/// median: above it a measurement is made again.
const FACTOR_MAX: f64 = 1.2;
/// How much of the machine others may take before a measurement says nothing of ours.
const OTHERS_MAX: f64 = 0.15;
/// Measurements before a neighbour counts as disturbed: other processes disturb it as well, on a machine that is not
/// ours alone. A guest that does disturb it does so in each.
const MEASUREMENTS_MAX: usize = 8;

/// The control: a tenant who calls a harmless tool as fast as the answers come. An attacker costs requests and their
/// rows as everybody does; what is asked here is what the *guest* costs beyond that.
///
/// On two cores two guests that compute could take both: they stand back behind the host and short calls
/// (`LONG_CALL_CPU`, `GUEST_NICENESS`), and so cost a neighbour little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_hardly_notices_any_of_the_forty() {
    let others_before = others().await;
    // Where nothing will be judged, one measurement shows as much as eight.
    let measurements_max = if others_before > OTHERS_MAX { 1 } else { MEASUREMENTS_MAX };
    let work: Attack = |tenant| Box::pin(honest_work(tenant));
    let arenas = [Arena::start(false, ALONE).await, Arena::start(true, ALONE).await];
    let busy = [arenas[0].busy_tenant().await, arenas[1].busy_tenant().await];
    arenas[0].neighbours_call().await;
    let honest = neighbours_factor(&arenas[0], (&busy[0], work), None).await;
    println!(
        "     {:24} {honest:.2} times as long as alone; the others beside an attacker, to this:",
        "an honest tenant"
    );

    let mut disturbed = vec![];
    for (guest, attack) in ATTACKS {
        let local = usize::from(needs_local(guest.name));
        let (arena, busy) = (&arenas[local], &busy[local]);
        let mallory = arena.mallory(*guest).await;
        // Once before it counts, so that all is compiled.
        attack(&mallory).await;
        arena.neighbours_call().await;
        let mut factors = vec![];
        while factors.len() < measurements_max && factors.iter().all(|factor| *factor > FACTOR_MAX) {
            factors.push(neighbours_factor(arena, (&mallory, *attack), Some((busy, work))).await);
        }
        println!("{:>3}  {:24} {factors:.2?}", guest.number(), guest.name);
        if factors.iter().all(|factor| *factor > FACTOR_MAX) {
            disturbed.push((guest.name, factors));
        }
    }
    let others = others().await.max(others_before);
    if others > OTHERS_MAX {
        println!("     not judged: others take {:.0} % of the machine", others * 100.0);
        return;
    }
    assert!(disturbed.is_empty(), "a neighbour's calls took so many times as long: {disturbed:.2?}");
}

async fn honest_work(tenant: &Mallory) {
    let answer = tenant.client.invoke("word-count", json!({ "text": "a b a" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// How much of the machine's cores others take, while this process waits.
async fn others() -> f64 {
    let before = spent_and_idle();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let after = spent_and_idle();
    let (spent, idle) = (after.0 - before.0, after.1 - before.1);
    spent / (spent + idle).max(1.0)
}

/// What all cores together have spent and idled, in ticks. Nothing where the system does not say.
fn spent_and_idle() -> (f64, f64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = first.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let idle = ticks.iter().skip(3).take(2).sum::<f64>();
    (ticks.iter().sum::<f64>() - idle, idle)
}
