//! What a client is told, in Protobuf: each function appends one Reply behind its length.

use roost_hub::{Position, PresenceCounts, PresenceView, Snapshot};

use super::publications::{PUSH_CHANNEL, REPLY_PUSH, write_member, write_publication};
use super::wire::{push_bytes, push_delimited, push_flag, push_message, push_number};
use crate::centrifugo::client::{Connected, Expiry, NODE, VERSION, client_id};
use crate::centrifugo::result::{Method, Subscribed, epoch_text, start_of};
use crate::dialect::{HistoryPage, Recovered, Recovers};
use crate::publication::json_as_bytes;

type Out<'o> = &'o mut Vec<u8>;

pub(in crate::centrifugo) fn error(
    out: Out<'_>,
    id: u32,
    (code, message): (u32, &str),
    is_temporary: bool,
) {
    reply(out, id, 2, |out| {
        push_number(out, 1, code.into());
        push_bytes(out, 2, message.as_bytes());
        push_flag(out, 3, is_temporary);
    });
}

/// An empty result.
pub(in crate::centrifugo) fn done(out: Out<'_>, id: u32, method: Method) {
    let field = match method {
        Method::Subscribe => SUBSCRIBE,
        Method::Unsubscribe => 7,
        Method::Publish => 8,
    };
    reply(out, id, field, |_| ());
}

/// A ConnectResult, with subscriptions that the server has made: each the channel's name and a SubscribeResult.
pub(in crate::centrifugo) fn connected<'s>(
    out: Out<'_>,
    id: u32,
    connected: &Connected<'_>,
    subscriptions: impl Iterator<Item = (&'s str, &'s [u8])>,
) {
    let Connected {
        client,
        expiry,
        ping_s,
        emulation,
    } = *connected;
    reply(out, id, 5, |out| {
        push_bytes(out, 1, client.as_bytes());
        push_bytes(out, 2, VERSION.as_bytes());
        write_expiry(out, (3, 4), expiry.in_s);
        for (channel, result) in subscriptions {
            push_message(out, 6, |out| {
                push_bytes(out, 1, channel.as_bytes());
                push_message(out, 2, |out| out.extend_from_slice(result));
            });
        }
        push_number(out, 7, ping_s.into());
        push_flag(out, 8, ping_s > 0);
        if let Some(session) = emulation {
            push_bytes(out, 9, session.as_bytes());
            push_bytes(out, 10, NODE.as_bytes());
        }
    });
}

/// A RefreshResult.
pub(in crate::centrifugo) fn refreshed(out: Out<'_>, id: u32, client: &str, expiry: &Expiry) {
    reply(out, id, 14, |out| {
        push_bytes(out, 1, client.as_bytes());
        push_bytes(out, 2, VERSION.as_bytes());
        write_expiry(out, (3, 4), expiry.in_s);
    });
}

/// A SubscribeResult; what allows it may expire.
pub(in crate::centrifugo) fn subscribe_result(
    out: Out<'_>,
    id: u32,
    subscribed: &Subscribed<'_>,
    expires_in_s: Option<u32>,
) {
    reply(out, id, SUBSCRIBE, |out| {
        write_expiry(out, (1, 2), expires_in_s);
        write_result(out, subscribed);
    });
}

/// The fields of a SubscribeResult.
pub(in crate::centrifugo) fn write_result(out: Out<'_>, subscribed: &Subscribed<'_>) {
    let Subscribed {
        channel: _,
        snapshot: Snapshot { position },
        recovers,
        recovery,
        has_deltas,
    } = subscribed;
    if *recovers == Recovers::Nothing {
        push_flag(out, 13, *has_deltas); // delta
        return;
    }
    let Position { epoch, offset } = start_of(*position, recovery.as_ref());
    push_flag(out, 3, true); // recoverable
    push_bytes(out, 6, &epoch_text(epoch));
    if let Some(Recovered::Publications(publications)) = recovery {
        for (_, publication) in *publications {
            let fields = publication.payload().unwrap_or_default();
            push_message(out, 7, |out| out.extend_from_slice(fields));
        }
        push_flag(out, 8, true); // recovered
    }
    push_number(out, 9, offset);
    push_flag(out, 10, true); // positioned
    push_flag(out, 12, recovery.is_some()); // was_recovering
    push_flag(out, 13, *has_deltas); // delta
}

