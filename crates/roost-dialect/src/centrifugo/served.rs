//! Subscriptions that the server makes: those that come with a client's identity, which the answer to its
//! `connect` tells of, and those that the application makes later.
//!
//! A `connect` with such subscriptions is answered when the homes of all their channels have. Meanwhile its line
//! is drawn again and again: each time it asks for one thing more. What a channel has delivered between its own
//! answer and the last one, a client does not take, for it does not know of the subscription; where the channel
//! keeps history, the subscription begins anew then.

use roost_hub::{ChannelId, Position};

use super::client::{Connected, Expiry};
use super::connecting::Action;
use super::reply::Lines;
use super::result::Subscribed;
use super::session::Session;
use super::step::Step;
use super::token;
use crate::dialect::{Command, Grant, Next};

/// Stands where a client's command has its number: no client's has this.
const SERVER: u32 = u32::MAX;

/// What the line of a `connect` asks for next; `None` if none waits.
pub(super) fn next_step<'a>(session: &mut Session) -> Option<Step<'a>> {
    let form = session.transport().form();
    session.subscribes_with(None);
    let connecting = session.connecting()?;
    if connecting.is_answered {
        session.end_connecting();
        return Some(Step::Done);
    }
    let command = match connecting.next_action() {
        None => Command::AwaitSubscriptions,
        Some(Action::Begin(what, place)) => Command::Subscribe {
            what,
            form,
            token: token::of_served(Some(place)),
            grant: Some(Grant { expires_in_s: None }),
        },
        Some(Action::End(channel)) => {
            session.subscriptions.remove(channel);
            session.unsubscribed(channel);
            Command::Unsubscribe {
                channel,
                form,
                token: u64::from(SERVER),
            }
        }
    };
    Some(Step::Redraw(command))
}

/// Whether all is known that an answer waits for.
pub(super) fn on_awaited(session: &mut Session) -> Next {
    let connecting = session.connecting();
    match connecting.is_some_and(|one| one.can_answer()) {
        true => Next::EndWait,
        false => Next::Continue,
    }
}

/// Answers a `connect`, unless some of its subscriptions begin anew. `positions` are those at which the session's
/// channels stand now.
pub(super) fn on_wait_ended(
    session: &mut Session,
    positions: &[(ChannelId, Position)],
    ping_s: u32,
    lines: &mut Lines<'_>,
) {
    let Some(mut connecting) = session.take_connecting() else {
        return;
    };
    let transport = session.transport();
    if connecting.can_answer() && !connecting.begin_anew(positions, transport) {
        connecting.is_answered = true;
        let connected = Connected {
            client: &session.client_id(),
            expiry: &Expiry {
                in_s: connecting.expires_in_s,
            },
            ping_s,
            emulation: session.emulation(),
        };
        lines.connected(connecting.id, &connected, connecting.in_force());
    }
    session.set_connecting(connecting);
}

/// The subscription is under way; `number` is its place among those of a `connect`, or that of one that the
/// application makes.
pub(super) fn on_subscribing(session: &mut Session, channel: ChannelId, number: Option<u32>) {
    if !session.subscriptions.add(channel, SERVER) {
        forget(session, number); // it is there already
    }
}

/// The subscription is in force.
pub(super) fn on_subscribed(
    session: &mut Session,
    number: Option<u32>,
    subscribed: &Subscribed<'_>,
    lines: &mut Lines<'_>,
) -> Next {
    let channel = subscribed.channel;
    if !session.subscriptions.confirm(channel, SERVER) {
        forget(session, number); // it has ended meanwhile
        return Next::Continue;
    }
    session.serve(channel);
    let Some(number) = number else {
        return Next::Continue;
    };
    if let Some(name) = session.take_announced(number) {
        lines.subscribed(&name, subscribed);
        return Next::Continue;
    }
    let transport = session.transport();
    if let Some(connecting) = session.connecting() {
        connecting.confirm(number, subscribed, transport);
    }
    on_awaited(session)
}

/// There is no such subscription.
pub(super) fn on_refused(
    session: &mut Session,
    number: Option<u32>,
    channel: Option<ChannelId>,
) -> Next {
    if let Some(channel) = channel {
        session.subscriptions.remove(channel);
    }
    forget(session, number);
    on_awaited(session)
}

/// It is not told of.
fn forget(session: &mut Session, number: Option<u32>) {
    let Some(number) = number else {
        return;
    };
    match session.connecting() {
        Some(connecting) if connecting.has(number) => connecting.refuse(number),
        _ => _ = session.take_announced(number),
    }
}
