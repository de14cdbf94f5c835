//! The router's events about sessions, registrations and subscriptions. They cost a look at a flag until a client
//! of the server has first subscribed to one.

use roost_dealer::{RegistrationChange, RegistrationEvent};
use roost_dialect::dialect::{Entry, Member};
use roost_dialect::wamp::{entries, meta};
use roost_dialect::{Arguments, PayloadRef};
use roost_hub::{ChannelId, Publish, PublishTo, Watched};
use roost_net::ConnKey;

use crate::connections::Codec;
use crate::core::Core;
use crate::entry_names::{entry_of, read_record};

/// A client subscribes to a channel: before its subscription is confirmed, events are published.
#[inline]
pub(crate) fn note_subscription(core: &mut Core, channel: &str) {
    let realms = &core.settings.dialects.wamp.own_realms;
    if realms.prefixes().strip(channel).starts_with("wamp.") {
        core.events_wanted.set();
        watch_if_wanted(core);
    }
}

/// Has the hub and the dealer here say what events are about, once some reactor's client wants them: before
/// anything of other reactors is handled that may have come behind that.
#[inline]
pub(crate) fn watch_if_wanted(core: &mut Core) {
    if core.events_wanted.get() && !core.watches {
        watch(core);
    }
}

#[cold]
fn watch(core: &mut Core) {
    core.watches = true;
    core.channels.hub_mut().watch(Codec::wamp_encodings());
    core.calls.report_registrations();
}

/// The open session of a connection, if there are events.
fn member_if_wanted(core: &Core, key: ConnKey) -> Option<Member> {
    if !core.events_wanted.get() {
        return None;
    }
    let conn = core.connections.get(key)?;
    core.sessions.member(conn.dialect, conn.session)
}

/// A connection is about to subscribe or unsubscribe.
pub(crate) fn begin_cause(core: &mut Core, key: ConnKey) {
    if let Some(member) = member_if_wanted(core, key) {
        core.channels.hub_mut().set_cause(member.session);
    }
}

/// It has.
pub(crate) fn end_cause(core: &mut Core) {
    if core.watches {
        core.channels.hub_mut().set_cause(0);
    }
}

/// A session is open.
pub(crate) fn joined(core: &mut Core, key: ConnKey) {
    if let Some(member) = member_if_wanted(core, key) {
        let identity = core.connections.identities().get(key.slot());
        let args = format!("[{}]", meta::details_of(member, identity));
        let prefix = prefix_of(core, member.realm);
        publish(core, &prefix, meta::ON_JOIN, (key, &args));
    }
}

/// A connection leaves its channels: its session leaves its realm, and what it is subscribed to. What is
/// unsubscribed next is for its sake, until [`end_cause`].
pub(crate) fn left(core: &mut Core, key: ConnKey) {
    if !core.events_wanted.get() {
        return;
    }
    let Some((dialect, session)) = core
        .connections
        .get(key)
        .map(|conn| (conn.dialect, conn.session))
    else {
        return;
    };
    let Some(member) = core.sessions.leave(dialect, session) else {
        return;
    };
    let mut confirmed = Vec::new();
    core.sessions
        .each_subscription(dialect, session, &mut |channel| confirmed.push(channel));
    confirmed.retain(|&channel| core.sessions.is_confirmed(dialect, session, channel));
    for channel in confirmed {
        has_unsubscribed(core, member, channel);
    }
    let identity = core.connections.identities().get(key.slot());
    let args = meta::leave_args(member, identity);
    let prefix = prefix_of(core, member.realm);
    publish(core, &prefix, meta::ON_LEAVE, (key, &args));
    core.channels.hub_mut().set_cause(member.session);
}

/// A connection is about to be told that it is subscribed.
#[inline]
pub(crate) fn subscribing(core: &mut Core, key: ConnKey, channel: ChannelId, topic: u64) {
    if core.watches {
        tell_subscribed(core, key, channel, topic);
    }
}

#[cold]
fn tell_subscribed(core: &mut Core, key: ConnKey, channel: ChannelId, topic: u64) {
    let Some(member) = member_if_wanted(core, key) else {
        return;
    };
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    // One that subscribes again has been told before.
    if !core
        .sessions
        .is_confirmed(conn.dialect, conn.session, channel)
    {
        let event = meta::SUBSCRIPTION_ON_SUBSCRIBE;
        tell_of_subscription(core, member.session, (channel, topic), event);
    }
}

