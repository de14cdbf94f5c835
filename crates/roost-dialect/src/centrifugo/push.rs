//! What subscribers are pushed, encoded once for all that get the same in one encoding.

use roost_hub::PresenceChange;
use roost_wire::Frozen;

use super::members::change_of_members;
use super::protobuf::publications as protobuf;
use super::publications::{self, recovered};
use super::transport::Transport;
use crate::json::push_string;
use crate::{Form, Publication, fossil};

/// A publication, or who has come and gone.
pub(super) fn push(
    (transport, has_deltas): (Transport, bool),
    publication: &Publication,
    channel: &str,
    offset: Option<u64>,
) -> Frozen {
    if transport.is_protobuf() {
        return protobuf::push(transport, publication, channel, offset);
    }
    if let Some(change) = publication.members() {
        let lines = change_of_members(change, channel);
        return match transport.is_emulated() {
            false => transport.line(&[&lines]),
            true => each_line(transport, &lines),
        };
    }
    if has_deltas {
        let mut data = Vec::with_capacity(publication.size() + HEAD_BYTES);
        publications::push_text(&mut data, publication);
        return push_parts(transport, publication, channel, offset, (&data, b""));
    }
    let mut head = Vec::with_capacity(channel.len() + HEAD_BYTES);
    head.extend_from_slice(b"{\"push\":{\"channel\":");
    push_string(&mut head, channel);
    head.extend_from_slice(b",\"pub\":{\"data\":");
    if offset.is_some() {
        let mut tail = Vec::with_capacity(TAIL_BYTES);
        publications::write_tail(&mut tail, publication, offset);
        tail.extend_from_slice(b"}}}");
        return publication.with_json(|data| transport.line(&[&head, data, &tail]));
    }
    let details = publication.details();
    let info = details.and_then(|details| details.client_info.as_deref());
    publication.with_json(|data| match info {
        None => transport.line(&[&head, data, b"}}}"]),
        Some(info) => {
            let parts: [&[u8]; 5] = [&head, data, b",\"info\":", info.as_bytes(), b"}}}"];
            transport.line(&parts)
        }
    })
}

/// A publication by its data, as JSON, and what stands behind that.
fn push_parts(
    transport: Transport,
    publication: &Publication,
    channel: &str,
    offset: Option<u64>,
    (data, behind): (&[u8], &[u8]),
) -> Frozen {
    let mut head = Vec::with_capacity(channel.len() + HEAD_BYTES);
    head.extend_from_slice(b"{\"push\":{\"channel\":");
    push_string(&mut head, channel);
    head.extend_from_slice(b",\"pub\":{\"data\":");
    let mut tail = Vec::with_capacity(TAIL_BYTES);
    tail.extend_from_slice(behind);
    publications::write_tail(&mut tail, publication, offset);
    tail.extend_from_slice(b"}}}");
    transport.line(&[&head, data, &tail])
}

/// The delta of a publication against the one before it, in a form that has deltas; `None` if it is not shorter
/// than the publication.
pub fn delta_of(form: Form, before: &Publication, publication: &Publication) -> Option<Vec<u8>> {
    if is_protobuf(form) {
        return before
            .with_bytes(|base| publication.with_bytes(|target| fossil::encode(base, target)));
    }
    let delta = before.with_json(|base| publication.with_json(|to| fossil::encode(base, to)));
    delta.filter(|delta| str::from_utf8(delta).is_ok()) // one of text is text
}

/// Whether data of this form are bytes, and not JSON: a delta is one of either.
pub fn is_protobuf(form: Form) -> bool {
    transport_of(form).is_protobuf()
}

/// Encodes a publication by its delta: [`delta_of`] says which. `offset`: where the channel keeps history.
pub fn encode_delta(
    form: Form,
    publication: &Publication,
    channel: &str,
    offset: Option<u64>,
    delta: &[u8],
) -> Frozen {
    let transport = transport_of(form);
    if transport.is_protobuf() {
        return protobuf::push_delta(transport, publication, channel, offset, delta);
    }
    let mut data = Vec::with_capacity(delta.len() + HEAD_BYTES);
    push_string(&mut data, &String::from_utf8_lossy(delta));
    let behind = b",\"delta\":true";
    push_parts(transport, publication, channel, offset, (&data, behind))
}

fn transport_of(form: Form) -> Transport {
    Transport::of_form(form.0 - Form::CENTRIFUGO.0).0
}

/// A publication of before, to stand in the result of a subscribe.
pub(super) fn part(
    (transport, has_deltas): (Transport, bool),
    publication: &Publication,
    offset: u64,
) -> Frozen {
    match transport.is_protobuf() {
        true => protobuf::recovered(publication, offset),
        false => recovered(publication, offset, has_deltas),
    }
}

/// Whether it has words for a publication: in Protobuf there are none for how many members there are.
pub(super) fn has_words(transport: Transport, publication: &Publication) -> bool {
    let is_told = |change: &PresenceChange| !(change.joined.is_empty() && change.left.is_empty());
    !transport.is_protobuf() || publication.members().is_none_or(is_told)
}

/// Lines that a message of a WebSocket has all of, each by itself.
fn each_line(transport: Transport, lines: &[u8]) -> Frozen {
    let mut out = Vec::with_capacity(lines.len() * 2);
    for line in lines.split(|&byte| byte == b'\n') {
        out.extend_from_slice(transport.prefix());
        out.extend_from_slice(line);
        out.extend_from_slice(transport.end());
    }
    Frozen::of_stream(&out)
}

/// What stands in a push beside the channel's name and the payload.
const HEAD_BYTES: usize = 48;
/// What stands behind the payload, without the publisher.
const TAIL_BYTES: usize = 32;
