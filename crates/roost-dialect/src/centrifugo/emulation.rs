//! What a client without a WebSocket sends: `{"session":…,"node":…,"data":…}`, or an EmulationRequest of Protobuf.

use serde::Deserialize;

use super::protobuf::wire::{Malformed, each_field};
use crate::dialect::{Headers, Message};
use crate::json::{DEPTH_MAX, Text, depth_within};

/// For a session.
#[derive(Debug)]
pub struct Said<'a> {
    session: Text<'a>,
    data: Data<'a>,
}

#[derive(Debug)]
enum Data<'a> {
    Lines(Text<'a>),
    Messages(&'a [u8]),
}

/// The same in JSON.
#[derive(Debug, Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    session: Text<'a>,
    #[serde(borrow)]
    data: Text<'a>,
}

impl Said<'_> {
    /// Which session it is for.
    pub fn session(&self) -> &str {
        &self.session.0
    }

    /// What it says: commands, as one message of a WebSocket has them.
    pub fn message(&self) -> Message<'_> {
        match &self.data {
            Data::Lines(Text(lines)) => Message::Text(lines),
            Data::Messages(messages) => Message::Binary(messages),
        }
    }
}

/// Whether a request's body is Protobuf.
pub fn is_protobuf(headers: Headers<'_>) -> bool {
    let kind = headers.get("Content-Type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/octet-stream")
}

/// Reads a request's body, in JSON; `None` if it is none of these.
pub fn parse(body: &[u8]) -> Option<Said<'_>> {
    let text = str::from_utf8(body).ok()?;
    // What is derived would be read from an array too.
    if !text.trim_start().starts_with('{') || !depth_within(text, DEPTH_MAX) {
        return None;
    }
    let Object { session, data } = serde_json::from_str(text).ok()?;
    Some(Said {
        session,
        data: Data::Lines(data),
    })
}

/// The same in Protobuf.
pub fn parse_protobuf(body: &[u8]) -> Option<Said<'_>> {
    let (mut session, mut data) = ("", &b""[..]);
    let read = each_field(body, |field, value| {
        match field {
            2 => session = value.text()?,
            3 => data = value.bytes()?,
            _ => {} // the node
        }
        Ok::<_, Malformed>(())
    });
    let session = read.is_ok().then_some(session)?;
    (!session.is_empty()).then(|| Said {
        session: Text(session.into()),
        data: Data::Messages(data),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_and_what_it_is_sent_are_read() {
        let said =
            parse(br#"{"session":"a","node":"n","data":"{\"id\":1}\n{}"}"#).expect("it is one");
        let lines = Message::Text("{\"id\":1}\n{}");
        assert_eq!((said.session(), said.message()), ("a", lines));
        for other in [
            "",
            "[\"a\",\"b\"]",
            "{}",
            r#"{"session":"a"}"#,
            r#"{"session":1,"data":""}"#,
        ] {
            assert!(parse(other.as_bytes()).is_none(), "{other}");
        }
        assert!(parse(b"{\"session\":\"\xff\",\"data\":\"\"}").is_none());
        let said = parse_protobuf(b"\x0a\x01n\x12\x01a\x1a\x01\x00").expect("it is one");
        assert_eq!(
            (said.session(), said.message()),
            ("a", Message::Binary(b"\0"))
        );
        for other in [
            &b""[..],
            b"\x1a\x01\x00",
            b"\x12\x02a",
            b"\x12\x01\xff",
            b"\x10\x01",
            b"{}",
        ] {
            assert!(parse_protobuf(other).is_none(), "{other:?}");
        }
    }
}
