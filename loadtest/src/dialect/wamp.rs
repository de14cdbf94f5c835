//! WAMP v2 in JSON: HELLO, one SUBSCRIBE a channel, EVENTs. A payload travels as the one argument,
//! in WAMP's own form for bytes in JSON: a string of U+0000 and base64 ("Binary conversion of JSON
//! Strings").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_wire::Message;
use serde_json::Value;

use super::interface::{Dialect, Received, Say, Session};
use super::json_bytes::NUL;

pub(super) struct WampJson;

impl Dialect for WampJson {
    fn name(&self) -> &'static str {
        "wamp.2.json"
    }

    fn protocols(&self) -> &'static [&'static str] {
        &["wamp.2.json"]
    }

    fn path(&self) -> &'static str {
        "/wamp"
    }

    fn channels_max(&self) -> usize {
        usize::from(u8::MAX) - 1
    }

    fn open(&self, session: &mut Session<'_>) -> bool {
        session
            .say
            .text(r#"[1,"load",{"roles":{"subscriber":{},"publisher":{}}}]"#);
        false
    }

    fn handle<'m>(
        &self,
        session: &mut Session<'_>,
        message: Message<'m>,
        buffer: &'m mut Vec<u8>,
    ) -> Received<'m> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Received::Payload(&[]),
            Message::Ping(_) | Message::Pong(_) | Message::Close(..) => return Received::Progress,
        };
        if text.starts_with(EVENT) {
            // An event that is none of ours is handed on as an empty payload: corrupt.
            buffer.clear();
            return match payload_in(text) {
                Some(base64) if STANDARD.decode_vec(base64, buffer).is_ok() => {
                    Received::Payload(buffer)
                }
                _ => Received::Payload(&[]),
            };
        }
        let code = serde_json::from_str::<Vec<Value>>(text)
            .ok()
            .and_then(|message| message.first().and_then(Value::as_u64));
        match code {
            Some(WELCOME | SUBSCRIBED) => self.subscribe_next(session),
            _ => Received::Refused(text.chars().take(REFUSAL_CHARS_MAX).collect()),
        }
    }

    fn publish(&self, say: &mut Say<'_>, channel: &str, _: u64, payload: &[u8]) {
        let mut text = format!("[16,1,{{}},{},[\"{NUL}", Value::from(channel));
        STANDARD.encode_string(payload, &mut text);
        text.push_str("\"]]");
        say.text(&text);
    }
}

impl WampJson {
    fn subscribe_next(&self, session: &mut Session<'_>) -> Received<'static> {
        let Some((index, channel)) = session.next_channel() else {
            return Received::Ready;
        };
        let channel = Value::from(channel);
        session
            .say
            .text(&format!("[32,{},{{}},{channel}]", index + 1));
        Received::Progress
    }
}

/// What stands between the escape of U+0000 and the end of its string.
fn payload_in(event: &str) -> Option<&str> {
    let (_, rest) = event.split_once(NUL)?;
    rest.split_once('"').map(|(base64, _)| base64)
}

const EVENT: &str = "[36,";
const WELCOME: u64 = 2;
const SUBSCRIBED: u64 = 33;
const REFUSAL_CHARS_MAX: usize = 120;
