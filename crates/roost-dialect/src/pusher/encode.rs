//! A publication for subscribers: `{"event":…,"channel":…,"data":"…","user_id":…}`.

use roost_wire::{Frozen, Opcode};

use super::reply;
use crate::Publication;
use crate::json::push_string;

/// What the places in [`crate::dialect::Dialect::FORMS`] stand for.
pub(super) const FORMS: [&str; 2] = ["pusher", "pusher-prefixed"];

/// A channel's name as clients know it.
fn shown(form: u8, channel: &str) -> &str {
    match form {
        0 => channel,
        // The prefix of an application ends with the first colon.
        _ => channel.split_once(':').map_or(channel, |(_, rest)| rest),
    }
}

/// Whether subscribers are told: of members, only where that is one user, or how many there are.
pub(super) fn carries(publication: &Publication) -> bool {
    let change = publication.members();
    change.is_none_or(|change| change.user().is_some() || change.told_counts().is_some())
}

pub(super) fn encode(form: u8, publication: &Publication, channel: &str) -> Frozen {
    let channel = shown(form, channel);
    if let Some(change) = publication.members() {
        return match (change.user(), change.told_counts()) {
            (Some((user, has_joined)), _) => {
                Frozen::message(Opcode::Text, &reply::member(channel, user, has_joined))
            }
            (None, counts) => {
                let clients = counts.map_or(0, |counts| counts.clients);
                Frozen::message(Opcode::Text, &reply::subscriptions(channel, clients))
            }
        };
    }
    let mut head = b"{\"channel\":".to_vec();
    push_string(&mut head, channel);
    head.push(b',');
    Frozen::from_parts(Opcode::Text, &[&head, &inside(publication)])
}

/// The last event of a channel as a part of the answer to a subscription: all but the channel.
pub(super) fn recovered(publication: &Publication) -> Frozen {
    Frozen::message(Opcode::Text, &inside(publication))
}

/// The same as a message of its own.
pub(super) fn write_recovered(out: &mut Vec<u8>, channel: &str, recovered: &[u8]) {
    out.extend_from_slice(b"{\"channel\":");
    push_string(out, channel);
    out.push(b',');
    out.extend_from_slice(recovered);
}

/// `"event":…,"data":"…"}`
fn inside(publication: &Publication) -> Vec<u8> {
    let details = publication.details();
    let event = details.and_then(|details| details.event.as_deref());
    let user_id = details.and_then(|details| details.user_id.as_deref());
    let data = publication.to_json_string();
    let mut inside = Vec::with_capacity(data.len() + 64);
    inside.extend_from_slice(b"\"event\":");
    push_string(&mut inside, event.unwrap_or(EVENT));
    inside.extend_from_slice(b",\"data\":");
    inside.extend_from_slice(&data);
    if let Some(user_id) = user_id {
        inside.extend_from_slice(b",\"user_id\":");
        let is_number = details.is_some_and(|details| details.has_number);
        reply::push_user(&mut inside, user_id, is_number);
    }
    inside.push(b'}');
    inside
}

/// The event of what another dialect has published.
const EVENT: &str = "message";
