//! What must hold for any bytes, as functions that panic when it does not.
//!
//! The fuzz targets call them with what the fuzzer finds, the property tests with random bytes and
//! with the corpus. Nothing here is meant for a server.

use crate::answer::{Answer, Changed, MESSAGE_BYTES_MAX, REASON_BYTES_MAX, USER_BYTES_MAX};
use crate::{Event, parse};

/// Answers: whatever the bytes are, what is read is bounded, and is an answer to what was asked. The
/// first byte chooses what that is.
pub fn answer(data: &[u8]) {
    let [choice, rest @ ..] = data else {
        return;
    };
    let event = Event::ALL[usize::from(*choice) % Event::ALL.len()];
    let Ok(answer) = parse(event, rest, BYTES_MAX) else {
        return;
    };
    assert!(rest.len() <= BYTES_MAX);
    match (&answer, event) {
        (Answer::Connect(granted), Event::Connect) => {
            assert!(granted.user.len() <= USER_BYTES_MAX);
            assert_ne!(granted.expire_at, Some(0));
        }
        (Answer::Subscribe, Event::Subscribe) => {}
        (Answer::Publish(changed), Event::Publish) => match changed {
            Changed::Text(json) => {
                assert!(serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok());
            }
            Changed::Binary(bytes) => assert!(bytes.len() < rest.len()),
            Changed::Nothing => {}
        },
        (Answer::Rpc(data), Event::Rpc) => {
            let is_json = |data: &std::sync::Arc<str>| {
                serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok()
            };
            assert!(data.as_ref().is_none_or(is_json));
        }
        (Answer::Error { code, message, .. }, _) => {
            assert!((400..=1999).contains(code) && message.len() <= MESSAGE_BYTES_MAX);
        }
        (Answer::Disconnect { code, reason }, _) => {
            assert!((4000..=4999).contains(code) && reason.len() <= REASON_BYTES_MAX);
        }
        _ => panic!("{answer:?} to {event:?}"),
    }
    // With anything behind it, or less of it, it is another text: never the same answer by luck of
    // a parser that stops early.
    let behind = [rest, b"}"].concat();
    assert!(parse(event, &behind, BYTES_MAX + 1).is_err());
    assert!(
        parse(event, rest, rest.len() - 1).is_err(),
        "the limit holds"
    );
}

const BYTES_MAX: usize = 4 << 10;
