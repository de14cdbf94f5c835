//! What a client without a WebSocket sends: `{"session":…,"node":…,"data":…}`.

use serde::Deserialize;

use crate::json::{DEPTH_MAX, Text, depth_within};

/// For a session.
#[derive(Debug, Deserialize)]
pub struct Said<'a> {
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

    /// What it says: commands, one a line.
    pub fn data(&self) -> &str {
        &self.data.0
    }
}

/// Reads a request's body; `None` if it is none of these.
pub fn parse(body: &[u8]) -> Option<Said<'_>> {
    let text = str::from_utf8(body).ok()?;
    // What is derived would be read from an array too.
    if !text.trim_start().starts_with('{') || !depth_within(text, DEPTH_MAX) {
        return None;
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_and_what_it_is_sent_are_read() {
        let said =
            parse(br#"{"session":"a","node":"n","data":"{\"id\":1}\n{}"}"#).expect("it is one");
        assert_eq!((said.session(), said.data()), ("a", "{\"id\":1}\n{}"));
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
    }
}
