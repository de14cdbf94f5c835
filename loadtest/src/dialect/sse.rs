//! Server-sent events (WHATWG HTML, "Server-sent events"): a channel as an event stream. It is read only;
//! what is published comes from groups that speak something else.
//!
//! A payload comes as base64 in `data`, as Roost writes bytes (event `binary`). The last id that came is the
//! client's position; `roost.lost` and `roost.dropped` say that messages are lost.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_wire::Message;

use super::interface::{Dialect, MESSAGE_BYTES_MAX, Received, Say, Session};

pub(super) struct EventStream;

/// What the lines of a block say.
#[derive(Default)]
struct Event<'a> {
    id: Option<&'a str>,
    name: &'a str,
    data: Option<String>,
    has_fields: bool,
}

impl Dialect for EventStream {
    fn name(&self) -> &'static str {
        "sse"
    }

    fn path(&self) -> &'static str {
        "/sse/{channel}"
    }

    fn channels_max(&self) -> usize {
        1
    }

    fn publishes(&self) -> bool {
        false
    }

    fn recovers(&self) -> bool {
        true
    }

    fn is_event_stream(&self) -> bool {
        true
    }

    /// Until an empty line. An end of a line may be CR, LF or both; that of an empty line after which
    /// nothing has come is taken for whole, and an LF that belongs to it is an empty block of its own.
    fn first_len(&self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let mut line_start = 0;
        let mut at = 0;
        while let Some(end) = bytes[at..].iter().position(|&byte| is_end(byte)) {
            let end = at + end;
            let is_both = bytes[end..].starts_with(b"\r\n");
            let next = end + if is_both { 2 } else { 1 };
            if end == line_start {
                return Ok(Some(next));
            }
            (line_start, at) = (next, next);
        }
        match bytes.len() > MESSAGE_BYTES_MAX {
            true => Err("an event without an end".to_owned()),
            false => Ok(None),
        }
    }

    /// The response says that the connection is subscribed.
    fn open(&self, _: &mut Session<'_>) -> bool {
        true
    }

    fn handle<'m>(
        &self,
        session: &mut Session<'_>,
        message: Message<'m>,
        buffer: &'m mut Vec<u8>,
    ) -> Received<'m> {
        let Message::Binary(block) = message else {
            return Received::Progress;
        };
        let Ok(text) = str::from_utf8(block) else {
            return Received::Refused("an event that is not UTF-8".to_owned());
        };
        let event = read(text);
        // A null in an id has the whole id ignored.
        if let (Some(id), [position]) = (event.id, &mut *session.positions)
            && !id.contains('\0')
        {
            position.set_id(id, session.recovered);
        }
        let Some(data) = event.data else {
            return match event.has_fields || text.trim().is_empty() {
                true => Received::Progress,
                false => Received::Ping, // a comment
            };
        };
        match event.name {
            "roost.lost" | "roost.dropped" => {
                session.recovered.tell_loss(0);
                Received::Progress
            }
            "roost.closed" => Received::Refused(format!("closed: {data}")),
            _ => {
                buffer.clear();
                match STANDARD.decode_vec(&data, buffer) {
                    Ok(()) => Received::Payload(buffer),
                    Err(_) => Received::Payload(&[]),
                }
            }
        }
    }

    fn publish(&self, _: &mut Say<'_>, _channel: &str, _: u64, _payload: &[u8]) {}
}

/// "Interpreting an event stream": fields by line.
fn read(text: &str) -> Event<'_> {
    let mut event = Event::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        event.has_fields |= !field.is_empty();
        match field {
            "id" => event.id = Some(value),
            "event" => event.name = value,
            "data" => match &mut event.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => event.data = Some(value.to_owned()),
            },
            // `retry` is for a client that comes back by itself; a comment is for proxies.
            _ => {}
        }
    }
    event
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}
