//! What the hub says, carried out: deliveries and messages to other reactors by the channels, the
//! rest handed to the dialect of the connection that it is about.

use roost_dialect::dialect::{Event, Refusal};
use roost_hub::PatternRefusal;
use roost_net::ConnKey;
use tracing::debug;

use crate::call_outputs;
use crate::channels::Notice;
use crate::connections::Phase;
use crate::core::Core;
use crate::dialogue::notify;

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
            }) => {
                let Some(key) = core.connections.key_at(slot) else {
                    continue;
                };
                let conn = core.connections.get(key);
                if conn.is_some_and(|conn| conn.phase == Phase::Joining) {
                    accept_pending(core, key);
                    continue;
                }
                let event = Event::Subscribed {
                    token,
                    channel,
                    topic,
                    snapshot,
                };
                notify(core, key, event);
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
            Some(Notice::Published {
                publisher,
                token,
                publication,
            }) => notify(core, publisher, Event::Published { token, publication }),
        }
    }
    core.channels.return_outputs(outputs);
}

/// The home knows of the subscription that a 101 waits for: the WebSocket opens.
fn accept_pending(core: &mut Core, key: ConnKey) {
    let pending = core.connections.take_pending_accept(key);
    let (dialect, framing) = (pending.dialect, pending.framing);
    debug!(connection = %core.id(key), dialect = dialect.name(), ?framing, "open");
    core.connections
        .open(key, &pending.answer, dialect, framing);
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