/// A connection is about to leave a channel to which it is subscribed.
#[inline]
pub(crate) fn unsubscribing(core: &mut Core, key: ConnKey, channel: ChannelId) {
    if core.watches
        && let Some(member) = member_if_wanted(core, key)
    {
        has_unsubscribed(core, member, channel);
        core.channels.hub_mut().set_cause(member.session);
    }
}

fn has_unsubscribed(core: &mut Core, member: Member, channel: ChannelId) {
    if let Some(topic) = core.channels.hub().topic(channel) {
        let event = meta::SUBSCRIPTION_ON_UNSUBSCRIBE;
        tell_of_subscription(core, member.session, (channel, topic), event);
    }
}

fn tell_of_subscription(
    core: &mut Core,
    session: u64,
    (channel, topic): (ChannelId, u64),
    event: &str,
) {
    let Some(record) = core.channels.hub().record_name(channel) else {
        return;
    };
    let (_, name) = read_record(record);
    if let Some((prefix, _)) = own_name(core, name) {
        let args = entries::event_args(session, &topic.to_string());
        publish_for_all(core, &prefix, event, &args);
    }
}

/// A topic or pattern whose home is here has its first subscriber, or has lost its last.
#[cold]
pub(crate) fn note_watched(core: &mut Core, watched: &Watched) {
    let (matching, name) = read_record(&watched.name);
    let Some((prefix, own)) = own_name(core, name) else {
        return;
    };
    let (event, what) = match watched.is_wanted {
        true => {
            let entry = Entry {
                number: watched.topic,
                uri: own.into(),
                matching,
                policy: None,
                created: None,
            };
            (meta::SUBSCRIPTION_ON_CREATE, entries::details_of(&entry))
        }
        false => (meta::SUBSCRIPTION_ON_DELETE, watched.topic.to_string()),
    };
    let args = entries::event_args(watched.cause, &what);
    publish_for_all(core, &prefix, event, &args);
}

/// A registration whose home is here has changed.
#[cold]
pub(crate) fn note_registration(core: &mut Core, event: RegistrationEvent) {
    let RegistrationEvent {
        session,
        registration,
        change,
    } = event;
    let Some((prefix, _)) = own_name(core, &registration.procedure.name) else {
        return;
    };
    let number = registration.number.to_string();
    let (event, what) = match change {
        RegistrationChange::Created => {
            let entry = entry_of(core, registration);
            (meta::REGISTRATION_ON_CREATE, entries::details_of(&entry))
        }
        RegistrationChange::Registered => (meta::REGISTRATION_ON_REGISTER, number),
        RegistrationChange::Unregistered => (meta::REGISTRATION_ON_UNREGISTER, number),
        RegistrationChange::Deleted => (meta::REGISTRATION_ON_DELETE, number),
    };
    let args = entries::event_args(session, &what);
    publish_for_all(core, &prefix, event, &args);
}

/// The prefix of the realm that a name belongs to, and the name as its sessions write it. `None`: it is one of the
/// router's own, of which nothing is told.
fn own_name<'a>(core: &Core, name: &'a str) -> Option<(Box<str>, &'a str)> {
    let prefixes = core.settings.dialects.wamp.own_realms.prefixes();
    let prefix = prefixes.of(name).map_or("", |(prefix, _)| prefix);
    let own = &name[prefix.len()..];
    (!own.starts_with("wamp.")).then(|| (prefix.into(), own))
}

fn prefix_of(core: &Core, realm: u16) -> Box<str> {
    let realms = &core.settings.dialects.wamp.own_realms;
    realms.get(realm).map_or("", |realm| &*realm.prefix).into()
}

/// Publishes an event about one session for the others.
fn publish(core: &mut Core, prefix: &str, topic: &str, (key, args): (ConnKey, &str)) {
    publish_from(core, &[prefix, topic].concat(), key.to_bits(), args);
}

/// Publishes an event for all that are subscribed to it.
fn publish_for_all(core: &mut Core, prefix: &str, topic: &str, args: &str) {
    publish_from(core, &[prefix, topic].concat(), 0, args);
}

fn publish_from(core: &mut Core, name: &str, publisher: u64, args: &str) {
    let publish = Publish {
        target: PublishTo::Name(name),
        publisher,
        exclude_publisher: publisher != 0,
        ack: None,
        payload: PayloadRef::Wamp(Arguments::json(Some(args), None)).freeze(),
    };
    let now = core.now();
    let codec = core.connections.codec();
    // A prefix that leaves no room for the topic has no subscribers to it either.
    let _ = core.channels.publish(publish, codec, now);
}
