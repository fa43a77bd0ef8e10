//! opencode's ids and ours, to and fro, without a table.
//!
//! opencode writes an id as a prefix, 12 hex digits and 14 of base 62. The hex
//! digits are milliseconds times 4096 plus a counter, modulo 2^48, so that ids
//! sort by time; of a session they are inverted, so that the newest is first.
//! Clients sort by them, and make ids of messages themselves.
//!
//! Three kinds of UUIDs have forms that no other kind has:
//! - ours (version 7): the hex digits are its time and its counter, the 14
//!   digits are below 2^74.
//! - one that a client of opencode made, whose counters are small: its parts as
//!   one number of 127 bits, with the bit of the variant clear that ours have.
//! - any other: its 128 bits as one number, with counters that clients never
//!   reach.

use chrono::{DateTime, Utc};
use uuid::{Uuid, Variant};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const HEX_DIGITS: usize = 12;
const BASE62_DIGITS: usize = 14;
/// Below it stand the tails of our own ids: 12 bits of time and 62 of chance.
const OURS: u128 = 1 << 74;
/// Tails of all others.
const TAILS: u128 = 62_u128.pow(14) - OURS;
/// Counters of clients that have room in a UUID: ids made in one millisecond.
const COUNTERS: u128 = 199;
/// Counters beyond those.
const OTHER_COUNTERS: u128 = (1 << 12) - COUNTERS;
/// Milliseconds modulo this stand in an id: two years of them.
const TIMES: u128 = 1 << 36;
const TIME_MASK: u64 = (1 << 48) - 1;

/// A session's id.
pub fn session(id: Uuid) -> String {
    let (time, tail) = split(id);
    write("ses", !time & TIME_MASK, tail)
}

/// A message's id.
pub fn message(id: Uuid) -> String {
    let (time, tail) = split(id);
    write("msg", time, tail)
}

/// The id of a part of a message, by its place in it: parts sort by it.
pub fn part(message_id: Uuid, place: u16) -> String {
    let (time, tail) = split(message_id);
    write("prt", time & !0xfff | u64::from(place & 0xfff), tail)
}

/// The id of something that is asked.
pub fn permission(id: Uuid) -> String {
    let (time, tail) = split(id);
    write("per", time, tail)
}

/// An event's id.
pub fn event(id: Uuid) -> String {
    let (time, tail) = split(id);
    write("evt", time, tail)
}

/// The session of this id.
pub fn parse_session(text: &str) -> Option<Uuid> {
    let (time, tail) = read("ses", text)?;
    join(!time & TIME_MASK, tail)
}

/// The message of this id; none where no client of opencode makes such.
pub fn parse_message(text: &str) -> Option<Uuid> {
    let (time, tail) = read("msg", text)?;
    join(time, tail)
}

/// What is asked by this id.
pub fn parse_permission(text: &str) -> Option<Uuid> {
    let (time, tail) = read("per", text)?;
    join(time, tail)
}

/// When something was made, in milliseconds: by its id where that is ours, else as stored.
pub fn made_at(id: Uuid, stored: DateTime<Utc>) -> i64 {
    if is_ours(id) {
        i64::try_from(id.as_u128() >> 80).unwrap_or_default()
    } else {
        stored.timestamp_millis()
    }
}

fn is_ours(id: Uuid) -> bool {
    id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122
}

/// The time and the tail of a UUID's form.
fn split(id: Uuid) -> (u64, u128) {
    let bits = id.as_u128();
    if is_ours(id) {
        let (ms, counter, chance) = (bits >> 80, bits >> 64 & 0xfff, bits & ((1 << 62) - 1));
        return (time(ms % TIMES, counter), (ms / TIMES) << 62 | chance);
    }
    if let Some((ms, counter, tail)) = of_client(bits) {
        return (time(ms, counter), OURS + tail);
    }
    let (rest, tail) = (bits / TAILS, bits % TAILS);
    (time(rest / OTHER_COUNTERS, COUNTERS + rest % OTHER_COUNTERS), OURS + tail)
}

/// The UUID of a form; none where there is none.
fn join(time: u64, tail: u128) -> Option<Uuid> {
    let (ms, counter) = (u128::from(time >> 12), u128::from(time & 0xfff));
    let Some(tail) = tail.checked_sub(OURS) else {
        let (since, chance) = (tail >> 62, tail & ((1 << 62) - 1));
        let bits = (since * TIMES + ms) << 80 | 7 << 76 | counter << 64 | 1 << 63 | chance;
        return Some(Uuid::from_u128(bits));
    };
    match counter.checked_sub(COUNTERS) {
        None => {
            let number = (ms * COUNTERS + counter) * TAILS + tail;
            Some(Uuid::from_u128(number >> 63 << 64 | number & LOW))
        }
        Some(counter) => {
            let bits = (ms * OTHER_COUNTERS + counter).checked_mul(TAILS)?.checked_add(tail)?;
            let id = Uuid::from_u128(bits);
            // Those have forms of their own.
            (!is_ours(id) && of_client(bits).is_none()).then_some(id)
        }
    }
}

