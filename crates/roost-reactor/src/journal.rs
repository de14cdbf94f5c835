//! What happens to connections and channels, on its way to the control thread, which tells it to the
//! application. Only the begins and ends of connections and subscriptions look here, and where no event
//! is asked for they see one flag. Nothing waits for the control thread.

use roost_access::UserName;
use roost_dialect::{PayloadRef, PublishDetails};
use roost_hub::{ChannelId, Name};
use roost_net::ConnKey;

use crate::channels::is_canary;
use crate::connections::Phase;
use crate::core::Core;
use crate::events::{EventKind, HappenedEvent, Said};
use crate::incidents::EndCause;
use crate::peer_message::PeerMessage;

/// An open connection that is about to end.
pub(crate) struct Leaving(HappenedEvent);

/// A connection has opened. `has_joined`: with the subscription that its request asked for.
#[inline]
pub(crate) fn opened(core: &mut Core, key: ConnKey, has_joined: bool) {
    if core.journal.is_on() {
        note_opened(core, key, has_joined);
    }
}

#[cold]
fn note_opened(core: &mut Core, key: ConnKey, has_joined: bool) {
    push_of(core, key, EventKind::Connected, None, "");
    let Some(conn) = core.connections.get(key).filter(|_| has_joined) else {
        return;
    };
    let mut channels = Vec::new();
    let (dialect, session) = (conn.dialect, conn.session);
    core.sessions
        .each_subscription(dialect, session, &mut |channel| channels.push(channel));
    for channel in channels {
        note_subscription(core, key, EventKind::Subscribed, channel, "");
    }
}

/// Whose connection it is before its client logs in, if that is to be told.
pub(crate) fn before_login(core: &Core, key: ConnKey) -> Option<UserName> {
    if !core.journal.tells(EventKind::LoggedIn) {
        return None;
    }
    Some(of_connection(core, key, EventKind::LoggedIn)?.user)
}

/// Its client has logged in.
pub(crate) fn logged_in(core: &mut Core, key: ConnKey, before: Option<UserName>) {
    let event = before
        .and_then(|before| Some((before, of_connection(core, key, EventKind::LoggedIn)?)))
        .filter(|(before, event)| *before != event.user);
    if let Some((_, event)) = event {
        core.journal.push(event);
        core.has_for_control = true;
    }
}

/// A session is about to be told that it subscribes to a channel.
#[inline]
pub(crate) fn subscribing(core: &mut Core, key: ConnKey, channel: ChannelId) {
    if core.journal.tells(EventKind::Subscribed) {
        note_subscribing(core, key, channel);
    }
}

#[cold]
fn note_subscribing(core: &mut Core, key: ConnKey, channel: ChannelId) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    // One that subscribes again is subscribed once.
    let (dialect, session) = (conn.dialect, conn.session);
    if !core.sessions.is_subscribed(dialect, session, channel) {
        note_subscription(core, key, EventKind::Subscribed, channel, "");
    }
}

/// A session that was subscribed to a channel no longer is; the hub does not know it yet.
#[inline]
pub(crate) fn unsubscribing(core: &mut Core, key: ConnKey, channel: ChannelId, reason: &str) {
    if core.journal.tells(EventKind::Unsubscribed) {
        note_subscription(core, key, EventKind::Unsubscribed, channel, reason);
    }
}

/// A client has published where it is subscribed.
#[inline]
pub(crate) fn client_event(
    core: &mut Core,
    key: ConnKey,
    channel: ChannelId,
    (payload, details): (PayloadRef<'_>, Option<&PublishDetails>),
) {
    if core.journal.tells(EventKind::ClientEvent) {
        note_client_event(core, key, channel, (payload, details));
    }
}

#[cold]
fn note_client_event(
    core: &mut Core,
    key: ConnKey,
    channel: ChannelId,
    (payload, details): (PayloadRef<'_>, Option<&PublishDetails>),
) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    let client = core.sessions.client(conn.dialect, conn.session);
    let Some(mut event) = of_connection(core, key, EventKind::ClientEvent) else {
        return;
    };
    event.user = details
        .and_then(|details| details.user_id.as_deref())
        .unwrap_or_default()
        .into();
    event.has_number = details.is_some_and(|details| details.has_number);
    event.said = Some(Box::new(Said {
        event: details
            .and_then(|details| details.event.clone())
            .unwrap_or_default(),
        data: payload.text().unwrap_or_default().into(),
        is_json: matches!(payload, PayloadRef::Json(json) if !json.starts_with('"')),
        client: client.unwrap_or_default(),
    }));
    push_in_channel(core, event, channel);
}

/// A client has subscribed to a channel that keeps its last event, and there was none.
pub(crate) fn cache_missed(core: &mut Core, key: ConnKey, channel: ChannelId) {
    if core.journal.tells(EventKind::CacheMiss)
        && let Some(event) = of_connection(core, key, EventKind::CacheMiss)
    {
        push_in_channel(core, event, channel);
    }
}

/// A channel whose home is here has its first subscriber, or has lost its last.
#[cold]
pub(crate) fn note_occupancy(core: &mut Core, channel: Name, is_occupied: bool) {
    if !is_canary(&channel) {
        let kind = match is_occupied {
            true => EventKind::Occupied,
            false => EventKind::Vacated,
        };
        push_of_channel(core, kind, channel, (UserName::new(), false));
    }
}

/// A user has the first client in a channel whose home is here, or has no more in it.
#[cold]
pub(crate) fn note_user(
    core: &mut Core,
    channel: Name,
    (user, has_number): (&str, bool),
    is_there: bool,
) {
    let kind = match is_there {
        true => EventKind::UserJoined,
        false => EventKind::UserLeft,
    };
    if core.journal.tells(kind) {
        push_of_channel(core, kind, channel, (user.into(), has_number));
    }
}

fn push_of_channel(
    core: &mut Core,
    kind: EventKind,
    channel: Name,
    (user, has_number): (UserName, bool),
) {
    if core.journal.covers(&channel) {
        let event = HappenedEvent {
            kind,
            at: core.now(),
            client: None,
            user,
            has_number,
            dialect: "",
            channel: Some(channel),
            code: None,
            reason: "".into(),
            said: None,
        };
        core.journal.push(event);
        core.has_for_control = true;
    }
}

/// Why an open connection is about to end, where its end itself does not say.
#[inline]
pub(crate) fn note_end(core: &mut Core, key: ConnKey, code: Option<u16>, reason: &str) {
    if core.journal.is_on() {
        core.journal.note(key, code, reason);
    }
}

/// The reason of an end without a close frame of ours.
pub(crate) fn reason_of(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Cut => "the connection was cut",
        EndCause::Reset => "the connection was reset",
        EndCause::PongMissing => "no answer to a ping",
        EndCause::Idle => "idle for too long",
        EndCause::SlowConsumer => "slow consumer",
        EndCause::Failed => "protocol error",
        EndCause::Disconnected => "closed by the application",
        EndCause::RateLimited => "rate limit",
    }
}

