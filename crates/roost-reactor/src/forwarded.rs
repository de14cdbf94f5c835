//! Requests that a proxy forwards on connections of its own: they count to the addresses of its clients.
//!
//! A proxy may send requests of several clients on one connection, one behind the other. So an address is
//! that of the request that becomes a WebSocket or an event stream, with which the connection is its client's.

use std::net::SocketAddr;

use roost_net::ConnKey;
use roost_wire::forwarded::client_of;
use roost_wire::handshake::Request;
use tracing::debug;

use crate::core::Core;
use crate::responses::{refuse, refuse_too_often};
use crate::settings::Listener;

/// Whether a connection from this address is a proxy's.
pub(crate) fn is_proxys(listener: &Listener, peer: Option<SocketAddr>) -> bool {
    let Some(forwarded) = &listener.forwarded else {
        return false;
    };
    match peer {
        Some(peer) => forwarded.is_trusted(peer.ip()),
        None => listener.address.tcp().is_none(),
    }
}

/// Whether a request for a WebSocket or an event stream may go on. On a connection of a proxy its client is
/// counted, once; if that has too many, or begins them too often, the request was refused.
pub(crate) fn admits(core: &mut Core, key: ConnKey, request: &Request<'_>) -> bool {
    let conn = core.connections.get(key);
    if conn.is_none_or(|conn| !conn.arrival.awaits_client()) {
        return true;
    }
    let Some(forwarded) = &core.listener(key).forwarded else {
        return true; // a reload has switched it off
    };
    let values = request.values(forwarded.header.name());
    let client = client_of(forwarded.header, values, |hop| forwarded.is_trusted(hop));
    let Some(client) = client else {
        // The proxy could as well have named any address.
        core.counters.forwarded_unnamed_total.inc();
        core.connections.set_client(key, None);
        return true;
    };
    debug!(connection = %core.id(key), %client, "forwarded by a proxy");
    if let Err(seconds) = core.governor.begin_connection(client, core.now()) {
        refuse_too_often(core, key, seconds);
        return false;
    }
    let Ok(address) = core.governor.enter_address(client) else {
        core.counters.refused_per_address_total.inc();
        refuse(core, key, 429, TOO_MANY);
        return false;
    };
    core.counters.forwarded_total.inc();
    core.connections.set_client(key, Some(address));
    true
}

const TOO_MANY: &str = "This address has as many connections as it may have.";