/// The bits after the variant's first.
const LOW: u128 = (1 << 63) - 1;

/// Time, counter and tail that a client put into an id, where this is such a one.
fn of_client(bits: u128) -> Option<(u128, u128, u128)> {
    if bits >> 63 & 1 == 1 {
        return None;
    }
    let number = bits >> 64 << 63 | bits & LOW;
    let (rest, tail) = (number / TAILS, number % TAILS);
    let (ms, counter) = (rest / COUNTERS, rest % COUNTERS);
    (ms < TIMES).then_some((ms, counter, tail))
}

fn time(ms: u128, counter: u128) -> u64 {
    u64::try_from(ms << 12 | counter).unwrap_or_default() & TIME_MASK
}

fn write(prefix: &str, time: u64, mut tail: u128) -> String {
    let mut digits = [0; BASE62_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(tail % 62).unwrap_or_default()];
        tail /= 62;
    }
    format!("{prefix}_{time:012x}{}", String::from_utf8_lossy(&digits))
}

fn read(prefix: &str, text: &str) -> Option<(u64, u128)> {
    let rest = text.strip_prefix(prefix)?.strip_prefix('_')?;
    if rest.len() != HEX_DIGITS + BASE62_DIGITS || !rest.is_ascii() {
        return None;
    }
    let (hex, digits) = rest.split_at(HEX_DIGITS);
    // `from_str_radix` takes a sign and capitals, which nobody writes.
    if !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None;
    }
    let time = u64::from_str_radix(hex, 16).ok()?;
    let tail = digits.bytes().try_fold(0_u128, |tail, byte| {
        let digit = DIGITS.iter().position(|known| *known == byte)?;
        Some(tail * 62 + u128::try_from(digit).ok()?)
    })?;
    Some((time, tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As opencode makes one: time and counter, and 14 digits of chance.
    fn of_opencode(ms: u64, counter: u64, tail: &str) -> String {
        format!("msg_{:012x}{tail}", (ms * 4096 + counter) & TIME_MASK)
    }

    proptest! {
        #[test]
        fn every_uuid_has_one_id_and_comes_back(bits: u128) {
            let id = Uuid::from_u128(bits);
            prop_assert_eq!(parse_message(&message(id)), Some(id));
            prop_assert_eq!(parse_session(&session(id)), Some(id));
            prop_assert_eq!(parse_permission(&permission(id)), Some(id));
            prop_assert_eq!(message(id).len(), 30);
        }

        #[test]
        fn what_a_client_made_comes_back_as_it_was(ms in 0_u64..1 << 42, counter in 1_u64..100, tail in "[0-9A-Za-z]{14}") {
            let made = of_opencode(ms, counter, &tail);
            let id = parse_message(&made);
            prop_assert!(id.is_some(), "{}", made);
            prop_assert_eq!(message(id.unwrap()), made);
        }

        #[test]
        fn ours_sort_by_time(ms in 0_u64..1 << 36, later in 1_u64..1000) {
            let at = |ms: u64| uuid::Builder::from_unix_timestamp_millis(ms, &[7; 10]).into_uuid();
            prop_assume!(ms + later < 1 << 36);
            prop_assert!(message(at(ms)) < message(at(ms + later)));
            prop_assert!(session(at(ms)) > session(at(ms + later)));
            prop_assert!(part(at(ms), 1) < part(at(ms), 2));
        }
    }

    #[test]
    fn ours_and_opencodes_of_one_time_stand_together() {
        let ms = 1_795_321_675_676;
        let ours = uuid::Builder::from_unix_timestamp_millis(ms, &[0; 10]).into_uuid();
        assert_eq!(message(ours)[4..16], of_opencode(ms, 0, "00000000000000")[4..16]);
        assert_eq!(made_at(ours, DateTime::default()), 1_795_321_675_676);
        // From a recording of opencode itself.
        let recorded = parse_message("msg_20182bf71001iswfursf1xrtOd").unwrap();
        assert_eq!(message(recorded), "msg_20182bf71001iswfursf1xrtOd");
    }

    #[test]
    fn what_nobody_makes_names_nothing() {
        for text in [
            "",
            "msg_",
            "msg_1",
            "msg_20182bf71001iswfursf1xrtO",
            "msg_20182bf71001iswfursf1xrt-d",
            "msg_20182BF71001iswfursf1xrtOd",
            "msg_+0182bf71001iswfursf1xrtOd",
            "ses_20182bf71001iswfursf1xrtOd",
            "msg_20182bf71fffzzzzzzzzzzzzzz",
            "msg_20182bf71001iswfursf1xrtü",
        ] {
            assert_eq!(parse_message(text), None, "{text}");
        }
    }
}