/// A SubRefreshResult.
pub(in crate::centrifugo) fn subscription_refreshed(
    out: Out<'_>,
    id: u32,
    expires_in_s: Option<u32>,
) {
    reply(out, id, 15, |out| write_expiry(out, (1, 2), expires_in_s));
}

/// A HistoryResult.
pub(in crate::centrifugo) fn history(out: Out<'_>, id: u32, page: &HistoryPage) {
    reply(out, id, 11, |out| {
        for (offset, publication) in &page.publications {
            push_message(out, 1, |out| write_publication(out, publication, *offset));
        }
        push_bytes(out, 2, &epoch_text(page.position.epoch));
        push_number(out, 3, page.position.offset);
    });
}

/// A PresenceResult: the members by the ids of their clients.
pub(in crate::centrifugo) fn presence(out: Out<'_>, id: u32, view: &PresenceView) {
    reply(out, id, 9, |out| {
        for member in view.members.iter() {
            push_message(out, 1, |out| {
                push_bytes(out, 1, client_id(member.client).as_bytes());
                push_message(out, 2, |out| write_member(out, member));
            });
        }
    });
}

/// A PresenceStatsResult.
pub(in crate::centrifugo) fn presence_stats(out: Out<'_>, id: u32, counts: PresenceCounts) {
    let PresenceCounts {
        clients,
        users,
        has_anonymous,
    } = counts;
    reply(out, id, 10, |out| {
        push_number(out, 1, clients.into());
        // To clients of this protocol all that are anonymous are one user.
        push_number(out, 2, u64::from(users) + u64::from(has_anonymous));
    });
}

/// An RPCResult.
pub(in crate::centrifugo) fn called(out: Out<'_>, id: u32, data: Option<&str>) {
    reply(out, id, 13, |out| {
        push_bytes(out, 1, &json_as_bytes(data.unwrap_or_default().as_bytes()));
    });
}

/// Unsubscribe: the server has ended a subscription.
pub(in crate::centrifugo) fn unsubscribed(
    out: Out<'_>,
    channel: &str,
    (code, reason): (u16, &str),
) {
    push(out, channel, 7, |out| {
        push_number(out, 2, code.into());
        push_bytes(out, 3, reason.as_bytes());
    });
}

/// Subscribe: the server has made a subscription.
pub(in crate::centrifugo) fn subscribed(out: Out<'_>, channel: &str, subscribed: &Subscribed<'_>) {
    push(out, channel, 9, |out| {
        if subscribed.recovers == Recovers::Nothing {
            return;
        }
        let Position { epoch, offset } = subscribed.snapshot.position;
        push_flag(out, 1, true); // recoverable
        push_bytes(out, 4, &epoch_text(epoch));
        push_number(out, 5, offset);
        push_flag(out, 6, true); // positioned
    });
}

/// Disconnect: the connection ends, and no close frame says so.
pub(in crate::centrifugo) fn disconnected(out: Out<'_>, code: u16, reason: &str) {
    push(out, "", 11, |out| {
        push_number(out, 1, code.into());
        push_bytes(out, 2, reason.as_bytes());
    });
}

/// A ping: a Reply without anything.
pub(in crate::centrifugo) fn ping(out: Out<'_>) {
    push_delimited(out, |_| ());
}

fn reply(out: Out<'_>, id: u32, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    push_delimited(out, |out| {
        push_number(out, 1, id.into());
        push_message(out, field, write);
    });
}

fn push(out: Out<'_>, channel: &str, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    push_delimited(out, |out| {
        push_message(out, REPLY_PUSH, |out| {
            push_bytes(out, PUSH_CHANNEL, channel.as_bytes());
            push_message(out, field, write);
        });
    });
}

/// Whether something expires, and when.
fn write_expiry(out: Out<'_>, (expires, ttl): (u32, u32), in_s: Option<u32>) {
    push_flag(out, expires, in_s.is_some());
    push_number(out, ttl, in_s.unwrap_or_default().into());
}

/// The field of Reply.
const SUBSCRIBE: u32 = 6;
