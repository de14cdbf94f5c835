//! What the hub says, carried out: deliveries and messages to other reactors by the channels, the
//! rest handed to the dialect of the connection that it is about.

use roost_dialect::dialect::{Event, Recovered, Recovers, Refusal};
use roost_hub::{ChannelId, PatternRefusal, PublishTo, Recovery, Snapshot};
use roost_net::ConnKey;
use tracing::debug;

use crate::call_outputs;
use crate::channels::{Notice, received_of};
use crate::connections::Phase;
use crate::core::Core;
use crate::dialogue::notify;
use crate::image::Image;
use crate::journal;
use crate::session_events::{note_watched, subscribing};
use crate::settings::recovers;

/// Does what the hub and the dealer want, before it is told anything new: what it says of subscribers holds for
/// the moment it says it.
#[inline]
pub(crate) fn apply(core: &mut Core) {
    if core.channels.has_outputs() || core.calls.has_outputs() {
        apply_some(core);
    }
}

/// Apart, so that the look whether there are any stays small enough to be inlined.
#[inline(never)]
fn apply_some(core: &mut Core) {
    while core.channels.has_outputs() || core.calls.has_outputs() {
        apply_all(core);
        call_outputs::apply_all(core);
    }
}

fn apply_all(core: &mut Core) {
    let mut outputs = core.channels.take_outputs();
    for output in outputs.drain(..) {
        let (connections, sessions) = (&mut core.connections, &core.sessions);
        match core.channels.carry_out(output, connections, sessions) {
            None => {}
            Some(Notice::Subscribed {
                slot,
                token,
                channel,
                topic,
                snapshot,
                recovery,
            }) => {
                let subscribed = Beginning {
                    token,
                    channel,
                    topic,
                    snapshot,
                };
                if let Some(key) = core.connections.key_at(slot) {
                    tell_subscribed(core, key, &subscribed, recovery);
                }
            }
            Some(Notice::Refused {
                slot,
                token,
                channel,
                refusal,
            }) => {
                core.counters.subscriptions_refused_total.inc();
                if let Some(key) = core.connections.key_at(slot) {
                    let event = Event::SubscriptionRefused {
                        token,
                        channel,
                        refusal: refusal_of(refusal),
                    };
                    notify(core, key, event);
                }
            }
            Some(Notice::Occupancy {
                channel,
                is_occupied,
            }) => journal::note_occupancy(core, channel, is_occupied),
            Some(Notice::Watched(watched)) => note_watched(core, &watched),
            Some(Notice::User {
                channel,
                user,
                is_there,
                has_number,
            }) => journal::note_user(core, channel, (&user, has_number), is_there),
            Some(Notice::Published {
                publisher,
                token,
                publication,
            }) => notify(core, publisher, Event::Published { token, publication }),
            Some(Notice::Presence { asker, token, view }) => {
                notify(core, asker, Event::Presence { token, view: &view });
            }
        }
    }
    core.channels.return_outputs(outputs);
}

/// A subscription that begins.
struct Beginning {
    token: u64,
    channel: ChannelId,
    topic: u64,
    snapshot: Snapshot,
}

/// Accepts a connection that joins by its request, and tells the dialect that the subscription begins, unless
/// the 101 says it.
fn tell_subscribed(
    core: &mut Core,
    key: ConnKey,
    subscribed: &Beginning,
    recovery: Option<Box<Recovery<Image>>>,
) {
    let conn = core.connections.get(key);
    if conn.is_some_and(|conn| conn.phase == Phase::Joining) {
        accept_pending(core, key);
        if !core.connections.is_open_event_stream(key) {
            return; // a 101 says it all
        }
    }
    subscribing(core, key, subscribed.channel, subscribed.topic);
    if let Some(recovery) = recovery {
        return tell_recovered(core, key, subscribed, &recovery);
    }
    let &Beginning {
        token,
        channel,
        topic,
        snapshot,
    } = subscribed;
    let event = Event::Subscribed {
        token,
        channel,
        topic,
        snapshot,
        recovers: recovers_of(core, channel),
        recovery: None,
    };
    notify(core, key, event);
}

/// Tells a connection's dialect that its subscription begins, and what was before: in its answer, or
/// behind it.
#[inline(never)]
fn tell_recovered(
    core: &mut Core,
    key: ConnKey,
    subscribed: &Beginning,
    recovery: &Recovery<Image>,
) {
    let &Beginning {
        token,
        channel,
        topic,
        snapshot,
    } = subscribed;
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    let answers = conn.dialect.answers_with_recovered();
    let (connections, sessions) = (&mut core.connections, &core.sessions);
    let publications = match recovery {
        Recovery::Recovered(tail) => {
            core.counters.recoveries_total.inc();
            received_of(key.slot(), tail, connections, sessions)
        }
        Recovery::Lost(_) => {
            core.counters.recoveries_lost_total.inc();
            Vec::new()
        }
    };
    let event = Event::Subscribed {
        token,
        channel,
        topic,
        snapshot,
        recovers: recovers_of(core, channel),
        recovery: Some(match recovery {
            Recovery::Recovered(_) => Recovered::Publications(&publications),
            Recovery::Lost(loss) => Recovered::Lost(*loss),
        }),
    };
    notify(core, key, event);
    if let Recovery::Recovered(tail) = recovery
        && !answers
        && core
            .connections
            .get(key)
            .is_some_and(|conn| conn.phase == Phase::Open)
    {
        let (connections, sessions) = (&mut core.connections, &core.sessions);
        core.channels
            .deliver_recovered(key.slot(), channel, tail, connections, sessions);
    }
}

/// What a channel's namespace promises subscribers that come back.
fn recovers_of(core: &Core, channel: ChannelId) -> Recovers {
    let namespace = core.channels.namespace_of(PublishTo::Channel(channel));
    recovers(core.settings.channels.policy(namespace))
}

/// The home knows of the subscription that a 101 waits for: the WebSocket opens.
fn accept_pending(core: &mut Core, key: ConnKey) {
    let pending = core.connections.take_pending_accept(key);
    let (dialect, framing) = (pending.dialect, pending.framing);
    debug!(connection = %core.id(key), dialect = dialect.name(), ?framing, "open");
    core.connections
        .open(key, &pending.answer, dialect, framing);
    journal::opened(core, key, true);
    core.connections.resume(key);
    if !pending.rest.is_empty() {
        core.early_data.push((key, pending.rest));
    }
}

/// What a dialect is told.
pub(crate) fn refusal_of(refusal: PatternRefusal) -> Refusal {
    match refusal {
        PatternRefusal::Full => Refusal::NoRoom,
        PatternRefusal::Shape => Refusal::PatternShape,
    }
}
