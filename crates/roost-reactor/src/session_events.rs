//! The router's events about sessions: that one has joined its realm, or left it. They cost a look at a
//! flag until a client of the server has first subscribed to one.

use roost_dialect::wamp::meta::{ON_JOIN, ON_LEAVE, details_of, leave_args};
use roost_dialect::{Arguments, PayloadRef};
use roost_hub::{Publish, PublishTo};
use roost_net::ConnKey;

use crate::core::Core;

/// A client subscribes to a channel: before its subscription is confirmed, events are published.
#[inline]
pub(crate) fn note_subscription(core: &Core, channel: &str) {
    let realms = &core.settings.dialects.wamp.own_realms;
    if realms.prefixes().strip(channel).starts_with("wamp.") {
        core.events_wanted.set();
    }
}

/// A session is open.
pub(crate) fn joined(core: &mut Core, key: ConnKey) {
    if !core.events_wanted.get() {
        return;
    }
    let conn = core.connections.get(key);
    let member = conn.and_then(|conn| core.sessions.member(conn.dialect, conn.session));
    if let Some(member) = member {
        let identity = core.connections.identities().get(key.slot());
        let args = format!("[{}]", details_of(member, identity));
        publish(core, key, member.realm, ON_JOIN, &args);
    }
}

/// A connection leaves its channels: its session leaves its realm.
pub(crate) fn left(core: &mut Core, key: ConnKey) {
    if !core.events_wanted.get() {
        return;
    }
    let conn = core.connections.get(key);
    let member = conn.and_then(|conn| core.sessions.leave(conn.dialect, conn.session));
    if let Some(member) = member {
        let identity = core.connections.identities().get(key.slot());
        let args = leave_args(member, identity);
        publish(core, key, member.realm, ON_LEAVE, &args);
    }
}

fn publish(core: &mut Core, key: ConnKey, realm: u16, topic: &str, args: &str) {
    let realms = &core.settings.dialects.wamp.own_realms;
    let prefix = realms.get(realm).map_or("", |realm| &*realm.prefix);
    let name = [prefix, topic].concat();
    let publish = Publish {
        target: PublishTo::Name(&name),
        publisher: key.to_bits(),
        exclude_publisher: true,
        ack: None,
        payload: PayloadRef::Wamp(Arguments::json(Some(args), None)).freeze(),
    };
    let now = core.now();
    let codec = core.connections.codec();
    // A prefix that leaves no room for the topic has no subscribers to it either.
    let _ = core.channels.publish(publish, codec, now);
}
