//! What is written to an event stream: fields by line, and an empty line behind each event.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_hub::{Loss, Position};
use roost_wire::{Frozen, Opcode};

use super::id::write_id;
use super::positions::push_place;
use crate::Publication;
use crate::json::push_string;

/// Appends a publication as the event behind which a subscriber is at `position`. A text is its data, a
/// line of it each; anything else is an event `binary` with its data in base64.
pub fn write_event(out: &mut Vec<u8>, publication: &Publication, position: Position) {
    push_id(out, position);
    let raw = publication.to_raw();
    let payload = raw.payload().unwrap_or_default();
    match (raw.opcode(), str::from_utf8(payload)) {
        (Opcode::Text, Ok(text)) => push_data(out, text),
        _ => {
            out.extend_from_slice(b"event: binary\ndata: ");
            out.extend_from_slice(STANDARD.encode(payload).as_bytes());
            out.extend_from_slice(b"\n");
        }
    }
    out.push(b'\n');
}

/// The same as one of several channels of a stream, whose name is that of the event. Where the channel stands is
/// for [`Positions::stamp`](super::Positions::stamp).
pub(super) fn event_of_channel(
    publication: &Publication,
    position: Position,
    channel: &str,
) -> Frozen {
    let size = publication.size() + publication.size() / 2 + channel.len();
    let mut out = Vec::with_capacity(size + 96);
    push_place(&mut out, position, channel);
    let raw = publication.to_raw();
    let payload = raw.payload().unwrap_or_default();
    match (raw.opcode(), str::from_utf8(payload)) {
        (Opcode::Text, Ok(text)) => {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(channel.as_bytes());
            out.push(b'\n');
            push_data(&mut out, text);
        }
        _ => {
            out.extend_from_slice(b"event: binary\ndata: {\"channel\":");
            push_string(&mut out, channel);
            out.extend_from_slice(b",\"base64\":\"");
            out.extend_from_slice(STANDARD.encode(payload).as_bytes());
            out.extend_from_slice(b"\"}\n");
        }
    }
    out.push(b'\n');
    Frozen::of_stream(&out)
}

/// When to come back, at the beginning of a stream of several channels, and where its client stands in those that
/// it knows: from the first id on nothing of that is forgotten, whichever home answers first.
pub(super) fn write_first<'a>(
    out: &mut Vec<u8>,
    known: impl Iterator<Item = (&'a str, Position)>,
    retry_ms: u64,
) {
    for (channel, position) in known {
        push_place(out, position, channel);
    }
    push_retry(out, retry_ms);
    out.push(b'\n');
}

/// Where one of several channels begins.
pub(super) fn write_channel_start(out: &mut Vec<u8>, channel: &str, position: Position) {
    push_place(out, position, channel);
    out.push(b'\n');
}

/// What the client has missed of one of several channels is not there.
pub(super) fn write_channel_lost(out: &mut Vec<u8>, channel: &str, position: Position, loss: Loss) {
    push_place(out, position, channel);
    write_channel_event(out, "roost.lost", channel, loss.name());
}

/// Something has become of one of several channels, for this reason.
pub(super) fn write_channel_event(out: &mut Vec<u8>, event: &str, channel: &str, reason: &str) {
    let _ = write!(out, "event: {event}\ndata: {{\"channel\":");
    push_string(out, channel);
    out.extend_from_slice(b",\"reason\":");
    push_string(out, reason);
    out.extend_from_slice(b"}\n\n");
}

/// An event, to be shared by all subscribers.
pub(super) fn event(publication: &Publication, position: Position) -> Frozen {
    let mut out = Vec::with_capacity(publication.size() + publication.size() / 2 + 64);
    write_event(&mut out, publication, position);
    Frozen::of_stream(&out)
}

/// Where the stream begins: its client comes back to here if nothing is published until then. An id
/// without data is kept and is no event.
pub(super) fn write_start(out: &mut Vec<u8>, position: Position, retry_ms: u64) {
    push_retry(out, retry_ms);
    push_id(out, position);
    out.push(b'\n');
}