/// What is to be said of an open connection that ends now, and of its subscriptions. `None` if it is not
/// open, or nothing is asked for.
#[inline]
pub(crate) fn leaving(core: &mut Core, key: ConnKey, told: Option<(u16, &str)>) -> Option<Leaving> {
    match core.journal.is_on() {
        true => describe_leaving(core, key, told),
        false => None,
    }
}

#[cold]
fn describe_leaving(core: &mut Core, key: ConnKey, told: Option<(u16, &str)>) -> Option<Leaving> {
    let conn = core.connections.get(key)?;
    if conn.phase != Phase::Open {
        return None;
    }
    let noted = core.journal.take_noted(key);
    let (code, reason) = match (told, noted) {
        (Some((code, reason)), _) => (Some(code), reason.into()),
        (None, Some((code, reason))) => (code, reason),
        (None, None) => (None, "".into()),
    };
    let mut event = of_connection(core, key, EventKind::Disconnected)?;
    (event.code, event.reason) = (code, reason);
    Some(Leaving(event))
}

/// It no longer subscribes to a channel.
#[cold]
pub(crate) fn note_left(core: &mut Core, leaving: &Leaving, channel: ChannelId) {
    if core.journal.tells(EventKind::Unsubscribed) {
        let event = HappenedEvent {
            kind: EventKind::Unsubscribed,
            ..leaving.0.clone()
        };
        push_in_channel(core, event, channel);
    }
}

/// It has ended.
#[cold]
pub(crate) fn note_disconnected(core: &mut Core, leaving: Leaving) {
    if core.journal.tells(EventKind::Disconnected) {
        core.journal.push(leaving.0);
        core.has_for_control = true;
    }
}

/// Sends what has happened; what finds no room stays.
#[cold]
pub(crate) fn send_events(core: &mut Core) {
    let now = core.now();
    while let Some(batch) = core.journal.take_batch(now) {
        let sent = core.channels.send_to_control(PeerMessage::Events(batch));
        if let Err(PeerMessage::Events(batch)) = sent {
            return core.journal.put_back(*batch);
        }
    }
}

fn note_subscription(
    core: &mut Core,
    key: ConnKey,
    kind: EventKind,
    channel: ChannelId,
    reason: &str,
) {
    if let Some(mut event) = of_connection(core, key, kind).filter(|_| core.journal.tells(kind)) {
        event.reason = reason.into();
        push_in_channel(core, event, channel);
    }
}

/// Patterns are no channels, and no event says anything of them.
fn push_in_channel(core: &mut Core, mut event: HappenedEvent, channel: ChannelId) {
    let Some(name) = core.channels.hub().full_name(channel) else {
        return;
    };
    if core.journal.covers(&name) {
        event.channel = Some(name);
        core.journal.push(event);
        core.has_for_control = true;
    }
}

fn push_of(core: &mut Core, key: ConnKey, kind: EventKind, code: Option<u16>, reason: &str) {
    let event = of_connection(core, key, kind).filter(|_| core.journal.tells(kind));
    if let Some(mut event) = event {
        (event.code, event.reason) = (code, reason.into());
        core.journal.push(event);
        core.has_for_control = true;
    }
}

fn of_connection(core: &Core, key: ConnKey, kind: EventKind) -> Option<HappenedEvent> {
    let conn = core.connections.get(key)?;
    let identity = core.connections.identities().get(key.slot());
    Some(HappenedEvent {
        kind,
        at: core.now(),
        client: Some(key),
        user: identity
            .map(|identity| identity.user.clone())
            .unwrap_or_default(),
        has_number: false,
        dialect: conn.dialect.name(),
        channel: None,
        code: None,
        reason: "".into(),
        said: None,
    })
}
