//! Publications as subscribers are told of them, in Protobuf: Push, Publication, Join, Leave and ClientInfo.

use roost_hub::{Member, PresenceChange};
use roost_wire::{Frozen, Opcode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{
    field_len, push_bytes, push_delimited, push_flag, push_head, push_message, push_number,
    push_varint,
};
use crate::Publication;
use crate::centrifugo::client::client_id;
use crate::centrifugo::transport::Transport;
use crate::json::Text;

/// A publication, or who has come and gone: a Reply, or one for each of them.
pub(in crate::centrifugo) fn push(
    transport: Transport,
    publication: &Publication,
    channel: &str,
    offset: Option<u64>,
) -> Frozen {
    if let Some(change) = publication.members() {
        return transport.line(&[&change_of_members(change, channel)]);
    }
    let mut tail = Vec::with_capacity(TAIL_BYTES);
    write_tail(&mut tail, publication, offset);
    publication.with_bytes(|data| push_parts(transport, channel, data, &tail))
}

/// A publication by a delta against the one before.
pub(in crate::centrifugo) fn push_delta(
    transport: Transport,
    publication: &Publication,
    channel: &str,
    offset: Option<u64>,
    delta: &[u8],
) -> Frozen {
    let mut tail = Vec::with_capacity(TAIL_BYTES);
    write_tail(&mut tail, publication, offset);
    push_flag(&mut tail, PUBLICATION_DELTA, true);
    push_parts(transport, channel, delta, &tail)
}

/// A Reply with the Publication of this data and what stands behind it.
fn push_parts(transport: Transport, channel: &str, data: &[u8], tail: &[u8]) -> Frozen {
    // What is inside is longer than its length, so that comes last.
    let mut head = Vec::with_capacity(channel.len() + HEAD_BYTES);
    let data_bytes = match data.is_empty() {
        true => 0,
        false => field_len(PUBLICATION_DATA, data.len()),
    };
    let inside = data_bytes + tail.len();
    let mut named = Vec::with_capacity(channel.len() + HEAD_BYTES);
    push_bytes(&mut named, PUSH_CHANNEL, channel.as_bytes());
    let push = named.len() + field_len(PUSH_PUB, inside);
    push_varint(&mut head, field_len(REPLY_PUSH, push) as u64);
    push_head(&mut head, REPLY_PUSH, push);
    head.extend_from_slice(&named);
    push_head(&mut head, PUSH_PUB, inside);
    if !data.is_empty() {
        push_head(&mut head, PUBLICATION_DATA, data.len());
    }
    transport.line(&[&head, data, tail])
}

/// A Publication as the result of a subscribe has it.
pub(in crate::centrifugo) fn recovered(publication: &Publication, offset: u64) -> Frozen {
    let mut out = Vec::with_capacity(publication.size() + HEAD_BYTES + TAIL_BYTES);
    write_publication(&mut out, publication, offset);
    Frozen::message(Opcode::Binary, &out)
}

/// The fields of a Publication.
pub(super) fn write_publication(out: &mut Vec<u8>, publication: &Publication, offset: u64) {
    publication.with_bytes(|data| push_bytes(out, PUBLICATION_DATA, data));
    write_tail(out, publication, Some(offset));
}

/// Those behind the data.
fn write_tail(out: &mut Vec<u8>, publication: &Publication, offset: Option<u64>) {
    let details = publication.details();
    if let Some(info) = details.and_then(|details| details.client_info.as_deref()) {
        push_message(out, PUBLICATION_INFO, |out| write_publisher(out, info));
    }
    push_number(out, PUBLICATION_OFFSET, offset.unwrap_or_default());
}

/// A publisher travels as the object that it is in JSON.
#[derive(Deserialize)]
struct Publisher<'a> {
    #[serde(borrow)]
    user: Text<'a>,
    #[serde(borrow)]
    client: Text<'a>,
    #[serde(borrow)]
    conn_info: Option<&'a RawValue>,
}

fn write_publisher(out: &mut Vec<u8>, info: &str) {
    let Ok(publisher) = serde_json::from_str::<Publisher<'_>>(info) else {
        debug_assert!(false, "{info} is written by a session of this dialect");
        return;
    };
    let Publisher {
        user: Text(user),
        client: Text(client),
        conn_info,
    } = publisher;
    let conn_info = conn_info.map_or("", RawValue::get);
    write_info(out, (&user, &client), conn_info, "");
}

/// The fields of a ClientInfo: JSON is told as its text.
fn write_info(out: &mut Vec<u8>, (user, client): (&str, &str), conn_info: &str, chan_info: &str) {
    for (field, value) in [(1, user), (2, client), (3, conn_info), (4, chan_info)] {
        push_bytes(out, field, value.as_bytes());
    }
}

/// A member as a ClientInfo.
pub(super) fn write_member(out: &mut Vec<u8>, member: &Member) {
    let info = member.info.as_deref();
    let connection = info.and_then(|info| info.connection.as_deref());
    let channel = info.and_then(|info| info.channel.as_deref());
    let names = (member.user.as_str(), &*client_id(member.client));
    let (connection, channel) = (connection.unwrap_or_default(), channel.unwrap_or_default());
    write_info(out, names, connection, channel);
}

/// A push for each join and leave. For how many there are there is no word.
fn change_of_members(change: &PresenceChange, channel: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (field, members) in [(PUSH_JOIN, &change.joined), (PUSH_LEAVE, &change.left)] {
        for member in members {
            push_delimited(&mut out, |out| {
                push_message(out, REPLY_PUSH, |out| {
                    push_bytes(out, PUSH_CHANNEL, channel.as_bytes());
                    push_message(out, field, |out| {
                        push_message(out, 1, |out| write_member(out, member));
                    });
                });
            });
        }
    }
    out
}

// Fields of Reply, Push and Publication.
pub(super) const REPLY_PUSH: u32 = 4;
pub(super) const PUSH_CHANNEL: u32 = 2;
const PUSH_PUB: u32 = 4;
const PUSH_JOIN: u32 = 5;
const PUSH_LEAVE: u32 = 6;
const PUBLICATION_DATA: u32 = 4;
const PUBLICATION_INFO: u32 = 5;
const PUBLICATION_OFFSET: u32 = 6;
const PUBLICATION_DELTA: u32 = 8;
/// What stands before the data beside the channel's name, at most.
const HEAD_BYTES: usize = 48;
/// What stands behind it, mostly.
const TAIL_BYTES: usize = 64;