/// What the client has missed is not there.
pub(super) fn write_lost(out: &mut Vec<u8>, position: Position, loss: Loss) {
    push_id(out, position);
    let _ = write!(
        out,
        "event: roost.lost\ndata: {{\"reason\":\"{}\",\"message\":\"{loss}\"}}\n\n",
        loss.name()
    );
}

/// So many messages were dropped, because the client reads too slowly.
pub(super) fn write_dropped(out: &mut Vec<u8>, messages: u64) {
    let _ = write!(
        out,
        "event: roost.dropped\ndata: {{\"messages\":{messages}}}\n\n"
    );
}

/// The stream is ended on purpose, for this reason: a page that should not come back closes its end.
pub(super) fn write_closed(out: &mut Vec<u8>, reason: &str) {
    let reason = serde_json::Value::from(reason);
    let _ = write!(
        out,
        "event: roost.closed\ndata: {{\"reason\":{reason}}}\n\n"
    );
}

/// When to come back; the stream ends.
pub(super) fn write_retry(out: &mut Vec<u8>, retry_ms: u64, why: &str) {
    let _ = writeln!(out, ": {why}");
    push_retry(out, retry_ms);
    out.push(b'\n');
}

/// How long a client waits before it comes back: no two alike, so that a server that starts again, or
/// its neighbour, does not get all at once. `random` is uniform.
pub fn retry_ms(random: u64) -> u64 {
    RETRY_MS_MIN + random % (RETRY_MS_END - RETRY_MS_MIN)
}

fn push_retry(out: &mut Vec<u8>, retry_ms: u64) {
    let _ = writeln!(out, "retry: {retry_ms}");
}

fn push_id(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(b"id: ");
    write_id(out, position);
    out.push(b'\n');
}

/// All three ends of a line that a client knows are ends of a line here.
fn push_data(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    loop {
        out.extend_from_slice(b"data: ");
        let Some(end) = rest.find(['\r', '\n']) else {
            out.extend_from_slice(rest.as_bytes());
            out.push(b'\n');
            return;
        };
        out.extend_from_slice(&rest.as_bytes()[..end]);
        out.push(b'\n');
        let end_len = if rest[end..].starts_with("\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + end_len..];
    }
}

const RETRY_MS_MIN: u64 = 1_000;
const RETRY_MS_END: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PayloadRef;

    fn written(payload: PayloadRef<'_>) -> String {
        let position = Position {
            epoch: 10,
            offset: 7,
        };
        let frame = event(&payload.freeze(), position);
        assert_eq!(frame.payload(), None, "it has no frame");
        String::from_utf8(frame.as_bytes().to_vec()).expect("text")
    }

    #[test]
    fn a_text_has_a_data_field_for_each_line() {
        for (text, data) in [
            ("a", "data: a\n"),
            ("", "data: \n"),
            (" a", "data:  a\n"),
            ("a\nb", "data: a\ndata: b\n"),
            ("a\r\nb\rc", "data: a\ndata: b\ndata: c\n"),
            ("a\n\r\n", "data: a\ndata: \ndata: \n"),
            ("id: 3\n\nevent: x", "data: id: 3\ndata: \ndata: event: x\n"),
        ] {
            let expected = format!("id: 000000000000000a-7\n{data}\n");
            assert_eq!(written(PayloadRef::Text(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn bytes_are_an_event_of_their_own() {
        let expected = "id: 000000000000000a-7\nevent: binary\ndata: AAEC\n\n";
        assert_eq!(written(PayloadRef::Binary(&[0, 1, 2])), expected);
    }

    #[test]
    fn a_reason_stays_in_its_line() {
        let mut out = Vec::new();
        write_closed(&mut out, "\"bye\"\nid: 7");
        let expected = "event: roost.closed\ndata: {\"reason\":\"\\\"bye\\\"\\nid: 7\"}\n\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn retries_differ_and_are_bounded() {
        assert_ne!(retry_ms(1), retry_ms(2));
        for random in [0, 3_999, 4_000, u64::MAX] {
            assert!((RETRY_MS_MIN..RETRY_MS_END).contains(&retry_ms(random)));
        }
    }
}
