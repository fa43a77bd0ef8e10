//! What can be shown without a guest: sessions that run in a process are in `tests/it/sessions`.

use super::message::{Ask, ToHost};
use super::*;
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_message_comes_as_it_went_with_its_code_and_none_at_the_end() {
    let (mut ours, mut theirs) = duplex(64);
    let frame = frame::encode(&("text".to_owned(), Some(vec![7_u8; 300])), b"code").unwrap();
    tokio::spawn(async move { ours.write_all(&frame).await });
    let read = frame::read_with_code::<(String, Option<Vec<u8>>)>(&mut theirs, 400, 4).await.unwrap();
    assert_eq!(read, Some((("text".to_owned(), Some(vec![7; 300])), b"code".to_vec())));
    assert_eq!(frame::read::<String>(&mut theirs, 400).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_too_long_breaks_off_or_makes_no_sense_is_refused_and_takes_no_memory() {
    let whole = frame::encode(&"x".repeat(100), b"code").unwrap();
    let longest = [u32::MAX.to_le_bytes(), 0_u32.to_le_bytes()].concat();
    let nonsense = [[4, 0, 0, 0], [0, 0, 0, 0], [0xff; 4]].concat();
    for (bytes, bytes_max, code_max) in [
        (&whole[..], 100, 4),
        (&whole[..], 200, 3),
        (&whole[..60], 200, 4),
        (&longest[..], FROM_RUNNER_BYTES_MAX, 0),
        (&nonsense[..], 200, 4),
    ] {
        let mut bytes = bytes;
        let read = frame::read_with_code::<String>(&mut bytes, bytes_max, code_max).await;
        assert!(read.is_err(), "{bytes_max} {code_max}");
    }
}

#[tokio::test]
async fn a_runner_that_makes_no_sense_or_asks_for_what_is_not_its_gets_nothing() {
    let (ours, mut theirs) = duplex(1024);
    let (reader, writer) = tokio::io::split(ours);
    let gone = CancellationToken::new();
    let remote = Remote::over(reader, writer, Handle::current(), gone.clone());
    let ask = ToHost::Ask { run: 0, call: 0, time_left: SOON, ask: Ask::Secret("KEY".to_owned()) };
    for said in [ask, ToHost::Forget { call: 9 }, ToHost::More { call: 9, events: u32::MAX }] {
        frame::write(&mut theirs, &said).await.unwrap();
    }
    let answer = frame::read::<message::ToRunner>(&mut theirs, 1024);
    assert!(tokio::time::timeout(Duration::from_millis(100), answer).await.is_err(), "no run, no door");
    assert!(!remote.is_gone());
    assert!(
        !remote.came_to(0, super::super::Outcome { finish_reason: "stop".into(), messages: "[]".into() })
    );
    assert!(remote.emit(0, "{}".to_owned()).await.is_err());
    theirs.write_all(&[0xff; 64]).await.unwrap();
    tokio::time::timeout(SOON, gone.cancelled()).await.expect("it is given up");
}
