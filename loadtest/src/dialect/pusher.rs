//! Pusher's protocol, version 7: a JSON object a message, with `event`, `channel` and `data`. The server
//! greets; then one `pusher:subscribe` a channel, and pings, which are answered. It is read only: a client may
//! publish on private channels alone, with a signature.
//!
//! A payload comes as Roost writes bytes for these clients: in `data`, a string of U+0000 and base64. The
//! URL has the application's key, `/app/KEY`; without a path it is `roost-load`.

use roost_wire::Message;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::interface::{Dialect, Received, Say, Session};
use super::json_bytes::append_bytes;

pub(super) struct Pusher;

#[derive(Deserialize)]
struct Event<'a> {
    event: &'a str,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Dialect for Pusher {
    fn name(&self) -> &'static str {
        "pusher"
    }

    fn path(&self) -> &'static str {
        "/app/roost-load?protocol=7&client=roost-load&version=1.0.0&flash=false"
    }

    fn target_of(&self, path: &str) -> Option<String> {
        let key = path.strip_prefix("/app/")?;
        Some(match key.contains('?') {
            true => path.to_owned(),
            false => format!("{path}{QUERY}"),
        })
    }

    fn channels_max(&self) -> usize {
        usize::from(u8::MAX) - 1
    }

    fn publishes(&self) -> bool {
        false
    }

    /// The server speaks first.
    fn open(&self, _: &mut Session<'_>) -> bool {
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
        let Ok(event) = serde_json::from_str::<Event<'_>>(text) else {
            return Received::Refused(format!("not an event of Pusher's: {}", shown(text)));
        };
        match event.event {
            "pusher:connection_established" | "pusher_internal:subscription_succeeded" => {
                subscribe_next(session)
            }
            "pusher:ping" => {
                session.say.text(r#"{"event":"pusher:pong","data":{}}"#);
                Received::Ping
            }
            "pusher:error" | "pusher:subscription_error" => Received::Refused(shown(text)),
            other if other.starts_with("pusher") => Received::Progress,
            _ => {
                buffer.clear();
                append_bytes(event.data.map_or("", RawValue::get), buffer);
                Received::Payload(buffer)
            }
        }
    }

    fn publish(&self, _: &mut Say<'_>, _channel: &str, _: u64, _payload: &[u8]) {}
}

fn subscribe_next(session: &mut Session<'_>) -> Received<'static> {
    let Some((_, channel)) = session.next_channel() else {
        return Received::Ready;
    };
    let channel = Value::from(channel);
    session.say.text(&format!(
        "{{\"event\":\"pusher:subscribe\",\"data\":{{\"channel\":{channel}}}}}"
    ));
    Received::Progress
}

fn shown(text: &str) -> String {
    text.chars().take(REFUSAL_CHARS_MAX).collect()
}

/// Behind a path with a key alone.
const QUERY: &str = "?protocol=7&client=roost-load&version=1.0.0&flash=false";
const REFUSAL_CHARS_MAX: usize = 120;
