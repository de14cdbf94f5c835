//! How a connection is described: its record, and all else that is found out when people ask why it is
//! as it is.

use std::net::IpAddr;

use roost_access::{Identity, Operation};
use roost_dialect::dialect::Session;
use roost_hub::{ChannelId, Name};
use roost_net::{ConnKey, Driver};

use super::described::{
    AskedChannel, CHANNELS_SHOWN, ConnectionDetails, ConnectionRecord, IdentityRecord, LaneRecord,
    PausedFor, SubscribedChannel,
};
use super::messages::phase_name;
use crate::clock::{NEVER, TICK_MS};
use crate::connections::Flags;
use crate::core::Core;

/// All about a connection; `None`: there is none of this key.
pub(super) fn details_of<D: Driver>(
    core: &Core,
    driver: &mut D,
    key: ConnKey,
    asked: Option<&Name>,
) -> Option<ConnectionDetails> {
    let record = record_of(core, driver, key)?;
    let connections = &core.connections;
    let conn = connections.get(key)?;
    let now = core.now();
    let identity = connections.identities().get(key.slot());
    let (mut subscriptions, mut channels) = (0, Vec::new());
    core.sessions
        .each_subscription(conn.dialect, conn.session, &mut |channel| {
            subscriptions += 1;
            if channels.len() < CHANNELS_SHOWN {
                channels.extend(subscribed(core, channel));
            }
        });
    let outbox = connections.outboxes().get(conn);
    let lanes = outbox.map(|outbox| {
        let lanes = outbox.lanes();
        let lanes = lanes.map(|(namespace, bytes, messages)| LaneRecord {
            namespace,
            bytes,
            messages,
        });
        lanes.collect()
    });
    let ms_since = |tick: u32| u64::from(now.saturating_sub(tick)) * u64::from(TICK_MS);
    let deadline = (conn.deadline != NEVER).then_some(conn.deadline);
    Some(ConnectionDetails {
        record,
        identity: identity.map(|identity| identity_of(identity, now)),
        compression: conn.framing.compression(),
        subscriptions,
        channels,
        lanes: lanes.unwrap_or_default(),
        dropped: outbox.map_or(0, |outbox| outbox.dropped()),
        quiet_ms: ms_since(conn.last_message),
        silent_ms: ms_since(conn.last_seen),
        // Of an event stream it says that what waits is not taken: the outbox says so.
        is_pinged: conn.flags.has(Flags::PING_SENT) && !conn.framing.is_event_stream(),
        deadline_ms: deadline.map(|at| u64::from(at.saturating_sub(now)) * u64::from(TICK_MS)),
        paused_for: conn.flags.has(Flags::PAUSED).then(|| paused_for(core, key)),
        has_client_closed: conn.flags.has(Flags::PEER_CLOSED) || conn.flags.has(Flags::PEER_FIN),
        tcp: driver.tcp_info(key),
        asked: asked.map(|name| about(core, key, conn.session, name)),
    })
}

fn paused_for(core: &Core, key: ConnKey) -> PausedFor {
    let now = core.now();
    match core.channels.paused_for(key, now) {
        PausedFor::Rate { wait_ms } => {
            let limit = core.client_limits.exceeded(key, &core.settings.limits, now);
            limit.map_or(PausedFor::Rate { wait_ms }, |limit| PausedFor::OwnRate {
                limit,
                wait_ms,
            })
        }
        other => other,
    }
}

fn identity_of(identity: &Identity, now: u32) -> IdentityRecord {
    IdentityRecord {
        role: identity.permissions.role().into(),
        method: identity.method.name(),
        is_expired: identity.is_expired(now),
    }
}

fn subscribed(core: &Core, channel: ChannelId) -> Option<SubscribedChannel> {
    let (name, is_pattern) = core.channels.hub().shown_name(channel)?;
    Some(SubscribedChannel {
        name: name.into(),
        is_pattern,
        offset: core.channels.hub().offset_of(channel),
    })
}

fn about(core: &Core, key: ConnKey, session: Session, name: &Name) -> AskedChannel {
    let channel = core.channels.find(name);
    let dialect = core.connections.get(key).map(|conn| conn.dialect);
    let is_subscribed = channel
        .zip(dialect)
        .is_some_and(|(channel, dialect)| core.sessions.is_subscribed(dialect, session, channel));
    let identity = core.connections.identities().get(key.slot());
    let realm = dialect.and_then(|dialect| core.sessions.realm(dialect, session));
    let may = |operation| {
        let settings = &core.settings;
        settings.may(
            identity,
            (operation, name),
            realm,
            is_subscribed,
            core.now(),
        )
    };
    AskedChannel {
        name: name.clone(),
        is_subscribed,
        subscribe: may(Operation::Subscribe),
        publish: may(Operation::Publish),
        call: may(Operation::Call),
        register: may(Operation::Register),
        read_presence: may(Operation::ReadPresence),
    }
}

/// A connection as people are told of it.
pub(super) fn record_of<D: Driver>(
    core: &Core,
    driver: &D,
    key: ConnKey,
) -> Option<ConnectionRecord> {
    let connections = &core.connections;
    let conn = connections.get(key)?;
    let outbox = connections.outboxes().get(conn);
    let silent_ticks = connections.clock().now.saturating_sub(conn.last_seen);
    let identity = connections.identities().get(key.slot());
    Some(ConnectionRecord {
        reactor: core.channels.me().0,
        key,
        phase: phase_name(conn.phase),
        dialect: conn.dialect.name(),
        user: identity.map(|known| known.user.clone()).unwrap_or_default(),
        listener: conn.arrival.listener(),
        address: address_of(core, driver, key),
        input_buffered_bytes: connections.inputs().bytes_of(key.slot(), conn),
        outbox_bytes: outbox.map_or(0, |outbox| outbox.bytes()),
        outbox_messages: outbox.map_or(0, |outbox| outbox.messages()),
        in_flight_bytes: driver.unsent_bytes(key),
        is_paused: conn.flags.has(Flags::PAUSED),
        silent_seconds: silent_ticks / (1000 / TICK_MS),
    })
}

/// Where the client is. A socket behind a proxy has the proxy's address, which says nothing.
pub(super) fn address_of<D: Driver>(core: &Core, driver: &D, key: ConnKey) -> Option<IpAddr> {
    let conn = core.connections.get(key)?;
    let counted = core.governor.address_of(conn.arrival.address());
    let listener = core.settings.listener(conn.arrival.listener());
    let is_proxys = listener.proxies.is_some() || conn.arrival.is_proxys();
    let of_socket = || match is_proxys {
        true => None,
        false => Some(driver.peer_addr(key)?.ip().to_canonical()),
    };
    counted.or_else(of_socket)
}
